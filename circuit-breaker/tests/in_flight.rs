//! Calls that are slow while they are still in flight.

mod support;

use mainstay_circuit_breaker::{Circuit, Config, Outcome, Permit, SlowRate, State, Window};
use mainstay_core::{
    Error,
    window::{Counts, Vote},
};
use proptest::prelude::*;
use std::{
    future::pending,
    panic::{AssertUnwindSafe, catch_unwind},
    task::Poll,
    time::{Duration, Instant},
};
use support::{Driver, NANO, counts, ms, secs, sequences};
use tokio_test::{assert_pending, task};

const SLOW: Duration = secs(1);

const WINDOWS: [Window; 2] = [Window::Last(100), Window::Within(secs(600))];

/// Half of at least four calls.
fn config(window: Window) -> Config {
    Config::default().window(window).minimum_calls(4).slow(SLOW, 0.5).slow_in_flight(true)
}

fn take(driver: &Driver, calls: usize) -> Vec<Permit> {
    (0..calls).map(|_| driver.take()).collect()
}

// ===== it opens =====

#[test]
fn a_service_that_answers_nothing_opens_the_circuit() {
    for window in WINDOWS {
        let mut driver = Driver::new(config(window));
        let _silent = take(&driver, 4);
        driver.wait(SLOW);
        let fifth = driver.take();
        assert_eq!((driver.state(), driver.snapshot().overdue), (State::Closed, 0), "a second is not longer than one");
        driver.wait(NANO);
        assert_eq!(driver.snapshot().overdue, 4, "seen, and not recorded");
        assert_eq!(driver.state(), State::Closed, "a snapshot opens nothing");

        let refused = driver.admit().unwrap_err();
        assert_eq!(refused.retry_after(), Some(secs(30)), "the call that finds it out is itself refused");
        let seen = driver.snapshot();
        assert_eq!((seen.state, seen.votes, seen.refused), (State::Open, counts(4, 0, 4), 1), "{window:?}");
        assert_eq!((seen.in_flight, seen.overdue), (0, 0), "they belong to the generation before");
        driver.settle(fifth, Outcome::Failure);
        assert_eq!(driver.snapshot(), seen);
    }
}

#[test]
fn a_settlement_finds_them_as_well() {
    for outcome in [Outcome::Success, Outcome::Failure, Outcome::Ignored, Outcome::Abandoned] {
        let mut driver = Driver::new(config(Window::Last(100)));
        let _silent = take(&driver, 4);
        driver.wait(ms(500));
        let other = driver.take();
        driver.wait(ms(501));
        driver.settle(other, outcome);
        let seen = driver.snapshot();
        assert_eq!((seen.state, seen.votes), (State::Open, counts(4, 0, 4)), "after {outcome:?}");
    }
}

#[test]
fn too_few_or_too_rare_do_not_open() {
    for window in WINDOWS {
        let mut driver = Driver::new(config(window));
        let _silent = take(&driver, 3);
        driver.wait(secs(2));
        driver.call(Outcome::Success);
        assert_eq!((driver.state(), driver.snapshot().votes), (State::Closed, counts(4, 0, 3)), "{window:?}");

        let mut driver = Driver::new(config(window));
        driver.calls(5, Outcome::Success);
        let _silent = take(&driver, 4);
        driver.wait(secs(2));
        driver.call(Outcome::Success);
        assert_eq!((driver.state(), driver.snapshot().votes), (State::Closed, counts(10, 0, 4)), "{window:?}");
    }
}

#[test]
fn they_count_as_failed_where_slow_calls_do() {
    for window in WINDOWS {
        let mut driver = Driver::new(config(window).slow_is_failure(SLOW));
        driver.call(Outcome::Success);
        driver.call(Outcome::Failure);
        let _silent = take(&driver, 2);
        driver.wait(secs(2));
        assert!(driver.admit().is_err());
        assert_eq!(driver.snapshot().votes, counts(4, 3, 2), "{window:?}");
    }
}

#[test]
fn more_than_fit_in_the_window_are_no_trouble() {
    let mut driver = Driver::new(config(Window::Last(10)));
    let _silent = take(&driver, 50_000);
    driver.wait(secs(2));
    assert!(driver.admit().is_err());
    assert_eq!(driver.snapshot().votes, counts(10, 0, 10));
}

#[test]
fn in_shadow_mode_the_call_that_finds_it_out_passes_and_does_not_vote() {
    let mut driver = Driver::new(config(Window::Last(100)).shadow(true));
    let _silent = take(&driver, 4);
    driver.wait(secs(2));
    driver.call(Outcome::Failure);
    let seen = driver.snapshot();
    assert_eq!((seen.state, seen.votes, seen.refused), (State::Open, counts(4, 0, 4), 1));
}

#[test]
fn without_the_setting_nothing_is_found() {
    let mut driver = Driver::new(config(Window::Last(100)).slow_in_flight(false));
    let _silent = take(&driver, 100);
    driver.wait(secs(60));
    driver.call(Outcome::Success);
    let seen = driver.snapshot();
    assert_eq!((seen.state, seen.votes, seen.in_flight, seen.overdue), (State::Closed, counts(1, 0, 0), 0, 0));
}

// ===== once each =====

#[test]
fn a_call_that_has_voted_does_not_vote_again_when_it_ends() {
    for window in WINDOWS {
        for outcome in [Outcome::Success, Outcome::Failure, Outcome::Ignored, Outcome::Abandoned] {
            let mut driver = Driver::new(config(window));
            driver.calls(10, Outcome::Success);
            let silent = driver.take();
            driver.wait(secs(2));
            let _other = driver.take();
            let seen = driver.snapshot();
            assert_eq!((seen.votes, seen.in_flight, seen.overdue), (counts(11, 0, 1), 2, 1));
            driver.settle(silent, outcome);
            let seen = driver.snapshot();
            assert_eq!((seen.votes, seen.abandoned), (counts(11, 0, 1), 0), "{outcome:?}, {window:?}");
            assert_eq!((seen.in_flight, seen.overdue), (1, 0));
        }
    }
}

#[test]
fn a_call_that_ends_before_it_is_found_votes_as_it_ended() {
    for (outcome, votes) in [
        (Outcome::Success, counts(1, 0, 1)),
        (Outcome::Failure, counts(1, 1, 1)),
        (Outcome::Ignored, counts(0, 0, 0)),
        (Outcome::Abandoned, counts(0, 0, 0)),
    ] {
        let mut driver = Driver::new(config(Window::Last(100)));
        driver.call_of(secs(5), outcome);
        let seen = driver.snapshot();
        assert_eq!((seen.votes, seen.in_flight, seen.overdue), (votes, 0, 0), "{outcome:?}");
        let _other = driver.take();
        assert_eq!(driver.snapshot().votes, votes, "nor is it found after that");
    }
}

#[test]
fn every_way_to_end_leaves_the_bucket() {
    for outcome in [Outcome::Success, Outcome::Failure, Outcome::Ignored, Outcome::Abandoned] {
        let mut driver = Driver::new(config(Window::Last(100)).minimum_calls(1_000));
        let held = take(&driver, 50);
        assert_eq!(driver.snapshot().in_flight, 50);
        for (permit, left) in held.into_iter().zip((0..50).rev()) {
            driver.settle(permit, outcome);
            assert_eq!(driver.snapshot().in_flight, left, "{outcome:?}");
        }
        driver.wait(secs(60));
        let slow = driver.snapshot().votes.slow;
        driver.call(Outcome::Success);
        assert_eq!(driver.snapshot().votes.slow, slow);
    }
}

#[test]
fn a_permit_that_is_dropped_is_a_call_that_never_ends() {
    let mut driver = Driver::new(config(Window::Last(100)));
    driver.calls(10, Outcome::Success);
    drop(driver.take());
    driver.wait(secs(2));
    driver.call(Outcome::Success);
    let seen = driver.snapshot();
    assert_eq!((seen.votes, seen.in_flight, seen.overdue), (counts(12, 0, 1), 1, 1));
    driver.circuit.reset();
    assert_eq!((driver.snapshot().in_flight, driver.snapshot().overdue), (0, 0), "until a transition");
}

// ===== generations, probes, stages =====

#[test]
fn a_permit_from_before_a_transition_touches_no_bucket() {
    for outcome in [Outcome::Success, Outcome::Failure, Outcome::Abandoned] {
        let mut driver = Driver::new(config(Window::Last(100)));
        let mut late = take(&driver, 3);
        driver.circuit.reset();
        let _held = take(&driver, 2);
        driver.settle(late.remove(0), outcome);
        assert_eq!(driver.snapshot().in_flight, 2);
        driver.wait(secs(2));
        driver.settle(late.remove(0), outcome);
        assert_eq!((driver.snapshot().in_flight, driver.snapshot().overdue), (2, 2), "and looks at none");
        assert_eq!(driver.snapshot().votes, counts(0, 0, 0));
    }
}

#[test]
fn probes_have_their_deadline_and_no_bucket() {
    let mut driver = Driver::open(config(Window::Last(100)).probes(2));
    let _silent = driver.first_probe();
    driver.wait(secs(29));
    let other = driver.take();
    assert!(other.is_probe());
    driver.settle(other, Outcome::Success);
    let seen = driver.snapshot();
    assert_eq!((seen.state, seen.votes, seen.in_flight), (State::HalfOpen, counts(1, 0, 0), 0));
}

#[test]
fn silent_calls_of_a_stage_open_it_again() {
    let config = config(Window::Last(100)).probes(2).minimum_calls(2).gradual([1.0 - f64::EPSILON], secs(10));
    let mut driver = Driver::open(config);
    let probe = driver.first_probe();
    driver.settle(probe, Outcome::Success);
    driver.call(Outcome::Success);
    driver.call(Outcome::Success);
    assert_eq!(driver.state(), State::Recovering);
    let _silent = take(&driver, 1);
    assert_eq!(driver.snapshot().in_flight, 1);
    driver.wait(secs(2));
    assert!(driver.admit().is_err());
    let seen = driver.snapshot();
    assert_eq!((seen.state, seen.reopenings), (State::Open, 1));
}

// ===== live changes =====

#[test]
fn switched_on_it_counts_the_calls_from_then_on() {
    let driver = Driver::new(config(Window::Last(100)).slow_in_flight(false));
    let before = take(&driver, 3);
    driver.reconfigure(config(Window::Last(100)));
    let _after = take(&driver, 2);
    assert_eq!(driver.snapshot().in_flight, 2);
    for permit in before {
        driver.settle(permit, Outcome::Success);
    }
    assert_eq!((driver.snapshot().in_flight, driver.snapshot().votes), (2, counts(3, 0, 0)));
}

#[test]
fn switched_off_it_loses_no_vote_and_switched_on_again_counts_none_twice() {
    let mut driver = Driver::new(config(Window::Last(100)).minimum_calls(99));
    let mut voted = take(&driver, 2);
    driver.wait(secs(2));
    let mut held = take(&driver, 3);
    let off = config(Window::Last(100)).minimum_calls(99).slow_in_flight(false);
    driver.reconfigure(off);
    assert_eq!((driver.snapshot().in_flight, driver.snapshot().overdue), (0, 0), "nothing is said without it");
    driver.settle(voted.remove(0), Outcome::Failure);
    driver.settle(held.remove(0), Outcome::Failure);
    assert_eq!(driver.snapshot().votes, counts(3, 1, 2));
    driver.wait(secs(2));
    driver.call(Outcome::Success);
    assert_eq!(driver.snapshot().votes, counts(4, 1, 2), "nobody looks for them");
    driver.reconfigure(config(Window::Last(100)).minimum_calls(99));
    driver.call(Outcome::Success);
    assert_eq!(driver.snapshot().votes, counts(7, 1, 4), "now somebody does");
    for permit in voted.into_iter().chain(held) {
        driver.settle(permit, Outcome::Failure);
    }
    let seen = driver.snapshot();
    assert_eq!((seen.votes, seen.in_flight, seen.overdue), (counts(7, 1, 4), 0, 0));
}

#[test]
fn a_new_threshold_applies_to_the_calls_in_flight() {
    let mut driver = Driver::new(config(Window::Last(100)).minimum_calls(99));
    let mut held = take(&driver, 3);
    driver.wait(secs(2));
    driver.reconfigure(config(Window::Last(100)).minimum_calls(99).slow(secs(10), 0.5));
    driver.settle(held.remove(0), Outcome::Success);
    assert_eq!((driver.snapshot().votes, driver.snapshot().overdue), (counts(1, 0, 0), 0));
    driver.wait(secs(9));
    let _other = driver.take();
    assert_eq!((driver.snapshot().votes, driver.snapshot().overdue), (counts(3, 0, 2), 2));

    // A success that voted as slow, and would not be slow any more, does not vote again either.
    driver.reconfigure(config(Window::Last(100)).minimum_calls(99).slow(secs(60), 0.5));
    driver.settle(held.remove(0), Outcome::Success);
    let seen = driver.snapshot();
    assert_eq!((seen.votes, seen.in_flight, seen.overdue), (counts(3, 0, 2), 2, 1));
}

#[test]
fn a_threshold_that_grows_while_all_buckets_are_taken_loses_no_call() {
    let mut driver = Driver::new(config(Window::Last(100)).minimum_calls(999));
    let mut held = Vec::new();
    for seconds in 1..=60 {
        driver.reconfigure(config(Window::Last(100)).minimum_calls(999).slow(secs(seconds * 60), 0.5));
        held.extend(take(&driver, 1));
        driver.wait(secs(seconds * 7));
    }
    assert_eq!(driver.snapshot().in_flight, 60);
    driver.wait(secs(99_999));
    driver.call(Outcome::Success);
    assert_eq!(driver.snapshot().votes, counts(61, 0, 60));
    for permit in held {
        driver.settle(permit, Outcome::Failure);
    }
    assert_eq!((driver.snapshot().in_flight, driver.snapshot().votes), (0, counts(61, 0, 60)));
}

// ===== extremes =====

#[test]
fn thresholds_at_the_ends_of_their_range_work() {
    for longer_than in [NANO, Duration::from_nanos(19), Duration::MAX] {
        let mut driver = Driver::new(config(Window::Last(1_000)).minimum_calls(999).slow(longer_than, 0.5));
        let mut held = Vec::new();
        for _ in 0..100 {
            held.extend(take(&driver, 2));
            driver.wait(NANO);
            let permit = held.remove(0);
            driver.settle(permit, Outcome::Success);
        }
        assert_eq!(driver.snapshot().in_flight, 100);
        for permit in held {
            driver.settle(permit, Outcome::Success);
        }
        let seen = driver.snapshot();
        assert_eq!((seen.in_flight, seen.overdue, seen.votes.calls), (0, 0, 200), "{longer_than:?}");
    }
}

#[test]
fn a_clock_that_goes_backwards_is_harmless() {
    let mut driver = Driver::new(config(Window::Last(100)).minimum_calls(99));
    driver.wait(secs(100));
    let mut held = take(&driver, 2);
    driver.now -= secs(50);
    held.extend(take(&driver, 2));
    assert_eq!((driver.snapshot().in_flight, driver.snapshot().overdue), (4, 0));
    driver.wait(secs(52));
    driver.call(Outcome::Success);
    assert_eq!(driver.snapshot().votes, counts(5, 0, 4));
    for permit in held {
        driver.settle(permit, Outcome::Success);
    }
    assert_eq!((driver.snapshot().votes, driver.snapshot().in_flight), (counts(5, 0, 4), 0));
}

#[test]
fn no_order_of_events_counts_a_call_twice_or_not_at_all() {
    #[derive(Clone, Copy, Debug)]
    enum Act {
        Admit,
        Settle(Outcome),
        Wait,
        Switch,
    }
    let acts = [Act::Admit, Act::Settle(Outcome::Success), Act::Settle(Outcome::Failure), Act::Wait, Act::Switch];
    for acts in sequences(&acts, 7) {
        let config = config(Window::Last(100)).minimum_calls(99);
        let mut driver = Driver::new(config.clone());
        let (mut held, mut admitted, mut is_on) = (Vec::new(), 0, true);
        for act in &acts {
            match act {
                Act::Admit => {
                    held.extend(driver.admit().ok());
                    admitted += 1;
                }
                Act::Settle(outcome) if !held.is_empty() => driver.settle(held.remove(0), *outcome),
                Act::Settle(_) => {}
                Act::Wait => driver.wait(ms(700)),
                Act::Switch => {
                    is_on = !is_on;
                    driver.reconfigure(config.clone().slow_in_flight(is_on));
                }
            }
        }
        for permit in held {
            driver.settle(permit, Outcome::Success);
        }
        driver.reconfigure(config);
        let seen = driver.snapshot();
        assert_eq!((seen.votes.calls, seen.in_flight, seen.overdue), (admitted, 0, 0), "after {acts:?}");
    }
}

// ===== a slow, obvious model =====

/// One call, as whoever watches everything would remember it.
#[derive(Clone, Copy, Debug)]
struct Call {
    started: Instant,
    is_settled: bool,
    has_voted: bool,
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Admit(usize),
    Settle(usize, Outcome),
    Wait(u64),
}

fn events(steps: impl Strategy<Value = u64> + 'static) -> impl Strategy<Value = Vec<Event>> {
    let outcomes = prop::sample::select(vec![
        Outcome::Success,
        Outcome::Success,
        Outcome::Failure,
        Outcome::Ignored,
        Outcome::Abandoned,
    ]);
    let event = prop_oneof![
        4 => (1..=3_usize).prop_map(Event::Admit),
        6 => (any::<usize>(), outcomes).prop_map(|(which, outcome)| Event::Settle(which, outcome)),
        4 => steps.prop_map(Event::Wait),
    ];
    prop::collection::vec(event, 10..150)
}

struct Model {
    calls: Vec<Call>,
    votes: Vec<Vote>,
    /// Since the last vote.
    abandoned: usize,
    slow: Duration,
    slow_is_failure: bool,
}

impl Model {
    fn is_slow(&self, call: &Call, now: Instant) -> bool {
        now.saturating_duration_since(call.started) > self.slow
    }

    /// All calls that are unsettled and slow vote, unless they have. Says whether any did.
    fn find_overdue(&mut self, now: Instant) -> bool {
        let before = self.votes.len();
        for which in 0..self.calls.len() {
            let call = self.calls[which];
            if !call.is_settled && !call.has_voted && self.is_slow(&call, now) {
                self.calls[which].has_voted = true;
                self.votes.push(Vote { failed: self.slow_is_failure, slow: true });
                self.abandoned = 0;
            }
        }
        self.votes.len() > before
    }

    fn settle(&mut self, which: usize, outcome: Outcome, now: Instant) -> bool {
        self.calls[which].is_settled = true;
        let call = self.calls[which];
        let opens = self.find_overdue(now) && self.is_bad();
        let failed = match outcome {
            Outcome::Success => false,
            Outcome::Failure => true,
            Outcome::Abandoned if !opens && !call.has_voted => {
                self.abandoned += 1;
                return self.abandoned >= if self.votes.is_empty() { 6 } else { 20 };
            }
            _ => return opens,
        };
        if opens || call.has_voted {
            return opens;
        }
        self.abandoned = 0;
        let slow = self.is_slow(&call, now);
        let vote = Vote { failed: failed || (slow && self.slow_is_failure), slow };
        self.votes.push(vote);
        vote != Vote::default() && self.is_bad()
    }

    fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        self.votes.iter().rev().take(20).for_each(|&vote| counts += vote.into());
        counts
    }

    /// Half of the last twenty, and at least six.
    fn is_bad(&self) -> bool {
        let counts = self.counts();
        let slow = !self.slow_is_failure && counts.slow * 2 >= counts.calls;
        counts.calls >= 6 && (slow || counts.failed * 2 >= counts.calls)
    }

    fn in_flight(&self) -> impl Iterator<Item = &Call> {
        self.calls.iter().filter(|call| !call.is_settled)
    }
}

fn run(slow_is_failure: bool, events: Vec<Event>, tick: Duration) -> Result<(), TestCaseError> {
    let config = Config::default().window(Window::Last(20)).minimum_calls(6).failure_rate(0.5);
    let mut config = config.slow(tick * 10, 0.5).slow_in_flight(true);
    if slow_is_failure {
        config = config.slow_is_failure(tick * 10);
    }
    prop_assert_eq!(config.slow.map(|slow| slow.rate == SlowRate::WithFailures), Some(slow_is_failure));
    let mut driver = Driver::new(config);
    let mut model = Model { calls: Vec::new(), votes: Vec::new(), abandoned: 0, slow: tick * 10, slow_is_failure };
    let mut held: Vec<(usize, Permit)> = Vec::new();
    for event in events {
        let mut opens = false;
        match event {
            Event::Admit(calls) => {
                for _ in 0..calls {
                    opens = model.find_overdue(driver.now) && model.is_bad();
                    let admitted = driver.admit();
                    prop_assert_eq!(admitted.is_err(), opens);
                    let Ok(permit) = admitted else { break };
                    held.push((model.calls.len(), permit));
                    model.calls.push(Call { started: driver.now, is_settled: false, has_voted: false });
                }
            }
            Event::Settle(which, outcome) if !held.is_empty() => {
                let (which, permit) = held.remove(which % held.len());
                opens = model.settle(which, outcome, driver.now);
                driver.settle(permit, outcome);
            }
            Event::Settle(..) => {}
            Event::Wait(ticks) => driver.wait(tick * u32::try_from(ticks).unwrap()),
        }
        let seen = driver.snapshot();
        prop_assert_eq!((seen.state == State::Open, seen.votes), (opens, model.counts()), "after {:?}", event);
        if opens {
            return Ok(());
        }
        let overdue = model.in_flight().filter(|call| call.has_voted || model.is_slow(call, driver.now)).count();
        prop_assert_eq!((seen.in_flight, seen.overdue), (model.in_flight().count() as u64, overdue as u64));
    }
    Ok(())
}

proptest! {
    /// Calls start at whole ticks, a tick is as wide as a bucket, so each bucket is one moment and all is exact.
    #[test]
    fn does_what_the_model_does(slow_is_failure in any::<bool>(), events in events(0..=14_u64)) {
        run(slow_is_failure, events, ms(100))?;
    }

    /// At any moment: no call is found early, and none is late by more than a bucket.
    #[test]
    fn a_call_is_found_at_a_hundred_to_a_hundred_and_ten_percent(starts in prop::collection::vec(0..=300_u64, 1..100)) {
        let mut driver = Driver::new(config(Window::Last(1_000)).minimum_calls(9_999));
        let (mut held, mut all) = (Vec::new(), 0);
        for apart in starts {
            driver.wait(ms(apart));
            held.push((driver.now, driver.take()));
            all += 1;
            let older_than = |time: Duration| held.iter().filter(|(start, _)| driver.now - *start > time).count() as u64;
            let voted = driver.snapshot().votes.slow;
            prop_assert!(older_than(SLOW + SLOW / 10) <= voted && voted <= older_than(SLOW), "{voted}");
        }
        driver.wait(SLOW + NANO);
        driver.call(Outcome::Success);
        prop_assert_eq!(driver.snapshot().votes, counts(all + 1, 0, all));
    }
}

// ===== through the shell =====

#[tokio::test(start_paused = true)]
async fn a_future_that_is_dropped_and_one_that_panics_leave_their_buckets() {
    let circuit = Circuit::new(config(Window::Last(100)).minimum_calls(99)).expect("the configuration is valid");
    let mut silent = task::spawn(circuit.call(pending::<Result<(), Error<()>>>));
    assert_pending!(silent.poll());
    assert_eq!(circuit.snapshot().in_flight, 1);
    drop(silent);
    let seen = circuit.snapshot();
    assert_eq!((seen.in_flight, seen.abandoned, seen.votes), (0, 1, counts(0, 0, 0)));

    let mut ill = task::spawn(circuit.call(|| async { panic!("the service is ill") }));
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let _answer: Poll<Result<(), Error<()>>> = ill.poll();
    }));
    assert!(panicked.is_err());
    assert_eq!((circuit.snapshot().in_flight, circuit.snapshot().votes), (0, counts(1, 1, 0)));
}

#[tokio::test(start_paused = true)]
async fn callers_who_wait_for_silence_are_the_last_who_do() {
    let circuit = Circuit::new(config(Window::Last(100))).expect("the configuration is valid");
    let mut silent: Vec<_> = (0..4).map(|_| task::spawn(circuit.call(pending::<Result<(), Error<()>>>))).collect();
    for call in &mut silent {
        assert_pending!(call.poll());
    }
    tokio::time::advance(SLOW + ms(1)).await;
    assert!(matches!(circuit.call(pending::<Result<(), Error<()>>>).await, Err(Error::Refused(_))));

    drop(silent);
    let seen = circuit.snapshot();
    assert_eq!((seen.state, seen.votes, seen.abandoned), (State::Open, counts(4, 0, 4), 0));
}
