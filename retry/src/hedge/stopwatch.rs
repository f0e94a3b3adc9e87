//! How long the first attempt of a call took, or would have taken at least.

use super::hedging::Hedging;
use crate::clock::Clock;
use mainstay_core::Now;
use std::{ops::Deref, time::Instant};

/// The handle of a call to its policy, which measures the first attempt if the policy wants to know.
///
/// Dropped while it runs, the attempt was cut short: by another one that won, or by the caller.
pub(super) struct Stopwatch<H: Deref<Target = Hedging>> {
    hedging: H,
    started: Option<Instant>,
}

impl<H: Deref<Target = Hedging>> Stopwatch<H> {
    pub(super) const fn new(hedging: H) -> Self {
        Self { hedging, started: None }
    }

    /// Begins to measure; a fixed delay reads no clock.
    #[inline]
    pub(super) fn start(&mut self) {
        if self.started.is_none() && self.hedging.latencies().is_some() {
            self.started = Some(Clock.now());
        }
    }

    /// The first attempt was answered.
    #[inline]
    pub(super) fn record(&mut self) {
        if let (Some(latencies), Some(started)) = (self.hedging.latencies(), self.started.take()) {
            let now = Clock.now();
            latencies.record(now.saturating_duration_since(started), now);
        }
    }

    /// The first attempt is cut short, if it has not been answered yet: by its end without success, too.
    #[inline]
    pub(super) fn cut_short(&mut self) {
        if let Some(started) = self.started.take() {
            self.hedging.cut_short(started);
        }
    }
}

impl<H: Deref<Target = Hedging>> Deref for Stopwatch<H> {
    type Target = Hedging;

    fn deref(&self) -> &Hedging {
        &self.hedging
    }
}

impl<H: Deref<Target = Hedging>> Drop for Stopwatch<H> {
    #[inline]
    fn drop(&mut self) {
        self.cut_short();
    }
}
