//! Sliding windows: what the recent calls say, in constant time per call.
//!
//! [`LastCalls`] holds the last *n* calls. [`TimeSpan`] holds the calls of a span of time. Both take what they are told and
//! read no clock.

mod last_calls;
mod time_span;

pub use last_calls::LastCalls;
pub use time_span::{BUCKETS, Bucket, TimeSpan};

use std::ops::{AddAssign, SubAssign};

/// What one call says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vote {
    /// The call failed.
    pub failed: bool,
    /// The call took too long, whether or not it failed.
    pub slow: bool,
}

/// What the calls in a window say together.
///
/// ```
/// use mainstay_core::window::{Counts, Vote};
///
/// let mut counts = Counts::default();
/// assert_eq!(counts.failure_rate(), None);
///
/// counts += Vote { failed: true, slow: false }.into();
/// counts += Vote { failed: false, slow: true }.into();
/// assert_eq!(counts, Counts { calls: 2, failed: 1, slow: 1 });
/// assert_eq!(counts.failure_rate(), Some(0.5));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// All calls that voted.
    pub calls: u64,
    /// Those that failed.
    pub failed: u64,
    /// Those that were slow.
    pub slow: u64,
}

impl Counts {
    /// Failed calls in all calls, between 0 and 1; `None` if there were no calls.
    pub fn failure_rate(&self) -> Option<f64> {
        rate(self.failed, self.calls)
    }

    /// Slow calls in all calls, between 0 and 1; `None` if there were no calls.
    pub fn slow_rate(&self) -> Option<f64> {
        rate(self.slow, self.calls)
    }
}

#[expect(clippy::cast_precision_loss, reason = "a window holds far fewer than 2^53 calls")]
fn rate(part: u64, whole: u64) -> Option<f64> {
    // One correctly rounded division: 5 of 100 is exactly the number that is written 0.05.
    (whole > 0).then(|| part as f64 / whole as f64)
}

impl From<Vote> for Counts {
    fn from(vote: Vote) -> Self {
        Self { calls: 1, failed: vote.failed.into(), slow: vote.slow.into() }
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.calls += other.calls;
        self.failed += other.failed;
        self.slow += other.slow;
    }
}

impl SubAssign for Counts {
    fn sub_assign(&mut self, other: Self) {
        self.calls -= other.calls;
        self.failed -= other.failed;
        self.slow -= other.slow;
    }
}
