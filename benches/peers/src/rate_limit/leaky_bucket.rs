//! The crate `leaky-bucket`. It counts in whole intervals, of a millisecond at least.

use crate::DAY;
use leaky_bucket::RateLimiter;
use mainstay_benches::{Case, attempts::leak};
use std::time::Duration;

pub(super) fn cases() -> Vec<Case> {
    const AMPLE: usize = 1_000_000;
    vec![
        case("token_bucket/leaky_bucket", AMPLE, Duration::from_millis(1), true),
        case("token_bucket_refused/leaky_bucket", 1, DAY, false),
    ]
}

/// It is full from the beginning, and gets as many units in each interval.
fn case(name: &str, units: usize, interval: Duration, expected: bool) -> Case {
    let limiter = RateLimiter::builder().max(1_000 * units).initial(units).refill(units).interval(interval).build();
    let limiter = leak(limiter);
    while !expected && limiter.try_acquire(1) {}
    Case::new(name, move || move |_| assert_eq!(limiter.try_acquire(1), expected)).in_runtime()
}
