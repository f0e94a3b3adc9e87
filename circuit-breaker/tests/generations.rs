//! Results that come late.

mod support;

use mainstay_circuit_breaker::{Config, Outcome, State, Window};
use support::{Driver, counts, five, fragile};

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
