//! The cases of the circuit breaker.

use crate::{Case, Leaf, call};
use mainstay_circuit_breaker::{
    Circuit, CircuitBreakerLayer, Circuits, Clock, Config, KeyedCircuitBreakerLayer, Outcome, Throttle, ThrottleConfig,
    ThrottleLayer, Window,
};
use mainstay_core::{AnyError, Error, Now, Reason, lift};
use std::{
    collections::VecDeque,
    future::{Future, ready},
    ops::Deref,
    pin::pin,
    sync::{Arc, LazyLock},
    task::{Context, Poll, Waker},
    time::Duration,
};
use tower_layer::Layer;

/// The windows by name, and one that also measures how long each call takes.
pub fn configs() -> [(&'static str, Config); 4] {
    [
        ("consecutive", Config::default().window(Window::Consecutive(5))),
        ("last_100", Config::default().window(Window::Last(100))),
        ("within_10s", Config::default().window(Window::Within(Duration::from_secs(10)))),
        ("last_100_slow", Config::default().window(Window::Last(100)).slow(Duration::from_secs(1), 0.5)),
    ]
}

/// The core, the layer and the call without tower, closed and open.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (window, config) in configs() {
        cases.push(core(format!("core/{window}"), leak(config)));
    }
    cases.push(core("core/in_flight", leak(in_flight())));
    cases.extend([few_held(), many_held(), crowded(), core_open("core/open", leak(opened()))]);
    for (window, config) in configs() {
        cases.push(layer(format!("layer/{window}"), Arc::new(circuit(config))));
    }
    cases.push(layer("layer/in_flight", Arc::new(circuit(in_flight()))));
    cases.push(layer_open("layer/open", Arc::new(circuit(opened()))));
    for (window, config) in configs() {
        cases.push(layer(format!("layer_static/{window}"), leak(config)));
    }
    cases.push(layer_open("layer_static/open", leak(opened())));
    for (window, config) in configs() {
        cases.push(without_tower(format!("call/{window}"), leak(config)));
    }
    cases.extend(keyed_cases());
    cases.extend(throttle_cases());
    cases
}

/// A circuit for each of a thousand hosts, called in turn: the first two windows by reference, as a layer, and hosts that are
/// new each time.
fn keyed_cases() -> Vec<Case> {
    let [(consecutive, first), (last, second), ..] = configs();
    vec![
        keyed(format!("keyed/core/{consecutive}"), first.clone()),
        keyed(format!("keyed/core/{last}"), second.clone()),
        keyed_layer(format!("keyed/layer/{consecutive}"), first.clone()),
        keyed_layer(format!("keyed/layer/{last}"), second),
        keyed_new("keyed/new_host", first),
    ]
}

const HOSTS: usize = 1_000;

/// Next to each other in memory they are not when they are called, as in life.
fn hosts() -> Vec<String> {
    (0..HOSTS).map(|host| format!("host-{:03}.example.com", host * 7 % HOSTS)).collect()
}

fn circuits(config: Config) -> Circuits<String> {
    Circuits::new(config).expect("every setting is in its range")
}

fn keyed(name: String, config: Config) -> Case {
    let circuits: &'static Circuits<String> = Box::leak(Box::new(circuits(config)));
    Case::new(name, move || {
        let (hosts, mut next) = (hosts(), 0);
        move |_| {
            let circuit = circuits.get(hosts[next].as_str()).expect("there is room");
            one_permit(&circuit);
            next = if next + 1 == HOSTS { 0 } else { next + 1 };
        }
    })
}

fn keyed_layer(name: String, config: Config) -> Case {
    let hosts: &'static [String] = hosts().leak();
    let layer = KeyedCircuitBreakerLayer::new(config, |number: &u64| {
        hosts[usize::try_from(*number).unwrap_or_default() % HOSTS].as_str()
    });
    let layer = layer.expect("every setting is in its range");
    Case::new(name, move || {
        let mut service = layer.layer(Leaf);
        move |number| assert_eq!(call(&mut service, number), Poll::Ready(Ok(number)))
    })
}

/// Each call is the first of its host, and the table is full.
fn keyed_new(name: &str, config: Config) -> Case {
    let circuits: Arc<Circuits<u64>> = Arc::new(Circuits::new(config).expect("every setting is in its range"));
    Case::new(name, move || {
        let (circuits, mut host) = (Arc::clone(&circuits), 0_u64);
        move |_| {
            host += 1;
            one_permit(&circuits.get(&host).expect("one of those before can go"));
        }
    })
}

/// The client throttle: accepted by reference and as a layer, and refused as often as it can be.
fn throttle_cases() -> [Case; 4] {
    let of = |config| Throttle::new(config).expect("every setting is in its range");
    let leaked = |config| -> &'static Throttle { Box::leak(Box::new(of(config))) };
    let overloaded = leaked(ThrottleConfig::default().minimum_calls(1).max_rejection(1.0));
    (0..1_000_000).for_each(|_| drop(overloaded.admit(Clock)));
    let by_reference = leaked(ThrottleConfig::default());
    [
        Case::new("throttle/core", move || {
            move |_| {
                let permit = by_reference.admit(Clock).expect("every call is accepted");
                by_reference.settle(permit, Outcome::Success);
            }
        }),
        throttle_layer("throttle/layer_static", leaked(ThrottleConfig::default())),
        throttle_layer("throttle/layer", Arc::new(of(ThrottleConfig::default()))),
        Case::new("throttle/refused", move || {
            // One in a million passes, and nothing is accepted.
            move |_| {
                if let Err(refused) = overloaded.admit(Clock) {
                    assert_eq!(refused.reason(), Reason::Throttled);
                }
            }
        }),
    ]
}

fn throttle_layer<H>(name: &str, throttle: H) -> Case
where
    H: Deref<Target = Throttle> + Clone + Send + 'static,
{
    let layer = ThrottleLayer::with_throttle(throttle);
    Case::new(name, move || {
        let mut service = layer.layer(Leaf);
        move |number| assert_eq!(call(&mut service, number), Poll::Ready(Ok(number)))
    })
}

/// Those of [`cases`] where several threads meet at one circuit.
pub fn shared_cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (window, config) in configs() {
        cases.push(layer(format!("layer_static/{window}"), leak(config)));
    }
    cases.push(layer_open("layer_static/open", leak(opened())));
    let [(consecutive, config), ..] = configs();
    cases.push(layer(format!("layer/{consecutive}"), Arc::new(circuit(config))));
    cases
}

/// A permit is taken and settled by hand.
pub fn core(name: impl Into<String>, circuit: &'static Circuit) -> Case {
    Case::new(name, move || move |_| one_permit(circuit))
}

/// Like [`core`], in a window that never holds more than a hundred calls.
fn few_held() -> Case {
    const HELD: u64 = 100;
    let circuit = leak(within());
    Case::new("core/within_10s_few_held", move || {
        move |number| {
            if number % HELD == 0 {
                circuit.reset();
            }
            one_permit(circuit);
        }
    })
}

/// Like [`core`], in a window that holds a million calls and more.
fn many_held() -> Case {
    const HELD: u32 = 1_000_000;
    let circuit = LazyLock::new(|| {
        let now = Clock.now();
        let circuit = leak(within().window(Window::Within(Duration::from_hours(1))));
        for _ in 0..HELD {
            let permit = circuit.admit(now).expect("the circuit is closed");
            circuit.settle(permit, Outcome::Success, now);
        }
        assert_eq!(circuit.snapshot().votes.calls, u64::from(HELD));
        circuit
    });
    Case::new("core/within_1h_million_held", move || {
        let circuit = *circuit;
        move |_| one_permit(circuit)
    })
}

/// Like [`core`] with calls in flight counted, and always a hundred of them.
fn crowded() -> Case {
    const HELD: usize = 100;
    let circuit = leak(in_flight());
    Case::new("core/in_flight_hundred_held", move || {
        let mut held: VecDeque<_> = (0..HELD).map(|_| circuit.admit(Clock).expect("the circuit is closed")).collect();
        move |_| {
            held.push_back(circuit.admit(Clock).expect("the circuit is closed"));
            if let Some(oldest) = held.pop_front() {
                circuit.settle(oldest, Outcome::Success, Clock);
            }
        }
    })
}

/// A permit is asked for and refused.
pub fn core_open(name: impl Into<String>, circuit: &'static Circuit) -> Case {
    open(circuit);
    Case::new(name, move || {
        move |_| assert!(circuit.admit(Clock).is_err_and(|refused| refused.reason() == Reason::CircuitOpen))
    })
}

/// The layer over a closed circuit.
pub fn layer<H>(name: impl Into<String>, circuit: H) -> Case
where
    H: Deref<Target = Circuit> + Clone + Send + 'static,
{
    let layer = CircuitBreakerLayer::with_circuit(circuit);
    Case::new(name, move || {
        let mut service = layer.layer(Leaf);
        move |number| assert_eq!(call(&mut service, number), Poll::Ready(Ok(number)))
    })
}

/// The layer over a circuit that is open the whole time.
pub fn layer_open<H>(name: impl Into<String>, circuit: H) -> Case
where
    H: Deref<Target = Circuit> + Clone + Send + 'static,
{
    open(&circuit);
    let layer = CircuitBreakerLayer::with_circuit(circuit);
    Case::new(name, move || {
        let mut service = layer.layer(Leaf);
        move |number| match call(&mut service, number) {
            Poll::Ready(Err(Error::Refused(refused))) => assert_eq!(refused.reason(), Reason::CircuitOpen),
            answer => panic!("expected a refusal, not {answer:?}"),
        }
    })
}

/// A future under the circuit, without tower.
fn without_tower(name: impl Into<String>, circuit: &'static Circuit) -> Case {
    Case::new(name, move || {
        move |number| {
            let work = || lift(ready(Ok::<_, crate::Failed>(number)));
            let future = pin!(circuit.call_classified(AnyError, work));
            let answer = future.poll(&mut Context::from_waker(Waker::noop()));
            assert_eq!(answer, Poll::Ready(Ok(number)));
        }
    })
}

fn one_permit(circuit: &Circuit) {
    let permit = circuit.admit(Clock).expect("the circuit is closed");
    circuit.settle(permit, Outcome::Success, Clock);
}

/// Opens by one failure, and for longer than a bench runs.
pub fn opened() -> Config {
    Config::default().window(Window::Consecutive(1)).open_for(Duration::from_hours(24))
}

fn open(circuit: &Circuit) {
    let permit = circuit.admit(Clock).expect("the circuit is closed");
    circuit.settle(permit, Outcome::Failure, Clock);
}

fn within() -> Config {
    Config::default().window(Window::Within(Duration::from_secs(10)))
}

/// Slow calls count while they are in flight.
fn in_flight() -> Config {
    let [.., (_, slow)] = configs();
    slow.slow_in_flight(true)
}

/// A circuit with these settings.
pub fn circuit(config: Config) -> Circuit {
    Circuit::new(config).expect("every setting is in its range")
}

fn leak(config: Config) -> &'static Circuit {
    Box::leak(Box::new(circuit(config)))
}
