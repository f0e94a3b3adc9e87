//! How long a circuit stays open.

mod support;

use mainstay_circuit_breaker::{OpenFor, Outcome, State};
use std::time::Duration;
use support::{Driver, NANO, fragile, just_under, secs};

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
