//! The policy: what is shared by all calls that are hedged alike.

use super::{
    config::{HedgeConfig, HedgeDelay},
    latencies::Latencies,
    observe::Observers,
};
use crate::clock::Clock;
use mainstay_core::{InvalidConfig, Now};
use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// A policy of hedging: when another attempt starts beside the first, and how often that happened.
///
/// It is shared by a handle, an `Arc` or a `&'static`: clones of a layer and all services that it makes measure the latency
/// of the same service. [`call`](Self::call) uses it without tower.
#[derive(Debug)]
pub struct Hedging {
    config: HedgeConfig,
    /// Only if the delay is a percentile.
    latencies: Option<Latencies>,
    started: AtomicU64,
    suppressed: AtomicU64,
    won: AtomicU64,
    observers: Observers,
}

/// [`Hedging`] at one moment.
///
/// The numbers are read one after the other, so calls in between may be in one and not yet in another.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HedgeSnapshot {
    /// The configured name.
    pub name: &'static str,
    /// How long a hedge waits now; `None` while too few calls were measured.
    pub delay: Option<Duration>,
    /// How many calls that ended the percentile is found from; 0 if the delay is fixed.
    pub samples: u64,
    /// Attempts besides the first that were sent.
    pub started: u64,
    /// Those that were not, since the budget did not pay.
    pub suppressed: u64,
    /// Those that gave the answer.
    pub won: u64,
}

impl Hedging {
    /// A policy that has measured nothing yet.
    ///
    /// # Errors
    ///
    /// If a setting is out of its range; the error names both.
    pub fn new(config: HedgeConfig) -> Result<Self, InvalidConfig> {
        config.check()?;
        let latencies = match config.delay {
            HedgeDelay::Fixed(_) => None,
            HedgeDelay::Percentile(settings) => Some(Latencies::new(settings, Clock.now())?),
        };
        Ok(Self::with(config, latencies))
    }

    fn with(config: HedgeConfig, latencies: Option<Latencies>) -> Self {
        Self {
            config,
            latencies,
            started: AtomicU64::new(0),
            suppressed: AtomicU64::new(0),
            won: AtomicU64::new(0),
            observers: Observers::new(config.name),
        }
    }

    /// A policy of its own with the configuration of this one.
    #[must_use]
    pub fn fresh(&self) -> Self {
        let latencies = self.latencies.as_ref().map(|latencies| latencies.fresh(Clock.now()));
        Self::with(self.config, latencies)
    }

    /// The configuration.
    pub const fn config(&self) -> &HedgeConfig {
        &self.config
    }

    /// What was measured; `None` if the delay is fixed.
    pub const fn latencies(&self) -> Option<&Latencies> {
        self.latencies.as_ref()
    }

    /// The policy as it is now.
    pub fn snapshot(&self) -> HedgeSnapshot {
        let measured = self.latencies.as_ref().map(|latencies| latencies.snapshot(Clock.now()));
        HedgeSnapshot {
            name: self.config.name,
            delay: match self.config.delay {
                HedgeDelay::Fixed(delay) => Some(delay),
                HedgeDelay::Percentile(_) => measured.and_then(|measured| measured.delay),
            },
            samples: measured.map_or(0, |measured| measured.samples),
            // Relaxed, all three: counters.
            started: self.started.load(Ordering::Relaxed),
            suppressed: self.suppressed.load(Ordering::Relaxed),
            won: self.won.load(Ordering::Relaxed),
        }
    }

    /// Moves the counters to the metrics recorder that is installed now.
    #[cfg(feature = "metrics")]
    #[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
    pub fn rebind_metrics(&self) {
        self.observers.rebind_metrics();
    }

    /// When the next attempt is due that is not started by a failure; `None` if it is not, or too far away to count.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        let delay = match (&self.latencies, self.config.delay) {
            (Some(latencies), _) => latencies.delay(now),
            (None, HedgeDelay::Fixed(delay)) => Some(delay),
            (None, HedgeDelay::Percentile(_)) => None,
        };
        now.checked_add(delay?)
    }

    /// The first attempt of a call was cut short or failed, which rarely happens: out of line, since it is in the way of every
    /// call that is dropped.
    #[cold]
    pub(super) fn cut_short(&self, started: Instant) {
        if let Some(latencies) = &self.latencies {
            let now = Clock.now();
            latencies.record_at_least(now.saturating_duration_since(started), now);
        }
    }

    pub(super) fn started(&self, attempt: u32) {
        // Relaxed: a counter.
        self.started.fetch_add(1, Ordering::Relaxed);
        self.observers.started(attempt);
    }

    pub(super) fn suppressed(&self, attempt: u32) {
        // Relaxed: a counter.
        self.suppressed.fetch_add(1, Ordering::Relaxed);
        self.observers.suppressed(attempt);
    }

    pub(super) fn won(&self, attempt: u32) {
        // Relaxed: a counter.
        self.won.fetch_add(1, Ordering::Relaxed);
        self.observers.won(attempt);
    }
}
