//! What a limiter decides, call by call.

use mainstay_rate_limit::{Config, CostTooLarge, Decision, Limiter, Quota, ReserveError, Rule};
use std::{
    error::Error,
    time::{Duration, Instant},
};

const SECOND: Duration = Duration::from_secs(1);
const MILLI: Duration = Duration::from_millis(1);
const NANO: Duration = Duration::from_nanos(1);

fn start() -> Instant {
    tokio::time::Instant::now().into_std()
}

fn just_before(at: Instant) -> Instant {
    at.checked_sub(NANO).unwrap()
}

fn limiter(config: impl Into<Config>, now: Instant) -> Limiter {
    Limiter::new_at(config, now).unwrap()
}

fn per_second(limit: u64) -> Quota {
    Quota::per_second(limit).unwrap()
}

/// One rule of each algorithm.
fn rules(quota: Quota) -> [Rule; 4] {
    [Rule::token_bucket(quota), Rule::sliding_log(quota), Rule::sliding_counter(quota), Rule::fixed_window(quota)]
}

fn numbers(decision: Decision) -> (bool, u64, u64, Duration, Duration) {
    (decision.allowed, decision.limit, decision.remaining, decision.retry_after, decision.reset_after)
}

#[test]
fn bucket_gives_one_unit_back_at_a_time() {
    let now = start();
    let limiter = limiter(per_second(10).burst(2).unwrap(), now);

    assert_eq!(numbers(limiter.check_at(now)), (true, 2, 1, Duration::ZERO, 100 * MILLI));
    assert_eq!(numbers(limiter.check_at(now)), (true, 2, 0, Duration::ZERO, 200 * MILLI));
    assert_eq!(numbers(limiter.check_at(now + 30 * MILLI)), (false, 2, 0, 70 * MILLI, 170 * MILLI));
    assert!(!limiter.check_at(just_before(now + 100 * MILLI)).allowed);
    assert_eq!(numbers(limiter.check_at(now + 100 * MILLI)), (true, 2, 0, Duration::ZERO, 200 * MILLI));
}

#[test]
fn log_counts_each_unit_until_just_before_its_period_ends() {
    let now = start();
    let limiter = limiter(Rule::sliding_log(per_second(2)), now);

    assert_eq!(numbers(limiter.check_at(now)), (true, 2, 1, Duration::ZERO, SECOND));
    assert!(limiter.check_at(now + 400 * MILLI).allowed);
    assert_eq!(numbers(limiter.check_at(now + 500 * MILLI)), (false, 2, 0, 500 * MILLI, 900 * MILLI));
    assert!(!limiter.check_at(just_before(now + SECOND)).allowed);
    assert!(limiter.check_at(now + SECOND).allowed);
    assert!(!limiter.check_at(now + SECOND).allowed);
}

#[test]
fn counter_weighs_the_older_window() {
    let now = start();
    let limiter = limiter(Rule::sliding_counter(per_second(100)), now);

    assert!(limiter.check_cost_at(42, now).unwrap().allowed);
    // 42 · 0.75 + 18 = 49.5: 50 more fit in, 51 do not.
    let later = now + 1_250 * MILLI;
    assert!(limiter.check_cost_at(18, later).unwrap().allowed);
    assert_eq!(limiter.peek_at(later).remaining, 50);
    let refused = limiter.check_cost_at(51, later).unwrap();
    assert!(!refused.allowed);
    assert!(!limiter.check_cost_at(51, just_before(later + refused.retry_after)).unwrap().allowed);
    assert!(limiter.check_cost_at(51, later + refused.retry_after).unwrap().allowed);
}

#[test]
fn counter_forgets_a_window_that_was_skipped() {
    let now = start();
    let limiter = limiter(Rule::sliding_counter(per_second(10)), now);
    assert!(limiter.check_cost_at(4, now).unwrap().allowed);
    assert!(limiter.check_cost_at(6, now + SECOND).unwrap().allowed);
    assert_eq!(limiter.peek_at(now + 2 * SECOND).remaining, 4, "the older window counts in full at first");
    assert_eq!(limiter.peek_at(now + 3 * SECOND).remaining, 10);
}

#[test]
fn fixed_window_starts_anew_with_each_period() {
    let now = start();
    let limiter = limiter(Rule::fixed_window(per_second(2)), now);
    let end = just_before(now + SECOND);
    assert!(limiter.check_cost_at(2, end).unwrap().allowed);
    assert_eq!(numbers(limiter.check_at(end)), (false, 2, 0, NANO, NANO));
    assert!(limiter.check_cost_at(2, now + SECOND).unwrap().allowed);
    assert!(!limiter.check_at(now + SECOND).allowed);
}

#[test]
fn several_rules_take_from_all_or_from_none() {
    let now = start();
    let hourly = Rule::fixed_window(Quota::per_hour(3).unwrap());
    let limiter = limiter([Rule::token_bucket(per_second(2)), hourly], now);

    assert_eq!(limiter.check_cost_at(2, now).unwrap().rule, 0, "nothing is left of the first");
    // The bucket says no, so the hour loses nothing.
    let refused = limiter.check_at(now);
    assert_eq!((refused.allowed, refused.rule, refused.retry_after), (false, 0, 500 * MILLI));
    let last = limiter.check_at(now + SECOND);
    assert_eq!((last.allowed, last.rule, last.remaining), (true, 1, 0));
    // The hour says no, so the bucket loses nothing.
    for _ in 0..10 {
        let refused = limiter.check_at(now + 2 * SECOND);
        assert_eq!((refused.allowed, refused.rule), (false, 1));
        assert_eq!(refused.retry_after, Duration::from_secs(3_598));
    }
    assert!(limiter.check_cost_at(2, now + Duration::from_hours(1)).unwrap().allowed);
}

#[test]
fn cost_above_the_capacity_is_an_error_of_its_own_and_takes_nothing() {
    let now = start();
    for rule in rules(per_second(5)) {
        let limiter = limiter(rule, now);
        for cost in [6, 5_000_000_000, u64::MAX - 1, u64::MAX] {
            let error = limiter.check_cost_at(cost, now).unwrap_err();
            assert_eq!((error.cost, error.limit), (cost, 5));
            let never = error;
            let error = limiter.reserve_at(cost, Duration::MAX, now).unwrap_err();
            assert_eq!(error.source().and_then(|source| source.downcast_ref()), Some(&never));
            assert!(matches!(error, ReserveError::CostTooLarge(CostTooLarge { limit: 5, .. })));
        }
        assert!(limiter.check_cost_at(5, now).unwrap().allowed, "{rule:?}");
    }
}

#[test]
fn cost_of_nothing_is_always_allowed_and_takes_nothing() {
    let now = start();
    for rule in rules(per_second(1)) {
        let limiter = limiter(rule, now);
        assert!(limiter.check_at(now).allowed);
        let free = limiter.check_cost_at(0, now).unwrap();
        assert_eq!((free.allowed, free.remaining), (true, 0), "{rule:?}");
        assert!(limiter.check_at(now + SECOND + SECOND).allowed);
    }
}

#[test]
fn peek_takes_nothing() {
    let now = start();
    for rule in rules(per_second(2)) {
        let limiter = limiter(rule, now);
        for _ in 0..10 {
            let peeked = limiter.peek_at(now);
            assert_eq!((peeked.allowed, peeked.remaining), (true, 2), "{rule:?}");
        }
        assert!(limiter.check_cost_at(2, now).unwrap().allowed);
        assert!(!limiter.peek_at(now).allowed);
        assert_eq!(limiter.snapshot_at(now).refused, 0, "a peek is no refusal");
    }
}

#[test]
fn retry_after_is_exact() {
    let now = start();
    for rule in rules(Quota::new(7, Duration::from_nanos(999_999_937)).unwrap()) {
        for cost in 1..=7 {
            let limiter = limiter(rule, now);
            let mut at = now + 123 * MILLI;
            assert!(limiter.check_cost_at(5, at).unwrap().allowed);
            at += 350 * MILLI;
            assert!(limiter.check_cost_at(2, at).unwrap().allowed);
            let refused = limiter.check_cost_at(cost, at).unwrap();
            if refused.allowed {
                continue;
            }
            let early = limiter.check_cost_at(cost, just_before(at + refused.retry_after)).unwrap();
            assert_eq!((early.allowed, early.retry_after), (false, NANO), "{rule:?} {cost}");
            assert!(limiter.check_cost_at(cost, at + refused.retry_after).unwrap().allowed, "{rule:?} {cost}");
        }
    }
}

#[test]
fn reset_after_is_when_all_is_back() {
    let now = start();
    for rule in rules(per_second(4)) {
        let limiter = limiter(rule, now);
        let at = now + 300 * MILLI;
        let decision = limiter.check_cost_at(3, at).unwrap();
        assert!(limiter.peek_at(just_before(at + decision.reset_after)).remaining < 4, "{rule:?}");
        assert_eq!(limiter.peek_at(at + decision.reset_after).remaining, 4, "{rule:?}");
    }
}

#[test]
fn shadow_admits_what_it_would_refuse_and_counts_it() {
    let now = start();
    for rule in rules(per_second(2)) {
        let limiter = limiter(Config::new(rule).shadow(true), now);
        let real: Vec<_> = (0..5).map(|_| limiter.check_at(now)).collect();
        assert!(real.iter().all(|decision| decision.allowed));
        assert_eq!(real.iter().filter(|decision| decision.shadow).count(), 3, "{rule:?}");
        assert_eq!(limiter.snapshot_at(now).refused, 3);
        assert!(limiter.peek_at(now).shadow, "{rule:?}");
        // What was refused took nothing.
        assert!(!limiter.check_cost_at(2, now + 2 * SECOND).unwrap().shadow);
        // Nobody waits in shadow mode.
        let reserved = limiter.reserve_at(1, Duration::MAX, now + 2 * SECOND).unwrap();
        assert_eq!((reserved.wait(), reserved.decision().shadow), (Duration::ZERO, true));
        limiter.give_back_at(reserved, now + 2 * SECOND);
        assert!(limiter.check_at(now + 2 * SECOND).shadow, "there was nothing to give back");
    }
}

#[test]
fn a_moment_before_the_last_one_admits_no_more() {
    let now = start();
    let later = now + Duration::from_secs(100);
    for rule in rules(per_second(2)) {
        let limiter = limiter(rule, now);
        assert!(limiter.check_cost_at(2, later).unwrap().allowed);
        assert!(!limiter.check_at(now).allowed, "{rule:?}");
        assert!(!limiter.check_at(now + 50 * SECOND).allowed, "{rule:?}");
        assert!(limiter.check_cost_at(2, later + 2 * SECOND).unwrap().allowed, "{rule:?}");
    }
}

#[test]
fn shadow_allows_a_cost_above_the_limit_and_counts_it() {
    let limiter = Limiter::new(Config::new(per_second(10)).shadow(true)).unwrap();
    assert!(limiter.check_cost(11).is_ok_and(|decision| decision.allowed && decision.shadow));
    let reserved = limiter.reserve_at(11, Duration::ZERO, start()).unwrap();
    assert_eq!((reserved.wait(), limiter.snapshot().refused), (Duration::ZERO, 2));
}

#[test]
fn nothing_remains_when_one_unit_is_refused() {
    let now = start();
    for rule in rules(per_second(10)) {
        let limiter = Limiter::new_at(rule, now).unwrap();
        assert!(limiter.check_cost_at(10, now).unwrap().allowed);
        let _place = limiter.reserve_at(3, 5 * SECOND, now).unwrap();
        let peek = limiter.peek_at(now);
        assert!(!peek.allowed);
        assert_eq!(peek.remaining, 0, "{rule:?}");
    }
}

#[test]
fn peek_of_a_later_moment_moves_nothing() {
    let now = start();
    for rule in rules(per_second(2)) {
        let limiter = Limiter::new_at(rule, now).unwrap();
        assert!(limiter.check_cost_at(2, now).unwrap().allowed);
        let _ = limiter.peek_at(now + 10 * SECOND);
        assert!(!limiter.check_cost_at(2, now + MILLI).unwrap().allowed, "{rule:?}: four units in a millisecond");
    }
}

#[test]
fn what_a_partner_sells_per_minute_is_kept_by_a_log_or_nearly_by_a_small_burst() {
    let now = start();
    let quota = Quota::per_minute(100).unwrap();
    for (rule, most) in
        [(Rule::sliding_log(quota), 100), (quota.burst(5).unwrap().into(), 105), (Rule::token_bucket(quota), 200)]
    {
        let limiter = limiter(rule, now);
        let admitted = (0..6_000_u32).filter(|tick| limiter.check_at(now + *tick * 10 * MILLI).allowed).count();
        assert!((most - 1..=most).contains(&admitted), "{admitted} in the first minute by {rule:?}");
    }
}
