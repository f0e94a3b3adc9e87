//! What a live change of the configuration keeps.

mod support;

use mainstay_circuit_breaker::{Config, OpenFor, Outcome, State, Window};
use support::{Driver, counts, fragile, secs, sequences};

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

#[test]
fn a_new_seed_is_the_one_that_jitters_from_then_on() {
    let config = fragile().jitter(1.0);
    let changed = Driver::new(config.clone().seed(1));
    changed.reconfigure(config.clone().seed(2));
    let made = Driver::new(config.seed(2));
    changed.fail_until_open();
    made.fail_until_open();
    assert_eq!(changed.retry_after(), made.retry_after());
}
