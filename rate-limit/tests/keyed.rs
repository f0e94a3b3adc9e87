//! Limits per key, and what those who make up keys can do.

use mainstay_rate_limit::{Config, KeyedConfig, KeyedLimiter, Quota, Rule};
use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

const SECOND: Duration = Duration::from_secs(1);
const MILLI: Duration = Duration::from_millis(1);

fn start() -> Instant {
    tokio::time::Instant::now().into_std()
}

fn limiter<K: std::hash::Hash + ?Sized>(config: impl Into<KeyedConfig>, now: Instant) -> KeyedLimiter<K> {
    KeyedLimiter::new_at(config, now).unwrap()
}

fn per_second(limit: u64) -> Quota {
    Quota::per_second(limit).unwrap()
}

fn rules(quota: Quota) -> [Rule; 4] {
    [Rule::token_bucket(quota), Rule::sliding_log(quota), Rule::sliding_counter(quota), Rule::fixed_window(quota)]
}

#[test]
fn each_key_has_its_own_limit() {
    let now = start();
    for rule in rules(per_second(2)) {
        let limiter = limiter::<str>(rule, now);
        for key in ["a", "b", "", &"long".repeat(100_000)] {
            assert!(limiter.check_cost_at(key, 2, now).unwrap().allowed);
            assert!(!limiter.check_at(key, now).allowed, "{rule:?}");
        }
        assert_eq!(limiter.snapshot().keys, 4);
        assert_eq!(limiter.snapshot().refused, 4);
    }
}

#[test]
fn peek_does_not_make_a_key() {
    let now = start();
    let limiter = limiter::<u32>(per_second(2), now);
    assert_eq!(limiter.peek_at(&1, now).remaining, 2);
    assert_eq!(limiter.snapshot().keys, 0);
    assert!(limiter.check_at(&1, now).allowed);
    assert_eq!(limiter.peek_at(&1, now).remaining, 1);
}

#[test]
fn reservations_of_a_key_are_served_in_order_and_given_back() {
    let now = start();
    let limiter = limiter::<u32>(per_second(10).burst(1).unwrap(), now);
    let first = limiter.reserve_at(&1, 1, SECOND, now).unwrap();
    let second = limiter.reserve_at(&1, 1, SECOND, now).unwrap();
    let other = limiter.reserve_at(&2, 1, SECOND, now).unwrap();
    assert_eq!([first.wait(), second.wait(), other.wait()], [Duration::ZERO, 100 * MILLI, Duration::ZERO]);
    assert!(limiter.reserve_at(&1, 1, 100 * MILLI, now).is_err());
    limiter.give_back_at(second, now);
    assert_eq!(limiter.reserve_at(&1, 1, 100 * MILLI, now).unwrap().wait(), 100 * MILLI);
    limiter.refund_at(&2, 1, now);
    assert!(limiter.check_at(&2, now).allowed);
}

#[test]
fn quota_of_a_key_is_carried_over_when_it_changes() {
    use std::sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    };
    let now = start();
    for rule in rules(per_second(10)) {
        let limit = Arc::new(AtomicU64::new(10));
        let of = Arc::clone(&limit);
        let quota_of = move |key: &u32| per_second(if *key == 0 { of.load(Ordering::Relaxed) } else { 3 });
        let limiter = KeyedLimiter::with_quotas_at(rule, quota_of, now).unwrap();

        assert_eq!(limiter.check_cost_at(&0, 4, now).unwrap().remaining, 6, "{rule:?}");
        assert_eq!(limiter.check_at(&1, now).remaining, 2, "{rule:?}");
        assert_eq!(limiter.peek_at(&2, now).remaining, 3, "{rule:?}");
        assert_eq!(limiter.check_at(&3, now).limit, 3, "{rule:?}");
        limit.store(5, SeqCst);
        let left = limiter.check_at(&0, now).remaining;
        // A bucket keeps what is in it, as far as it fits in; a window what counts.
        assert_eq!(left, if rule == Rule::token_bucket(per_second(10)) { 4 } else { 0 }, "{rule:?}");
    }
}

#[test]
fn key_with_a_larger_quota_starts_with_all_of_it() {
    let now = start();
    for rule in rules(per_second(1)) {
        let limiter = KeyedLimiter::with_quotas_at(rule, |key: &u32| per_second(u64::from(*key)), now).unwrap();
        assert_eq!(limiter.peek_at(&1_000, now).remaining, 1_000, "{rule:?}");
        assert_eq!(limiter.check_at(&1_000, now).remaining, 999, "{rule:?}");
    }
}

#[test]
fn hostile_keys_neither_reset_a_limit_nor_deny_those_that_are_there() {
    let now = start();
    for rule in rules(Quota::new(5, 10 * SECOND).unwrap()) {
        // One shard, so that the numbers are exact.
        let limiter = limiter::<u64>(KeyedConfig::new(rule).max_keys(100), now);
        let mut left = HashMap::new();
        for honest in 0..50_u64 {
            left.insert(honest, limiter.check_at(&honest, now).remaining);
        }
        for hostile in 1_000..51_000 {
            let _ = limiter.check_at(&hostile, now);
            // One who has used up his limit does not get another one by making up keys.
            let _ = limiter.check_at(&999, now);
        }
        let seen = limiter.snapshot();
        assert_eq!(seen.keys, 100, "{rule:?}");
        assert!(!limiter.check_at(&999, now).allowed);
        for (honest, left) in &left {
            assert_eq!(limiter.check_at(honest, now).remaining, left - 1, "{rule:?}");
        }
        // 50 honest keys, the one that is used up, and 49 more are there. The others had the limit of one key, together.
        assert_eq!(seen.overflowed, 50_000 - 49, "{rule:?}");
        assert_eq!(seen.refused, (50_000 - 49 - 5) + (50_000 - 5), "{rule:?}");
    }
}

#[test]
fn keys_come_back_when_there_is_room_again() {
    let now = start();
    for rule in rules(per_second(1)) {
        let limiter = limiter::<u64>(KeyedConfig::new(rule).max_keys(10), now);
        for key in 0..20 {
            let _ = limiter.check_at(&key, now);
        }
        assert_eq!(limiter.snapshot().keys, 10);
        assert!(!limiter.check_at(&100, now).allowed, "{rule:?}");
        let later = now + 3 * SECOND;
        for key in 200..210 {
            assert!(limiter.check_at(&key, later).allowed, "{rule:?} {key}");
        }
        assert!(limiter.snapshot().evicted >= 8);
    }
}

#[test]
fn eviction_changes_no_decision() {
    let now = start();
    for rule in rules(per_second(3)) {
        // One has room for all, the other hardly any: as long as nothing overflows they decide alike.
        let wide = limiter::<u64>(KeyedConfig::new(rule).max_keys(10_000), now);
        let narrow = limiter::<u64>(KeyedConfig::new(rule).max_keys(100), now);
        let mut at = now;
        let mut seed = 7_u64;
        for _ in 0..20_000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            at += Duration::from_millis((seed >> 33) % 400);
            let (key, cost) = ((seed >> 40) % 3_000, 1 + (seed >> 20) % 3);
            assert_eq!(wide.check_cost_at(&key, cost, at), narrow.check_cost_at(&key, cost, at), "{rule:?}");
        }
        assert_eq!(narrow.snapshot().overflowed, 0);
        assert!(narrow.snapshot().evicted > 10_000);
    }
}

#[test]
fn live_change_goes_to_all_keys_and_to_those_that_share() {
    let now = start();
    let limiter = limiter::<u64>(KeyedConfig::new(per_second(1)).max_keys(2), now);
    for key in 0..4 {
        let _ = limiter.check_at(&key, now);
    }
    limiter.reconfigure_at(KeyedConfig::new(Rule::token_bucket(per_second(4))).max_keys(2), now).unwrap();
    for key in 0..4_u64 {
        let decision = limiter.check_at(&key, now);
        assert_eq!((decision.allowed, decision.limit, decision.retry_after), (false, 4, 250 * MILLI), "{key}");
    }
    let error = limiter.reconfigure_at(KeyedConfig::new(per_second(4)).max_keys(3), now).unwrap_err();
    assert_eq!(error.field(), "max_keys");
}

#[test]
fn live_change_to_another_algorithm_and_back_starts_fresh() {
    let now = start();
    let (bucket, window) = (Rule::token_bucket(per_second(2)), Rule::fixed_window(per_second(3)));
    let limiter = limiter::<u64>(KeyedConfig::new(bucket), now);
    let change = |rules: Vec<Rule>| limiter.reconfigure_at(KeyedConfig::new(Config::from(rules)), now).unwrap();
    assert_eq!(limiter.check_at(&0, now).remaining, 1);
    // Of the two rules the bucket is the one that was there.
    change(vec![bucket, window]);
    assert_eq!((limiter.check_at(&0, now).remaining, limiter.check_at(&1, now).remaining), (0, 1));
    change(vec![window]);
    assert_eq!([0, 1, 2].map(|key| limiter.check_at(&key, now).remaining), [2, 2, 2]);
    change(vec![bucket]);
    assert_eq!([0, 1, 2, 3].map(|key| limiter.check_at(&key, now).remaining), [1, 1, 1, 1]);
    change(vec![Rule::token_bucket(per_second(4))]);
    assert_eq!([0, 3].map(|key| limiter.check_at(&key, now).remaining), [0, 0]);
    assert_eq!(limiter.check_at(&4, now).remaining, 3);
}

#[test]
fn key_that_has_reserved_decides_as_one_that_has_not() {
    let now = start();
    let limiter = limiter::<u64>(per_second(4), now);
    for at in (0..40).map(|step| now + step * 100 * MILLI) {
        let reserved = limiter.reserve_at(&0, 1, Duration::ZERO, at).ok().map(|reserved| reserved.decision());
        let checked = Some(limiter.check_at(&1, at)).filter(|decision| decision.allowed);
        assert_eq!(reserved, checked);
        limiter.refund_at(&0, 1, at);
        limiter.refund_at(&1, 1, at);
        assert_eq!(limiter.check_cost_at(&0, 2, at), limiter.check_cost_at(&1, 2, at));
        assert_eq!(limiter.peek_at(&0, at), limiter.peek_at(&1, at));
        assert_eq!(limiter.check_cost_at(&0, 5, at), limiter.check_cost_at(&1, 5, at));
    }
}

#[test]
fn peek_answers_as_check_after_the_quota_of_the_key_has_changed() {
    let now = start();
    let limit = Arc::new(AtomicU64::new(1));
    let of = Arc::clone(&limit);
    let limiter = KeyedLimiter::with_quotas_at(
        per_second(1),
        move |_: &u32| {
            // Relaxed: one thread.
            per_second(of.load(Ordering::Relaxed))
        },
        now,
    )
    .unwrap();
    let _ = limiter.check_at(&1, now);
    limit.store(10, Ordering::Relaxed); // Relaxed: one thread.
    let peek = limiter.peek_at(&1, now + SECOND);
    let check = limiter.check_at(&1, now + SECOND);
    assert_eq!((peek.allowed, peek.limit), (check.allowed, check.limit));
}

#[test]
fn peek_answers_as_check_when_there_are_keys_to_evict() {
    let now = start();
    let limiter = KeyedLimiter::<u32>::new_at(KeyedConfig::new(per_second(1)).max_keys(8), now).unwrap();
    (0..8).for_each(|key| assert!(limiter.check_at(&key, now).allowed));
    assert!(limiter.check_at(&99, now + 500 * MILLI).allowed, "one without room");
    let later = now + SECOND;
    let peek = limiter.peek_at(&100, later);
    let check = limiter.check_at(&100, later);
    assert_eq!(peek.allowed, check.allowed);
}

#[test]
fn peek_answers_as_check_when_the_hand_comes_back_to_keys_that_it_has_passed() {
    let now = start();
    for keys in 1..=9 {
        let limiter = KeyedLimiter::<u32>::new_at(KeyedConfig::new(per_second(1)).max_keys(keys), now).unwrap();
        for _ in 0..2 {
            (0..keys).for_each(|key| _ = limiter.check_at(&key, now));
        }
        assert!(limiter.check_at(&99, now + 500 * MILLI).allowed, "one without room");
        let later = now + SECOND;
        let peek = limiter.peek_at(&100, later);
        // The hand looks at eight keys.
        assert_eq!((peek.allowed, limiter.check_at(&100, later).allowed), (keys < 8, keys < 8), "{keys}");
    }
}

#[test]
fn peek_answers_as_check_when_there_is_no_room_and_the_clock_has_gone_back() {
    let now = start();
    let limiter = KeyedLimiter::<u32>::new_at(KeyedConfig::new(per_second(1)).max_keys(1), now).unwrap();
    assert!(limiter.check_at(&1, now).allowed);
    assert!(limiter.check_at(&2, now).allowed, "one without room");
    assert!(limiter.check_at(&1, now + SECOND).allowed);
    let peek = limiter.peek_at(&2, now + 500 * MILLI);
    assert_eq!(limiter.snapshot().overflowed, 1, "a peek is no decision");
    assert_eq!((peek.allowed, limiter.check_at(&2, now + 500 * MILLI).allowed), (true, true));
}

#[test]
fn peek_of_another_key_moves_nothing() {
    let now = start();
    let limiter =
        KeyedLimiter::<str>::new_at(KeyedConfig::new(Rule::sliding_log(per_second(2))).max_keys(100), now).unwrap();
    assert!(limiter.check_cost_at("alice", 2, now).unwrap().allowed);
    let _ = limiter.peek_at("bob", now + 10 * SECOND);
    assert!(!limiter.check_cost_at("alice", 2, now + MILLI).unwrap().allowed, "four units of alice in a millisecond");
}

#[test]
fn live_change_leaves_the_quota_of_a_key_alone() {
    let now = start();
    let paid = per_second(1_000);
    let limiter = KeyedLimiter::with_quotas_at(per_second(1), move |_: &u32| paid, now).unwrap();
    assert_eq!(limiter.check_at(&1, now).remaining, 999);
    limiter.reconfigure_at(per_second(2), now).unwrap();
    assert_eq!(limiter.check_at(&1, now).remaining, 998, "nothing of the key has changed");
}

#[test]
fn live_change_does_not_forget_what_a_key_took_of_its_own_quota() {
    let now = start();
    let paid = Rule::sliding_counter(Quota::per_hour(1_000).unwrap()).quota();
    let default = |limit| Rule::sliding_counter(per_second(limit));
    let limiter = KeyedLimiter::with_quotas_at(default(1), move |_: &u32| paid, now).unwrap();
    assert!(limiter.check_cost_at(&1, 1_000, now).unwrap().allowed);
    limiter.reconfigure_at(default(2), now).unwrap();
    assert!(!limiter.check_cost_at(&1, 900, now + MILLI).unwrap().allowed, "1,900 in an hour");
}

#[test]
fn hostile_keys_do_not_shut_out_a_steady_one_who_is_there() {
    let now = start();
    let rule = Rule::token_bucket(Quota::per_minute(100).unwrap());
    let limiter = KeyedLimiter::<u64>::new_at(KeyedConfig::new(rule).max_keys(1_000), now).unwrap();
    let mut hostile = 1_000_000;
    let mut refused = 0;
    for second in 0..600_u32 {
        let at = now + second * SECOND;
        if second % 2 == 0 {
            refused += u32::from(!limiter.check_at(&7, at).allowed);
        }
        for _ in 0..50 {
            hostile += 1;
            let _ = limiter.check_cost_at(&hostile, 100, at + 500 * MILLI);
        }
        // What has come back to the overflow meanwhile; nobody new gets any of it.
        for _ in 0..4 {
            hostile += 1;
            let _ = limiter.check_at(&hostile, at + 999 * MILLI);
        }
    }
    assert_eq!(
        refused, 0,
        "of 300 requests in ten minutes by a key that was there first, with one each 2 s of 100 per minute"
    );
}

#[test]
fn reservation_of_a_key_without_room_is_counted() {
    let now = start();
    let limiter = limiter::<u32>(KeyedConfig::new(per_second(1)).max_keys(1), now);
    assert!(limiter.check_at(&1, now).allowed);
    let _used = limiter.reserve_at(&2, 1, Duration::ZERO, now).unwrap();
    assert_eq!(limiter.snapshot().overflowed, 1);
}

#[test]
fn clock_of_keys_without_room_does_not_go_back_in_another_shard() {
    let now = start();
    // Two shards, whose clocks are apart.
    let config = KeyedConfig::new(Rule::sliding_log(Quota::per_hour(20).unwrap())).max_keys(2_048);
    let limiter = limiter::<u64>(config, now);
    let mut overflowed = 0;
    for key in 0_u64.. {
        // Takes nothing of those without room.
        let _ = limiter.check_cost_at(&key, 0, now);
        let seen = limiter.snapshot();
        if seen.overflowed == overflowed {
            assert!(limiter.check_cost_at(&key, 20, now).unwrap().allowed);
            // So it is still there in an hour.
            let _used = limiter.reserve_at(&key, 20, Duration::MAX, now).unwrap();
        }
        overflowed = seen.overflowed;
        if seen.keys == 2_048 {
            break;
        }
    }
    let made_up = 1_000_000;
    assert!(limiter.check_at(&made_up, now + 10 * SECOND).allowed);
    for key in made_up + 1..made_up + 20 {
        assert!(limiter.check_at(&key, now + 5 * SECOND).allowed);
    }
    let later = now + Duration::from_hours(1) + 7 * SECOND;
    for cost in 1..=20 {
        assert!(!limiter.check_cost_at(&made_up, cost, later).unwrap().allowed, "{cost}");
    }
    assert_eq!(limiter.snapshot().overflowed, overflowed + 40);
}

#[test]
fn shadow_mode_lets_nobody_wait_for_a_key_and_counts_it() {
    let now = start();
    let limiter = limiter::<u32>(Config::new(per_second(2)).shadow(true), now);
    let _used = limiter.reserve_at(&1, 2, SECOND, now).unwrap();
    for cost in [1, 3] {
        let reserved = limiter.reserve_at(&1, cost, Duration::MAX, now).unwrap();
        assert_eq!((reserved.wait(), reserved.decision().shadow), (Duration::ZERO, true), "{cost}");
        limiter.give_back_at(reserved, now);
    }
    assert_eq!(limiter.snapshot().refused, 2);
    assert!(limiter.peek_at(&1, now).shadow);
    assert!(limiter.check_at(&1, now).shadow, "there was nothing to give back");
}

#[test]
fn reservation_of_a_key_that_would_be_too_late_is_a_refusal() {
    let now = start();
    let limiter = limiter::<u32>(per_second(2), now);
    let _used = limiter.reserve_at(&1, 2, SECOND, now).unwrap();
    assert!(limiter.reserve_at(&1, 1, 499 * MILLI, now).is_err());
    assert!(limiter.reserve_at(&1, 3, SECOND, now).is_err());
    assert_eq!(limiter.snapshot().refused, 2);
}

#[test]
fn name_and_number_of_keys_stay_and_shadow_may_change() {
    let now = start();
    let limit = |name| Config::new(per_second(1)).name(name);
    let limiter = limiter::<u32>(limit("a"), now);
    assert!(limiter.check_at(&1, now).allowed);
    for (refused, field) in [
        (KeyedConfig::new(limit("b").shadow(true)), "name"),
        (KeyedConfig::new(limit("a").shadow(true)).max_keys(7), "max_keys"),
    ] {
        assert_eq!(limiter.reconfigure_at(refused, now).unwrap_err().field(), field);
        assert_eq!(limiter.config(), KeyedConfig::new(limit("a")));
        assert!(!limiter.check_at(&1, now).allowed, "nothing is changed");
    }
    limiter.reconfigure_at(limit("a").shadow(true), now).unwrap();
    assert!(limiter.check_at(&1, now).shadow);
    assert!(limiter.config().limit.shadow);
}

#[test]
fn fresh_limits_have_the_same_quotas_and_a_past_of_their_own() {
    let now = start();
    let limiter = KeyedLimiter::with_quotas_at(per_second(1), |key: &u32| per_second(u64::from(*key)), now).unwrap();
    assert!(limiter.check_at(&5, now).allowed);
    assert_eq!(limiter.fresh_at(now).check_at(&5, now).remaining, 4);
}
