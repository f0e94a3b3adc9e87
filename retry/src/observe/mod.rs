//! Those outside who are told of retries, and of those that did not come about.

#[cfg(feature = "metrics")]
mod metrics;
#[cfg(not(feature = "metrics"))]
#[path = "metrics_off.rs"]
mod metrics;

use crate::trace;
use mainstay_core::Attempt;
use metrics::Metrics;
use std::time::Duration;

/// Why a call that may be sent again was not.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cause {
    /// It was not paid for.
    Budget,
    /// The attempts are used up.
    Attempts,
    /// The next would start too late.
    Deadline,
    /// Its request cannot be made.
    Request,
    /// The service was not ready for it.
    Unready,
    /// The service asked for a wait that is too long.
    RetryAfter,
}

/// Tells of one policy, by its name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Observers {
    name: &'static str,
    metrics: Metrics,
}

impl Observers {
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, metrics: Metrics::new(name) }
    }

    /// `attempt` is to start after `wait`.
    pub(crate) fn scheduled(self, attempt: Attempt, wait: Duration) {
        trace::scheduled(self.name, attempt, wait);
    }

    /// It has started.
    pub(crate) fn retried(self) {
        self.metrics.retried();
    }

    /// `attempt` does not come about.
    pub(crate) fn gave_up(self, attempt: Attempt, cause: Cause) {
        self.metrics.gave_up(cause);
        trace::gave_up(self.name, attempt, cause);
    }

    #[cfg(feature = "metrics")]
    pub(crate) fn rebind_metrics(self) {
        self.metrics.rebind();
    }
}
