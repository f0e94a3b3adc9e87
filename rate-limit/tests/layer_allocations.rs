//! What a call through the layers allocates: nothing, admitted or refused.
//!
//! Run with the features off and on: with `tracing` and no subscriber, with `metrics` and no recorder.

use allocation_counter::measure;
use mainstay_core::Error;
use mainstay_rate_limit::{KeyedLimiter, KeyedRateLimitLayer, Limit, LimitLayer, Limiter, Quota, RateLimitLayer, Rule};
use std::{
    convert::Infallible,
    future::{Ready, ready},
    ops::Deref,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};
use tower::{Layer, Service};

#[derive(Clone, Copy)]
struct Leaf;

type Answer = Result<u32, Error<Infallible>>;

impl Service<u32> for Leaf {
    type Response = u32;
    type Error = Error<Infallible>;
    type Future = Ready<Answer>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u32) -> Self::Future {
        ready(Ok(request))
    }
}

const CALLS: u32 = 1_000;

/// How often a thousand calls allocate, and how many of them were admitted. Each is made once before: the first refusal makes what
/// metrics need, the first call of a key its limit.
fn allocations(mut service: impl Service<u32, Response = u32, Error = Error<Infallible>>) -> (u64, u32) {
    let mut admitted = 0;
    let mut calls = || (0..CALLS).for_each(|n| admitted += u32::from(ask(&mut service, n % 4).is_ok()));
    calls();
    let allocations = measure(calls).count_total;
    (allocations, admitted)
}

fn ask(service: &mut impl Service<u32, Response = u32, Error = Error<Infallible>>, request: u32) -> Answer {
    let mut cx = Context::from_waker(Waker::noop());
    assert!(service.poll_ready(&mut cx).is_ready());
    match pin!(service.call(request)).poll(&mut cx) {
        Poll::Ready(answer) => answer,
        Poll::Pending => panic!("the leaf is ready at once"),
    }
}

fn rules(limit: u64) -> [Vec<Rule>; 5] {
    let quota = Quota::per_hour(limit).unwrap();
    let single =
        [Rule::token_bucket(quota), Rule::sliding_log(quota), Rule::sliding_counter(quota), Rule::fixed_window(quota)];
    let [a, b, c, d] = single.map(|rule| vec![rule]);
    [a, b, c, d, single.to_vec()]
}

/// Enough for all calls, or for none but the first.
const LIMITS: [(u64, bool); 2] = [(10_000, true), (1, false)];

#[test]
fn counter_counts() {
    assert_eq!(measure(|| drop(std::hint::black_box(Box::new(1)))).count_total, 1);
}

#[test]
fn call_through_the_layer_allocates_nothing() {
    fn of<H: Deref<Target = Limiter> + Clone>(limiter: H, enough: bool, wait: Option<Duration>) {
        let layer = RateLimitLayer::with_limiter(limiter);
        let (allocations, admitted) = match wait {
            None => allocations(layer.layer(Leaf)),
            Some(wait) => allocations(layer.wait_at_most(wait).layer(Leaf)),
        };
        assert_eq!((allocations, admitted > 1), (0, enough));
    }
    for (limit, enough) in LIMITS {
        for rules in rules(limit) {
            let limiter = || Limiter::new(rules.clone()).unwrap();
            for wait in [None, Some(Duration::ZERO), Some(Duration::from_millis(1))] {
                of(Arc::new(limiter()), enough, wait);
                of(&*Box::leak(Box::new(limiter())), enough, wait);
            }
        }
    }
}

#[test]
fn call_through_the_keyed_layer_allocates_nothing() {
    for (limit, enough) in LIMITS {
        for rules in rules(limit) {
            let limits =
                || Arc::new(KeyedLimiter::<u32>::new(mainstay_rate_limit::Config::from(rules.clone())).unwrap());
            let layer = || RateLimitLayer::keyed_by_value(limits(), |request: &u32| *request);
            let refusing = allocations(layer().layer(Leaf));
            assert_eq!((refusing.0, refusing.1 > 4), (growth(&rules, enough), enough), "{rules:?}");
            let waiting = allocations(layer().wait_at_most(Duration::from_millis(1)).layer(Leaf));
            assert_eq!((waiting.0, waiting.1 > 4), (growth(&rules, enough), enough), "{rules:?}");
        }
    }
}

/// The log of a key takes its memory as it grows.
fn growth(rules: &[Rule], enough: bool) -> u64 {
    let logs = rules.iter().filter(|rule| rule.algorithm() == mainstay_rate_limit::Algorithm::SlidingLog).count();
    if enough { 4 * logs as u64 } else { 0 }
}

#[test]
fn call_by_a_key_that_is_a_part_of_the_request_allocates_nothing() {
    let layer = KeyedRateLimitLayer::new(Quota::per_hour(1).unwrap(), |request: &u32| request).unwrap();
    assert_eq!(allocations(layer.layer(Leaf)), (0, 4));
}

#[test]
fn limit_behind_the_trait_allocates_nothing_if_it_answers_at_once() {
    fn of(limit: impl Limit<u32> + Clone) -> (u64, u32) {
        let key = mainstay_rate_limit::ByValue::new(|request: &u32| *request);
        allocations(LimitLayer::new("limit", limit, key).unwrap().layer(Leaf))
    }
    assert_eq!(of(Arc::new(Limiter::new(Quota::per_hour(1).unwrap()).unwrap())), (0, 1));
    assert_eq!(of(Arc::new(KeyedLimiter::<u32>::new(Quota::per_hour(1).unwrap()).unwrap())), (0, 4));
}

#[test]
fn clones_of_services_and_layers_allocate_nothing() {
    let layer = RateLimitLayer::new(Quota::per_hour(1).unwrap()).unwrap();
    let keyed = KeyedRateLimitLayer::new(Quota::per_hour(1).unwrap(), |request: &u32| request).unwrap();
    let waiting = layer.clone().wait_at_most(Duration::MAX).layer(Leaf);
    let services = (layer.layer(Leaf), keyed.layer(Leaf), waiting);
    let clones = || {
        drop(std::hint::black_box((layer.clone(), keyed.clone())));
        drop(std::hint::black_box(services.clone()));
    };
    assert_eq!(measure(clones).count_total, 0);
}
