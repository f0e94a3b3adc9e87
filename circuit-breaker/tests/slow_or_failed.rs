//! Slow calls that count as failed.

mod support;

use mainstay_circuit_breaker::{Config, Outcome, State, Window};
use support::{Driver, NANO, counts, secs};

const WINDOWS: [Window; 2] = [Window::Last(100), Window::Within(secs(600))];

/// Half of at least four calls, slow or failed; slow is longer than a second.
fn config(window: Window) -> Config {
    Config::default().window(window).failure_rate(0.5).minimum_calls(4).slow_is_failure(secs(1))
}

#[test]
fn slow_and_failed_calls_open_together() {
    for window in WINDOWS {
        let mut driver = Driver::new(config(window));
        driver.calls(2, Outcome::Success);
        driver.call(Outcome::Failure);
        driver.call_of(secs(2), Outcome::Success);
        assert_eq!(driver.state(), State::Open, "one of each in four, {window:?}");
        assert_eq!(driver.snapshot().votes, counts(4, 2, 1), "the slow one is among the failed, {window:?}");
    }
}

#[test]
fn with_a_rate_of_their_own_neither_of_the_two_would_have_been_enough() {
    for window in WINDOWS {
        let mut driver = Driver::new(config(window).slow(secs(1), 0.5));
        driver.calls(2, Outcome::Success);
        driver.call(Outcome::Failure);
        driver.call_of(secs(2), Outcome::Success);
        assert_eq!((driver.state(), driver.snapshot().votes), (State::Closed, counts(4, 1, 1)), "{window:?}");
    }
}

#[test]
fn a_slow_failure_counts_once() {
    for window in WINDOWS {
        let mut driver = Driver::new(config(window));
        driver.calls(3, Outcome::Success);
        driver.call_of(secs(2), Outcome::Failure);
        assert_eq!((driver.state(), driver.snapshot().votes), (State::Closed, counts(4, 1, 1)), "{window:?}");
    }
}

#[test]
fn slow_is_longer_than_the_threshold_and_not_equal() {
    for window in WINDOWS {
        let mut driver = Driver::new(config(window));
        driver.call_of(secs(1), Outcome::Success);
        assert_eq!(driver.snapshot().votes, counts(1, 0, 0), "{window:?}");
        driver.call_of(secs(1) + NANO, Outcome::Success);
        assert_eq!(driver.snapshot().votes, counts(2, 1, 1), "{window:?}");
    }
}

#[test]
fn slow_calls_alone_open_by_the_failure_rate_and_no_other() {
    for window in WINDOWS {
        // Were there a slow rate too, one of four would reach it.
        let mut driver = Driver::new(config(window).failure_rate(0.75));
        driver.call(Outcome::Success);
        for _ in 0..2 {
            driver.call_of(secs(2), Outcome::Success);
        }
        driver.call(Outcome::Success);
        driver.call_of(secs(2), Outcome::Success);
        assert_eq!((driver.state(), driver.snapshot().votes), (State::Closed, counts(5, 3, 3)), "{window:?}");
        driver.calls(1, Outcome::Failure);
        driver.call_of(secs(2), Outcome::Success);
        driver.call_of(secs(2), Outcome::Success);
        assert_eq!(driver.state(), State::Open, "six of eight, {window:?}");
    }
}

#[test]
fn a_probe_that_succeeds_slowly_has_failed() {
    let config = config(Window::Last(100)).probes(2).failure_rate(0.5);
    let mut driver = Driver::open(config);
    let probe = driver.first_probe();
    driver.wait(secs(2));
    driver.settle(probe, Outcome::Success);
    assert_eq!((driver.state(), driver.snapshot().reopenings), (State::Open, 1));
}

#[test]
fn a_live_change_counts_from_the_next_call_on() {
    let mut driver = Driver::new(config(Window::Last(100)).slow(secs(1), 1.0));
    driver.call(Outcome::Success);
    driver.call_of(secs(2), Outcome::Success);
    driver.reconfigure(config(Window::Last(100)));
    assert_eq!(driver.snapshot().votes, counts(2, 0, 1), "it was cast under other rules");
    driver.call_of(secs(2), Outcome::Success);
    assert_eq!((driver.state(), driver.snapshot().votes), (State::Closed, counts(3, 1, 2)));
    driver.call_of(secs(2), Outcome::Success);
    assert_eq!((driver.state(), driver.snapshot().votes), (State::Open, counts(4, 2, 3)));
}
