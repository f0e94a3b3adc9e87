//! The token bucket and that of `governor`, decision by decision.

use governor::{
    RateLimiter,
    clock::{Clock, FakeRelativeClock},
    middleware::NoOpMiddleware,
    nanos::Nanos,
    state::{InMemoryState, NotKeyed},
};
use mainstay_rate_limit::{Limiter, Quota};
use proptest::{collection::vec, prelude::*};
use std::{
    num::NonZeroU32,
    time::{Duration, Instant},
};

type Governor = RateLimiter<NotKeyed, InMemoryState, FakeRelativeClock, NoOpMiddleware<Nanos>>;

/// Periods that the limit divides; `governor` rounds others down, we round them up.
fn both(interval: u64, limit: u32, burst: u32, start: Instant) -> (Limiter, Governor, FakeRelativeClock) {
    let interval = Duration::from_nanos(interval);
    let ours = Quota::new(limit.into(), interval * limit).unwrap().burst(burst.into()).unwrap();
    let theirs = governor::Quota::with_period(interval).unwrap().allow_burst(NonZeroU32::new(burst).unwrap());
    let clock = FakeRelativeClock::default();
    (Limiter::new_at(ours, start).unwrap(), RateLimiter::direct_with_clock(theirs, clock.clone()), clock)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn bucket_decides_as_governor_does(
        interval in 1_u64..2_000_000,
        limit in 1_u32..1_000,
        burst in 1_u32..20,
        calls in vec((0_u64..3_000_000, 1_u32..22), 1..60),
    ) {
        let start = tokio::time::Instant::now().into_std();
        let (ours, theirs, clock) = both(interval, limit, burst, start);
        let mut now = start;
        for (pass, cost) in calls {
            now += Duration::from_nanos(pass);
            clock.advance(Duration::from_nanos(pass));
            let our = ours.check_cost_at(cost.into(), now);
            match theirs.check_n(NonZeroU32::new(cost).unwrap()) {
                Err(_) => prop_assert_eq!(our.unwrap_err().limit, u64::from(burst)),
                Ok(Ok(())) => prop_assert!(our.unwrap().allowed),
                Ok(Err(until)) => {
                    let our = our.unwrap();
                    prop_assert!(!our.allowed);
                    prop_assert_eq!(our.retry_after, until.wait_time_from(clock.now()));
                }
            }
        }
    }
}

#[cfg(feature = "governor")]
mod adapter {
    use super::*;
    use mainstay_rate_limit::{GovernedKeys, Limit};

    #[test]
    fn keyed_limiter_of_governor_is_a_limit() {
        let clock = FakeRelativeClock::default();
        let quota = governor::Quota::per_second(NonZeroU32::new(4).unwrap());
        let theirs = RateLimiter::<u32, _, _, NoOpMiddleware<Nanos>>::new(
            quota,
            governor::state::keyed::HashMapStateStore::<u32>::default(),
            clock.clone(),
        );
        assert!(theirs.check_key(&1).is_ok());
        let limit = GovernedKeys::new(theirs);
        let decide = |key: u32, cost| limit.decide(&key, cost).into_inner();

        assert_eq!(decide(1, 2).unwrap().remaining, 1, "it has kept its state");
        let yes = decide(2, 3).unwrap();
        assert_eq!((yes.allowed, yes.limit, yes.remaining), (true, 4, 1));
        assert_eq!(yes.reset_after, Duration::from_millis(750));
        let no = decide(2, 3).unwrap();
        assert_eq!((no.allowed, no.limit, no.retry_after), (false, 4, Duration::from_millis(500)));
        assert_eq!((no.remaining, no.reset_after), (0, Duration::from_secs(1)), "as if it were empty");
        clock.advance(Duration::from_millis(500));
        assert!(decide(2, 3).unwrap().allowed);
        assert_eq!(decide(2, 5).unwrap_err().limit, 4);
        let never = decide(2, u64::MAX).unwrap_err();
        assert_eq!((never.cost, never.limit), (u64::MAX, u32::MAX.into()));
        let nothing = decide(2, 0).unwrap();
        assert_eq!((nothing.allowed, nothing.limit), (true, 0));
    }
}
