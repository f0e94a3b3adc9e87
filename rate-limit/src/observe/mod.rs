//! Those outside who are told of refusals, never under a lock of ours.

#[cfg(feature = "metrics")]
mod metrics;
#[cfg(not(feature = "metrics"))]
#[path = "metrics_off.rs"]
mod metrics;

use crate::tally::Tally;
use metrics::Metrics;
use std::time::Duration;

#[derive(Debug)]
pub(crate) struct Observers {
    name: &'static str,
    refused: Tally,
    metrics: Metrics,
}

impl Observers {
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, refused: Tally::default(), metrics: Metrics::new(name) }
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
