//! The word and the lock, in every order that two threads can bring about.
//!
//! Each model names the results that the threads have when one goes after the other, or step by step. What they do at
//! once must have one of these results, and each of them must be met: a model that tries too few orders fails as well.

use crate::{Circuit, Config, Outcome, Permit, State, Window};
use loom::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
    thread,
};
use std::{
    collections::HashSet,
    fmt::Debug,
    hash::Hash,
    sync::Mutex,
    time::{Duration, Instant},
};

const OPEN_FOR: Duration = Duration::from_secs(30);
const NANO: Duration = Duration::from_nanos(1);
const JUST_UNDER: Duration = OPEN_FOR.saturating_sub(NANO);

/// Runs the model in all orders; its results have to be these, no more and no fewer.
fn results_are<T, const N: usize>(expected: [T; N], model: impl Fn() -> T + Send + Sync + 'static)
where
    T: Debug + Eq + Hash + Send + 'static,
{
    // Of std, because it belongs to all runs together.
    let met = std::sync::Arc::new(Mutex::new(HashSet::new()));
    let results = met.clone();
    loom::model(move || {
        let result = model();
        results.lock().unwrap().insert(result);
    });
    assert_eq!(*met.lock().unwrap(), HashSet::from(expected));
}

fn start() -> Instant {
    tokio::time::Instant::now().into_std()
}

fn config(window: Window) -> Config {
    Config::default().window(window).failure_rate(1.0).minimum_calls(2).probes(1).open_for(OPEN_FOR).seed(0)
}

fn circuit(config: Config, now: Instant) -> Arc<Circuit> {
    Arc::new(Circuit::new_at(config, now).unwrap())
}

/// A circuit that opened `now`.
fn open_circuit(config: Config, now: Instant) -> Arc<Circuit> {
    let circuit = circuit(config, now);
    while circuit.state() == State::Closed {
        call(&circuit, Outcome::Failure, now);
    }
    circuit
}

fn take(circuit: &Circuit, now: Instant) -> Permit {
    circuit.admit(now).unwrap()
}

fn call(circuit: &Circuit, outcome: Outcome, now: Instant) {
    circuit.settle(take(circuit, now), outcome, now);
}

/// Runs both at once.
fn race<A: 'static, B>(
    circuit: &Arc<Circuit>,
    one: impl FnOnce(&Circuit) -> A + 'static,
    other: impl FnOnce(&Circuit) -> B,
) -> (A, B) {
    let shared = circuit.clone();
    let thread = thread::spawn(move || one(&shared));
    let other = other(circuit);
    (thread.join().unwrap(), other)
}

/// The state, and the failures in the window.
fn state_and_failures(circuit: &Circuit, now: Instant) -> (State, u64) {
    let seen = circuit.snapshot_at(now);
    assert_eq!(seen.state, circuit.state(), "the word says what the machine says");
    (seen.state, seen.votes.failed)
}

#[test]
fn loom_the_last_probe_slot_is_given_once() {
    results_are([(true, false), (false, true)], || {
        let now = start();
        let end = now + OPEN_FOR;
        let circuit = open_circuit(config(Window::Consecutive(1)).probes(2), now);
        let _first = take(&circuit, end);
        // Both are silent: what they took they keep.
        let is_admitted = move |circuit: &Circuit| circuit.admit(end).is_ok();
        let admitted = race(&circuit, is_admitted, is_admitted);
        let seen = circuit.snapshot_at(end);
        assert_eq!((seen.state, seen.probes, seen.refused), (State::HalfOpen, 2, 1));
        admitted
    });
}

#[test]
fn loom_the_end_of_an_opening_lets_one_probe_through_at_a_time() {
    results_are([0, 1], || {
        let now = start();
        let end = now + OPEN_FOR;
        let circuit = open_circuit(config(Window::Consecutive(1)), now);
        let out = Arc::new(AtomicU32::new(0));
        let probe = |out: Arc<AtomicU32>| {
            move |circuit: &Circuit| {
                if let Ok(permit) = circuit.admit(end) {
                    assert_eq!(out.fetch_add(1, SeqCst), 0, "the only probe");
                    out.fetch_sub(1, SeqCst);
                    circuit.settle(permit, Outcome::Abandoned, end);
                }
            }
        };
        race(&circuit, probe(out.clone()), probe(out));
        let seen = circuit.snapshot_at(end);
        assert_eq!((seen.state, seen.generation, seen.probes), (State::HalfOpen, 2, 0));
        seen.refused
    });
}

#[test]
fn loom_a_success_ends_no_row_of_failures_that_came_after_it() {
    results_are([(State::Open, 2), (State::Closed, 1)], || {
        let now = start();
        let circuit = circuit(config(Window::Consecutive(2)), now);
        let success = take(&circuit, now);
        let failures = [take(&circuit, now), take(&circuit, now)];
        race(
            &circuit,
            move |circuit| circuit.settle(success, Outcome::Success, now),
            |circuit| failures.into_iter().for_each(|permit| circuit.settle(permit, Outcome::Failure, now)),
        );
        state_and_failures(&circuit, now)
    });
}

#[test]
fn loom_failures_of_two_threads_are_one_row() {
    // The success may come between the failures or before both, not after both.
    results_are([(State::Open, 2), (State::Closed, 1)], || {
        let now = start();
        let circuit = circuit(config(Window::Consecutive(2)), now);
        let (success, first, second) = (take(&circuit, now), take(&circuit, now), take(&circuit, now));
        race(
            &circuit,
            move |circuit| {
                circuit.settle(success, Outcome::Success, now);
                circuit.settle(first, Outcome::Failure, now);
            },
            |circuit| circuit.settle(second, Outcome::Failure, now),
        );
        state_and_failures(&circuit, now)
    });
}

#[test]
fn loom_a_success_that_lost_to_a_trip_does_not_clear_what_tripped() {
    results_are([(State::Open, 2), (State::Closed, 1)], || {
        let now = start();
        let circuit = circuit(config(Window::Consecutive(2)), now);
        let (success, failure) = (take(&circuit, now), take(&circuit, now));
        call(&circuit, Outcome::Failure, now);
        race(
            &circuit,
            move |circuit| circuit.settle(success, Outcome::Success, now),
            |circuit| circuit.settle(failure, Outcome::Failure, now),
        );
        state_and_failures(&circuit, now)
    });
}

#[test]
fn loom_a_stale_result_changes_nothing_while_the_circuit_changes() {
    for outcome in [Outcome::Success, Outcome::Abandoned] {
        for window in [Window::Consecutive(2), Window::Last(3), Window::Within(OPEN_FOR)] {
            results_are([(State::Closed, 1)], move || {
                let now = start();
                let circuit = circuit(config(window), now);
                let stale = take(&circuit, now);
                call(&circuit, Outcome::Failure, now);
                race(
                    &circuit,
                    // What came before the reset is forgotten by it.
                    move |circuit| circuit.settle(stale, outcome, now),
                    |circuit| {
                        circuit.reset();
                        call(circuit, Outcome::Failure, now);
                    },
                );
                let seen = circuit.snapshot_at(now);
                assert_eq!((seen.generation, seen.votes.calls, seen.abandoned), (1, 1, 0));
                state_and_failures(&circuit, now)
            });
        }
    }
}

#[test]
fn loom_a_late_failure_does_not_open_what_was_reset() {
    // If it came before the reset, it opened the circuit: one transition more.
    results_are([(State::Closed, 1), (State::Closed, 2)], || {
        let now = start();
        let circuit = circuit(config(Window::Consecutive(2)), now);
        let late = take(&circuit, now);
        call(&circuit, Outcome::Failure, now);
        race(
            &circuit,
            move |circuit| circuit.settle(late, Outcome::Failure, now),
            |circuit| {
                circuit.reset();
                call(circuit, Outcome::Failure, now);
            },
        );
        let seen = circuit.snapshot_at(now);
        assert_eq!(seen.votes.failed, 1);
        (seen.state, seen.generation)
    });
}

#[test]
fn loom_who_sees_an_open_circuit_sees_when_it_ends() {
    let expected = [(State::Closed, None), (State::Closed, Some(NANO)), (State::Open, Some(NANO))];
    results_are(expected, || {
        let now = start();
        let just_before = now + JUST_UNDER;
        let circuit = circuit(config(Window::Consecutive(1)), now);
        let failure = take(&circuit, now);
        let ((), result) = race(
            &circuit,
            move |circuit| circuit.settle(failure, Outcome::Failure, now),
            |circuit| {
                let seen = circuit.state();
                let refused = circuit.admit(just_before).err();
                (seen, refused.map(|refused| refused.retry_after().expect("an opening that ends")))
            },
        );
        result
    });
}

#[test]
fn loom_nobody_is_admitted_before_the_end_of_a_second_opening() {
    let expected = [(State::HalfOpen, None), (State::HalfOpen, Some(NANO)), (State::Open, Some(NANO))];
    results_are(expected, move || {
        let now = start();
        let again = now + OPEN_FOR;
        let just_before = again + JUST_UNDER;
        let circuit = open_circuit(config(Window::Consecutive(1)), now);
        let probe = take(&circuit, again);
        let ((), result) = race(
            &circuit,
            move |circuit| circuit.settle(probe, Outcome::Failure, again),
            |circuit| {
                let seen = circuit.state();
                (seen, circuit.admit(just_before).unwrap_err().retry_after())
            },
        );
        assert!(take(&circuit, again + OPEN_FOR).is_probe());
        result
    });
}

#[test]
fn loom_a_shorter_open_time_is_seen_by_all_who_come_after_it() {
    results_are([None, Some(Duration::from_secs(29))], || {
        let now = start();
        let soon = now + Duration::from_secs(1);
        let circuit = open_circuit(config(Window::Consecutive(1)), now);
        let ((), refused) = race(
            &circuit,
            move |circuit| {
                let shorter = circuit.config().open_for(Duration::from_secs(1));
                circuit.reconfigure_at(shorter, now).unwrap();
                assert!(circuit.check(soon).is_ok(), "it sees its own change");
            },
            |circuit| circuit.check(soon).err(),
        );
        assert!(take(&circuit, soon).is_probe());
        refused.map(|refused| refused.retry_after().unwrap())
    });
}

#[test]
fn loom_a_success_loses_no_vote_to_a_live_change() {
    for window in [Window::Last(3), Window::Within(OPEN_FOR)] {
        results_are([1], move || {
            let now = start();
            let circuit = circuit(config(window), now);
            let success = take(&circuit, now);
            race(
                &circuit,
                move |circuit| circuit.settle(success, Outcome::Success, now),
                |circuit| {
                    let timed = circuit.config().slow(Duration::from_secs(1), 1.0);
                    circuit.reconfigure_at(timed, now).unwrap();
                },
            );
            circuit.snapshot_at(now).votes.calls
        });
    }
}

#[test]
fn loom_a_success_ends_a_row_whose_length_changes() {
    results_are([(State::Closed, 0)], || {
        let now = start();
        let circuit = circuit(config(Window::Consecutive(3)), now);
        let success = take(&circuit, now);
        call(&circuit, Outcome::Failure, now);
        race(
            &circuit,
            move |circuit| circuit.settle(success, Outcome::Success, now),
            |circuit| {
                let longer = circuit.config().window(Window::Consecutive(5)).shadow(true);
                circuit.reconfigure_at(longer, now).unwrap();
            },
        );
        state_and_failures(&circuit, now)
    });
}

#[test]
fn loom_a_success_meets_the_window_that_is_there() {
    for window in [Window::Last(3), Window::Within(OPEN_FOR)] {
        // One vote if the success came before the change, two if after it.
        results_are([(1, 1), (2, 1)], move || {
            let now = start();
            let circuit = circuit(config(Window::Consecutive(3)), now);
            let success = take(&circuit, now);
            call(&circuit, Outcome::Failure, now);
            race(
                &circuit,
                move |circuit| circuit.settle(success, Outcome::Success, now),
                |circuit| {
                    circuit.reconfigure_at(circuit.config().window(window), now).unwrap();
                    call(circuit, Outcome::Failure, now);
                },
            );
            let votes = circuit.snapshot_at(now).votes;
            (votes.calls, votes.failed)
        });
    }
}

#[test]
fn loom_a_circuit_opens_once_and_its_watchers_see_it() {
    for window in [Window::Consecutive(2), Window::Last(2), Window::Within(OPEN_FOR)] {
        results_are([(State::Open, 2)], move || {
            let now = start();
            let circuit = circuit(config(window), now);
            let (one, other) = (take(&circuit, now), take(&circuit, now));
            race(
                &circuit,
                move |circuit| circuit.settle(one, Outcome::Failure, now),
                |circuit| circuit.settle(other, Outcome::Failure, now),
            );
            let status = *circuit.watch().borrow();
            assert_eq!((status.state, status.generation), (State::Open, 1));
            state_and_failures(&circuit, now)
        });
    }
}

#[test]
fn loom_watchers_end_with_the_latest_state() {
    results_are([State::Isolated, State::Disabled], || {
        let now = start();
        let circuit = circuit(config(Window::Consecutive(1)), now);
        race(&circuit, Circuit::isolate, Circuit::disable);
        let seen = circuit.snapshot_at(now);
        let status = *circuit.watch().borrow();
        assert_eq!((status.state, status.generation), (seen.state, 2));
        seen.state
    });
}

/// Calls that are longer than a second are slow, in flight too.
fn in_flight() -> Config {
    config(Window::Last(9)).slow(Duration::from_secs(1), 1.0).slow_in_flight(true)
}

#[test]
fn loom_a_call_in_flight_votes_once() {
    // As failed if it ended before it was found, and as slow in any case.
    results_are([(1, 1), (1, 0)], || {
        let now = start();
        let later = now + Duration::from_secs(2);
        let circuit = circuit(in_flight(), now);
        let silent = take(&circuit, now);
        let (_, _other) = race(
            &circuit,
            move |circuit| circuit.settle(silent, Outcome::Failure, later),
            |circuit| take(circuit, later),
        );
        let seen = circuit.snapshot_at(later);
        assert_eq!((seen.in_flight, seen.overdue, seen.votes.slow), (1, 0, 1));
        (seen.votes.calls, seen.votes.failed)
    });
}

#[test]
fn loom_a_call_is_in_flight_in_its_own_generation_only() {
    results_are([(0, 0), (1, 1)], || {
        let now = start();
        let circuit = circuit(in_flight(), now);
        let (permit, ()) = race(&circuit, move |circuit| take(circuit, now), Circuit::reset);
        let in_flight = circuit.snapshot_at(now).in_flight;
        circuit.settle(permit, Outcome::Success, now);
        let seen = circuit.snapshot_at(now);
        assert_eq!(seen.in_flight, 0);
        (in_flight, seen.votes.calls)
    });
}

#[test]
fn loom_a_call_is_not_in_flight_of_a_circuit_that_was_isolated() {
    results_are([true, false], || {
        let now = start();
        let circuit = circuit(in_flight(), now);
        let (admitted, ()) = race(&circuit, move |circuit| circuit.admit(now).is_ok(), Circuit::isolate);
        let seen = circuit.snapshot_at(now);
        assert_eq!((seen.state, seen.in_flight), (State::Isolated, 0));
        admitted
    });
}

#[test]
fn loom_a_stage_begins_once_and_has_one_first_call() {
    results_are([(true, false), (false, true)], || {
        let now = start();
        let end = now + OPEN_FOR;
        let config = config(Window::Consecutive(1)).gradual([f64::MIN_POSITIVE, 0.5], OPEN_FOR);
        let circuit = open_circuit(config, now);
        call(&circuit, Outcome::Success, end);
        call(&circuit, Outcome::Success, end);
        let is_first = move |circuit: &Circuit| circuit.admit(end + OPEN_FOR).is_ok_and(|permit| permit.is_probe());
        let first = race(&circuit, is_first, is_first);
        let seen = circuit.snapshot_at(end + OPEN_FOR);
        assert_eq!((seen.state, seen.stage, seen.generation, seen.probes), (State::Recovering, Some(1), 4, 1));
        first
    });
}
