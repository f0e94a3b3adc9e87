//! What a call allocates: nothing.
//!
//! Run with the features off and on: with `tracing` and no subscriber, with `metrics` and no recorder.

use allocation_counter::measure;
use mainstay_core::Error;
use mainstay_fallback::{FallbackLayer, fallback, fallback_to};
use std::{
    future::{Ready, ready},
    ops::RangeInclusive,
    pin::pin,
    task::{Context, Poll, Waker},
};
use tower::{Layer, Service};

type Answer = Result<u32, Error<()>>;

/// Fails on an even request.
#[derive(Clone, Copy)]
struct Leaf;

impl Service<u32> for Leaf {
    type Response = u32;
    type Error = Error<()>;
    type Future = Ready<Answer>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u32) -> Self::Future {
        ready(if request.is_multiple_of(2) { Err(Error::Inner(())) } else { Ok(request) })
    }
}

const CALLS: u64 = 100;

/// How often `act` allocates, once it has run before.
fn allocations(mut act: impl FnMut()) -> u64 {
    act();
    measure(|| (0..CALLS).for_each(|_| act())).count_total
}

fn poll<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

fn ask(service: &mut impl Service<u32, Response = u32, Error = Error<()>>, request: u32) -> Answer {
    assert!(service.poll_ready(&mut Context::from_waker(Waker::noop())).is_ready());
    match poll(service.call(request)) {
        Poll::Ready(answer) => answer,
        Poll::Pending => panic!("the leaf is ready at once"),
    }
}

/// A failed call that is counted looks its counter up.
const FAILED: RangeInclusive<u64> = if cfg!(feature = "metrics") { 0..=2 * CALLS } else { 0..=0 };

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| drop(std::hint::black_box(Box::new(1)))), CALLS);
}

#[test]
fn no_form_allocates() {
    let mut value = FallbackLayer::value(7).layer(Leaf);
    let mut function = FallbackLayer::function(|_: Answer| Ok(7)).layer(Leaf);
    let mut on_error = FallbackLayer::on_error(|_: Error<()>| 7).layer(Leaf);
    let other = FallbackLayer::service(Leaf).keep(|request: &u32| Some(request + 5));
    let mut other = other.layer(Leaf);
    assert_eq!(allocations(|| assert_eq!(ask(&mut value, 1), Ok(1))), 0);
    assert_eq!(allocations(|| assert_eq!(ask(&mut function, 1), Ok(1))), 0);
    assert_eq!(allocations(|| assert_eq!(ask(&mut on_error, 1), Ok(1))), 0);
    assert_eq!(allocations(|| assert_eq!(ask(&mut other, 1), Ok(1))), 0);
    assert!(FAILED.contains(&allocations(|| assert_eq!(ask(&mut value, 2), Ok(7)))));
    assert!(FAILED.contains(&allocations(|| assert_eq!(ask(&mut function, 2), Ok(7)))));
    assert!(FAILED.contains(&allocations(|| assert_eq!(ask(&mut on_error, 2), Ok(7)))));
    assert!(FAILED.contains(&allocations(|| assert_eq!(ask(&mut other, 2), Ok(7)))));
}

#[test]
fn no_plain_call_allocates() {
    let failed = || ready(Answer::Err(Error::Inner(())));
    assert_eq!(allocations(|| assert_eq!(poll(fallback(failed(), |_| 7)), Poll::Ready(7))), 0);
    let other = || fallback_to(failed(), |_| ready(Ok(7)));
    assert_eq!(allocations(|| assert_eq!(poll(other()), Poll::Ready(Ok(7)))), 0);
}

#[test]
fn a_clone_of_the_service_or_the_layer_allocates_nothing() {
    let layer = FallbackLayer::value(String::from("seven"));
    let service = layer.layer(Leaf);
    assert_eq!(allocations(|| drop(std::hint::black_box((layer.clone(), service.clone())))), 0);
}
