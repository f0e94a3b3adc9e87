//! The crate `failsafe`: wraps a closure or a future.

use crate::{DAY, SPAN, poll_once};
use failsafe::{
    CircuitBreaker, Config, Error, FailurePolicy, StateMachine, backoff,
    failure_policy::{self, ConsecutiveFailures, SuccessRateOverTimeWindow},
    futures::CircuitBreaker as AsyncCircuitBreaker,
};
use mainstay_benches::{Case, Failed};
use std::{future::ready, task::Poll};

/// Five failures in a row.
pub fn consecutive() -> StateMachine<ConsecutiveFailures<backoff::Constant>, ()> {
    Config::new().failure_policy(failure_policy::consecutive_failures(5, backoff::constant(DAY))).build()
}

/// Half of the calls of ten seconds, as a moving average; judged from the tenth second on.
pub fn within() -> StateMachine<SuccessRateOverTimeWindow<backoff::Constant>, ()> {
    let policy = failure_policy::success_rate_over_time_window(0.5, 20, SPAN, backoff::constant(DAY));
    Config::new().failure_policy(policy).build()
}

pub(crate) fn cases() -> Vec<Case> {
    vec![
        closed("consecutive/failsafe", consecutive()),
        closed_async("consecutive/failsafe_async", consecutive()),
        closed("within_10s/failsafe", within()),
        closed_async("within_10s/failsafe_async", within()),
        open(),
    ]
}

fn closed<P>(name: &str, breaker: StateMachine<P, ()>) -> Case
where
    P: FailurePolicy + Send + Sync + 'static,
{
    Case::new(name, move || {
        let breaker = breaker.clone();
        move |number| {
            let answer = CircuitBreaker::call(&breaker, || Ok::<_, Failed>(number));
            assert!(matches!(answer, Ok(answer) if answer == number));
        }
    })
}

fn closed_async<P>(name: &str, breaker: StateMachine<P, ()>) -> Case
where
    P: FailurePolicy + Send + Sync + 'static,
{
    Case::new(name, move || {
        let breaker = breaker.clone();
        move |number| {
            let answer = poll_once(AsyncCircuitBreaker::call(&breaker, ready(Ok::<_, Failed>(number))));
            assert!(matches!(answer, Poll::Ready(Ok(answer)) if answer == number));
        }
    })
}

fn open() -> Case {
    let breaker = consecutive();
    for _ in 0..5 {
        let _ = CircuitBreaker::call(&breaker, || Err::<u64, _>(Failed));
    }
    Case::new("open/failsafe", move || {
        let breaker = breaker.clone();
        move |number| {
            let answer = CircuitBreaker::call(&breaker, || Ok::<_, Failed>(number));
            assert!(matches!(answer, Err(Error::Rejected)));
        }
    })
}
