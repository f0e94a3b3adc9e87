//! Clocks, copies and settings at the ends of their ranges.

mod support;

use mainstay_circuit_breaker::{Circuit, Config, OpenFor, Outcome, Permit, State, Window};
use mainstay_core::InvalidConfig;
use std::time::{Duration, Instant};
use support::{Driver, NANO, counts, five, fragile, ms, secs, start};

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
        (base().slow_in_flight(true), Some("slow_in_flight")),
        (base().slow(NANO, 0.5).slow_in_flight(true), None),
        (base().slow(Duration::MAX, 0.5).slow_in_flight(true), None),
        (base().slow_is_failure(NANO).slow_in_flight(true), None),
        (base().slow_is_failure(Duration::ZERO), Some("slow.longer_than")),
        (base().open_on_overload(Duration::ZERO), Some("overload")),
        (base().open_on_overload(NANO), None),
        (base().open_on_overload(Duration::from_hours(1)), None),
        (base().open_on_overload(Duration::from_hours(1) + NANO), Some("overload")),
        (base().gradual([], secs(1)), Some("gradual.shares")),
        (base().gradual([0.5], Duration::ZERO), Some("gradual.stage")),
        (base().gradual([0.5], NANO), None),
        (base().gradual([0.5], Duration::from_hours(24)), None),
        (base().gradual([0.5], Duration::from_hours(24) + NANO), Some("gradual.stage")),
        (base().window(Window::Consecutive(u32::MAX)).gradual([f64::MIN_POSITIVE], NANO).probes(1_000), None),
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
        table.push((base().gradual([bad], secs(1)), Some("gradual.shares")));
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
            let overloaded = Outcome::Overloaded(Some(Duration::MAX));
            let outcome = [Outcome::Failure, Outcome::Abandoned, overloaded, Outcome::Ignored][round as usize % 4];
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
        if driver.state() == State::Recovering {
            driver.wait(Duration::from_hours(24));
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
