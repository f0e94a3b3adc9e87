//! Limiters of the crate `governor`.

use crate::{
    decision::{CostTooLarge, Decision},
    limit::Limit,
};
use governor::{
    InsufficientCapacity, NotUntil, RateLimiter,
    clock::Clock,
    middleware::{RateLimitingMiddleware, StateInformationMiddleware, StateSnapshot},
    state::{DirectStateStore, NotKeyed, StateStore},
};
use std::{
    fmt,
    future::{Ready, ready},
    hash::Hash,
    num::NonZeroU32,
    time::Duration,
};

/// A limiter of the crate `governor` that has one limit for all keys, as a [`Limit`].
///
/// It decides by its own clock and keeps its own promises: no bound on waiting, no order, no reservations. Of a refusal it says
/// when to come back, but not what is left: `remaining` is then zero, and `reset_after` the time that an empty bucket takes.
/// With a cost of zero it is not asked, and `limit` is zero; above `u32::MAX`, which it cannot be asked, `limit` is that.
///
/// ```
/// use governor::RateLimiter;
/// use mainstay_rate_limit::{Governed, Limit};
/// use std::num::NonZeroU32;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let quota = governor::Quota::per_minute(NonZeroU32::new(2).unwrap());
/// let limit = Governed::new(RateLimiter::direct(quota));
/// assert_eq!(limit.decide("anybody", 1).await.unwrap().remaining, 1);
/// assert!(limit.decide("anybody", 1).await.unwrap().allowed);
/// assert!(!limit.decide("anybody", 1).await.unwrap().allowed);
/// assert_eq!(limit.decide("anybody", 3).await.unwrap_err().limit, 2);
/// # }
/// ```
pub struct Governed<S: DirectStateStore, C: Clock> {
    inner: RateLimiter<NotKeyed, S, C, StateInformationMiddleware>,
}

/// A keyed limiter of the crate `governor`, as a [`Limit`]; see [`Governed`]. Its memory is not bounded.
pub struct GovernedKeys<S: StateStore, C: Clock> {
    inner: RateLimiter<S::Key, S, C, StateInformationMiddleware>,
}

impl<S: DirectStateStore, C: Clock> Governed<S, C> {
    /// Wraps the limiter, which keeps its state.
    pub fn new<M: RateLimitingMiddleware<C::Instant>>(limiter: RateLimiter<NotKeyed, S, C, M>) -> Self {
        Self { inner: limiter.with_middleware() }
    }
}

impl<S: StateStore<Key: Clone + Hash + Eq>, C: Clock> GovernedKeys<S, C> {
    /// Wraps the limiter, which keeps its state.
    pub fn new<M: RateLimitingMiddleware<C::Instant>>(limiter: RateLimiter<S::Key, S, C, M>) -> Self {
        Self { inner: limiter.with_middleware() }
    }
}

impl<K: ?Sized, S: DirectStateStore, C: Clock> Limit<K> for Governed<S, C> {
    type Decide = Ready<Result<Decision, CostTooLarge>>;

    fn decide(&self, _: &K, cost: u64) -> Self::Decide {
        ready(decide(cost, self.inner.clock(), |cost| self.inner.check_n(cost)))
    }
}

impl<S: StateStore<Key: Clone + Hash + Eq>, C: Clock> Limit<S::Key> for GovernedKeys<S, C> {
    type Decide = Ready<Result<Decision, CostTooLarge>>;

    fn decide(&self, key: &S::Key, cost: u64) -> Self::Decide {
        ready(decide(cost, self.inner.clock(), |cost| self.inner.check_key_n(key, cost)))
    }
}

type Checked<C> = Result<Result<StateSnapshot, NotUntil<<C as Clock>::Instant>>, InsufficientCapacity>;

fn decide<C: Clock>(
    cost: u64,
    clock: &C,
    check: impl FnOnce(NonZeroU32) -> Checked<C>,
) -> Result<Decision, CostTooLarge> {
    let units = u32::try_from(cost).map_err(|_| CostTooLarge { cost, limit: u32::MAX.into() })?;
    let Some(units) = NonZeroU32::new(units) else {
        return Ok(decision(true, 0, 0, Duration::ZERO, Duration::ZERO));
    };
    match check(units) {
        Err(InsufficientCapacity(limit)) => Err(CostTooLarge { cost, limit: limit.into() }),
        Ok(Ok(snapshot)) => {
            let (quota, remaining) = (snapshot.quota(), snapshot.remaining_burst_capacity());
            let missing = quota.burst_size().get().saturating_sub(remaining);
            let reset = quota.replenish_interval().saturating_mul(missing);
            Ok(decision(true, quota.burst_size().get(), remaining, Duration::ZERO, reset))
        }
        Ok(Err(until)) => {
            let (quota, wait) = (until.quota(), until.wait_time_from(clock.now()));
            let reset = quota.replenish_interval().saturating_mul(quota.burst_size().get());
            Ok(decision(false, quota.burst_size().get(), 0, wait, reset))
        }
    }
}

fn decision(allowed: bool, limit: u32, remaining: u32, retry_after: Duration, reset_after: Duration) -> Decision {
    let (limit, remaining) = (limit.into(), remaining.into());
    Decision { allowed, shadow: false, rule: 0, limit, remaining, retry_after, reset_after }
}

impl<S: DirectStateStore, C: Clock> fmt::Debug for Governed<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Governed").finish_non_exhaustive()
    }
}

impl<S: StateStore, C: Clock> fmt::Debug for GovernedKeys<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GovernedKeys").finish_non_exhaustive()
    }
}
