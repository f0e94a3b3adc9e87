//! Does a circuit that was healthy for long still open? `cargo test --release -- --nocapture` prints the table.

use failsafe::CircuitBreaker as _;
use layered::Execute;
use mainstay_benches::{Failed, circuit_breaker::circuit};
use mainstay_circuit_breaker::{Circuit, Clock, Config, Outcome, Window};
use mainstay_core::Error;
use mainstay_peers::{
    SPAN, call_again, failsafe_consecutive, failsafe_within, recloser, seatbelt_layer, seatbelt_rejected,
    tower_resilience_builder, tower_resilience_consecutive,
};
use std::{
    future::{Future, ready},
    pin::pin,
    task::{Context, Poll, Waker},
};
use tower_layer::Layer;
use tower_resilience_circuitbreaker::{CircuitBreakerConfigBuilder, CircuitBreakerError, DefaultClassifier};

const SUCCESSES: u32 = 100_000;
const PATIENCE: u32 = 1_000_000;

/// One call whose service answers as told; whether it was refused.
type Call = Box<dyn FnMut(Result<u64, Failed>) -> bool>;

#[test]
fn a_circuit_that_was_healthy_for_long_still_opens() {
    let ours = |window| mainstay(circuit(Config::default().window(window)));
    let rows: [(&str, Call, Option<u32>); 9] = [
        ("consecutive 5: mainstay", ours(Window::Consecutive(5)), Some(5)),
        ("consecutive 5: failsafe", failsafe(failsafe_consecutive()), Some(5)),
        ("consecutive 5: tower-resilience", tower_resilience(tower_resilience_consecutive()), Some(5)),
        ("half of the last 100: mainstay", ours(Window::Last(100)), Some(50)),
        ("half of the last 100: recloser", recloser_calls(), None),
        ("half of the last 100: tower-resilience", tower_resilience(tower_resilience_builder()), None),
        ("half of 10 s: mainstay", ours(Window::Within(SPAN)), Some(SUCCESSES)),
        ("half of 10 s: seatbelt", seatbelt(), None),
        ("half of 10 s: failsafe", failsafe(failsafe_within()), None),
    ];
    for (name, mut call, expected) in rows {
        let failures = failures_until_refused(&mut call);
        println!("{name:40} {}", failures.map_or(format!("not within {PATIENCE}"), |n| n.to_string()));
        assert!(expected.is_none() || failures == expected, "{name}: {failures:?} instead of {expected:?}");
    }
}

fn failures_until_refused(call: &mut Call) -> Option<u32> {
    for number in 0..SUCCESSES {
        assert!(!call(Ok(number.into())), "nothing has failed");
    }
    (0..PATIENCE).find(|_| call(Err(Failed)))
}

fn mainstay(circuit: Circuit) -> Call {
    Box::new(move |answer| match circuit.admit(Clock) {
        Ok(permit) => {
            circuit.settle(permit, if answer.is_ok() { Outcome::Success } else { Outcome::Failure }, Clock);
            false
        }
        Err(_) => true,
    })
}

fn failsafe<P>(breaker: failsafe::StateMachine<P, ()>) -> Call
where
    P: failsafe::FailurePolicy + Send + Sync + 'static,
{
    Box::new(move |answer| matches!(breaker.call(|| answer), Err(failsafe::Error::Rejected)))
}

fn recloser_calls() -> Call {
    let breaker = recloser();
    Box::new(move |answer| matches!(breaker.call(|| answer), Err(recloser::Error::Rejected)))
}

fn seatbelt() -> Call {
    let leaf = Execute::new(async |number: u64| match number {
        u64::MAX => Err(Error::Inner(Failed)),
        number => Ok(number),
    });
    let service = seatbelt_layer().layer(leaf);
    Box::new(move |answer| {
        let future = pin!(layered::Service::execute(&service, answer.unwrap_or(u64::MAX)));
        let answer = future.poll(&mut Context::from_waker(Waker::noop()));
        answer == Poll::Ready(Err(seatbelt_rejected().into()))
    })
}

fn tower_resilience(builder: CircuitBreakerConfigBuilder<DefaultClassifier>) -> Call {
    let (layer, _handle) = builder.build_with_handle().expect("every setting is in its range");
    let leaf = tower::service_fn(|number| ready(if number == u64::MAX { Err(Failed) } else { Ok(number) }));
    let mut service = layer.layer(leaf);
    Box::new(move |answer| {
        let answer = call_again(&mut service, answer.unwrap_or(u64::MAX));
        matches!(answer, Err(CircuitBreakerError::OpenCircuit))
    })
}
