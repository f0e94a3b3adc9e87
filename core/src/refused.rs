//! What a policy answers when it says no before the service is reached.

use std::{error, fmt, time::Duration};

/// This call was *certainly not* handed to the service.
///
/// A refusal says why ([`Reason`]), which policy said so, and, where that is known, when asking again can help. It is
/// small and `Copy`: making one allocates nothing.
///
/// ```
/// use mainstay_core::{Reason, Refused};
/// use std::time::Duration;
///
/// let refused = Refused::new(Reason::CircuitOpen, "payments").with_retry_after(Duration::from_secs(3));
///
/// assert_eq!(refused.reason(), Reason::CircuitOpen);
/// assert_eq!(refused.by(), "payments");
/// assert_eq!(refused.retry_after(), Some(Duration::from_secs(3)));
/// assert_eq!(refused.to_string(), "refused by `payments`: the circuit is open");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    reason: Reason,
    by: &'static str,
    retry_after: Option<Duration>,
}

/// Why a call was refused, named for the fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// The retry budget is spent.
    BudgetExhausted,
    /// As many calls as allowed are in flight, and the queue is full.
    BulkheadFull,
    /// The circuit is open, or half-open with every probe slot taken.
    CircuitOpen,
    /// The deadline of the call passed before it was started.
    DeadlinePassed,
    /// The shared load that this call waited for failed.
    FlightFailed,
    /// No endpoint can take the call.
    NoEndpoint,
    /// The quota is used up.
    RateLimited,
    /// The service has accepted so few of the recent calls that this one is likely to be in vain.
    Throttled,
}

impl Refused {
    /// A refusal by the policy called `by`, with no known time to come back.
    ///
    /// Names that are not literals are made `'static` once, when a policy is configured, by [`intern`](crate::intern).
    pub const fn new(reason: Reason, by: &'static str) -> Self {
        Self { reason, by, retry_after: None }
    }

    /// Adds how long to wait before asking again can help.
    #[must_use]
    pub const fn with_retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// Why the call was refused.
    pub const fn reason(&self) -> Reason {
        self.reason
    }

    /// The configured name of the policy that refused.
    pub const fn by(&self) -> &'static str {
        self.by
    }

    /// How long to wait before asking again can help; `None` if nobody knows.
    pub const fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "refused by `{}`: {}", self.by, self.reason)
    }
}

impl error::Error for Refused {}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BudgetExhausted => "the retry budget is exhausted",
            Self::BulkheadFull => "the bulkhead is full",
            Self::CircuitOpen => "the circuit is open",
            Self::DeadlinePassed => "the deadline has passed",
            Self::FlightFailed => "the shared load failed",
            Self::NoEndpoint => "no endpoint can take the call",
            Self::RateLimited => "the rate limit is reached",
            Self::Throttled => "the service accepts too few calls",
        })
    }
}
