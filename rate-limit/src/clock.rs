//! The clock of the shell, and the time of a limiter.

use crate::quota::nanos;
use mainstay_core::Now;
use std::time::{Duration, Instant};

/// Tokio's clock, read only when a decision needs the time; virtual under `tokio::time::pause`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock;

/// The first moment of a limiter. Its time is in nanoseconds since then.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start(Instant);

impl Now for Clock {
    fn now(self) -> Instant {
        tokio::time::Instant::now().into_std()
    }
}

impl Start {
    pub(crate) fn new(now: impl Now) -> Self {
        Self(now.now())
    }

    /// The time of the limiter now.
    #[inline]
    pub(crate) fn nanos(self, now: impl Now) -> u64 {
        nanos(now.now().saturating_duration_since(self.0))
    }

    /// When that time is; what a clock cannot tell is in thirty years.
    pub(crate) fn moment(self, at: u64) -> Instant {
        const THIRTY_YEARS: Duration = Duration::from_hours(30 * 365 * 24);
        self.0.checked_add(Duration::from_nanos(at)).unwrap_or_else(|| self.0 + THIRTY_YEARS)
    }
}
