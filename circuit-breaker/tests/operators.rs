//! What operators command, and the shadow mode.

mod support;

use mainstay_circuit_breaker::{Outcome, State};
use std::time::Duration;
use support::{Driver, counts, five, fragile, secs};

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
    let (recovering, probe) = Driver::half_open(fragile().gradual([0.5], secs(1)));
    recovering.settle(probe, Outcome::Success);
    for driver in [Driver::new(fragile()), Driver::open(fragile()), probing, recovering, disabled] {
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
