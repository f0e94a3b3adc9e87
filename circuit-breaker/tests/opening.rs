//! When a closed circuit opens, and when it does not.

mod support;

use mainstay_circuit_breaker::{Config, Outcome, State, Window};
use std::time::Duration;
use support::{Driver, NANO, counts, five, ms, secs, sequences};

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
