//! Another configuration for a limiter that is in use.

use mainstay_rate_limit::{Algorithm, Config, KeyedLimiter, Limiter, Quota, Rule};
use std::time::{Duration, Instant};

const MILLI: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn start() -> Instant {
    tokio::time::Instant::now().into_std()
}

fn limiter(config: impl Into<Config>, now: Instant) -> Limiter {
    Limiter::new_at(config, now).unwrap()
}

fn per_second(limit: u64) -> Quota {
    Quota::per_second(limit).unwrap()
}

#[test]
fn bucket_keeps_what_is_in_it() {
    let now = start();
    for (burst, left) in [(100, 6), (7, 6), (6, 6), (5, 5), (1, 1)] {
        let limiter = limiter(per_second(10), now);
        assert!(limiter.check_cost_at(4, now).unwrap().allowed);
        limiter.reconfigure_at(per_second(3).burst(burst).unwrap(), now).unwrap();
        let peeked = limiter.peek_at(now);
        assert_eq!((peeked.limit, peeked.remaining), (burst, left), "{burst}");
        assert!(limiter.check_cost_at(left, now).unwrap().allowed);
        // From then on at the new rate.
        assert_eq!(limiter.check_at(now).retry_after, Duration::from_nanos(333_333_334));
    }
}

#[test]
fn bucket_does_not_fill_by_being_changed() {
    let now = start();
    let limiter = limiter(per_second(10), now);
    assert!(limiter.check_cost_at(10, now).unwrap().allowed);
    for limit in (1..100).chain([10]) {
        limiter.reconfigure_at(per_second(limit), now).unwrap();
        assert!(!limiter.check_at(now).allowed, "{limit}");
    }
}

#[test]
fn places_stay_when_the_quota_changes() {
    let now = start();
    let limiter = limiter(per_second(10).burst(1).unwrap(), now);
    let _used = limiter.reserve_at(1, SECOND, now).unwrap();
    let places = [(); 3].map(|()| limiter.reserve_at(1, SECOND, now).unwrap());
    limiter.reconfigure_at(per_second(1), now).unwrap();
    assert_eq!(limiter.snapshot_at(now).waiting, 3);
    assert!(limiter.check_at(now).retry_after > 300 * MILLI, "nobody comes before the last of them");
    for place in places {
        limiter.give_back_at(place, now);
    }
    assert_eq!(limiter.check_at(now).retry_after, SECOND);
}

#[test]
fn reservation_from_before_a_change_gives_nothing_back() {
    let now = start();
    let limiter = limiter(per_second(10), now);
    let old = limiter.reserve_at(10, SECOND, now).unwrap();
    limiter.reconfigure_at(per_second(5), now).unwrap();
    limiter.give_back_at(old, now);
    assert!(!limiter.check_at(now).allowed);
}

#[test]
fn change_of_shadow_mode_alone_forgets_nothing() {
    let now = start();
    let limiter = limiter(per_second(10), now);
    let keys = KeyedLimiter::<str>::new_at(per_second(10), now).unwrap();
    let old = limiter.reserve_at(10, SECOND, now).unwrap();
    let of_key = keys.reserve_at("a", 10, SECOND, now).unwrap();
    for shadow in [true, false] {
        limiter.reconfigure_at(limiter.config().shadow(shadow), now).unwrap();
        keys.reconfigure_at(Config::new(per_second(10)).shadow(shadow), now).unwrap();
    }
    limiter.give_back_at(old, now);
    keys.give_back_at(of_key, now);
    assert_eq!((limiter.peek_at(now).remaining, keys.peek_at("a", now).remaining), (10, 10));
}

#[test]
fn windows_keep_what_counts() {
    let now = start();
    let at = now + 2_100 * MILLI;
    for (old, new) in [
        (Rule::sliding_log(per_second(10)), Rule::sliding_log(per_second(6))),
        (Rule::sliding_counter(per_second(10)), Rule::sliding_counter(per_second(6))),
        (Rule::fixed_window(per_second(10)), Rule::fixed_window(per_second(6))),
        (Rule::sliding_log(per_second(10)), Rule::sliding_log(Quota::new(6, 700 * MILLI).unwrap())),
        (Rule::sliding_counter(per_second(10)), Rule::sliding_counter(Quota::per_minute(6).unwrap())),
        (Rule::fixed_window(per_second(10)), Rule::fixed_window(Quota::new(6, 7 * MILLI).unwrap())),
    ] {
        let limiter = limiter(old, now);
        assert!(limiter.check_cost_at(4, at).unwrap().allowed);
        limiter.reconfigure_at(new, at).unwrap();
        let peeked = limiter.peek_at(at);
        assert_eq!((peeked.limit, peeked.remaining), (6, 2), "{new:?}");
        // More than fits counts all the same.
        limiter.reconfigure_at(like(new, per_second(2)), at).unwrap();
        assert_eq!(limiter.peek_at(at).remaining, 0, "{new:?}");
    }
}

/// Another quota by the same algorithm.
fn like(rule: Rule, quota: Quota) -> Rule {
    match rule.algorithm() {
        Algorithm::SlidingLog => Rule::sliding_log(quota),
        Algorithm::SlidingCounter => Rule::sliding_counter(quota),
        _ => Rule::fixed_window(quota),
    }
}

#[test]
fn rules_come_and_go() {
    let now = start();
    let limiter = limiter(per_second(10), now);
    assert!(limiter.check_cost_at(9, now).unwrap().allowed);
    limiter.reconfigure_at([Rule::token_bucket(per_second(10)), Rule::fixed_window(per_second(3))], now).unwrap();
    let decision = limiter.check_at(now);
    assert_eq!((decision.allowed, decision.rule, decision.remaining), (true, 0, 0));
    assert_eq!(limiter.check_at(now + 100 * MILLI).remaining, 0);
    assert_eq!(limiter.peek_at(now + 900 * MILLI).rule, 1, "the window has one left, the bucket eight");
    limiter.reconfigure_at(per_second(10), now + 900 * MILLI).unwrap();
    assert_eq!(limiter.check_at(now + 900 * MILLI).remaining, 7);
}

#[test]
fn name_stays_and_shadow_may_change() {
    let now = start();
    let limiter = limiter(Config::new(per_second(1)).name("a"), now);
    assert!(limiter.check_at(now).allowed);
    let error = limiter.reconfigure_at(Config::new(per_second(1)).name("b"), now).unwrap_err();
    assert_eq!(error.field(), "name");
    limiter.reconfigure_at(Config::new(per_second(1)).name("a").shadow(true), now).unwrap();
    assert!(limiter.check_at(now).shadow);
    assert!(limiter.config().shadow);
    let error = limiter.reconfigure_at(Config::from([]).name("a"), now).unwrap_err();
    assert_eq!(error.field(), "rules");
}

#[test]
fn fresh_limiter_has_the_present_configuration_and_a_past_of_its_own() {
    let now = start();
    let limiter = limiter(per_second(1), now);
    limiter.reconfigure_at(per_second(2), now).unwrap();
    assert!(limiter.check_at(now).allowed);
    assert_eq!(limiter.fresh_at(now).check_at(now).remaining, 1);
}

#[test]
fn raising_the_quota_brings_those_who_wait_forward() {
    let now = start();
    for keyed in [false, true] {
        let hour = Quota::per_hour(1).unwrap();
        let (limiter, keys) = (Limiter::new_at(hour, now).unwrap(), KeyedLimiter::<str>::new_at(hour, now).unwrap());
        let places: Vec<_> = (0..100).map(|_| limiter.reserve_at(1, Duration::MAX, now).unwrap()).collect();
        let of_key: Vec<_> = (0..100).map(|_| keys.reserve_at("a", 1, Duration::MAX, now).unwrap()).collect();
        let quota = Quota::per_second(1_000).unwrap();
        let (last, allowed) = if keyed {
            keys.reconfigure_at(quota, now).unwrap();
            (keys.wait_at(&of_key[99], now), keys.check_at("a", now + SECOND).allowed)
        } else {
            limiter.reconfigure_at(quota, now).unwrap();
            (limiter.wait_at(&places[99], now), limiter.check_at(now + SECOND).allowed)
        };
        assert!(last <= Duration::from_millis(100), "{last:?}");
        assert!(allowed);
    }
}

#[test]
fn lowering_the_quota_puts_nobody_off() {
    let now = start();
    let limiter = Limiter::new_at(Quota::per_second(10).unwrap().burst(1).unwrap(), now).unwrap();
    let [_used, place, next] = [(); 3].map(|()| limiter.reserve_at(1, Duration::MAX, now).unwrap());
    limiter.reconfigure_at(Quota::per_hour(1).unwrap(), now).unwrap();
    assert_eq!([&place, &next].map(|place| limiter.wait_at(place, now)), [100, 200].map(Duration::from_millis));
}

#[test]
fn windows_keep_what_counts_over_two_changes() {
    let now = start();
    for make in [Rule::sliding_counter, Rule::fixed_window, Rule::sliding_log] {
        let limiter = Limiter::new_at(make(Quota::per_hour(1_000).unwrap()), now).unwrap();
        assert!(limiter.check_cost_at(500, now).unwrap().allowed);
        limiter.reconfigure_at(make(Quota::per_hour(10).unwrap()), now).unwrap();
        limiter.reconfigure_at(make(Quota::per_minute(1_000).unwrap()), now).unwrap();
        assert_eq!(limiter.peek_at(now).remaining, 500, "{:?}", make(per_second(1)).algorithm());
    }
}

#[test]
fn log_keeps_places_that_are_larger_than_a_lower_limit() {
    let now = start();
    let limiter = Limiter::new_at(Rule::sliding_log(per_second(10)), now).unwrap();
    assert!(limiter.check_cost_at(10, now).unwrap().allowed);
    let place = limiter.reserve_at(10, 2 * SECOND, now).unwrap();
    assert_eq!(place.wait(), SECOND);
    limiter.reconfigure_at(Rule::sliding_log(per_second(5)), now + 500 * MILLI).unwrap();
    assert_eq!(limiter.snapshot_at(now + 1_100 * MILLI).waiting, 0);
    limiter.reconfigure_at(Rule::sliding_log(per_second(10)), now + 1_150 * MILLI).unwrap();
    let more = limiter.check_cost_at(5, now + 1_200 * MILLI).unwrap();
    assert!(!more.allowed, "10 at 1 s and 5 at 1.2 s, and no limit was ever above 10");
}

#[test]
fn place_that_is_larger_than_a_lower_limit_does_not_come_sooner() {
    let (now, at) = (start(), 500 * MILLI);
    for make in [Rule::token_bucket, Rule::sliding_counter, Rule::fixed_window, Rule::sliding_log] {
        let limiter = Limiter::new_at(make(per_second(10)), now).unwrap();
        assert!(limiter.check_cost_at(10, now).unwrap().allowed);
        let place = limiter.reserve_at(10, 2 * SECOND, now).unwrap();
        limiter.reconfigure_at(make(per_second(5)), now + at).unwrap();
        let wait = limiter.wait_at(&place, now + at);
        assert_eq!(at + wait, place.wait(), "{:?}", make(per_second(1)).algorithm());
    }
}
