//! What a limiter answers.

use mainstay_core::{Reason, Refused};
use std::{error, fmt, time::Duration};

/// What a limiter answers.
///
/// With several rules it speaks of the one that binds: of a refusal, the rule that will be the last to allow; else the one
/// with the smallest remainder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[must_use]
pub struct Decision {
    /// Whether the units may be used. They have been taken then, unless it was only a peek.
    pub allowed: bool,
    /// Whether it is allowed only because the limiter is in shadow mode. Nothing was taken then.
    pub shadow: bool,
    /// Which of the rules binds, counted from zero in the order of the configuration.
    pub rule: usize,
    /// The most units that the rule lets be taken at once: the burst of a token bucket, the limit of a window.
    pub limit: u64,
    /// How many units could be taken at once after this decision.
    pub remaining: u64,
    /// The exact time after which the same question is answered by yes, if nobody takes anything meanwhile; zero if it is
    /// allowed, but not in shadow mode. [`Duration::MAX`] if it never is, since there are never as many units.
    pub retry_after: Duration,
    /// The time after which everything that was taken has come back, if nobody takes anything meanwhile.
    pub reset_after: Duration,
}

/// More units than can ever be taken at once: waiting does not help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CostTooLarge {
    /// The units that were asked for.
    pub cost: u64,
    /// The most units that can be taken at once.
    pub limit: u64,
}

/// Why there is no reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReserveError {
    /// It would come later than the caller would wait; the decision says how much later.
    TooLate(Decision),
    /// It would never come.
    CostTooLarge(CostTooLarge),
}

impl Decision {
    /// One by a limiter that is kept elsewhere, with one rule: whether it is allowed, how many units can be taken at once at
    /// most, and how many of them are left.
    ///
    /// ```
    /// use mainstay_rate_limit::Decision;
    /// use std::time::Duration;
    ///
    /// let second = Duration::from_secs(1);
    /// let decision = Decision::new(false, 100, 0).retry_after(second).reset_after(60 * second);
    /// assert_eq!(decision.refused("store").and_then(|refused| refused.retry_after()), Some(second));
    /// ```
    pub const fn new(allowed: bool, limit: u64, remaining: u64) -> Self {
        let (retry_after, reset_after) = (Duration::ZERO, Duration::ZERO);
        Self { allowed, shadow: false, rule: 0, limit, remaining, retry_after, reset_after }
    }

    /// Sets [`retry_after`](Self#structfield.retry_after).
    pub const fn retry_after(mut self, time: Duration) -> Self {
        self.retry_after = time;
        self
    }

    /// Sets [`reset_after`](Self#structfield.reset_after).
    pub const fn reset_after(mut self, time: Duration) -> Self {
        self.reset_after = time;
        self
    }

    /// An error if it refused more than there ever is.
    #[inline]
    pub(crate) fn unless_never(self, cost: u64) -> Result<Self, CostTooLarge> {
        let is_never = !self.allowed && self.retry_after == NEVER;
        if is_never { Err(CostTooLarge { cost, limit: self.limit }) } else { Ok(self) }
    }

    /// The decision as the refusal of the limiter called `by`, if it is one. If it never is allowed, the refusal has no time to
    /// come back.
    pub fn refused(&self, by: &'static str) -> Option<Refused> {
        (!self.allowed).then(|| refused(by, self.retry_after))
    }
}

/// The time after which more than there ever is can be had.
pub(crate) const NEVER: Duration = Duration::MAX;

/// A refusal of the limiter called `by`. Where waiting does not help, it has no time to come back.
#[inline]
pub(crate) const fn refused(by: &'static str, retry_after: Duration) -> Refused {
    let refused = Refused::new(Reason::RateLimited, by);
    match retry_after {
        NEVER => refused,
        time => refused.with_retry_after(time),
    }
}

impl CostTooLarge {
    /// So many units were asked for, of a limiter that is kept elsewhere, and so many can be taken at once at most.
    pub const fn new(cost: u64, limit: u64) -> Self {
        Self { cost, limit }
    }

    /// This as a refusal of the limiter called `by`. It has no time to come back.
    pub const fn refused(&self, by: &'static str) -> Refused {
        refused(by, NEVER)
    }
}

impl ReserveError {
    /// This as a refusal of the limiter called `by`. If it would never come, the refusal has no time to come back.
    pub const fn refused(&self, by: &'static str) -> Refused {
        match self {
            Self::TooLate(decision) => refused(by, decision.retry_after),
            Self::CostTooLarge(error) => error.refused(by),
        }
    }
}

impl From<CostTooLarge> for ReserveError {
    fn from(error: CostTooLarge) -> Self {
        Self::CostTooLarge(error)
    }
}

impl fmt::Display for CostTooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a cost of {} is above the {} that can be taken at once", self.cost, self.limit)
    }
}

impl error::Error for CostTooLarge {}

impl fmt::Display for ReserveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLate(decision) => write!(f, "the rate limit is reached for {:?}", decision.retry_after),
            Self::CostTooLarge(_) => f.write_str("it can never be reserved"),
        }
    }
}

impl error::Error for ReserveError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::TooLate(_) => None,
            Self::CostTooLarge(error) => Some(error),
        }
    }
}
