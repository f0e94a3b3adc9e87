//! What a call allocates: nothing, until a hedge starts.
//!
//! Run with the features off and on: with `tracing` and no subscriber, with `metrics` and no recorder.

use allocation_counter::measure;
use mainstay_core::Error;
use mainstay_retry::{Budget, BudgetConfig, Cloned, HedgeConfig, HedgeLayer, Hedging, Marked, Pay, Percentile};
use std::{
    convert::Infallible,
    future::{Future, Ready, ready},
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

/// Pending at its first poll.
#[derive(Clone, Copy)]
struct Slow;

impl Service<u32> for Slow {
    type Response = u32;
    type Error = Error<Infallible>;
    type Future = Later;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u32) -> Later {
        Later { request, polled: false }
    }
}

struct Later {
    request: u32,
    polled: bool,
}

impl Future for Later {
    type Output = Answer;

    fn poll(mut self: std::pin::Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Answer> {
        if std::mem::replace(&mut self.polled, true) { Poll::Ready(Ok(self.request)) } else { Poll::Pending }
    }
}

const CALLS: u32 = 1_000;

fn configs() -> [HedgeConfig; 3] {
    let config = HedgeConfig::default().name("allocations");
    [
        config.delay(Duration::ZERO),
        config.delay(Duration::from_secs(1)),
        config.delay(Percentile::default().minimum_samples(1)),
    ]
}

/// How often `act` allocates, once it has run before.
fn allocations(mut act: impl FnMut()) -> u64 {
    act();
    measure(act).count_total
}

fn layer(config: HedgeConfig) -> HedgeLayer<Cloned<Marked>> {
    HedgeLayer::new(config).unwrap().idempotent()
}

fn ask<S: Service<u32, Response = u32, Error = Error<Infallible>>>(service: &mut S, most_polls: usize) -> Answer {
    let mut cx = Context::from_waker(Waker::noop());
    assert!(service.poll_ready(&mut cx).is_ready());
    let mut call = pin!(service.call(1));
    for _ in 0..most_polls {
        if let Poll::Ready(answer) = call.as_mut().poll(&mut cx) {
            return answer;
        }
    }
    panic!("it takes {most_polls} polls");
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| drop(std::hint::black_box(Box::new(1)))), 1);
}

#[test]
fn a_call_that_is_answered_at_once_allocates_nothing() {
    for config in configs() {
        let mut service = layer(config).layer(Leaf);
        assert_eq!(allocations(|| (0..CALLS).for_each(|_| assert_eq!(ask(&mut service, 1), Ok(1)))), 0, "{config:?}");
    }
}

#[test]
fn a_budget_and_a_static_policy_allocate_nothing_either() {
    fn calls<B: Pay>(budget: B) -> u64 {
        let hedging: &'static Hedging = Box::leak(Box::new(Hedging::new(configs()[2]).unwrap()));
        let mut service = HedgeLayer::with_hedging(hedging).idempotent().budget(budget).layer(Leaf);
        allocations(|| (0..CALLS).for_each(|_| assert_eq!(ask(&mut service, 1), Ok(1))))
    }
    let budget = || Budget::new(BudgetConfig::default()).unwrap();
    assert_eq!(calls(Arc::new(budget())), 0);
    let fixed: &'static Budget = Box::leak(Box::new(budget()));
    assert_eq!(calls(fixed), 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_with_its_timer_allocates_nothing() {
    for config in &configs()[1..] {
        let mut service = layer(*config).layer(Slow);
        assert_eq!(allocations(|| (0..CALLS).for_each(|_| assert_eq!(ask(&mut service, 2), Ok(1)))), 0, "{config:?}");
    }
}

#[test]
fn a_hedge_allocates_its_place_and_no_more() {
    let mut service = layer(configs()[0]).layer(Slow);
    assert_eq!(allocations(|| assert_eq!(ask(&mut service, 2), Ok(1))), 2, "a list of one, and a box");
}

#[test]
fn a_plain_call_allocates_nothing() {
    for config in configs() {
        let hedging = Hedging::new(config).unwrap();
        let call = || {
            let answer = pin!(hedging.call(|_| ready(Answer::Ok(1)))).poll(&mut Context::from_waker(Waker::noop()));
            assert_eq!(answer, Poll::Ready(Ok(1)));
        };
        assert_eq!(allocations(|| (0..CALLS).for_each(|_| call())), 0, "{config:?}");
    }
}

#[test]
fn a_clone_of_the_service_or_the_layer_allocates_nothing() {
    let layer = layer(configs()[2]);
    let service = layer.layer(Leaf);
    assert_eq!(allocations(|| drop(std::hint::black_box(service.clone()))), 0);
    assert_eq!(allocations(|| drop(std::hint::black_box(layer.clone().layer(Leaf)))), 0);
    assert_eq!(allocations(|| drop(std::hint::black_box(layer.handle()))), 0);
}

#[test]
fn a_policy_that_has_measured_a_million_calls_holds_no_more_memory() {
    let now = tokio::time::Instant::now().into_std();
    let latencies = mainstay_retry::Latencies::new(Percentile::default(), now).unwrap();
    let info = measure(|| {
        for call in 0..1_000_000_u64 {
            latencies.record(Duration::from_micros(call * call), now + Duration::from_millis(call));
        }
    });
    assert_eq!((info.count_total, info.bytes_current), (0, 0));
    let made = measure(|| drop(std::hint::black_box(latencies.fresh(now))));
    assert!(made.bytes_total < 48 * 1024, "{} bytes", made.bytes_total);
}
