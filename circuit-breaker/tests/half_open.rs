//! What a half-open circuit promises: its probes.

mod support;

use mainstay_circuit_breaker::{Config, Outcome, State, Window};
use support::{Driver, NANO, counts, fragile, just_under, secs, sequences};

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
