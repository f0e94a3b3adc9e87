//! One call from its first attempt to its last.
#![expect(clippy::unchecked_time_subtraction, reason = "of moments that are far enough from the first")]

use mainstay_core::{Attempt, Deadline, Now};
use mainstay_retry::{Backoff, Config, Course, Jitter, Policy};
use proptest::prelude::*;
use static_assertions::assert_impl_all;
use std::time::{Duration, Instant};

assert_impl_all!(Policy: Send, Sync, Unpin, Copy, PartialEq);
assert_impl_all!(Config: Send, Sync, Unpin, Copy, PartialEq, Default);
assert_impl_all!(Course: Send, Sync, Unpin, Clone);

const SECOND: Duration = Duration::from_secs(1);
const NANO: Duration = Duration::from_nanos(1);
const ZERO: Duration = Duration::ZERO;

fn start() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// A clock that must not be read.
struct Unread;

impl Now for Unread {
    fn now(self) -> Instant {
        panic!("the clock was read")
    }
}

fn policy(config: Config) -> Policy {
    Policy::new(config).expect("the test means a valid configuration")
}

/// Waits of 1, 2, 4 and 8 seconds.
fn steady() -> Config {
    Config::default().max_attempts(5).backoff(Backoff::exponential(SECOND).jitter(Jitter::None))
}

fn started(config: Config, now: Instant) -> Course {
    let mut course = Course::new(policy(config), Some(1));
    course.start(now);
    course
}

// ===== attempts =====

#[test]
fn a_call_has_as_many_attempts_as_allowed() {
    for attempts in [1, 2, 3, 10] {
        let mut course = Course::new(policy(Config::default().max_attempts(attempts)), Some(1));
        course.start(Unread);
        for number in 1..attempts {
            assert_eq!((course.attempt().number(), course.is_last()), (number, false));
            assert!(course.next(None, None, Unread).is_some());
        }
        assert_eq!((course.attempt().number(), course.is_last()), (attempts, true));
        for _ in 0..3 {
            assert_eq!(course.next(None, None, Unread), None);
            assert_eq!(course.attempt().number(), attempts);
        }
    }
}

#[test]
fn the_default_is_three_attempts() {
    let mut course = Course::new(policy(Config::default()), None);
    assert_eq!(course.attempt(), Attempt::FIRST);
    assert!(course.next(None, None, Unread).is_some() && course.next(None, None, Unread).is_some());
    assert_eq!(course.next(None, None, Unread), None);
}

#[test]
fn each_wait_is_that_of_the_backoff() {
    let mut course = Course::new(policy(steady()), None);
    let waits: Vec<_> = std::iter::from_fn(|| course.next(None, None, Unread)).collect();
    assert_eq!(waits, [1, 2, 4, 8].map(Duration::from_secs));

    for jitter in [Jitter::Full, Jitter::Equal, Jitter::Decorrelated] {
        let backoff = Backoff::default().jitter(jitter);
        let mut course = Course::new(policy(steady().max_attempts(20).backoff(backoff)), Some(7));
        let waits: Vec<_> = std::iter::from_fn(|| course.next(None, None, Unread)).collect();
        assert_eq!(waits, backoff.delays_seeded(7).take(19).collect::<Vec<_>>());
    }
}

#[test]
fn a_seed_is_that_of_the_call_and_without_one_calls_differ() {
    let config = Config::default().max_attempts(9).seed(1);
    let waits = |seed| {
        let mut course = Course::new(policy(config), seed);
        std::iter::from_fn(|| course.next(None, None, Unread)).collect::<Vec<_>>()
    };
    assert_eq!(waits(Some(5)), waits(Some(5)));
    assert_ne!(waits(Some(5)), waits(Some(6)));
    assert_ne!(waits(None), waits(None));
}

// ===== what the service asks for =====

#[test]
fn without_jitter_the_longer_of_both_waits_counts() {
    let mut course = Course::new(policy(steady()), None);
    assert_eq!(course.next(Some(SECOND / 2), None, Unread), Some(SECOND));
    assert_eq!(course.next(Some(3 * SECOND), None, Unread), Some(3 * SECOND));
    assert_eq!(course.next(Some(ZERO), None, Unread), Some(4 * SECOND), "the backoff goes on by itself");
}

#[test]
fn with_jitter_the_backoff_comes_on_top() {
    for jitter in [Jitter::Full, Jitter::Equal, Jitter::Decorrelated] {
        let backoff = Backoff::exponential(SECOND).jitter(jitter);
        let mut course = Course::new(policy(steady().backoff(backoff)), Some(3));
        let asked = [Some(2 * SECOND), None, Some(ZERO), Some(9 * SECOND)];
        for (asked, wait) in asked.into_iter().zip(backoff.delays_seeded(3)) {
            let expected = asked.unwrap_or_default() + wait;
            assert_eq!(
                course.next(asked, None, Unread),
                Some(expected),
                "{jitter:?}: what was asked is no wait before"
            );
        }
    }
}

#[test]
fn what_is_asked_is_cut() {
    let mut course = Course::new(policy(steady().max_retry_after(30 * SECOND)), None);
    assert_eq!(course.next(Some(Duration::MAX), None, Unread), Some(30 * SECOND));
    let mut course = Course::new(policy(steady()), None);
    assert_eq!(course.next(Some(11 * SECOND), None, Unread), Some(10 * SECOND), "the default");
    let mut course = Course::new(policy(steady().max_retry_after(ZERO)), None);
    assert_eq!(course.next(Some(9 * SECOND), None, Unread), Some(SECOND), "takes no notice");
}

// ===== deadlines =====

#[test]
fn no_attempt_starts_at_the_deadline_or_after_it() {
    let now = start();
    for (deadline, retried) in [(SECOND - NANO, false), (SECOND, false), (SECOND + NANO, true)] {
        let mut course = started(steady().deadline(deadline), now);
        assert_eq!(course.next(None, None, now).is_some(), retried, "{deadline:?}");

        let limit = Deadline::at(now + deadline);
        let mut course = started(steady(), now);
        assert_eq!(course.next(None, Some(limit), now).is_some(), retried, "{deadline:?}");
    }
}

#[test]
fn the_earlier_of_deadline_and_limit_counts() {
    let now = start();
    let at = |wait| Some(Deadline::at(now + wait));
    for (deadline, limit, retried) in [
        (2 * SECOND, at(2 * SECOND), true),
        (2 * SECOND, at(SECOND), false),
        (SECOND, at(2 * SECOND), false),
        (2 * SECOND, at(ZERO), false),
    ] {
        let mut course = started(steady().deadline(deadline), now);
        assert_eq!(course.next(None, limit, now).is_some(), retried, "{deadline:?} {limit:?}");
    }
}

#[test]
fn the_time_of_the_deadline_runs_from_the_start() {
    let now = start();
    let mut course = Course::new(policy(steady().deadline(5 * SECOND)), None);
    assert_eq!(course.deadline(), None);
    course.start(now + 10 * SECOND);
    assert_eq!(course.deadline(), Some(Deadline::at(now + 15 * SECOND)));
    assert_eq!(course.next(None, None, now + 12 * SECOND), Some(SECOND));
    assert_eq!(course.next(None, None, now + 13 * SECOND), None, "two seconds more end at it");
    assert_eq!(course.attempt().number(), 2);
}

#[test]
fn a_deadline_that_has_passed_ends_the_call_also_without_a_wait() {
    let now = start();
    let config = Config::default().deadline(SECOND).backoff(Backoff::constant(ZERO));
    let mut course = started(config, now);
    assert_eq!(course.next(None, None, now + SECOND - NANO), Some(ZERO));
    assert_eq!(course.next(None, None, now + SECOND), None);
    assert_eq!(course.next(None, None, now + 9 * SECOND), None);
}

#[test]
fn what_a_service_asks_for_is_not_waited_for_beyond_the_deadline() {
    let now = start();
    let mut course = started(steady().deadline(10 * SECOND), now);
    assert_eq!(course.next(Some(10 * SECOND), None, now), None);
    assert_eq!(course.next(Some(9 * SECOND), None, now), Some(9 * SECOND));
}

#[test]
fn a_deadline_too_far_to_count_is_none() {
    let now = start();
    let mut course = started(steady().deadline(Duration::MAX), now);
    assert!(std::iter::from_fn(|| course.next(None, None, now)).count() == 4);
}

#[test]
fn a_clock_that_steps_back_is_harmless() {
    let now = start() + 100 * SECOND;
    let mut course = started(steady().deadline(2 * SECOND), now);
    assert_eq!(course.next(None, None, now - 50 * SECOND), Some(SECOND));
    assert_eq!(course.next(None, None, now + SECOND), None);
}

// ===== everything at once =====

proptest! {
    #[test]
    fn a_call_keeps_all_its_limits(
        attempts in 1..12_u32,
        deadline in prop::option::of(1..100_000_u64),
        limit in prop::option::of(0..100_000_u64),
        jitter in prop::sample::select(&[Jitter::None, Jitter::Full, Jitter::Equal, Jitter::Decorrelated]),
        max_retry_after in 0..20_000_u64,
        seed in any::<u64>(),
        steps in prop::collection::vec((0..5_000_u64, prop::option::of(0..30_000_u64)), 1..20),
    ) {
        let ms = Duration::from_millis;
        let first = start();
        let backoff = Backoff::exponential(ms(100)).cap(SECOND * 5).jitter(jitter);
        let mut config = Config::default().max_attempts(attempts).backoff(backoff).max_retry_after(ms(max_retry_after));
        config.deadline = deadline.map(ms);
        let mut course = Course::new(policy(config), Some(seed));
        course.start(first);
        let limit = limit.map(|limit| first + ms(limit));
        let end = deadline.map(|deadline| first + ms(deadline)).into_iter().chain(limit).min();
        let (mut now, mut made) = (first, 1);
        for (took, asked) in steps {
            now += ms(took);
            let asked = asked.map(ms);
            let Some(wait) = course.next(asked, limit.map(Deadline::at), now) else {
                prop_assert!(made == attempts || end.is_some(), "there was no reason to stop");
                prop_assert_eq!(course.attempt().number(), made);
                break;
            };
            made += 1;
            let least = asked.unwrap_or_default().min(config.max_retry_after);
            prop_assert!(wait >= least && wait <= least + backoff.cap);
            prop_assert_eq!(course.attempt().number(), made);
            prop_assert!(made <= attempts);
            now += wait;
            prop_assert!(end.is_none_or(|end| now < end));
        }
    }
}

#[test]
fn every_extreme_setting_is_refused_or_works() {
    let times = [ZERO, NANO, SECOND, Duration::from_hours(24), Duration::MAX / 2, Duration::MAX];
    let now = start();
    let mut made = 0;
    for attempts in [0, 1, 2, u32::MAX] {
        for deadline in [None, Some(ZERO), Some(NANO), Some(Duration::MAX)] {
            for max_retry_after in times {
                for first in times {
                    for cap in times {
                        let backoff = Backoff::exponential(first).cap(cap);
                        let mut config = Config::default().max_attempts(attempts).backoff(backoff);
                        config = config.max_retry_after(max_retry_after);
                        config.deadline = deadline;
                        made += u32::from(try_it(config, now));
                    }
                }
            }
        }
    }
    // 3 numbers of attempts, 3 deadlines, 4 longest waits, and of first wait and cap 3 + 2 + 1 pairs.
    assert_eq!(made, 3 * 3 * 4 * 6);
}

fn try_it(config: Config, now: Instant) -> bool {
    let Ok(policy) = Policy::new(config) else { return false };
    for asked in [None, Some(ZERO), Some(Duration::MAX)] {
        for limit in [None, Some(Deadline::at(now)), Some(Deadline::after(now, Duration::MAX))] {
            let mut course = Course::new(policy, None);
            course.start(now);
            for _ in 0..5 {
                let wait = course.next(asked, limit, now);
                assert!(wait.unwrap_or_default() <= config.backoff.cap + config.max_retry_after, "{config:?}");
            }
        }
    }
    true
}

#[test]
fn what_is_wrong_is_named_with_what_is_allowed() {
    let long: &str = &"x".repeat(129);
    for (config, message) in [
        (Config::default().name(""), "`name` is \"\", allowed is 1 to 128 bytes".to_owned()),
        (Config::default().name(mainstay_core::intern(long)), format!("`name` is {long:?}, allowed is 1 to 128 bytes")),
        (Config::default().max_attempts(0), "`max_attempts` is 0, allowed is 1 to 4294967295".to_owned()),
        (Config::default().deadline(ZERO), "`deadline` is 0ns, allowed is above 0".to_owned()),
        (
            Config::default().max_retry_after(Duration::from_secs(86_401)),
            "`max_retry_after` is 86401s, allowed is 0ns to 86400s".to_owned(),
        ),
    ] {
        assert_eq!(Policy::new(config).unwrap_err().to_string(), message);
    }
}

#[test]
fn the_defaults_are_those_of_the_documentation() {
    let config = Config::default();
    assert_eq!((config.name, config.max_attempts, config.deadline), ("retry", 3, None));
    assert_eq!((config.backoff, config.max_retry_after, config.seed), (Backoff::default(), 10 * SECOND, None));
    assert_eq!(*policy(config).config(), config);
}

#[test]
fn a_course_allocates_nothing() {
    let policy = policy(Config::default().max_attempts(10).deadline(SECOND));
    let now = start();
    let info = allocation_counter::measure(|| {
        let mut course = Course::new(policy, None);
        course.start(now);
        while course.next(None, None, now).is_some() {}
    });
    assert_eq!(info.count_total, 0);
    // It is part of each call's future, and moves with it.
    assert!(size_of::<Course>() <= 152, "{}", size_of::<Course>());
}
