//! The crate `governor`, with its own clock, which reads the counter of the processor, and with that of std, which ours reads.

use crate::DAY;
use governor::{
    Quota, RateLimiter,
    clock::{Clock, DefaultClock, MonotonicClock},
    middleware::NoOpMiddleware,
    state::keyed::{DashMapStateStore, KeyedStateStore},
};
use mainstay_benches::{
    Case,
    attempts::leak,
    rate_limit::{MANY, client, few, of_few},
};
use std::{num::NonZeroU32, time::Duration};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = with_clock("governor", DefaultClock::default());
    cases.extend(with_clock("governor_monotonic", MonotonicClock));
    cases
}

/// A unit for each nanosecond.
fn ample() -> Quota {
    every(Duration::from_nanos(1)).allow_burst(NonZeroU32::new(1_000_000_000).expect("not zero"))
}

/// One unit a day.
fn scarce() -> Quota {
    every(DAY).allow_burst(NonZeroU32::MIN)
}

fn every(period: Duration) -> Quota {
    Quota::with_period(period).expect("not zero")
}

fn with_clock<C: Clock + Clone + Send + Sync + 'static>(name: &'static str, clock: C) -> Vec<Case> {
    let named = |group: &str| format!("{group}/{name}");
    vec![
        checked(named("token_bucket"), clock.clone()),
        refused(named("token_bucket_refused"), clock.clone()),
        keyed(named("keyed_64"), RateLimiter::dashmap_with_clock(ample(), clock.clone())),
        keyed(format!("keyed_64/{name}_hashmap"), RateLimiter::hashmap_with_clock(ample(), clock.clone())),
        keyed_refused(named("keyed_64_refused"), clock.clone()),
        many(named("keyed_million"), clock),
    ]
}

fn checked<C: Clock + Clone + Send + Sync + 'static>(name: String, clock: C) -> Case {
    let limiter = leak(RateLimiter::direct_with_clock(ample(), clock));
    Case::new(name, move || move |_| assert!(limiter.check().is_ok()))
}

/// It is not asked how long to wait, which ours has told by then.
fn refused<C: Clock + Clone + Send + Sync + 'static>(name: String, clock: C) -> Case {
    let limiter = leak(RateLimiter::direct_with_clock(scarce(), clock));
    assert!(limiter.check().is_ok());
    Case::new(name, move || move |_| assert!(limiter.check().is_err()))
}

type Keyed<S, C> = RateLimiter<String, S, C, NoOpMiddleware<<C as Clock>::Instant>>;

fn keyed<S, C>(name: String, limiter: Keyed<S, C>) -> Case
where
    S: KeyedStateStore<String> + Send + Sync + 'static,
    C: Clock + Clone + Send + Sync + 'static,
{
    let (limiter, keys) = (leak(limiter), few());
    Case::new(name, move || {
        let keys = keys.clone();
        move |number| assert!(limiter.check_key(of_few(&keys, number)).is_ok())
    })
}

fn keyed_refused<C: Clock + Clone + Send + Sync + 'static>(name: String, clock: C) -> Case {
    let limiter: &Keyed<DashMapStateStore<String>, C> = leak(RateLimiter::dashmap_with_clock(scarce(), clock));
    let keys = few();
    keys.iter().for_each(|key| assert!(limiter.check_key(key).is_ok()));
    Case::new(name, move || {
        let keys = keys.clone();
        move |number| assert!(limiter.check_key(of_few(&keys, number)).is_err())
    })
}

fn many<C: Clock + Clone + Send + Sync + 'static>(name: String, clock: C) -> Case {
    let limiter = leak(RateLimiter::<u64, _, _, NoOpMiddleware<C::Instant>>::dashmap_with_clock(ample(), clock));
    (0..MANY).for_each(|key| assert!(limiter.check_key(&key).is_ok()));
    Case::new(name, move || move |number| assert!(limiter.check_key(&client(number, MANY)).is_ok()))
}
