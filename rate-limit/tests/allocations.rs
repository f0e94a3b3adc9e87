//! What a decision allocates, and what a million keys may.
//!
//! Run with the features off and on: with `tracing` and no subscriber, with `metrics` and no recorder.

use allocation_counter::measure;
use mainstay_rate_limit::{KeyedConfig, KeyedLimiter, Limiter, Quota, Rule};
use std::time::{Duration, Instant};

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

fn rules(limit: u64) -> [Rule; 4] {
    let quota = Quota::per_second(limit).unwrap();
    [Rule::token_bucket(quota), Rule::sliding_log(quota), Rule::sliding_counter(quota), Rule::fixed_window(quota)]
}

#[test]
fn decision_allocates_nothing_whether_yes_or_no() {
    for rule in rules(10).map(|rule| vec![rule]).into_iter().chain([rules(10).to_vec()]) {
        let mut now = now();
        let limiter = Limiter::new_at(rule.clone(), now).unwrap();
        // The first refusal makes what metrics need, for this thread and limiter.
        for _ in 0..20 {
            let _ = limiter.check_at(now);
        }
        let (mut yes, mut no) = (0, 0);
        let used = measure(|| {
            for _ in 0..1_000 {
                now += Duration::from_millis(30);
                let allowed = limiter.check_at(now).allowed;
                (yes, no) = (yes + u32::from(allowed), no + u32::from(!allowed));
                if let Ok(reserved) = limiter.reserve_at(1, Duration::ZERO, now) {
                    limiter.give_back_at(reserved, now);
                }
            }
        });
        assert_eq!(used.count_total, 0, "{rule:?}");
        assert!(yes > 100 && no > 100, "{yes} and {no}");
    }
}

#[test]
fn known_key_allocates_nothing() {
    for rule in rules(10) {
        let now = now();
        let limiter = KeyedLimiter::<str>::new_at(rule, now).unwrap();
        let long = "k".repeat(1_000);
        for key in ["a", "b", &long] {
            for _ in 0..20 {
                let _ = limiter.check_at(key, now);
            }
        }
        let used = measure(|| {
            for _ in 0..1_000 {
                for key in ["a", "b", &long] {
                    let _ = limiter.check_at(key, now);
                }
            }
        });
        assert_eq!(used.count_total, 0, "{rule:?}");
    }
}

#[test]
fn million_hostile_keys_stay_under_the_ceiling() {
    let [bucket, _, counter, _] = rules(1);
    for (rule, most) in [(bucket, 30), (counter, 160)] {
        let begin = now();
        let mut moment = begin;
        let used = measure(|| {
            let limiter = KeyedLimiter::<u64>::new_at(KeyedConfig::new(rule).max_keys(100_000), begin).unwrap();
            for key in 0..1_000_000_u64 {
                moment += Duration::from_micros(1);
                let _ = limiter.check_at(&key, moment);
            }
            assert!(limiter.snapshot().keys <= 100_000);
            assert!(limiter.snapshot().keys > 95_000, "the shards fill evenly");
        });
        // At the end, and at the worst moment: one shard of 64 is copied when it grows.
        assert!(used.bytes_max <= 100_000 * most, "{rule:?}: {} bytes", used.bytes_max);
    }
}

#[test]
fn log_allocates_nothing_after_a_change() {
    let now = now();
    let limiter = Limiter::new_at(Rule::sliding_log(Quota::per_second(10).unwrap()), now).unwrap();
    limiter.reconfigure_at(Rule::sliding_log(Quota::per_second(1_000).unwrap()), now).unwrap();
    let measured = measure(|| {
        for _ in 0..1_000 {
            let _ = limiter.check_at(now);
        }
    });
    assert_eq!(measured.count_total, 0);
}
