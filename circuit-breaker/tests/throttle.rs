//! The core of the client throttle: what is counted, what is refused, when.
#![allow(clippy::float_cmp, reason = "zero, the limit and the formula are met exactly")]

mod support;

use mainstay_circuit_breaker::{Outcome, Throttle, ThrottleConfig, ThrottlePermit};
use mainstay_core::Reason;
use proptest::prelude::*;
use std::{
    sync::{
        Barrier,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};
use support::{just_under, ms, secs, start};

const OUTCOMES: [Outcome; 4] = [Outcome::Success, Outcome::Failure, Outcome::Ignored, Outcome::Abandoned];

/// Judges from the first request on, the same way each time.
fn config() -> ThrottleConfig {
    ThrottleConfig::default().minimum_calls(1).seed(7)
}

fn throttle(config: ThrottleConfig, now: Instant) -> Throttle {
    Throttle::new_at(config, now).expect("the test means a valid configuration")
}

/// Requests and accepts in the window.
fn counted(throttle: &Throttle, now: Instant) -> (u64, u64) {
    let snapshot = throttle.snapshot_at(now);
    (snapshot.requests, snapshot.accepts)
}

fn take(throttle: &Throttle, now: Instant) -> ThrottlePermit {
    throttle.admit(now).expect("the call is admitted")
}

/// Calls that end at once, of which those that are admitted end like this; how many were refused?
fn calls(throttle: &Throttle, calls: u32, outcome: Outcome, now: Instant) -> u32 {
    (0..calls)
        .filter(|_| match throttle.admit(now) {
            Ok(permit) => {
                throttle.settle(permit, outcome);
                false
            }
            Err(refused) => {
                assert_eq!((refused.reason(), refused.retry_after()), (Reason::Throttled, None));
                true
            }
        })
        .count()
        .try_into()
        .unwrap()
}

// ===== what is counted =====

#[test]
fn each_end_of_a_call_is_counted_as_the_table_says() {
    let now = start();
    for (outcome, expected) in OUTCOMES.into_iter().zip([(1, 1), (1, 0), (0, 0), (0, 0)]) {
        let throttle = throttle(config(), now);
        let permit = take(&throttle, now);
        assert_eq!(counted(&throttle, now), (1, 0), "in flight");
        throttle.settle(permit, outcome);
        assert_eq!(counted(&throttle, now), expected, "{outcome:?}");
    }
}

#[test]
fn a_refused_call_is_a_request() {
    let now = start();
    let throttle = throttle(config().max_rejection(1.0), now);
    let refused = calls(&throttle, 1_000, Outcome::Failure, now);
    assert!(refused > 900, "{refused}");
    let snapshot = throttle.snapshot_at(now);
    assert_eq!((snapshot.requests, snapshot.accepts, snapshot.refused), (1_000, 0, refused.into()));
    assert_eq!(snapshot.rejection_rate, 1_000.0 / 1_001.0);
}

#[test]
fn calls_in_flight_are_noticed_before_any_of_them_has_ended() {
    let now = start();
    let throttle = throttle(config().minimum_calls(50).max_rejection(1.0), now);
    let admitted = (0..1_000).filter_map(|_| throttle.admit(now).ok()).collect::<Vec<_>>();
    assert!((50..70).contains(&admitted.len()), "{}", admitted.len());
}

#[test]
fn callers_who_cancel_two_of_three_calls_throttle_nobody() {
    let now = start();
    let throttle = throttle(config(), now);
    for _ in 0..1_000 {
        // The first answers, and the other two are dropped.
        let [first, second, third] = [(); 3].map(|()| throttle.admit(now));
        let first = first.expect("the service is well");
        throttle.settle(first, Outcome::Success);
        for permit in [second, third].into_iter().flatten() {
            throttle.settle(permit, Outcome::Abandoned);
        }
    }
    assert_eq!(counted(&throttle, now), (1_000 + throttle.snapshot_at(now).refused, 1_000));
    assert!(throttle.snapshot_at(now).refused < 5);
}

// ===== what is refused =====

#[test]
fn a_service_that_accepts_one_of_k_is_sent_everything() {
    let now = start();
    let throttle = throttle(config(), now);
    for _ in 0..5_000 {
        throttle.settle(take(&throttle, now), Outcome::Success);
        throttle.settle(take(&throttle, now), Outcome::Failure);
    }
    assert_eq!(throttle.snapshot_at(now).refused, 0);
}

#[test]
fn fewer_requests_than_the_minimum_say_nothing() {
    let now = start();
    let throttle = throttle(config().minimum_calls(100).max_rejection(1.0), now);
    assert_eq!(calls(&throttle, 99, Outcome::Failure, now), 0);
    assert_eq!(throttle.snapshot_at(now).rejection_rate, 0.0);
    assert_eq!(calls(&throttle, 1, Outcome::Failure, now), 0);
    assert_eq!(throttle.snapshot_at(now).rejection_rate, 100.0 / 101.0);
}

#[test]
fn refuses_as_often_as_it_says() {
    let now = start();
    for max in [0.05, 0.5, 0.9] {
        let throttle = throttle(config().max_rejection(max).minimum_calls(1_000), now);
        calls(&throttle, 1_000, Outcome::Failure, now);
        assert_eq!(throttle.snapshot_at(now).rejection_rate, max);
        let share = f64::from(calls(&throttle, 100_000, Outcome::Failure, now)) / 100_000.0;
        assert!((share - max).abs() < 0.01, "{share} of {max}");
    }
}

#[test]
fn recovers_when_the_service_does() {
    let now = start();
    let throttle = throttle(config(), now);
    calls(&throttle, 10_000, Outcome::Failure, now);
    assert!(calls(&throttle, 1_000, Outcome::Success, now) > 800);
    // Two minutes later the past is forgotten.
    let later = now + secs(120);
    assert_eq!(throttle.snapshot_at(later).rejection_rate, 0.0);
    assert_eq!(calls(&throttle, 1_000, Outcome::Success, later), 0);
}

#[test]
fn a_smaller_k_spares_an_overloaded_service_more() {
    /// What reaches a service that accepts one of ten offered calls.
    fn received(multiplier: f64) -> u32 {
        let now = start();
        let throttle = throttle(config().multiplier(multiplier), now);
        let mut received = 0;
        for call in 0..50_000_u32 {
            if let Ok(permit) = throttle.admit(now) {
                received += 1;
                let outcome = if call % 10 == 0 { Outcome::Success } else { Outcome::Failure };
                throttle.settle(permit, outcome);
            }
        }
        received
    }
    let [few, some, many] = [1.1, 2.0, 5.0].map(received);
    assert!(few < some && some < many, "{few} {some} {many}");
}

#[test]
fn equal_seeds_draw_alike_and_others_do_not() {
    let now = start();
    let draws = |seed| {
        let throttle = throttle(config().seed(seed), now);
        (0..500).map(|_| throttle.admit(now).is_ok()).collect::<Vec<_>>()
    };
    assert_eq!(draws(1), draws(1));
    assert_ne!(draws(1), draws(2));
}

// ===== time =====

#[test]
fn a_request_and_its_accept_leave_the_window_together() {
    let now = start();
    let throttle = throttle(config().window(secs(10)), now);
    let permit = take(&throttle, now);
    let late = now + ms(9_500);
    assert_eq!(counted(&throttle, late), (1, 0));
    throttle.settle(permit, Outcome::Success);
    assert_eq!(counted(&throttle, late), (1, 1));
    assert_eq!(counted(&throttle, now + just_under(secs(10))), (1, 1));
    assert_eq!(counted(&throttle, now + secs(10)), (0, 0));
}

#[test]
fn an_answer_whose_request_has_left_counts_as_a_call_of_the_present() {
    let now = start();
    for (outcome, expected) in OUTCOMES.into_iter().zip([(1, 1), (0, 0), (0, 0), (0, 0)]) {
        let throttle = throttle(config().window(secs(10)), now);
        let permit = take(&throttle, now);
        let late = now + secs(15);
        assert_eq!(counted(&throttle, late), (0, 0));
        throttle.settle(permit, outcome);
        assert_eq!(counted(&throttle, late), expected, "{outcome:?}");
    }
}

#[test]
fn a_healthy_service_slower_than_the_window_is_not_throttled_with_the_default_k() {
    let now = start();
    let throttle = throttle(config().window(ms(10)).minimum_calls(200), now);
    let mut out = std::collections::VecDeque::new();
    for milli in 0..5_000 {
        let now = now + ms(milli);
        for _ in 0..10 {
            out.push_back((milli, take(&throttle, now)));
        }
        while out.front().is_some_and(|&(since, _)| since + 100 <= milli) {
            throttle.settle(out.pop_front().unwrap().1, Outcome::Success);
        }
    }
    assert_eq!(throttle.snapshot_at(now).refused, 0);
}

#[test]
fn a_clock_that_goes_backwards_loses_nothing() {
    let now = start() + secs(600);
    let throttle = throttle(config().minimum_calls(10), now);
    let permit = take(&throttle, now);
    let earlier = take(&throttle, now.checked_sub(secs(300)).unwrap());
    throttle.settle(earlier, Outcome::Success);
    throttle.settle(permit, Outcome::Success);
    assert_eq!(counted(&throttle, now), (2, 2));
}

// ===== settings =====

#[test]
fn settings_out_of_range_are_refused_by_name() {
    let now = start();
    let ok = ThrottleConfig::default;
    for (config, field) in [
        (ok().name(""), "name"),
        (ok().name("n".repeat(129)), "name"),
        (ok().multiplier(0.999), "multiplier"),
        (ok().multiplier(1_000.1), "multiplier"),
        (ok().multiplier(f64::NAN), "multiplier"),
        (ok().multiplier(f64::INFINITY), "multiplier"),
        (ok().window(ms(9)), "window"),
        (ok().window(Duration::ZERO), "window"),
        (ok().window(Duration::MAX), "window"),
        (ok().max_rejection(0.0), "max_rejection"),
        (ok().max_rejection(1.1), "max_rejection"),
        (ok().max_rejection(f64::NAN), "max_rejection"),
        (ok().minimum_calls(0), "minimum_calls"),
    ] {
        assert_eq!(Throttle::new_at(config.clone(), now).unwrap_err().field(), field);
        let throttle = throttle(ok(), now);
        assert_eq!(throttle.reconfigure_at(config, now).unwrap_err().field(), field);
        assert_eq!(throttle.config(), ok(), "nothing is changed");
    }
}

#[test]
fn the_extremes_that_are_allowed_work() {
    let now = start();
    for multiplier in [1.0, 1_000.0] {
        for window in [ms(10), secs(24 * 3_600)] {
            for max in [f64::MIN_POSITIVE, 1.0] {
                for minimum in [1, u32::MAX] {
                    let config = config().multiplier(multiplier).window(window).max_rejection(max);
                    let throttle = throttle(config.minimum_calls(minimum), now);
                    for outcome in OUTCOMES {
                        calls(&throttle, 100, outcome, now);
                    }
                    let far = now + Duration::from_hours(24 * 365 * 100);
                    assert_eq!(counted(&throttle, far), (0, 0));
                    calls(&throttle, 100, Outcome::Failure, far);
                }
            }
        }
    }
}

#[test]
fn a_live_change_keeps_the_counts_unless_the_window_has_another_length() {
    let now = start();
    let throttle = throttle(config(), now);
    calls(&throttle, 5, Outcome::Success, now);
    let permit = take(&throttle, now);
    let before = counted(&throttle, now);

    throttle.reconfigure_at(config().multiplier(3.0).max_rejection(0.5).minimum_calls(9).seed(8), now).unwrap();
    assert_eq!((counted(&throttle, now), throttle.config().multiplier), (before, 3.0));
    throttle.settle(permit, Outcome::Success);
    assert_eq!(counted(&throttle, now), (6, 6));

    let permit = take(&throttle, now);
    throttle.reconfigure_at(config().window(secs(60)), now).unwrap();
    assert_eq!(counted(&throttle, now), (0, 0));
    throttle.settle(take(&throttle, now), Outcome::Failure);
    throttle.settle(permit, Outcome::Abandoned);
    assert_eq!(counted(&throttle, now), (1, 0), "it was not counted in this window");
    assert_eq!(throttle.reconfigure_at(config().name("another"), now).unwrap_err().field(), "name");
}

#[test]
fn a_fresh_throttle_has_the_settings_and_not_the_past() {
    let now = start();
    let throttle = throttle(config(), now);
    calls(&throttle, 100, Outcome::Failure, now);
    let fresh = throttle.fresh_at(now);
    assert_eq!((counted(&fresh, now), fresh.name()), ((0, 0), throttle.name()));
    assert_eq!(fresh.config().multiplier, 2.0);
    assert_ne!(fresh.config().seed, Some(7), "the two must not draw alike");
    let random = self::throttle(ThrottleConfig::default(), now);
    assert_eq!(random.fresh_at(now).config().seed, None);
}

#[test]
fn shadow_mode_admits_and_counts_what_a_real_throttle_would_have_refused() {
    let now = start();
    let (real, shadow) = (throttle(config(), now), throttle(config().shadow(true), now));
    for call in 0..10_000_u32 {
        // A service that is worth more refusals if nobody spares it.
        let outcome = if call % 7 == 0 { Outcome::Success } else { Outcome::Failure };
        if let Ok(permit) = real.admit(now) {
            real.settle(permit, outcome);
        }
        shadow.settle(take(&shadow, now), outcome);
        assert_eq!(real.snapshot_at(now), shadow.snapshot_at(now));
    }
    assert!(shadow.snapshot_at(now).refused > 1_000);
}

#[test]
fn a_permit_of_another_throttle_breaks_nothing() {
    let now = start();
    for outcome in OUTCOMES {
        let (one, other) = (throttle(config(), now), throttle(config(), now));
        other.settle(take(&one, now), outcome);
        let (requests, accepts) = counted(&other, now);
        assert!(accepts <= requests, "{outcome:?}");
        calls(&other, 10, Outcome::Success, now);
        other.settle(take(&one, now + secs(600)), outcome);
        let (requests, accepts) = counted(&other, now);
        assert!(accepts <= requests, "{outcome:?}");
    }
}

#[cfg(feature = "serde")]
#[test]
fn the_settings_are_read_from_a_file() {
    let written = "name = \"search\"\nmultiplier = 1.1\nwindow = \"30s\"\nmax_rejection = \"95%\"\nminimum_calls = 5\n";
    let read: ThrottleConfig = toml::from_str(written).unwrap();
    let expected = ThrottleConfig::default().name("search").multiplier(1.1).window(secs(30));
    assert_eq!(read, expected.max_rejection(0.95).minimum_calls(5));
    let again: ThrottleConfig = toml::from_str(&toml::to_string(&read).unwrap()).unwrap();
    assert_eq!(again, read);
    assert_eq!(toml::from_str::<ThrottleConfig>("").unwrap(), ThrottleConfig::default());
    assert!(toml::from_str::<ThrottleConfig>("multiplikator = 2.0").is_err());
}

// ===== a slow, obvious model =====

#[derive(Clone, Copy, Debug)]
enum Step {
    Wait(u64),
    Admit,
    /// Settles the permit that is so far back, of those that are out.
    Settle(usize, Outcome),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let outcome = prop::sample::select(OUTCOMES.to_vec());
    let step = prop_oneof![
        2 => (0_u64..40).prop_map(Step::Wait),
        1 => (0_u64..400).prop_map(Step::Wait),
        6 => Just(Step::Admit),
        5 => (0_usize..8, outcome).prop_map(|(back, outcome)| Step::Settle(back, outcome)),
    ];
    prop::collection::vec(step, 0..250)
}

/// Every call there ever was: the bucket it counts in, and whether it was accepted.
#[derive(Default)]
struct Model {
    calls: Vec<Option<(u64, bool)>>,
    /// The bucket of the latest moment that the throttle was told.
    seen: u64,
}

impl Model {
    fn in_window(&self, bucket: u64) -> bool {
        self.seen - bucket < 10
    }

    fn settle(&mut self, call: usize, outcome: Outcome) {
        let (bucket, _) = self.calls[call].expect("it is settled once");
        let here = self.in_window(bucket);
        match outcome {
            Outcome::Success if here => self.calls[call] = Some((bucket, true)),
            Outcome::Success => self.calls.push(Some((self.seen, true))),
            Outcome::Ignored | Outcome::Abandoned if here => self.calls[call] = None,
            _ => {}
        }
    }

    fn counted(&self) -> (u64, u64) {
        let calls = || self.calls.iter().flatten().filter(|call| self.in_window(call.0));
        (calls().count() as u64, calls().filter(|call| call.1).count() as u64)
    }
}

proptest! {
    #[test]
    fn equals_a_list_of_all_calls(steps in steps(), tenths in 10_u64..40, max in 1_u64..=10, minimum in 1_u64..20) {
        const WIDTH: u64 = 10;
        let start = start();
        #[expect(clippy::cast_precision_loss, reason = "they are small")]
        let config = ThrottleConfig::default()
            .window(ms(WIDTH * 10))
            .multiplier(tenths as f64 / 10.0)
            .max_rejection(max as f64 / 10.0)
            .minimum_calls(minimum.try_into().unwrap());
        let throttle = throttle(config, start);
        let (mut model, mut out, mut now) = (Model::default(), Vec::new(), 0);
        for step in steps {
            let at = start + ms(now);
            match step {
                Step::Wait(millis) => now += millis,
                Step::Admit => {
                    model.seen = now / WIDTH;
                    let (requests, accepts) = model.counted();
                    // The formula in whole numbers, without a quotient.
                    let may_refuse = requests >= minimum && requests * 10 > tenths * accepts;
                    model.calls.push(Some((model.seen, false)));
                    match throttle.admit(at) {
                        Ok(permit) => out.push((model.calls.len() - 1, permit)),
                        Err(_) => prop_assert!(may_refuse),
                    }
                }
                Step::Settle(back, outcome) if back < out.len() => {
                    let (call, permit) = out.remove(out.len() - 1 - back);
                    throttle.settle(permit, outcome);
                    model.settle(call, outcome);
                }
                Step::Settle(..) => {}
            }
            let at = start + ms(now);
            model.seen = now / WIDTH;
            let (requests, accepts) = model.counted();
            let snapshot = throttle.snapshot_at(at);
            prop_assert_eq!((snapshot.requests, snapshot.accepts), (requests, accepts));
            prop_assert!(accepts <= requests);
            let judged = if requests < minimum { 0 } else { requests * 10 };
            #[expect(clippy::cast_precision_loss, reason = "they are small")]
            let expected = (judged.saturating_sub(tenths * accepts) as f64 / (requests * 10 + 10) as f64)
                .min(max as f64 / 10.0);
            prop_assert!((snapshot.rejection_rate - expected).abs() < 1e-12);
            prop_assert_eq!(snapshot.rejection_rate == 0.0, expected == 0.0);
        }
    }
}

// ===== threads =====

#[test]
fn two_threads_lose_nothing() {
    const CALLS: u64 = 20_000;
    let now = start();
    let throttle = throttle(config(), now);
    let (refused, accepted, begin) = (AtomicU64::new(0), AtomicU64::new(0), Barrier::new(2));
    thread::scope(|scope| {
        for thread in 0..2 {
            let (throttle, begin, refused, accepted) = (&throttle, &begin, &refused, &accepted);
            scope.spawn(move || {
                begin.wait();
                for call in 0..CALLS {
                    match throttle.admit(now + ms(call % 7)) {
                        Err(_) => _ = refused.fetch_add(1, SeqCst),
                        Ok(permit) if (call + thread) % 4 == 0 => {
                            accepted.fetch_add(1, SeqCst);
                            throttle.settle(permit, Outcome::Success);
                        }
                        Ok(permit) => throttle.settle(permit, Outcome::Failure),
                    }
                }
            });
        }
    });
    let snapshot = throttle.snapshot_at(now + ms(7));
    let (refused, accepted) = (refused.into_inner(), accepted.into_inner());
    assert_eq!((snapshot.requests, snapshot.accepts, snapshot.refused), (2 * CALLS, accepted, refused));
    assert!(refused > 0);
}
