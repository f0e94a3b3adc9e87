//! A quota, and the algorithm that keeps it.

use crate::quota::Quota;
use mainstay_core::InvalidConfig;

/// A quota, and the algorithm that keeps it.
///
/// | algorithm | in any time `W` at most | memory | decision |
/// | --- | --- | --- | --- |
/// | [token bucket](Self::token_bucket) | `rate · W + burst` | 1 word | constant |
/// | [sliding log](Self::sliding_log) | `limit` in any period | 8 to 16 bytes per unit | constant per unit |
/// | [sliding counter](Self::sliding_counter) | `2 · limit - 1` in any period | 5 words | constant |
/// | [fixed window](Self::fixed_window) | `limit` in each window, `2 · limit` in any period | 4 words | constant |
///
/// A [`Quota`] alone is a token bucket.
///
/// ```
/// use mainstay_rate_limit::{Limiter, Quota, Rule};
///
/// // No more than 10 in a second, and no more than 1,000 in an hour: one decision.
/// let limiter = Limiter::new([Rule::token_bucket(Quota::per_second(10)?), Rule::sliding_counter(Quota::per_hour(1_000)?)])?;
/// assert!(limiter.check().allowed);
/// # Ok::<(), mainstay_core::InvalidConfig>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use]
pub struct Rule {
    algorithm: Algorithm,
    quota: Quota,
}

/// How a quota is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Algorithm {
    /// As [`Rule::token_bucket`] says.
    #[default]
    TokenBucket,
    /// As [`Rule::sliding_log`] says.
    SlidingLog,
    /// As [`Rule::sliding_counter`] says.
    SlidingCounter,
    /// As [`Rule::fixed_window`] says.
    FixedWindow,
}

impl Rule {
    /// The longest limit of a sliding log.
    pub const MAX_LOG: u64 = 10_000;

    /// A quota, kept by this algorithm.
    pub const fn new(algorithm: Algorithm, quota: Quota) -> Self {
        Self { algorithm, quota }
    }

    /// A bucket that holds the burst and is filled at the rate, all the time.
    ///
    /// In any time `W` at most `rate · W + burst` units are admitted. With the burst at its default, the limit, that is up
    /// to twice the limit in one period; set a smaller [`burst`](Quota::burst) for less.
    ///
    /// It is kept as GCRA, the generic cell rate algorithm of ATM (ITU-T I.371): one number, the moment at which the bucket
    /// is full again.
    pub const fn token_bucket(quota: Quota) -> Self {
        Self::new(Algorithm::TokenBucket, quota)
    }

    /// The moments of the last units, at most 10,000 of them: exact.
    ///
    /// In any half-open period at most `limit` units are admitted: what was taken at `t` counts until just before
    /// `t + period`.
    pub const fn sliding_log(quota: Quota) -> Self {
        Self::new(Algorithm::SlidingLog, quota)
    }

    /// Two windows, of which the older counts for the part that is still within the period.
    ///
    /// Admits while `previous · (1 - elapsed) + current + cost <= limit`, where `elapsed` is the part of the window that is
    /// over. This takes the units of the older window as spread evenly. If all of them came at its end, up to `limit +
    /// previous · elapsed` are admitted in one period, which is less than `2 · limit`. Windows are counted from the moment
    /// that the limiter was made.
    pub const fn sliding_counter(quota: Quota) -> Self {
        Self::new(Algorithm::SlidingCounter, quota)
    }

    /// A count that starts anew with each period.
    ///
    /// At most `limit` units are admitted in each window, but as many at its end as at the beginning of the next: up to
    /// `2 · limit` in one period. Windows are counted from the moment that the limiter was made.
    pub const fn fixed_window(quota: Quota) -> Self {
        Self::new(Algorithm::FixedWindow, quota)
    }

    /// How the quota is kept.
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// How much is allowed in which time.
    pub const fn quota(&self) -> Quota {
        self.quota
    }

    /// The rule that keeps another quota by the same algorithm, as near to it as the algorithm can.
    pub(crate) const fn with_quota(self, quota: Quota) -> Self {
        Self::new(self.algorithm, quota)
    }

    /// The most units that can be taken at once.
    pub(crate) fn capacity(&self) -> u64 {
        match self.algorithm {
            Algorithm::TokenBucket => self.quota.capacity(),
            Algorithm::SlidingLog => self.quota.limit().min(Self::MAX_LOG),
            Algorithm::SlidingCounter | Algorithm::FixedWindow => self.quota.limit(),
        }
    }

    pub(crate) fn check(&self) -> Result<(), InvalidConfig> {
        if self.algorithm != Algorithm::TokenBucket
            && let Some(burst) = self.quota.set_burst()
        {
            return Err(InvalidConfig::new("burst", burst, "only with a token bucket"));
        }
        if self.algorithm == Algorithm::SlidingLog {
            InvalidConfig::check("limit", self.quota.limit(), 1..=Self::MAX_LOG)?;
        }
        Ok(())
    }
}

impl From<Quota> for Rule {
    fn from(quota: Quota) -> Self {
        Self::token_bucket(quota)
    }
}
