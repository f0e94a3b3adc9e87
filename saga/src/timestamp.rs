//! Moments that outlive the process.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A moment as milliseconds since 1970, so that it means the same after a restart and on another machine.
///
/// Only timers use it: deadlines, waits between attempts, timers of sagas. What happened before what is told by the order of
/// the records, never by this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(u64);

impl Timestamp {
    /// So many milliseconds after the beginning of 1970.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the beginning of 1970.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// The moment after this time, rounded up to a millisecond; the last one there is if that is too far.
    #[must_use]
    pub fn after(self, time: Duration) -> Self {
        let millis = time.as_nanos().div_ceil(1_000_000);
        Self(self.0.saturating_add(u64::try_from(millis).unwrap_or(u64::MAX)))
    }

    /// How long it is from `earlier` to this moment; zero if that is not earlier.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}
