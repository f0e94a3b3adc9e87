//! What the documentation of the circuit promises, one test each.

mod support;

use mainstay_circuit_breaker::{Circuit, Config, OpenFor, Outcome, Permit, State, Window};
use mainstay_core::{InvalidConfig, window::Counts};
use std::time::{Duration, Instant};
use support::{Driver, ms, secs, start};

const NANO: Duration = Duration::from_nanos(1);

fn just_under(time: Duration) -> Duration {
    time.saturating_sub(NANO)
}

/// Opens at the first failure.
fn fragile() -> Config {
    Config::default().window(Window::Consecutive(1)).probes(1)
}

/// Opens at the fifth failure, in each kind of window.
fn five() -> [Config; 4] {
    let config = Config::default().failure_rate(1.0).minimum_calls(5);
    [Window::Consecutive(5), Window::Last(5), Window::Last(100), Window::Within(secs(10))]
        .map(|window| config.clone().window(window))
}

/// Every sequence of `length` things out of `choices`.
fn sequences<T: Copy>(choices: &[T], length: usize) -> Vec<Vec<T>> {
    (0..length).fold(vec![Vec::new()], |sequences, _| {
        let longer = |sequence: &Vec<T>| {
            let sequence = sequence.clone();
            choices.iter().map(move |&choice| [sequence.as_slice(), &[choice]].concat()).collect::<Vec<_>>()
        };
        sequences.iter().flat_map(longer).collect()
    })
}

fn counts(calls: u64, failed: u64, slow: u64) -> Counts {
    Counts { calls, failed, slow }
}

// ===== probes =====

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Admit,
    /// The oldest probe that is out ends so.
    Settle(Outcome),
    /// The oldest probe that is out is forgotten.
    Drop,
    /// The deadline of a probe, which is also the open time, goes by.
    Wait,
}

const ACTS: [Act; 6] = [
    Act::Admit,
    Act::Settle(Outcome::Success),
    Act::Settle(Outcome::Failure),
    Act::Settle(Outcome::Abandoned),
    Act::Settle(Outcome::Ignored),
    Act::Drop,
];

#[test]
fn at_most_n_calls_are_unsettled_while_half_open() {
    for probes in 1..=3 {
        let config = Config::default().window(Window::Consecutive(1)).failure_rate(1.0).probes(probes);
        for acts in sequences(&ACTS, 6) {
            let (driver, first) = Driver::half_open(config.clone());
            let (mut held, mut dropped) = (vec![first], 0);
            for &act in &acts {
                match act {
                    Act::Admit => held.extend(driver.admit().ok()),
                    Act::Settle(outcome) if !held.is_empty() => driver.settle(held.remove(0), outcome),
                    Act::Drop if !held.is_empty() => {
                        drop(held.remove(0));
                        dropped += 1;
                    }
                    _ => {}
                }
                if driver.state() != State::HalfOpen {
                    break;
                }
                let unsettled = held.len() + dropped;
                assert!(unsettled <= probes as usize, "{unsettled} of {probes} in {acts:?}");
                assert_eq!(driver.snapshot().probes as usize, unsettled, "{acts:?}");
            }
        }
    }
}

#[test]
fn a_probe_slot_is_given_once() {
    let (driver, _probe) = Driver::half_open(Config::default().window(Window::Consecutive(1)).probes(3));
    let _second = driver.take();
    let _third = driver.take();
    let refused = driver.admit().unwrap_err();
    assert_eq!(refused.retry_after(), None, "a slot may be free at any moment");
    assert_eq!(driver.snapshot().refused, 1);
}

#[test]
fn a_settled_probe_does_not_make_room_for_another() {
    let (driver, probe) = Driver::half_open(Config::default().window(Window::Consecutive(1)).probes(2));
    driver.settle(probe, Outcome::Success);
    let _second = driver.take();
    assert!(driver.admit().is_err(), "one vote and one probe are all the two");
}

#[test]
fn an_ignored_or_abandoned_probe_gives_its_slot_back() {
    for outcome in [Outcome::Ignored, Outcome::Abandoned] {
        let (driver, probe) = Driver::half_open(fragile());
        driver.settle(probe, outcome);
        assert_eq!((driver.state(), driver.snapshot().probes), (State::HalfOpen, 0));
        driver.call(Outcome::Success);
        assert_eq!(driver.state(), State::Closed, "after {outcome:?}");
    }
}

#[test]
fn no_sequence_of_ends_drops_and_silences_wedges() {
    let acts = [ACTS[0], ACTS[1], ACTS[2], ACTS[3], Act::Drop, Act::Wait];
    for probes in 1..=2 {
        let config = Config::default().window(Window::Consecutive(1)).probes(probes);
        for acts in sequences(&acts, 6) {
            let (mut driver, first) = Driver::half_open(config.clone());
            let mut held = vec![first];
            for &act in &acts {
                match act {
                    Act::Admit => held.extend(driver.admit().ok()),
                    Act::Settle(outcome) if !held.is_empty() => driver.settle(held.remove(0), outcome),
                    Act::Drop if !held.is_empty() => drop(held.remove(0)),
                    Act::Wait => driver.wait(secs(30)),
                    _ => {}
                }
            }
            drop(held);
            // The deadline of the last probe, then the open time, then only successes.
            driver.wait(secs(60));
            driver.calls(probes, Outcome::Success);
            assert_eq!(driver.state(), State::Closed, "after {acts:?}");
        }
    }
}

#[test]
fn one_call_a_minute_can_close() {
    for probes in [1, 3, 10] {
        let mut driver = Driver::open(Config::default().window(Window::Consecutive(1)).probes(probes));
        for call in 1..=probes {
            driver.wait(secs(60));
            driver.call_of(secs(1), Outcome::Success);
            assert_eq!(driver.state() == State::Closed, call == probes, "after {call} of {probes} probes");
        }
    }
}

#[test]
fn a_silent_probe_has_failed_at_its_deadline() {
    let config = fragile().probe_deadline(secs(5)).open_for(secs(60));
    let (mut driver, _silent) = Driver::half_open(config);
    driver.wait(just_under(secs(5)));
    assert_eq!(driver.admit().unwrap_err().retry_after(), None);
    assert_eq!(driver.state(), State::HalfOpen);

    driver.wait(NANO + secs(7));
    let seen = driver.snapshot();
    assert_eq!((seen.state, seen.reopenings), (State::Open, 1));
    assert_eq!(seen.retry_after, Some(secs(53)), "counted from the deadline, not from when it was found out");
}

#[test]
fn a_success_at_the_deadline_is_too_late() {
    let config = Config::default().window(Window::Consecutive(1)).probes(2).failure_rate(1.0).probe_deadline(secs(5));
    for (waits, failed) in [(just_under(secs(5)), 0), (secs(5), 1)] {
        let (mut driver, probe) = Driver::half_open(config.clone());
        driver.wait(waits);
        driver.settle(probe, Outcome::Success);
        assert_eq!(driver.snapshot().votes, counts(1, failed, 0), "after {waits:?}");
    }
}

#[test]
fn a_late_result_of_a_silent_probe_changes_nothing() {
    let config = Config::default().window(Window::Consecutive(1)).probes(2).failure_rate(1.0);
    for outcome in [Outcome::Success, Outcome::Failure, Outcome::Ignored, Outcome::Abandoned] {
        let (mut driver, silent) = Driver::half_open(config.clone());
        driver.wait(secs(30));
        let before = driver.snapshot();
        assert_eq!((before.state, before.votes, before.probes), (State::HalfOpen, counts(1, 1, 0), 0));
        driver.settle(silent, outcome);
        assert_eq!(driver.snapshot(), before, "after {outcome:?}");
    }
}

#[test]
fn silent_probes_do_not_wedge_a_client_with_one_call_a_minute() {
    let (mut driver, mut silent) = Driver::half_open(fragile());
    for reopenings in 1..=20 {
        // At 30 s the probe has failed, at 60 s that opening is over: each call is a probe.
        driver.wait(secs(60));
        silent = driver.take();
        assert!(silent.is_probe());
        assert_eq!(driver.snapshot().reopenings, reopenings);
    }
    driver.wait(secs(1));
    driver.settle(silent, Outcome::Success);
    assert_eq!(driver.state(), State::Closed);
}

#[test]
fn a_silent_probe_is_slow_as_if_it_had_failed_at_its_deadline() {
    // Nobody wrote down when the first probe started, so it is not slow, whether it settles or stays silent.
    let config = Config::default().window(Window::Last(1)).minimum_calls(1).probes(2).failure_rate(1.0);
    for silent in [false, true] {
        let (mut driver, probe) = Driver::half_open(config.clone());
        driver.reconfigure(config.clone().slow(secs(1), 0.5));
        driver.wait(just_under(secs(30)));
        if silent {
            drop(probe);
            driver.wait(NANO);
        } else {
            driver.settle(probe, Outcome::Failure);
        }
        assert_eq!((driver.snapshot().votes, driver.state()), (counts(1, 1, 0), State::HalfOpen), "silent: {silent}");
    }

    // The deadline of a probe is the one it was sent with.
    let config = config.slow(secs(60), 0.5);
    let (mut driver, _silent) = Driver::half_open(config.clone());
    driver.reconfigure(config.probe_deadline(secs(90)));
    driver.wait(secs(30));
    assert_eq!((driver.snapshot().votes, driver.state()), (counts(1, 1, 0), State::HalfOpen));
}

#[test]
fn probes_decide_as_soon_as_the_rest_cannot_change_it() {
    let config = Config::default().window(Window::Consecutive(1)).probes(4).failure_rate(0.5);
    let (driver, first) = Driver::half_open(config);
    let second = driver.take();
    let _third = driver.take();
    driver.settle(first, Outcome::Failure);
    assert_eq!(driver.state(), State::HalfOpen, "one of four");
    driver.settle(second, Outcome::Failure);
    assert_eq!(driver.state(), State::Open, "two of four, whatever the others say");
}

#[test]
fn probes_that_succeed_slowly_open_again_by_the_slow_rate() {
    let config = Config::default().window(Window::Last(1)).minimum_calls(1).probes(2).slow(secs(1), 1.0);
    let mut driver = Driver::open(config);
    let probe = driver.first_probe();
    driver.wait(secs(1) + NANO);
    driver.settle(probe, Outcome::Success);
    assert_eq!((driver.state(), driver.snapshot().votes), (State::HalfOpen, counts(1, 0, 1)));
    driver.call_of(secs(1) + NANO, Outcome::Success);
    assert_eq!(driver.state(), State::Open);
}

// ===== when a circuit opens =====

#[test]
fn five_failures_open_at_the_fifth_at_any_rate() {
    for config in five() {
        for apart in [Duration::ZERO, ms(1), secs(1)] {
            let mut driver = Driver::new(config.clone());
            for failure in 1..=5 {
                assert_eq!(driver.state(), State::Closed, "before failure {failure}, {apart:?} apart, {config:?}");
                driver.call(Outcome::Failure);
                driver.wait(apart);
            }
            assert_eq!(driver.state(), State::Open, "{apart:?} apart, {config:?}");
        }
    }
}

#[test]
fn a_million_successes_do_not_blind_the_last_calls() {
    let driver = Driver::new(Config::default().window(Window::Last(100)).failure_rate(0.5));
    driver.calls(1_000_000, Outcome::Success);
    assert_eq!(driver.fail_until_open(), 50);
}

#[test]
fn a_million_successes_do_not_blind_a_time_window() {
    let mut driver = Driver::new(Config::default().window(Window::Within(secs(10))).failure_rate(0.5));
    for _ in 0..1_000_000 {
        driver.call(Outcome::Success);
        driver.wait(ms(1));
    }
    // The last of them came in the last bucket of its second; a new second begins, and nine full ones count.
    assert_eq!(driver.snapshot().votes, counts(9_000, 0, 0));
    assert_eq!(driver.fail_until_open(), 9_000);
}

#[test]
fn a_million_successes_do_not_blind_a_row_of_failures() {
    let driver = Driver::new(Config::default().window(Window::Consecutive(5)));
    driver.calls(1_000_000, Outcome::Success);
    assert_eq!(driver.fail_until_open(), 5);
}

#[test]
fn a_success_ends_a_row_of_failures() {
    let driver = Driver::new(Config::default().window(Window::Consecutive(3)));
    for _ in 0..10 {
        driver.calls(2, Outcome::Failure);
        assert_eq!(driver.snapshot().votes, counts(2, 2, 0));
        driver.call(Outcome::Success);
        assert_eq!(driver.snapshot().votes, counts(0, 0, 0));
    }
    assert_eq!(driver.fail_until_open(), 3);
}

#[test]
fn the_minimum_of_calls_counts() {
    for window in [Window::Last(100), Window::Within(secs(10))] {
        let driver = Driver::new(Config::default().window(window).minimum_calls(20).failure_rate(0.5));
        assert_eq!(driver.fail_until_open(), 20, "{window:?}");
    }
    let driver = Driver::new(Config::default().window(Window::Last(7)).minimum_calls(20));
    assert_eq!(driver.fail_until_open(), 7, "a window of fewer calls is judged when it is full");
}

#[test]
fn failures_slide_out_of_the_last_calls() {
    let config = Config::default().window(Window::Last(10)).minimum_calls(10).failure_rate(0.5);
    let driver = Driver::new(config);
    for _ in 0..100 {
        driver.calls(4, Outcome::Failure);
        driver.calls(6, Outcome::Success);
    }
    assert_eq!((driver.state(), driver.snapshot().votes), (State::Closed, counts(10, 4, 0)));
    driver.calls(10, Outcome::Success);
    assert_eq!(driver.snapshot().votes, counts(10, 0, 0));
    assert_eq!(driver.fail_until_open(), 5);
}

#[test]
fn failures_slide_out_of_a_time_window() {
    let config = Config::default().window(Window::Within(secs(10))).minimum_calls(5).failure_rate(0.5);
    let mut driver = Driver::new(config);
    for _ in 0..100 {
        driver.calls(4, Outcome::Failure);
        driver.wait(secs(10));
    }
    assert_eq!(driver.state(), State::Closed);
    assert_eq!(driver.fail_until_open(), 5);
}

#[test]
fn a_circuit_never_opens_on_a_success() {
    let windows = [Window::Consecutive(2), Window::Last(4), Window::Within(secs(10))];
    for window in windows {
        let config = Config::default().window(window).failure_rate(0.5).minimum_calls(3);
        for outcomes in sequences(&[Outcome::Success, Outcome::Failure], 9) {
            let driver = Driver::new(config.clone());
            for &outcome in &outcomes {
                driver.call(outcome);
                if driver.state() == State::Open {
                    assert_eq!(outcome, Outcome::Failure, "in {outcomes:?} with {window:?}");
                    break;
                }
            }
        }
    }
}

#[test]
fn a_success_that_completes_the_minimum_does_not_open_and_the_next_failure_does() {
    for window in [Window::Last(100), Window::Within(secs(10))] {
        let driver = Driver::new(Config::default().window(window).failure_rate(0.5).minimum_calls(4));
        driver.calls(3, Outcome::Failure);
        driver.call(Outcome::Success);
        assert_eq!((driver.state(), driver.snapshot().votes), (State::Closed, counts(4, 3, 0)), "{window:?}");
        driver.call(Outcome::Failure);
        assert_eq!(driver.state(), State::Open, "{window:?}");
    }
}

#[test]
fn a_rate_at_the_threshold_opens() {
    let driver = Driver::new(Config::default().window(Window::Last(20)).failure_rate(0.05).minimum_calls(20));
    driver.calls(19, Outcome::Success);
    driver.call(Outcome::Failure);
    assert_eq!(driver.state(), State::Open, "1 of 20 is 5 %");
}

#[test]
fn a_slow_failure_counts_in_both_rates_and_a_slow_success_in_one() {
    for window in [Window::Last(100), Window::Within(secs(600))] {
        let mut driver = Driver::new(Config::default().window(window).slow(secs(1), 1.0));
        driver.call_of(secs(2), Outcome::Failure);
        assert_eq!(driver.snapshot().votes, counts(1, 1, 1), "{window:?}");
        driver.call_of(secs(2), Outcome::Success);
        assert_eq!(driver.snapshot().votes, counts(2, 1, 2), "{window:?}");
        driver.call_of(ms(2), Outcome::Success);
        assert_eq!(driver.snapshot().votes, counts(3, 1, 2), "{window:?}");
    }
}

#[test]
fn slow_is_longer_than_the_threshold_and_not_equal() {
    let mut driver = Driver::new(Config::default().slow(secs(1), 1.0));
    driver.call_of(secs(1), Outcome::Success);
    assert_eq!(driver.snapshot().votes.slow, 0);
    driver.call_of(secs(1) + NANO, Outcome::Success);
    assert_eq!(driver.snapshot().votes.slow, 1);
}

#[test]
fn slow_successes_alone_open() {
    for window in [Window::Last(100), Window::Within(secs(600))] {
        let mut driver = Driver::new(Config::default().window(window).minimum_calls(4).slow(secs(1), 0.5));
        driver.calls(2, Outcome::Success);
        driver.call_of(secs(2), Outcome::Success);
        driver.call(Outcome::Success);
        assert_eq!(driver.state(), State::Closed, "1 of 4, {window:?}");
        driver.call_of(secs(2), Outcome::Success);
        assert_eq!(driver.state(), State::Closed, "2 of 5, {window:?}");
        driver.call_of(secs(2), Outcome::Success);
        assert_eq!(driver.state(), State::Open, "3 of 6, {window:?}");
    }
}

#[test]
fn an_ignored_call_leaves_no_trace() {
    for config in five() {
        let driver = Driver::new(config);
        driver.calls(2, Outcome::Failure);
        driver.call(Outcome::Abandoned);
        let before = driver.snapshot();
        driver.calls(1_000, Outcome::Ignored);
        assert_eq!(driver.snapshot(), before);
    }
}

// ===== abandoned calls =====

#[test]
fn an_abandoned_call_does_not_vote_and_displaces_no_vote() {
    for config in five() {
        let driver = Driver::new(config);
        driver.calls(2, Outcome::Failure);
        driver.calls(4, Outcome::Abandoned);
        let seen = driver.snapshot();
        assert_eq!((seen.state, seen.votes, seen.abandoned), (State::Closed, counts(2, 2, 0), 4));
        driver.calls(3, Outcome::Failure);
        assert_eq!(driver.state(), State::Open, "the fifth failure all the same");
    }
}

#[test]
fn a_circuit_opens_when_every_call_was_abandoned() {
    for config in five() {
        let driver = Driver::new(config.clone());
        driver.calls(4, Outcome::Abandoned);
        assert_eq!(driver.state(), State::Closed, "{config:?}");
        driver.call(Outcome::Abandoned);
        assert_eq!(driver.state(), State::Open, "{config:?}");
    }
}

#[test]
fn a_vote_between_abandoned_calls_keeps_the_circuit_closed() {
    for config in five() {
        for outcome in [Outcome::Success, Outcome::Failure] {
            let driver = Driver::new(config.clone());
            driver.calls(4, Outcome::Abandoned);
            driver.call(outcome);
            driver.calls(4, Outcome::Abandoned);
            assert_eq!(driver.state(), State::Closed, "{outcome:?} between, {config:?}");
        }
    }
}

#[test]
fn abandoned_calls_open_once_the_last_votes_are_out_of_the_window() {
    let config = Config::default().minimum_calls(5);
    let driver = Driver::new(config.clone().window(Window::Last(10)));
    driver.call(Outcome::Success);
    driver.calls(9, Outcome::Abandoned);
    assert_eq!(driver.state(), State::Closed, "the success is one of the last ten calls");
    driver.call(Outcome::Abandoned);
    assert_eq!(driver.state(), State::Open);

    let mut driver = Driver::new(config.window(Window::Within(secs(10))));
    driver.call(Outcome::Success);
    driver.wait(secs(9));
    driver.calls(100, Outcome::Abandoned);
    assert_eq!(driver.state(), State::Closed, "the success is in the last ten seconds");
    driver.wait(secs(1));
    driver.call(Outcome::Abandoned);
    assert_eq!(driver.state(), State::Open);
}

// ===== generations =====

#[test]
fn a_late_success_does_not_close() {
    let mut driver = Driver::new(fragile());
    let late = [driver.take(), driver.take()];
    driver.fail_until_open();
    let [first, second] = late;
    driver.settle(first, Outcome::Success);
    assert_eq!(driver.state(), State::Open);
    let _probe = driver.first_probe();
    driver.settle(second, Outcome::Success);
    assert_eq!((driver.state(), driver.snapshot().votes.calls), (State::HalfOpen, 0));
}

#[test]
fn a_late_failure_does_not_open_again() {
    let mut driver = Driver::new(fragile());
    let late = [driver.take(), driver.take()];
    driver.fail_until_open();
    let probe = driver.first_probe();
    let [first, second] = late;
    driver.settle(first, Outcome::Failure);
    assert_eq!(driver.state(), State::HalfOpen);
    driver.settle(probe, Outcome::Success);
    driver.settle(second, Outcome::Failure);
    assert_eq!((driver.state(), driver.snapshot().votes.calls), (State::Closed, 0));
}

#[test]
fn a_probe_of_an_earlier_phase_does_not_vote_in_a_later_one() {
    for late_outcome in [Outcome::Success, Outcome::Failure, Outcome::Abandoned] {
        let config = Config::default().window(Window::Consecutive(1)).probes(2).failure_rate(0.5);
        let (mut driver, late) = Driver::half_open(config);
        driver.call(Outcome::Failure);
        assert_eq!(driver.state(), State::Open);
        let _probe = driver.first_probe();
        let before = driver.snapshot();
        driver.settle(late, late_outcome);
        assert_eq!(driver.snapshot(), before, "after {late_outcome:?}");
    }
}

#[test]
fn a_result_from_before_a_reset_changes_nothing() {
    for config in five() {
        for outcome in [Outcome::Success, Outcome::Failure, Outcome::Abandoned] {
            let driver = Driver::new(config.clone());
            let late = driver.take();
            driver.circuit.reset();
            driver.settle(late, outcome);
            let seen = driver.snapshot();
            assert_eq!((seen.votes, seen.abandoned), (counts(0, 0, 0), 0), "{outcome:?}, {config:?}");
        }
    }
}

#[test]
fn each_transition_raises_the_generation_by_one() {
    let mut driver = Driver::new(fragile());
    let mut generations = vec![driver.snapshot().generation];
    driver.fail_until_open();
    generations.push(driver.snapshot().generation);
    let probe = driver.first_probe();
    generations.push(driver.snapshot().generation);
    driver.settle(probe, Outcome::Success);
    generations.push(driver.snapshot().generation);
    driver.circuit.isolate();
    driver.circuit.isolate();
    generations.push(driver.snapshot().generation);
    driver.circuit.reset();
    driver.circuit.reset();
    generations.push(driver.snapshot().generation);
    assert_eq!(generations, [0, 1, 2, 3, 4, 6]);
}

// ===== how long a circuit stays open =====

#[test]
fn an_open_circuit_admits_from_the_end_of_the_open_time_on() {
    let mut driver = Driver::open(fragile().open_for(secs(30)));
    assert_eq!(driver.admit().unwrap_err().retry_after(), Some(secs(30)));
    driver.wait(just_under(secs(30)));
    assert_eq!(driver.circuit.check(driver.now).unwrap_err().retry_after(), Some(NANO));
    assert_eq!(driver.admit().unwrap_err().retry_after(), Some(NANO));
    assert_eq!(driver.state(), State::Open);
    driver.wait(NANO);
    assert_eq!(driver.circuit.check(driver.now), Ok(()));
    assert_eq!(driver.state(), State::Open, "a check takes nothing");
    assert!(driver.take().is_probe());
    assert_eq!(driver.state(), State::HalfOpen);
}

#[test]
fn a_growing_open_time_grows_up_to_its_longest_and_starts_over_after_closing() {
    let growing = OpenFor::Growing { first: secs(1), factor: 2.0, max: secs(10) };
    let mut driver = Driver::new(fragile().open_for(growing));
    for _ in 0..2 {
        for (reopenings, time) in [1, 2, 4, 8, 10, 10, 10].into_iter().enumerate() {
            driver.call(Outcome::Failure);
            let seen = driver.snapshot();
            assert_eq!(seen.reopenings as usize, reopenings);
            assert_eq!(seen.retry_after, Some(secs(time)), "after {reopenings} re-openings");
            driver.wait(secs(time));
        }
        driver.call(Outcome::Success);
        assert_eq!((driver.state(), driver.snapshot().reopenings), (State::Closed, 0));
    }
}

#[test]
fn a_growing_open_time_is_exact_where_a_float_is_not() {
    // A thousand days and a nanosecond have more digits than a float.
    let first = Duration::from_hours(24_000) + NANO;
    for max in [first, Duration::MAX] {
        let mut driver = Driver::open(fragile().open_for(OpenFor::Growing { first, factor: 1.0, max }));
        assert_eq!(driver.retry_after(), Some(first), "the first open time is `first`");
        let probe = driver.first_probe();
        driver.settle(probe, Outcome::Failure);
        assert_eq!(driver.retry_after(), Some(first), "and a factor of one is no growth");
    }
}

#[test]
fn an_open_time_longer_than_any_clock_is_for_ever_until_an_operator_resets() {
    let mut driver = Driver::open(fragile().open_for(Duration::MAX));
    driver.wait(Duration::from_hours(24 * 365 * 500));
    assert_eq!(driver.admit().unwrap_err().retry_after(), None);
    driver.circuit.reset();
    driver.call(Outcome::Success);
    assert_eq!(driver.state(), State::Closed);
}

#[test]
fn an_open_time_of_centuries_ends() {
    // More nanoseconds than fit in a word, and well within what a clock counts to.
    let centuries = Duration::from_hours(24 * 365 * 1_000);
    let mut driver = Driver::open(fragile().open_for(centuries));
    assert_eq!(driver.admit().unwrap_err().retry_after(), driver.retry_after(), "a refusal says what a snapshot says");
    driver.wait(centuries);
    assert!(driver.take().is_probe());
}

// ===== live changes =====

#[test]
fn a_new_open_time_applies_to_the_current_opening_from_its_start() {
    let mut driver = Driver::open(fragile().open_for(secs(30)));
    let generation = driver.snapshot().generation;
    driver.wait(secs(10));
    for (time, left) in [(60, 50), (11, 1), (10, 0), (1, 0), (30, 20)] {
        driver.reconfigure(fragile().open_for(secs(time)));
        assert_eq!(driver.retry_after().unwrap_or_default(), secs(left));
        assert_eq!(
            driver.circuit.check(driver.now).err().and_then(|refused| refused.retry_after()).unwrap_or_default(),
            secs(left)
        );
    }
    driver.reconfigure(fragile().open_for(OpenFor::Growing { first: secs(12), factor: 2.0, max: secs(99) }));
    assert_eq!(driver.retry_after(), Some(secs(2)));
    assert_eq!((driver.state(), driver.snapshot().generation), (State::Open, generation));
}

#[test]
fn a_live_change_keeps_phase_generation_and_probes() {
    let config = Config::default().window(Window::Consecutive(1)).probes(3).failure_rate(1.0);
    let (driver, first) = Driver::half_open(config.clone());
    driver.settle(first, Outcome::Success);
    let second = driver.take();
    let before = driver.snapshot();

    driver.reconfigure(config.clone().open_for(secs(7)).probe_deadline(secs(9)).jitter(0.3));
    assert_eq!(driver.snapshot(), before, "votes are kept while the rules for probes are the same");

    driver.reconfigure(config.probes(2));
    let after = driver.snapshot();
    assert_eq!((after.state, after.generation, after.probes), (State::HalfOpen, before.generation, 1));
    assert_eq!(after.votes.calls, 0, "votes are counted anew when the rules for probes change");
    driver.settle(second, Outcome::Success);
    driver.call(Outcome::Success);
    assert_eq!(driver.state(), State::Closed, "the probe that was out voted");
}

#[test]
fn fewer_probes_than_are_out_never_wedge() {
    let config = Config::default().window(Window::Consecutive(1)).failure_rate(1.0).probes(3);
    let outcomes =
        [Some(Outcome::Success), Some(Outcome::Failure), Some(Outcome::Ignored), Some(Outcome::Abandoned), None];
    for outcomes in sequences(&outcomes, 3) {
        for fewer in [1, 2] {
            let (mut driver, first) = Driver::half_open(config.clone());
            let out = [first, driver.take(), driver.take()];
            driver.reconfigure(config.clone().probes(fewer));
            assert_eq!(driver.snapshot().probes, 3);
            assert!(driver.admit().is_err(), "no more until there is room again");
            for (permit, outcome) in out.into_iter().zip(&outcomes) {
                if let Some(outcome) = *outcome {
                    driver.settle(permit, outcome);
                }
            }
            // The deadline of silent probes, then the open time.
            driver.wait(secs(60));
            while driver.state() != State::Closed {
                driver.call(Outcome::Success);
            }
        }
    }
}

#[test]
fn thresholds_below_the_present_rate_do_not_open_by_themselves() {
    for window in [Window::Last(100), Window::Within(secs(10))] {
        let config = Config::default().window(window).minimum_calls(10);
        let driver = Driver::new(config.clone().failure_rate(0.9));
        driver.calls(10, Outcome::Success);
        driver.calls(10, Outcome::Failure);
        let before = driver.snapshot();
        driver.reconfigure(config.failure_rate(0.1).minimum_calls(1));
        assert_eq!(driver.snapshot(), before, "{window:?}");
        driver.call(Outcome::Success);
        assert_eq!(driver.state(), State::Closed, "nor on a success, {window:?}");
        driver.call(Outcome::Failure);
        assert_eq!(driver.state(), State::Open, "{window:?}");
    }
}

#[test]
fn a_window_of_another_shape_starts_empty_and_of_the_same_shape_does_not() {
    let windows = [
        Window::Consecutive(50),
        Window::Last(100),
        Window::Last(99),
        Window::Within(secs(10)),
        Window::Within(secs(9)),
    ];
    for from in windows {
        for to in windows {
            let driver = Driver::new(Config::default().window(from));
            driver.calls(4, Outcome::Failure);
            driver.calls(3, Outcome::Abandoned);
            let before = driver.snapshot();
            driver.reconfigure(Config::default().window(to));
            let after = driver.snapshot();
            if from == to {
                assert_eq!(after, before);
            } else {
                assert_eq!((after.votes, after.abandoned), (counts(0, 0, 0), 0), "{from:?} to {to:?}");
            }
        }
    }
}

#[test]
fn a_row_of_failures_is_kept_when_its_length_changes() {
    let with = |failures| Config::default().window(Window::Consecutive(failures));
    let driver = Driver::new(with(5));
    driver.calls(4, Outcome::Failure);
    driver.reconfigure(with(10));
    assert_eq!(driver.snapshot().votes.failed, 4);
    driver.calls(5, Outcome::Failure);
    driver.reconfigure(with(3));
    assert_eq!(driver.state(), State::Closed, "a row of nine is long enough, but nothing was recorded");
    driver.call(Outcome::Failure);
    assert_eq!(driver.state(), State::Open);

    let driver = Driver::new(with(5));
    driver.calls(4, Outcome::Failure);
    driver.reconfigure(with(10));
    driver.call(Outcome::Success);
    assert_eq!(driver.snapshot().votes.failed, 0);
}

#[test]
fn a_refused_change_changes_nothing() {
    let driver = Driver::new(Config::default());
    driver.calls(3, Outcome::Failure);
    let before = driver.snapshot();
    let invalid = Config::default().window(Window::Last(5)).probes(0);
    assert_eq!(driver.circuit.reconfigure_at(invalid, driver.now).unwrap_err().field(), "probes");
    let renamed = Config::default().window(Window::Last(5)).name("another");
    assert_eq!(driver.circuit.reconfigure_at(renamed, driver.now).unwrap_err().field(), "name");
    assert_eq!(driver.snapshot(), before);
    assert_eq!(driver.circuit.config(), Config::default());
}

// ===== operators =====

#[test]
fn an_isolated_circuit_stays_isolated() {
    let mut driver = Driver::new(fragile());
    let early = driver.take();
    driver.circuit.isolate();
    driver.settle(early, Outcome::Success);
    driver.wait(Duration::from_hours(24 * 365));
    assert_eq!(driver.admit().unwrap_err().retry_after(), None);
    assert!(driver.circuit.check(driver.now).is_err());
    driver.reconfigure(fragile().open_for(secs(1)));
    assert_eq!((driver.snapshot().state, driver.snapshot().refused), (State::Isolated, 1));
    driver.circuit.reset();
    driver.call(Outcome::Success);
    assert_eq!(driver.state(), State::Closed);
}

#[test]
fn a_circuit_can_be_isolated_from_every_state() {
    let probing = Driver::half_open(fragile()).0;
    let disabled = Driver::new(fragile());
    disabled.circuit.disable();
    for driver in [Driver::new(fragile()), Driver::open(fragile()), probing, disabled] {
        driver.circuit.isolate();
        assert!(driver.admit().is_err());
        assert_eq!((driver.state(), driver.snapshot().probes), (State::Isolated, 0));
    }
}

#[test]
fn a_disabled_circuit_admits_everything_and_counts_nothing() {
    let driver = Driver::open(fragile());
    driver.circuit.disable();
    let before = driver.snapshot();
    driver.calls(100, Outcome::Failure);
    driver.calls(100, Outcome::Abandoned);
    assert_eq!(driver.snapshot(), before);
    let unsettled = driver.take();
    assert!(!unsettled.is_probe());
    driver.circuit.reset();
    driver.settle(unsettled, Outcome::Failure);
    assert_eq!((driver.state(), driver.snapshot().votes.calls), (State::Closed, 0));
}

#[test]
fn a_reset_clears_what_was_counted_also_when_closed() {
    for config in five() {
        let driver = Driver::new(config.clone());
        driver.calls(4, Outcome::Failure);
        driver.calls(2, Outcome::Abandoned);
        driver.circuit.reset();
        let seen = driver.snapshot();
        assert_eq!((seen.state, seen.votes, seen.abandoned), (State::Closed, counts(0, 0, 0), 0));
        driver.calls(4, Outcome::Failure);
        assert_eq!(driver.state(), State::Closed, "{config:?}");
    }
    let (mut driver, probe) = Driver::half_open(fragile());
    driver.settle(probe, Outcome::Failure);
    assert_eq!(driver.snapshot().reopenings, 1);
    driver.circuit.reset();
    driver.wait(secs(1));
    assert_eq!((driver.state(), driver.snapshot().reopenings), (State::Closed, 0));
}

// ===== shadow =====

#[test]
fn a_shadow_refuses_nothing_and_counts_what_it_would_have_refused() {
    let driver = Driver::open(fragile().shadow(true));
    for refused in 0..10 {
        assert_eq!(driver.snapshot().refused, refused);
        assert_eq!(driver.circuit.check(driver.now), Ok(()));
        driver.call(Outcome::Failure);
    }
    let seen = driver.snapshot();
    assert_eq!((seen.state, seen.generation, seen.refused), (State::Open, 1, 10));
}

#[test]
fn a_shadow_really_opens_probes_and_closes() {
    let mut driver = Driver::open(fragile().probes(2).shadow(true));
    let probe = driver.first_probe();
    assert_eq!(driver.state(), State::HalfOpen);
    let second = driver.take();
    let beyond = driver.take();
    assert!(second.is_probe() && !beyond.is_probe());
    assert_eq!(driver.snapshot().refused, 1);
    driver.settle(beyond, Outcome::Failure);
    assert_eq!(driver.snapshot().votes.calls, 0, "what would have been refused does not vote");
    driver.settle(probe, Outcome::Success);
    driver.settle(second, Outcome::Success);
    assert_eq!(driver.state(), State::Closed);
}

#[test]
fn a_shadow_admits_also_when_isolated() {
    let driver = Driver::new(fragile().shadow(true));
    driver.circuit.isolate();
    driver.calls(3, Outcome::Failure);
    assert_eq!((driver.state(), driver.snapshot().refused), (State::Isolated, 3));
}

// ===== clocks =====

#[test]
fn a_clock_that_goes_backwards_is_harmless() {
    for config in five() {
        let mut driver = Driver::new(config.clone().slow(secs(1), 1.0).window(match config.window {
            Window::Consecutive(calls) => Window::Last(calls),
            window => window,
        }));
        driver.wait(secs(100));
        let permit = driver.take();
        driver.now -= secs(50);
        driver.settle(permit, Outcome::Failure);
        assert_eq!(driver.snapshot().votes, counts(1, 1, 0), "it took no time, {config:?}");
        driver.now -= secs(40);
        driver.calls(4, Outcome::Failure);
        assert_eq!(driver.state(), State::Open, "{config:?}");
        driver.now -= secs(5);
        assert_eq!(driver.retry_after(), Some(secs(35)));
        assert_eq!(driver.admit().unwrap_err().retry_after(), Some(secs(35)));
        let probe = driver.first_probe();
        driver.now -= secs(60);
        driver.settle(probe, Outcome::Success);
        driver.calls(2, Outcome::Success);
        assert_eq!(driver.state(), State::Closed, "{config:?}");
    }
}

#[test]
fn a_moment_before_the_first_is_harmless() {
    let mut driver = Driver::new(fragile());
    driver.now += secs(1_000);
    let first = driver.now;
    let circuit = Circuit::new_at(fragile(), first).expect("the configuration is valid");
    driver.circuit = circuit;
    driver.now -= secs(10);
    driver.fail_until_open();
    assert_eq!(driver.admit().unwrap_err().retry_after(), driver.retry_after(), "a refusal says what a snapshot says");
    driver.close();
}

// ===== copies =====

#[test]
fn a_fresh_circuit_has_the_configuration_and_nothing_else() {
    let driver = Driver::open(fragile());
    driver.reconfigure(fragile().open_for(secs(99)));
    assert!(driver.admit().is_err());
    let fresh = driver.circuit.fresh_at(driver.now);
    let seen = fresh.snapshot_at(driver.now);
    assert_eq!((seen.state, seen.generation, seen.refused), (State::Closed, 0, 0));
    assert_eq!((seen.votes, seen.abandoned, seen.reopenings), (counts(0, 0, 0), 0, 0));
    assert_eq!(fresh.config(), driver.circuit.config());

    fresh.isolate();
    assert_eq!(driver.state(), State::Open);
    driver.circuit.reset();
    assert_eq!(fresh.state(), State::Isolated);
}

#[test]
fn a_fresh_circuit_does_not_jitter_like_the_old_one() {
    let config = fragile().jitter(1.0).seed(7);
    let first = Driver::new(config.clone());
    let second = Driver { circuit: first.circuit.fresh_at(first.now), now: first.now };
    let again = Driver::new(config);
    let again = Driver { circuit: again.circuit.fresh_at(again.now), now: again.now };
    let time = |driver: Driver| {
        driver.fail_until_open();
        driver.retry_after()
    };
    let second = time(second);
    assert_ne!(time(first), second);
    assert_eq!(second, time(again), "and is as reproducible");
}

// ===== extreme settings =====

/// A configuration, and the field that refuses it, if one does.
type Extreme = (Config, Option<&'static str>);

fn base() -> Config {
    Config::default().window(Window::Last(10)).minimum_calls(2)
}

fn growing(first: Duration, factor: f64, max: Duration) -> Config {
    base().open_for(OpenFor::Growing { first, factor, max })
}

/// Every setting at its worst.
fn extremes() -> Vec<Extreme> {
    [extreme_names_and_windows(), extreme_times_and_probes(), extreme_floats()].concat()
}

fn extreme_names_and_windows() -> Vec<Extreme> {
    vec![
        (base().name(""), Some("name")),
        (base().name("n".repeat(128)), None),
        (base().name("n".repeat(129)), Some("name")),
        (base().window(Window::Consecutive(0)), Some("window.consecutive")),
        (base().window(Window::Consecutive(1)), None),
        (base().window(Window::Consecutive(u32::MAX)), None),
        (base().window(Window::Last(0)), Some("window.last")),
        (base().window(Window::Last(1)), None),
        (base().window(Window::Last(1_000_000)), None),
        (base().window(Window::Last(1_000_001)), Some("window.last")),
        (base().window(Window::Last(u32::MAX)), Some("window.last")),
        (base().window(Window::Within(Duration::ZERO)), Some("window.within")),
        (base().window(Window::Within(NANO)), Some("window.within")),
        (base().window(Window::Within(ms(10))), None),
        (base().window(Window::Within(ms(10) + NANO)), None),
        (base().window(Window::Within(Duration::from_hours(24))), None),
        (base().window(Window::Within(Duration::from_hours(24) + NANO)), Some("window.within")),
        (base().window(Window::Within(Duration::MAX)), Some("window.within")),
        (base().minimum_calls(0), Some("minimum_calls")),
        (base().minimum_calls(1), None),
        (base().minimum_calls(u32::MAX), None),
    ]
}

fn extreme_times_and_probes() -> Vec<Extreme> {
    vec![
        (base().window(Window::Consecutive(1)).slow(secs(1), 0.5), Some("slow")),
        (base().slow(Duration::ZERO, 0.5), Some("slow.longer_than")),
        (base().slow(NANO, 0.5), None),
        (base().slow(Duration::MAX, 0.5), None),
        (base().open_for(Duration::ZERO), Some("open_for")),
        (base().open_for(NANO), None),
        (base().open_for(Duration::MAX), None),
        (growing(Duration::ZERO, 2.0, secs(1)), Some("open_for.first")),
        (growing(NANO, 1_000.0, Duration::MAX), None),
        (growing(Duration::MAX, 1_000.0, Duration::MAX), None),
        (growing(secs(2), 2.0, secs(1)), Some("open_for.max")),
        (growing(secs(2), 2.0, secs(2)), None),
        (base().probes(0), Some("probes")),
        (base().probes(1), None),
        (base().probes(1_000), None),
        (base().probes(1_001), Some("probes")),
        (base().probes(u32::MAX), Some("probes")),
        (base().probe_deadline(Duration::ZERO), Some("probe_deadline")),
        (base().probe_deadline(NANO), None),
        (base().probe_deadline(Duration::from_hours(24)), None),
        (base().probe_deadline(Duration::MAX), Some("probe_deadline")),
        (base().jitter(0.0), None),
        (base().jitter(-0.0), None),
        (base().jitter(1.0), None),
        (base().jitter(1.0).open_for(Duration::MAX), None),
        (base().jitter(1.0).open_for(NANO), None),
        (base().jitter(1.0 + f64::EPSILON), Some("jitter")),
        (growing(NANO, 1.0, NANO), None),
        (growing(NANO, 1.0 - f64::EPSILON, NANO), Some("open_for.factor")),
        (growing(NANO, 1_000.1, NANO), Some("open_for.factor")),
    ]
}

fn extreme_floats() -> Vec<Extreme> {
    let mut table = Vec::new();
    for bad in [0.0, -0.0, -1.0, 1.0 + f64::EPSILON, f64::MAX, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        table.push((base().failure_rate(bad), Some("failure_rate")));
        table.push((base().slow(secs(1), bad), Some("slow.rate")));
    }
    for bad in [-f64::MIN_POSITIVE, -1.0, f64::MAX, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        table.push((base().jitter(bad), Some("jitter")));
        table.push((growing(secs(1), bad, secs(1)), Some("open_for.factor")));
    }
    for good in [f64::MIN_POSITIVE, f64::EPSILON, 1.0] {
        table.push((base().failure_rate(good), None));
        table.push((base().slow(secs(1), good), None));
    }
    table
}

#[test]
fn extreme_settings_are_refused_by_name() {
    for (config, field) in extremes() {
        let refused = Circuit::new_at(config.clone(), start()).err();
        assert_eq!(refused.as_ref().map(InvalidConfig::field), field, "{config:?}");
        if let Some(refused) = refused {
            assert!(refused.to_string().starts_with(&format!("`{}` is ", refused.field())), "{refused}");
        }
    }
}

#[test]
fn extreme_settings_that_are_allowed_are_harmless() {
    for (config, _) in extremes().into_iter().filter(|(_, refused)| refused.is_none()) {
        let mut driver = Driver::new(config.clone());
        for round in 0..40_u32 {
            let outcome =
                [Outcome::Failure, Outcome::Abandoned, Outcome::Failure, Outcome::Ignored][round as usize % 4];
            let permits: Vec<Permit> = (0..4).filter_map(|_| driver.admit().ok()).collect();
            driver.wait(secs(1) * round);
            for permit in permits {
                driver.settle(permit, outcome);
            }
            driver.reconfigure(config.clone());
            let _seen = driver.snapshot();
        }
        driver.wait(Duration::from_hours(24 * 365));
        recover(&mut driver, &config);
        driver.circuit.reset();
        driver.call(Outcome::Success);
        assert_eq!(driver.state(), State::Closed, "{config:?}");
    }
}

/// Successes close the circuit, unless its open time is for ever.
fn recover(driver: &mut Driver, config: &Config) {
    let for_ever =
        driver.state() == State::Open && driver.retry_after().is_none() && driver.circuit.check(driver.now).is_err();
    for _ in 0..5_000 {
        driver.wait(driver.retry_after().unwrap_or_default());
        if let Ok(permit) = driver.admit() {
            driver.settle(permit, Outcome::Success);
        }
    }
    assert_eq!(driver.state() == State::Closed, !for_ever, "{config:?}");
}

#[test]
fn moments_at_the_end_of_time_are_harmless() {
    let windows = [Window::Consecutive(2), Window::Last(2), Window::Within(secs(10))];
    for window in windows {
        let config = Config::default().window(window).minimum_calls(2).probes(1);
        let mut driver = Driver::new(config);
        driver.now = last_moment(driver.now);
        driver.calls(2, Outcome::Failure);
        assert_eq!(driver.state(), State::Open, "{window:?}");
        assert!(driver.admit().is_err(), "there is no later moment");
        driver.circuit.reset();
        driver.call(Outcome::Success);
        assert_eq!(driver.state(), State::Closed, "{window:?}");
    }
}

/// The last moment that the clock can count to.
fn last_moment(from: Instant) -> Instant {
    let mut last = from;
    for bit in (0..64).rev() {
        last = last.checked_add(secs(1 << bit)).unwrap_or(last);
    }
    last
}
