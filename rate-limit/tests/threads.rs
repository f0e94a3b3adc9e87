//! Many threads at one limiter.

use mainstay_rate_limit::{Config, KeyedLimiter, Limiter, Quota, Rule};
use std::{
    sync::atomic::{AtomicU64, Ordering::SeqCst},
    thread,
    time::Duration,
};

fn rules() -> [Vec<Rule>; 5] {
    let quota = Quota::per_hour(1_000).unwrap();
    let all =
        [Rule::token_bucket, Rule::sliding_log, Rule::sliding_counter, Rule::fixed_window].map(|rule| rule(quota));
    let [bucket, log, counter, fixed] = all;
    [vec![bucket], vec![log], vec![counter], vec![fixed], all.to_vec()]
}

#[test]
fn all_together_get_the_limit_and_no_more() {
    for rules in rules() {
        let now = tokio::time::Instant::now().into_std();
        let limiter = Limiter::new_at(rules.clone(), now).unwrap();
        let keyed = KeyedLimiter::<u8>::new_at(Config::from(rules), now).unwrap();
        let (admitted, of_key) = (AtomicU64::new(0), AtomicU64::new(0));
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1_000 {
                        admitted.fetch_add(u64::from(limiter.check_at(now).allowed), SeqCst);
                        of_key.fetch_add(u64::from(keyed.check_at(&7, now).allowed), SeqCst);
                    }
                });
            }
        });
        assert_eq!((admitted.into_inner(), of_key.into_inner()), (1_000, 1_000));
        assert_eq!(limiter.snapshot_at(now).refused, 3_000);
        assert_eq!(keyed.snapshot().refused, 3_000);
    }
}

#[test]
fn what_all_reserve_and_give_back_is_there_again() {
    for rules in rules() {
        let now = tokio::time::Instant::now().into_std();
        let limiter = Limiter::new_at(rules, now).unwrap();
        let wait = Duration::from_hours(20);
        thread::scope(|scope| {
            for thread in 0..4_u64 {
                let limiter = &limiter;
                scope.spawn(move || {
                    for turn in 0..200 {
                        let cost = 1 + (thread + turn) % 7;
                        let one = limiter.reserve_at(cost, wait, now).unwrap();
                        let other = limiter.reserve_at(cost * 100, wait, now).unwrap();
                        limiter.give_back_at(one, now);
                        limiter.give_back_at(other, now);
                    }
                });
            }
        });
        assert_eq!(limiter.snapshot_at(now).waiting, 0);
        // A bucket may keep some of it for a while, since it does not know in which order it was taken.
        let later = now + Duration::from_hours(2);
        assert_eq!(limiter.peek_at(later).remaining, 1_000);
    }
}
