//! What a policy answers when it stopped waiting.

use std::{error, fmt, time::Duration};

/// The call was started and nobody waited for its end: its outcome is *unknown*.
///
/// ```
/// use mainstay_core::TimedOut;
/// use std::time::Duration;
///
/// let timed_out = TimedOut::new("payments", Duration::from_millis(250));
/// assert_eq!(timed_out.to_string(), "timed out by `payments` after 250ms");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimedOut {
    by: &'static str,
    after: Duration,
}

impl TimedOut {
    /// The policy called `by` waited for `after` and no longer.
    pub const fn new(by: &'static str, after: Duration) -> Self {
        Self { by, after }
    }

    /// The configured name of the policy that stopped waiting.
    pub const fn by(&self) -> &'static str {
        self.by
    }

    /// How long it waited.
    pub const fn after(&self) -> Duration {
        self.after
    }
}

impl fmt::Display for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "timed out by `{}` after {:?}", self.by, self.after)
    }
}

impl error::Error for TimedOut {}
