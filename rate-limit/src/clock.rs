//! The clock of the shell.

use mainstay_core::Now;
use std::time::Instant;

/// Tokio's clock, read only when a decision needs the time; virtual under `tokio::time::pause`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock;

impl Now for Clock {
    fn now(self) -> Instant {
        tokio::time::Instant::now().into_std()
    }
}
