//! Those outside who are told of refusals, never under a lock of ours; and shadow mode, in which nothing is refused.

#[cfg(feature = "metrics")]
mod metrics;
#[cfg(not(feature = "metrics"))]
#[path = "metrics_off.rs"]
mod metrics;

use crate::{decision::Decision, tally::Tally};
use metrics::Metrics;
use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

#[derive(Debug)]
pub(crate) struct Observers {
    name: &'static str,
    shadow: AtomicBool,
    refused: Tally,
    metrics: Metrics,
}

impl Observers {
    pub(crate) fn new(name: &'static str, shadow: bool) -> Self {
        Self { name, shadow: AtomicBool::new(shadow), refused: Tally::default(), metrics: Metrics::new(name) }
    }

    pub(crate) const fn name(&self) -> &'static str {
        self.name
    }

    /// The refusals since the limiter was made.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.sum()
    }

    #[cfg(feature = "metrics")]
    pub(crate) fn rebind_metrics(&self) {
        self.metrics.rebind();
    }

    pub(crate) fn set_shadow(&self, shadow: bool) {
        // Relaxed: a call that is on its way may still be decided the other way.
        self.shadow.store(shadow, Ordering::Relaxed);
    }

    pub(crate) fn is_shadow(&self) -> bool {
        // Relaxed: see `set_shadow`.
        self.shadow.load(Ordering::Relaxed)
    }

    /// In shadow mode, a refusal is none.
    #[inline]
    pub(crate) fn unless_shadow(&self, mut decision: Decision) -> Decision {
        if !decision.allowed && self.is_shadow() {
            (decision.allowed, decision.shadow) = (true, true);
        }
        decision
    }

    /// Tells of a refusal; in shadow mode, it is none.
    #[inline]
    pub(crate) fn tell(&self, mut decision: Decision) -> Decision {
        if !decision.allowed {
            decision = self.unless_shadow(decision);
            self.tell_refused(decision.rule, decision.retry_after, decision.shadow);
        }
        decision
    }

    /// Tells of a refusal.
    #[inline]
    pub(crate) fn tell_refused(&self, rule: usize, retry_after: Duration, shadow: bool) {
        self.refused.add_one();
        self.metrics.refused();
        #[cfg(feature = "tracing")]
        tracing::debug!(limiter = self.name, rule, ?retry_after, shadow, "call was refused");
        #[cfg(not(feature = "tracing"))]
        let _ = (rule, retry_after, shadow);
    }
}
