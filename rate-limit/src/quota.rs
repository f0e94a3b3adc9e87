//! How much is allowed in which time.

use mainstay_core::InvalidConfig;
use std::time::Duration;

/// How much is allowed in which time: `limit` units in each `period`, and for a token bucket how many at once.
///
/// A quota that cannot work does not come into being, so nothing has to be checked again where one is used.
///
/// # Rounding
///
/// A token bucket gives one unit back each `period / limit`, rounded up to whole nanoseconds. So its rate is never above the
/// quota. It is below it by less than a tenth of a percent up to a million units per second, and by more above.
///
/// # Examples
///
/// ```
/// use mainstay_rate_limit::Quota;
/// use std::time::Duration;
///
/// let quota = Quota::per_second(10)?.burst(50)?;
/// assert_eq!((quota.limit(), quota.period(), quota.capacity()), (10, Duration::from_secs(1), 50));
///
/// let error = Quota::new(0, Duration::from_secs(1)).unwrap_err();
/// assert_eq!(error.to_string(), "`limit` is 0, allowed is 1 to 1000000000 in this period");
/// # Ok::<(), mainstay_core::InvalidConfig>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use]
pub struct Quota {
    limit: u64,
    /// In nanoseconds.
    period: u64,
    burst: Option<u64>,
    /// The nanoseconds per unit, rounded up.
    interval: u64,
}

impl Quota {
    /// `limit` units in each `period`.
    ///
    /// # Errors
    ///
    /// If the period is zero or longer than 73 years, if the limit is zero, or if it is more than one unit per nanosecond.
    pub fn new(limit: u64, period: Duration) -> Result<Self, InvalidConfig> {
        if period.is_zero() || period > MAX_PERIOD {
            return Err(InvalidConfig::new("period", period, "above 0, up to 73 years"));
        }
        let period = nanos(period);
        if !(1..=period).contains(&limit) {
            return Err(InvalidConfig::new("limit", limit, format!("1 to {period} in this period")));
        }
        Ok(Self { limit, period, burst: None, interval: period.div_ceil(limit) })
    }

    /// `limit` units in each second.
    ///
    /// # Errors
    ///
    /// As for [`new`](Self::new).
    pub fn per_second(limit: u64) -> Result<Self, InvalidConfig> {
        Self::new(limit, Duration::from_secs(1))
    }

    /// `limit` units in each minute.
    ///
    /// # Errors
    ///
    /// As for [`new`](Self::new).
    pub fn per_minute(limit: u64) -> Result<Self, InvalidConfig> {
        Self::new(limit, Duration::from_mins(1))
    }

    /// `limit` units in each hour.
    ///
    /// # Errors
    ///
    /// As for [`new`](Self::new).
    pub fn per_hour(limit: u64) -> Result<Self, InvalidConfig> {
        Self::new(limit, Duration::from_hours(1))
    }

    /// The same quota with another burst: how many units a full token bucket holds. Without this it holds the limit.
    ///
    /// Only for a token bucket; a window has no burst, and a limiter refuses such a rule.
    ///
    /// # Errors
    ///
    /// If it is zero, or takes longer than 146 years to fill.
    pub fn burst(mut self, burst: u64) -> Result<Self, InvalidConfig> {
        let most = HORIZON / self.interval;
        InvalidConfig::check("burst", burst, 1..=most)?;
        self.burst = Some(burst);
        Ok(self)
    }

    /// The units in each period.
    pub const fn limit(&self) -> u64 {
        self.limit
    }

    /// The time in which the limit holds.
    pub const fn period(&self) -> Duration {
        Duration::from_nanos(self.period)
    }

    /// The most units that can be taken at once: the burst, if there is one, or the limit.
    pub const fn capacity(&self) -> u64 {
        match self.burst {
            Some(burst) => burst,
            None => self.limit,
        }
    }

    /// The burst that was set.
    pub(crate) const fn set_burst(&self) -> Option<u64> {
        self.burst
    }

    pub(crate) const fn period_nanos(&self) -> u64 {
        self.period
    }

    pub(crate) const fn interval(&self) -> u64 {
        self.interval
    }
}

/// Where time ends, in nanoseconds: 146 years after a limiter was made. Twice as much can still be counted.
pub(crate) const HORIZON: u64 = 1 << 62;

/// So a bucket of any limit is full before time ends: rounding up makes filling it at most twice as long.
const MAX_PERIOD: Duration = Duration::from_hours(73 * 365 * 24);

/// The nanoseconds of a time; those past the end of time are the end.
#[inline]
pub(crate) const fn nanos(time: Duration) -> u64 {
    const NANOS: u64 = 1_000_000_000;
    if time.as_secs() >= HORIZON / NANOS { HORIZON } else { time.as_secs() * NANOS + time.subsec_nanos() as u64 }
}
