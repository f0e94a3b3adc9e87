//! What a call allocates: nothing.
//!
//! Run with the features off and on: with `tracing` and no subscriber, with `metrics` and no recorder.

use allocation_counter::measure;
use mainstay_circuit_breaker::{Circuit, CircuitBreakerLayer, Config, Guard, OnOpen, Outcome, State, Window};
use mainstay_core::{BoundaryLayer, Error};
use std::{
    convert::Infallible,
    future::{Ready, ready},
    ops::Deref,
    pin::pin,
    sync::{Arc, LazyLock},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
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

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Circuits that refuse, and circuits that are waited for.
fn windows_of_layers() -> impl Iterator<Item = Config> {
    windows().into_iter().flat_map(|config| [config.clone(), config.on_open(OnOpen::Wait)])
}

fn windows() -> [Config; 5] {
    let config = || Config::default().name("allocations");
    [
        config().window(Window::Consecutive(5)),
        config().window(Window::Last(100)),
        config().window(Window::Within(Duration::from_secs(10))),
        config().window(Window::Last(100)).slow(Duration::from_secs(1), 0.5),
        config().window(Window::Last(100)).slow(Duration::from_secs(1), 0.5).slow_in_flight(true),
    ]
}

/// How often `act` allocates, once it has run before.
fn allocations(mut act: impl FnMut()) -> u64 {
    act();
    measure(act).count_total
}

fn answer<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer,
        Poll::Pending => panic!("the leaf is ready at once"),
    }
}

fn ask(service: &mut impl Service<u32, Response = u32, Error = Error<Infallible>>) -> Answer {
    assert!(service.poll_ready(&mut Context::from_waker(Waker::noop())).is_ready());
    answer(service.call(1))
}

fn accepted_by<H: Deref<Target = Circuit> + Clone>(handle: H) -> u64 {
    let mut service = CircuitBreakerLayer::with_circuit(handle).layer(Leaf);
    allocations(|| (0..CALLS).for_each(|_| assert_eq!(ask(&mut service), Ok(1))))
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| drop(std::hint::black_box(Box::new(1)))), 1);
}

#[test]
fn an_accepted_call_through_the_layer_allocates_nothing() {
    for config in windows_of_layers() {
        let circuit = Arc::new(Circuit::new(config.clone()).unwrap());
        assert_eq!(accepted_by(circuit), 0, "{config:?}");
        let circuit: &'static Circuit = Box::leak(Box::new(Circuit::new(config.clone()).unwrap()));
        assert_eq!(accepted_by(circuit), 0, "{config:?}");
    }
}

#[test]
fn a_lazily_made_circuit_allocates_nothing_once_it_is_there() {
    static CIRCUIT: LazyLock<Circuit> = LazyLock::new(|| Circuit::new(Config::default()).unwrap());
    assert_eq!(accepted_by(&*CIRCUIT), 0);
}

#[test]
fn an_accepted_plain_call_allocates_nothing() {
    for config in windows() {
        let circuit = Circuit::new(config.clone()).unwrap();
        let calls = || (0..CALLS).for_each(|n| assert_eq!(answer(circuit.call(|| ready(Answer::Ok(n)))), Ok(n)));
        assert_eq!(allocations(calls), 0, "{config:?}");
    }
}

#[test]
fn permits_and_guards_allocate_nothing_however_they_end() {
    for config in windows() {
        let circuit = Circuit::new(config.clone().failure_rate(1.0)).unwrap();
        let calls = || {
            for _ in 0..CALLS {
                for outcome in [Outcome::Failure, Outcome::Ignored, Outcome::Success] {
                    circuit.settle(circuit.admit(now()).unwrap(), outcome, now());
                }
                drop(Guard::admit(&circuit).unwrap());
                Guard::admit(&circuit).unwrap().settle(Outcome::Success);
            }
        };
        assert_eq!(allocations(calls), 0, "{config:?}");
        assert_eq!(circuit.state(), State::Closed);
    }
}

#[test]
fn a_disabled_and_a_shadowed_circuit_allocate_nothing_either() {
    for config in windows_of_layers() {
        let disabled = Arc::new(Circuit::new(config.clone()).unwrap());
        disabled.disable();
        assert_eq!(accepted_by(disabled), 0, "{config:?}");
        let shadow = Arc::new(Circuit::new(config.clone().shadow(true)).unwrap());
        shadow.isolate();
        assert_eq!(accepted_by(Arc::clone(&shadow)), 0, "{config:?}");
        assert_eq!(shadow.snapshot().refused, 2 * u64::from(CALLS));
    }
}

#[test]
fn a_typed_refusal_allocates_nothing() {
    let circuit = Arc::new(Circuit::new(Config::default().window(Window::Consecutive(1))).unwrap());
    let mut service = CircuitBreakerLayer::with_circuit(Arc::clone(&circuit)).layer(Leaf);
    Guard::admit(&*circuit).unwrap().settle(Outcome::Failure);
    let layer = || (0..CALLS).for_each(|_| assert!(matches!(ask(&mut service), Err(Error::Refused(_)))));
    assert_eq!(allocations(layer), 0);
    let plain = || (0..CALLS).for_each(|_| assert!(answer(circuit.call(|| ready(Answer::Ok(1)))).is_err()));
    assert_eq!(allocations(plain), 0);
    assert_eq!(allocations(|| (0..CALLS).for_each(|_| assert!(circuit.admit(now()).is_err()))), 0);
    assert_eq!(circuit.state(), State::Open);
    circuit.isolate();
    assert_eq!(allocations(|| (0..CALLS).for_each(|_| assert!(circuit.admit(now()).is_err()))), 0);
}

#[test]
fn a_boxed_refusal_allocates_its_box_and_no_more() {
    let layer = CircuitBreakerLayer::new(Config::default()).unwrap();
    let mut service = layer.layer(BoundaryLayer::new().layer(Leaf));
    layer.handle().isolate();
    let call = || {
        assert!(service.poll_ready(&mut Context::from_waker(Waker::noop())).is_ready());
        assert!(answer(service.call(1)).is_err());
    };
    assert_eq!(allocations(call), 1);
}

#[test]
fn a_clone_of_the_service_or_the_layer_allocates_nothing() {
    let layer = CircuitBreakerLayer::new(Config::default()).unwrap();
    let service = layer.layer(Leaf);
    assert_eq!(allocations(|| drop(std::hint::black_box(service.clone()))), 0);
    assert_eq!(allocations(|| drop(std::hint::black_box(layer.clone().layer(Leaf)))), 0);
    assert_eq!(allocations(|| drop(std::hint::black_box(layer.handle()))), 0);
}

#[test]
fn probes_and_the_transitions_around_them_allocate_nothing() {
    let config = Config::default().window(Window::Consecutive(1)).probes(1_000).probe_deadline(Duration::from_hours(1));
    let start = now();
    let circuit = Circuit::new_at(config, start).unwrap();
    let mut permits = Vec::with_capacity(1_000);
    // The first transition of all makes the handles of the metrics.
    circuit.reset();
    let info = measure(|| {
        circuit.settle(circuit.admit(start).unwrap(), Outcome::Failure, start);
        let later = start + Duration::from_secs(30);
        permits.extend((0..1_000).map(|_| circuit.admit(later).unwrap()));
        assert!(circuit.admit(later).is_err());
        assert_eq!(circuit.snapshot_at(later).probes, 1_000);
        // From the middle outwards, so that neither end of the queue is always the one that leaves.
        while !permits.is_empty() {
            circuit.settle(permits.swap_remove(permits.len() / 2), Outcome::Success, later);
        }
    });
    assert_eq!((info.count_total, circuit.state()), (0, State::Closed));
}

#[test]
fn calls_in_flight_and_the_stages_of_a_recovery_allocate_nothing() {
    let config = Config::default().probes(1).minimum_calls(100).slow(Duration::from_secs(1), 0.5).slow_in_flight(true);
    let mut time = now();
    let circuit = Circuit::new_at(config.gradual([0.5, 0.6, 0.7], Duration::from_secs(2)), time).unwrap();
    let mut permits = Vec::with_capacity(1_000);
    // The first transition of all makes the handles of the metrics.
    circuit.reset();
    let info = measure(|| {
        for _ in 0..100 {
            time += Duration::from_millis(7);
            permits.extend((0..10).map(|_| circuit.admit(time).unwrap()));
        }
        time += Duration::from_secs(2);
        assert!(circuit.admit(time).is_err());
        time += Duration::from_secs(30);
        for _ in 0..4 {
            circuit.settle(circuit.admit(time).unwrap(), Outcome::Success, time);
            // By chance: some are admitted, the others refused.
            permits.clear();
            permits.extend((0..200).filter_map(|_| circuit.admit(time).ok()));
            permits.drain(..).for_each(|permit| circuit.settle(permit, Outcome::Success, time));
            time += Duration::from_secs(2);
        }
    });
    assert_eq!(info.count_total, 0);
    assert_eq!(circuit.state(), State::Closed);
}

#[test]
fn the_memory_of_calls_in_flight_is_fixed_however_many_there_are() {
    let time = now();
    // Buckets that last no time at all: each call would have one of its own.
    let config = Config::default().slow(Duration::from_nanos(1), 0.5).slow_in_flight(true);
    let circuit = Circuit::new_at(config, time).unwrap();
    let mut held = Vec::with_capacity(1_000);
    let info = measure(|| held.extend((0..1_000).map(|_| circuit.admit(time).unwrap())));
    assert_eq!((info.count_total, circuit.snapshot_at(time).in_flight), (0, 1_000));
}

#[test]
fn a_circuit_that_has_served_a_million_calls_holds_no_more_memory() {
    for config in windows() {
        let circuit = Circuit::new(config).unwrap();
        let info = measure(|| {
            for _ in 0..1_000_000 {
                circuit.settle(circuit.admit(now()).unwrap(), Outcome::Success, now());
            }
        });
        assert_eq!((info.count_total, info.bytes_current), (0, 0));
    }
}
