//! Who shares a circuit, and who has one apart.

use mainstay_circuit_breaker::{Circuit, CircuitBreakerLayer, Config, Guard, Outcome, State, Window};
use mainstay_core::{Class, Error, classify_fn, lift};
use std::{
    convert::Infallible,
    fmt,
    hash::{BuildHasherDefault, DefaultHasher},
    ops::Deref,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};
use tower::{
    Layer, Service, ServiceExt,
    balance::p2c::Balance,
    discover::ServiceList,
    load::{CompleteOnResponse, PendingRequests},
    service_fn,
    util::rng::HasherRng,
};

fn config() -> Config {
    Config::default().window(Window::Consecutive(3)).open_for(Duration::from_secs(10))
}

fn layer() -> CircuitBreakerLayer {
    CircuitBreakerLayer::new(config()).unwrap()
}

fn dead() -> impl Service<(), Response = (), Error = Error<&'static str>, Future: Send> + Clone + Send + 'static {
    service_fn(async |(): ()| Err::<(), _>("connection refused")).map_err(Error::Inner)
}

fn is_refused<T, E>(answer: &Result<T, Error<E>>) -> bool {
    matches!(answer, Err(Error::Refused(_)))
}

#[tokio::test(start_paused = true)]
async fn every_service_of_a_layer_counts_into_one_circuit() {
    let layer = layer();
    for _ in 0..3 {
        assert!(!is_refused(&layer.layer(dead()).oneshot(()).await));
    }
    assert_eq!(layer.handle().state(), State::Open);
    assert!(is_refused(&layer.layer(dead()).oneshot(()).await));
}

#[tokio::test(start_paused = true)]
async fn clones_of_a_layer_are_the_same_layer() {
    let layer = layer();
    for clone in [layer.clone(), layer.clone(), layer.clone().clone()] {
        assert!(!is_refused(&clone.layer(dead()).oneshot(()).await));
    }
    assert!(Arc::ptr_eq(&layer.handle(), &layer.clone().handle()));
    assert!(is_refused(&layer.clone().layer(dead()).oneshot(()).await));
}

#[tokio::test(start_paused = true)]
async fn clones_of_a_service_share_its_circuit() {
    let service = layer().layer(dead());
    for _ in 0..3 {
        assert!(!is_refused(&service.clone().oneshot(()).await));
    }
    assert_eq!(service.handle().state(), State::Open);
    assert!(is_refused(&service.clone().oneshot(()).await));
    assert_eq!(service.handle().snapshot().refused, 1);
}

#[tokio::test(start_paused = true)]
async fn a_command_on_the_handle_reaches_all() {
    let layer = layer();
    let service = layer.layer(dead());
    layer.handle().isolate();
    assert!(is_refused(&service.clone().oneshot(()).await));
    service.handle().reset();
    assert_eq!(layer.handle().state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_layer_with_another_classifier_is_still_the_same_circuit() {
    let layer = layer();
    let lenient = layer.clone().classify(classify_fn(|_: Result<&(), &Error<&str>>| Class::Success));
    for _ in 0..3 {
        let _ = lenient.layer(dead()).oneshot(()).await;
    }
    assert_eq!(layer.handle().state(), State::Closed);
    for _ in 0..3 {
        let _ = layer.layer(dead()).oneshot(()).await;
    }
    assert!(is_refused(&lenient.layer(dead()).oneshot(()).await));
}

// ===== apart =====

#[tokio::test(start_paused = true)]
async fn a_fresh_layer_has_the_present_configuration_and_none_of_the_state() {
    let layer = layer();
    layer.handle().isolate();
    layer.handle().reconfigure(config().probes(7)).unwrap();
    let fresh = layer.fresh();

    assert_eq!(fresh.handle().config(), layer.handle().config());
    assert_eq!(fresh.handle().config().probes, 7);
    let snapshot = fresh.handle().snapshot();
    assert_eq!((snapshot.state, snapshot.generation, snapshot.refused), (State::Closed, 0, 0));
    for _ in 0..3 {
        assert!(!is_refused(&fresh.layer(dead()).oneshot(()).await));
    }
    assert_eq!(fresh.handle().state(), State::Open);
    layer.handle().reset();
    assert!(!is_refused(&layer.layer(dead()).oneshot(()).await));
    assert_eq!(fresh.handle().state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn a_fresh_layer_keeps_the_classifier() {
    let layer = layer().classify(classify_fn(|_: Result<&(), &Error<&str>>| Class::Ignored));
    let fresh = layer.fresh();
    for _ in 0..5 {
        assert!(!is_refused(&fresh.layer(dead()).oneshot(()).await));
    }
}

#[tokio::test(start_paused = true)]
async fn fresh_circuits_with_a_seed_do_not_jitter_alike() {
    let circuit = Circuit::new(config().jitter(1.0).seed(1)).unwrap();
    let times = [&circuit, &circuit.fresh(), &circuit.fresh()].map(|circuit| {
        for _ in 0..3 {
            Guard::admit(circuit).unwrap().settle(Outcome::Failure);
        }
        circuit.snapshot().retry_after.unwrap()
    });
    assert!(times[0] != times[1] && times[1] != times[2] && times[0] != times[2], "{times:?}");
}

// ===== other handles =====

#[tokio::test(start_paused = true)]
async fn a_static_circuit_serves_layers_and_plain_calls() {
    static SHARED: LazyLock<Circuit> = LazyLock::new(|| Circuit::new(config()).unwrap());
    let circuit: &'static Circuit = &SHARED;
    let layer = CircuitBreakerLayer::with_circuit(circuit);

    assert!(std::ptr::eq(layer.handle(), circuit));
    for _ in 0..2 {
        assert!(!is_refused(&layer.layer(dead()).oneshot(()).await));
    }
    assert!(!is_refused(&circuit.call(|| lift(async { Err::<(), _>("failed") })).await));
    assert!(is_refused(&layer.clone().layer(dead()).oneshot(()).await));
    let fresh = layer.fresh();
    assert_eq!((fresh.handle().state(), circuit.state()), (State::Closed, State::Open));
}

#[derive(Clone)]
struct OwnHandle(Arc<(u8, Circuit)>);

impl Deref for OwnHandle {
    type Target = Circuit;

    fn deref(&self) -> &Circuit {
        &self.0.1
    }
}

#[tokio::test(start_paused = true)]
async fn a_handle_of_ones_own_will_do() {
    let own = OwnHandle(Arc::new((1, Circuit::new(config()).unwrap())));
    let service = CircuitBreakerLayer::with_circuit(own.clone()).layer(dead());
    for _ in 0..3 {
        let _ = service.clone().oneshot(()).await;
    }
    assert_eq!(own.state(), State::Open);
}

// ===== under a balancer =====

#[tokio::test(start_paused = true)]
async fn under_a_balancer_the_circuit_of_the_failing_endpoint_opens_and_no_other() {
    let layer = layer();
    let calls: Vec<_> = (0..3).map(|_| Arc::new(AtomicU32::new(0))).collect();
    let layers: Vec<_> = calls.iter().map(|_| layer.fresh()).collect();
    let endpoints = layers.iter().zip(&calls).enumerate().map(|(endpoint, (layer, calls))| {
        let calls = Arc::clone(calls);
        let service = service_fn(move |(): ()| {
            calls.fetch_add(1, Ordering::Relaxed);
            std::future::ready(if endpoint == 1 { Err(fmt::Error) } else { Ok(endpoint) })
        });
        PendingRequests::new(layer.layer(service.map_err(Error::Inner)), CompleteOnResponse::default())
    });
    let list = ServiceList::new::<()>(endpoints.collect::<Vec<_>>());
    let rng = HasherRng::with_hasher(BuildHasherDefault::<DefaultHasher>::default());
    let mut balance = Balance::from_rng(list, rng);

    let mut refused = 0;
    for _ in 0..300 {
        if let Err(error) = balance.ready().await.unwrap().call(()).await {
            let error = error.downcast::<Error<fmt::Error>>().unwrap();
            refused += u32::from(error.refused().is_some());
        }
    }
    let states: Vec<_> = layers.iter().map(|layer| layer.handle().state()).collect();
    assert_eq!(states, [State::Closed, State::Open, State::Closed]);
    let calls: Vec<_> = calls.iter().map(|calls| calls.load(Ordering::Relaxed)).collect();
    assert_eq!(calls[1], 3);
    assert!(refused > 0 && calls[0] + calls[2] + 3 + refused == 300);
    assert_eq!(layer.handle().snapshot().votes.calls, 0, "the template was never called");
}

// ===== across threads =====

#[test]
fn tasks_on_several_threads_count_into_one_circuit() {
    let layer = CircuitBreakerLayer::new(config().window(Window::Last(1_000)).failure_rate(1.0)).unwrap();
    let good = service_fn(async |(): ()| Ok::<_, Infallible>(())).map_err(Error::Inner);
    thread::scope(|threads| {
        for _ in 0..4 {
            let service = layer.layer(good.clone());
            threads.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                runtime.block_on(async {
                    let tasks: Vec<_> = (0..25).map(|_| tokio::spawn(service.clone().oneshot(()))).collect();
                    for task in tasks {
                        task.await.unwrap().unwrap();
                    }
                });
            });
        }
    });
    assert_eq!(layer.handle().snapshot().votes.calls, 100);
}
