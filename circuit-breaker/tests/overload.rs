//! A service that says it is overloaded, and for how long.

mod support;

use mainstay_circuit_breaker::{Circuit, Config, OpenFor, Outcome, Permit, State, Window};
use mainstay_core::{Class, Error, Failure, classify_fn, lift};
use std::{future::ready, sync::Arc, time::Duration};
use support::{Driver, NANO, counts, five, fragile, just_under, ms, secs};

const CAP: Duration = secs(60);

fn overloaded(time: Duration) -> Outcome {
    Outcome::Overloaded(Some(time))
}

/// Opens at the fifth failure, or at once; never jittered, unless it is told for how long to open.
fn heard() -> [Config; 4] {
    five().map(|config| config.jitter(1.0).open_on_overload(CAP))
}

#[test]
fn a_classified_overload_keeps_its_time() {
    let overload = |retry_after| Outcome::from(Class::Failure(Failure::Overloaded { retry_after }));
    assert_eq!(overload(Some(secs(7))), overloaded(secs(7)));
    assert_eq!(overload(None), Outcome::Overloaded(None));
    assert_eq!(Outcome::from(Class::Failure(Failure::Permanent)), Outcome::Failure);
}

#[test]
fn one_overload_opens_for_as_long_as_the_service_asked() {
    for config in heard() {
        for asked in [NANO, ms(1), secs(7), just_under(CAP), CAP] {
            let mut driver = Driver::new(config.clone());
            driver.calls(3, Outcome::Success);
            driver.call(overloaded(asked));
            let seen = driver.snapshot();
            assert_eq!((seen.state, seen.retry_after, seen.reopenings), (State::Open, Some(asked), 0), "{config:?}");
            driver.wait(just_under(asked));
            assert_eq!(driver.admit().unwrap_err().retry_after(), Some(NANO), "not a moment earlier, jitter or not");
            driver.wait(NANO);
            assert!(driver.take().is_probe());
        }
    }
}

#[test]
fn no_service_shuts_itself_off_for_longer_than_the_cap() {
    for asked in [CAP + NANO, Duration::MAX] {
        let driver = Driver::new(Config::default().open_on_overload(CAP));
        driver.call(overloaded(asked));
        assert_eq!(driver.retry_after(), Some(CAP));
    }
}

#[test]
fn the_overload_is_a_vote_as_well() {
    for config in heard() {
        let driver = Driver::new(config.clone());
        driver.call(Outcome::Failure);
        driver.call(overloaded(secs(1)));
        assert_eq!(driver.snapshot().votes, counts(2, 2, 0), "{config:?}");
    }
}

#[test]
fn without_the_setting_or_without_a_time_it_is_a_failure_like_others() {
    for config in five() {
        let plain = Driver::new(config.clone().open_for(secs(99)));
        plain.calls(4, overloaded(secs(1)));
        assert_eq!((plain.state(), plain.snapshot().votes.failed), (State::Closed, 4), "{config:?}");
        plain.call(overloaded(secs(1)));
        assert_eq!((plain.state(), plain.retry_after()), (State::Open, Some(secs(99))), "{config:?}");

        for no_time in [None, Some(Duration::ZERO)] {
            let driver = Driver::new(config.clone().open_on_overload(CAP).open_for(secs(99)));
            driver.calls(4, Outcome::Overloaded(no_time));
            assert_eq!(driver.state(), State::Closed, "{no_time:?}, {config:?}");
            driver.call(Outcome::Overloaded(no_time));
            assert_eq!((driver.state(), driver.retry_after()), (State::Open, Some(secs(99))), "{no_time:?}");
        }
    }
}

#[test]
fn the_word_of_the_service_counts_when_the_rate_is_reached_too() {
    for config in heard() {
        let driver = Driver::new(config.clone().open_for(secs(99)));
        driver.calls(4, Outcome::Failure);
        driver.call(overloaded(secs(2)));
        assert_eq!((driver.state(), driver.retry_after()), (State::Open, Some(secs(2))), "{config:?}");
    }
}

#[test]
fn a_probe_that_meets_an_overload_opens_again_and_open_times_grow() {
    let growing = OpenFor::Growing { first: secs(10), factor: 2.0, max: secs(1_000) };
    let config = fragile().open_for(growing).probes(3).failure_rate(1.0).open_on_overload(CAP);
    let (mut driver, probe) = Driver::half_open(config);
    driver.settle(probe, overloaded(secs(3)));
    let seen = driver.snapshot();
    assert_eq!((seen.state, seen.reopenings, seen.retry_after), (State::Open, 1, Some(secs(3))), "one of three");

    let probes: Vec<Permit> = [driver.first_probe()].into_iter().chain((0..2).map(|_| driver.take())).collect();
    for probe in probes {
        driver.settle(probe, Outcome::Failure);
    }
    assert_eq!(driver.retry_after(), Some(secs(40)), "the second re-opening, by its own time");
}

#[test]
fn an_overload_of_an_earlier_generation_changes_nothing() {
    let mut driver = Driver::new(fragile().open_on_overload(CAP));
    let late: Vec<Permit> = (0..3).map(|_| driver.take()).collect();
    driver.fail_until_open();
    let mut late = late.into_iter();
    let mut settle_late = |driver: &Driver| {
        let before = driver.snapshot();
        driver.settle(late.next().unwrap(), overloaded(secs(9)));
        assert_eq!(driver.snapshot(), before);
    };
    settle_late(&driver);
    let probe = driver.first_probe();
    settle_late(&driver);
    driver.settle(probe, Outcome::Success);
    settle_late(&driver);
}

#[test]
fn a_live_change_of_the_cap_applies_to_the_present_opening() {
    let config = fragile().open_for(secs(99)).open_on_overload(CAP);
    let mut driver = Driver::new(config.clone());
    driver.call(overloaded(secs(50)));
    driver.wait(secs(10));
    for (changed, left) in [
        (config.clone().open_for(secs(11)), 40),
        (config.clone().open_on_overload(secs(30)), 20),
        (config.clone().open_on_overload(secs(3_600)), 40),
        (fragile().open_for(secs(99)), 89),
    ] {
        driver.reconfigure(changed.clone());
        assert_eq!((driver.state(), driver.retry_after()), (State::Open, Some(secs(left))), "{changed:?}");
    }
}

#[test]
fn in_shadow_mode_an_overload_opens_and_refuses_nothing() {
    let driver = Driver::new(Config::default().open_on_overload(CAP).shadow(true));
    driver.call(overloaded(secs(5)));
    assert_eq!((driver.state(), driver.retry_after()), (State::Open, Some(secs(5))));
    driver.calls(3, overloaded(secs(50)));
    assert_eq!((driver.retry_after(), driver.snapshot().refused), (Some(secs(5)), 3));
}

#[test]
fn an_overload_can_also_be_slow() {
    let config = Config::default().window(Window::Last(10)).slow(secs(1), 1.0).open_on_overload(CAP);
    let mut driver = Driver::new(config);
    driver.call_of(secs(2), overloaded(secs(5)));
    assert_eq!((driver.state(), driver.snapshot().votes), (State::Open, counts(1, 1, 1)));
}

// ===== through the shell =====

#[derive(Debug, PartialEq)]
struct TooMany(u64);

#[tokio::test(start_paused = true)]
async fn what_the_classifier_reads_opens_the_circuit_of_a_call() {
    let circuit = Circuit::new(Config::default().open_on_overload(CAP)).expect("the configuration is valid");
    let read = Arc::new(classify_fn(|result: Result<&(), &Error<TooMany>>| match result {
        Ok(()) => Class::Success,
        Err(Error::Inner(TooMany(asked))) => Class::Failure(Failure::Overloaded { retry_after: Some(secs(*asked)) }),
        Err(_) => Class::Failure(Failure::Transient),
    }));
    let answer = circuit.call_classified(read.clone(), || lift(ready(Err(TooMany(7))))).await;
    assert_eq!(answer, Err(Error::Inner(TooMany(7))));

    let Err(Error::Refused(refused)) = circuit.call_classified(read.clone(), || lift(ready(Ok(())))).await else {
        panic!("the circuit is open")
    };
    assert_eq!(refused.retry_after(), Some(secs(7)));
    tokio::time::advance(secs(7)).await;
    assert_eq!(circuit.call_classified(read.clone(), || lift(ready(Ok(())))).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn an_overload_that_readiness_tells_opens_at_once_too() {
    use mainstay_core::{Class, Error, Failure, classify_fn};
    use std::task::{Context, Poll, Waker};
    use tower::{Layer, Service};

    #[derive(Clone)]
    struct Overloaded;

    impl Service<()> for Overloaded {
        type Response = ();
        type Error = Error<&'static str>;
        type Future = std::future::Ready<Result<(), Self::Error>>;

        fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
            Poll::Ready(Err(Error::Inner("come back in five seconds")))
        }

        fn call(&mut self, (): ()) -> Self::Future {
            unreachable!("it is never ready")
        }
    }

    let wait = Some(Duration::from_secs(5));
    let classify = classify_fn(move |_: Result<&(), &Error<&'static str>>| {
        Class::Failure(Failure::Overloaded { retry_after: wait })
    });
    let config = Config::default().open_on_overload(Duration::from_secs(60));
    let layer = mainstay_circuit_breaker::CircuitBreakerLayer::new(config).unwrap().classify(classify);
    let circuit = layer.handle();
    let _ = layer.layer(Overloaded).poll_ready(&mut Context::from_waker(Waker::noop()));

    assert_eq!((circuit.state(), circuit.snapshot().retry_after), (State::Open, wait));
}
