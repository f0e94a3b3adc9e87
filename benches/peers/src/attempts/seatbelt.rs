//! The crate `seatbelt`: layers for tower and for its own service trait. It has no budget, and its hedges wait a fixed time.

use super::{ATTEMPTS, BASE, HEDGE_AFTER, INSTEAD, PATIENCE};
use crate::{poll_once, seatbelt_layer};
use layered::Execute;
use mainstay_benches::{Case, Failed, Leaf, PendingLeaf, at_once, call_awaited, runtime};
use mainstay_core::{Error, TimedOut};
use seatbelt::{
    RecoveryInfo, ResilienceContext,
    fallback::{Fallback, FallbackLayer},
    hedging::{Hedging, HedgingLayer},
    retry::{Backoff, Retry, RetryLayer},
    timeout::{Timeout, TimeoutLayer},
    typestates::Set,
};
use std::{sync::Arc, task::Poll};
use tick::Clock;
use tower_layer::Layer;

type Answer = Result<u64, Error<Failed>>;

pub(super) fn cases() -> Vec<Case> {
    // Its clock is made in a runtime, and lives as long.
    let _context = runtime().enter();
    let leaf = || Execute::new(async |number: u64| Answer::Ok(number));
    let cases = [
        at_once("retry/seatbelt", retry().layer(Leaf)),
        layered("retry/seatbelt_layered", retry().layer(leaf())),
        at_once("timeout/seatbelt", timeout().layer(Leaf)),
        layered("timeout/seatbelt_layered", timeout().layer(leaf())),
        at_once("hedge/seatbelt", hedge().layer(Leaf)),
        layered("hedge/seatbelt_layered", hedge().layer(leaf())),
        at_once("fallback_value/seatbelt", value().layer(Leaf)),
        layered("fallback_value/seatbelt_layered", value().layer(leaf())),
        at_once("fallback_function/seatbelt", function().layer(Leaf)),
        layered("fallback_function/seatbelt_layered", function().layer(leaf())),
        at_once("retry_timeout/seatbelt", retry().layer(timeout().layer(Leaf))),
        layered("retry_timeout/seatbelt_layered", retry().layer(timeout().layer(leaf()))),
        at_once("retry_breaker_timeout/seatbelt", retry().layer(seatbelt_layer().layer(timeout().layer(Leaf)))),
        layered(
            "retry_breaker_timeout/seatbelt_layered",
            retry().layer(seatbelt_layer().layer(timeout().layer(leaf()))),
        ),
    ];
    cases.into_iter().map(Case::in_runtime).chain([timeout_awaited(), timeout_awaited_layered()]).collect()
}

fn context() -> ResilienceContext<u64, Answer> {
    ResilienceContext::new(Clock::new_tokio())
}

fn recovery(answer: &Answer) -> RecoveryInfo {
    match answer {
        Ok(_) => RecoveryInfo::never(),
        Err(_) => RecoveryInfo::retry(),
    }
}

fn retry() -> RetryLayer<u64, Answer, Set, Set> {
    Retry::layer("retry", &context())
        .clone_input()
        .recovery_with(|answer, _| recovery(answer))
        .max_retry_attempts(ATTEMPTS - 1)
        .backoff(Backoff::Exponential)
        .base_delay(BASE)
}

fn timeout() -> TimeoutLayer<u64, Answer, Set, Set> {
    Timeout::layer("timeout", &context())
        .timeout_error(|_| TimedOut::new("seatbelt", PATIENCE).into())
        .timeout(PATIENCE)
}

fn hedge() -> HedgingLayer<u64, Answer, Set, Set> {
    Hedging::layer("hedging", &context())
        .clone_input()
        .recovery_with(|answer, _| recovery(answer))
        .hedging_delay(HEDGE_AFTER)
}

fn value() -> FallbackLayer<u64, Answer, Set, Set> {
    Fallback::layer("fallback", &context()).should_fallback(Answer::is_err).fallback_output(Ok(INSTEAD))
}

fn function() -> FallbackLayer<u64, Answer, Set, Set> {
    Fallback::layer("fallback", &context()).should_fallback(Answer::is_err).fallback(|_, _| Ok(INSTEAD))
}

fn layered<S>(name: &str, service: S) -> Case
where
    S: layered::Service<u64, Out = Answer> + 'static,
{
    let service = Arc::new(service);
    Case::new(name, move || {
        let service = Arc::clone(&service);
        move |number| assert_eq!(poll_once(service.execute(number)), Poll::Ready(Ok(number)))
    })
}

fn timeout_awaited() -> Case {
    Case::awaited("timeout_awaited/seatbelt", || {
        let mut service = timeout().layer(PendingLeaf);
        async move |number| assert_eq!(call_awaited(&mut service, number).await, Ok(number))
    })
}

fn timeout_awaited_layered() -> Case {
    Case::awaited("timeout_awaited/seatbelt_layered", || {
        let leaf = Execute::new(async |number: u64| call_awaited(&mut PendingLeaf, number).await);
        let service = timeout().layer(leaf);
        async move |number| assert_eq!(layered::Service::execute(&service, number).await, Ok(number))
    })
}
