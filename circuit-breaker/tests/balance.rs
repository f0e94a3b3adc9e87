//! Under tower's balancer: an endpoint whose circuit opens gets no calls, if its circuit is waited for.

use mainstay_circuit_breaker::{Circuit, CircuitBreakerLayer, Config, Guard, OnOpen, Outcome, State, Window};
use mainstay_core::Error;
use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
    time::Duration,
};
use tokio_test::{assert_pending, assert_ready_ok, task};
use tower::{
    BoxError, Layer, Service, ServiceExt, balance::p2c::Balance, discover::ServiceList, load::Constant, service_fn,
    util::BoxService,
};

type Endpoint = Constant<BoxService<u32, u32, BoxError>, u32>;
type Balancer = Balance<ServiceList<Vec<Endpoint>>, u32>;

/// Endpoints of rising load, so that the first of two is always taken; their circuits; and how often each was called.
struct Cluster {
    balancer: Balancer,
    circuits: Vec<Arc<Circuit>>,
    calls: Vec<Arc<AtomicU32>>,
}

fn cluster(endpoints: u32, on_open: OnOpen) -> Cluster {
    let config = Config::default().window(Window::Consecutive(1)).open_for(Duration::from_secs(10)).probes(1);
    let layer = CircuitBreakerLayer::new(config.on_open(on_open)).unwrap();
    let (mut services, mut circuits, mut calls) = (Vec::new(), Vec::new(), Vec::new());
    for load in 0..endpoints {
        let layer = layer.fresh();
        let called = Arc::new(AtomicU32::new(0));
        let service = layer.layer(service_fn({
            let called = Arc::clone(&called);
            move |request: u32| {
                called.fetch_add(1, SeqCst);
                std::future::ready(Ok::<_, Error<Infallible>>(request))
            }
        }));
        services.push(Constant::new(service.map_err(BoxError::from).boxed(), load));
        circuits.push(layer.handle());
        calls.push(called);
    }
    Cluster { balancer: Balance::new(ServiceList::new(services)), circuits, calls }
}

/// How many of fifty calls succeed.
async fn fifty(balancer: &mut Balancer) -> u32 {
    let mut succeeded = 0;
    for request in 0..50 {
        let ready = balancer.ready().await.unwrap();
        succeeded += u32::from(ready.call(request).await.is_ok_and(|answer| answer == request));
    }
    succeeded
}

fn open(circuit: &Circuit) {
    Guard::admit(circuit).unwrap().settle(Outcome::Failure);
}

#[tokio::test(start_paused = true)]
async fn every_call_succeeds_elsewhere_when_a_ready_endpoints_circuit_opens() {
    for endpoints in [2, 3, 10] {
        let Cluster { mut balancer, circuits, calls } = cluster(endpoints, OnOpen::Wait);
        assert!(balancer.ready().await.unwrap().call(1).await.is_ok());
        balancer.ready().await.unwrap();
        // The balancer holds all of them ready, this one too.
        open(&circuits[0]);
        let before = calls[0].load(SeqCst);

        assert_eq!(fifty(&mut balancer).await, 50);
        assert_eq!(calls[0].load(SeqCst), before);
        assert_eq!(circuits[0].snapshot().refused, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn with_circuits_that_refuse_the_balancer_sends_calls_to_their_refusal() {
    let Cluster { mut balancer, circuits, .. } = cluster(2, OnOpen::Refuse);
    balancer.ready().await.unwrap();
    open(&circuits[0]);
    assert_eq!(fifty(&mut balancer).await, 0, "a refusal is fast, and so a good endpoint to a balancer");
    assert_eq!(circuits[0].snapshot().refused, 50);
}

#[tokio::test(start_paused = true)]
async fn the_endpoint_comes_back_with_a_probe_and_then_takes_its_share() {
    let Cluster { mut balancer, circuits, calls } = cluster(2, OnOpen::Wait);
    balancer.ready().await.unwrap();
    open(&circuits[0]);
    assert_eq!(fifty(&mut balancer).await, 50);
    tokio::time::advance(Duration::from_secs(10)).await;
    assert_eq!(fifty(&mut balancer).await, 50);
    assert!(calls[0].load(SeqCst) >= 49, "the lighter load is preferred again");
    assert_eq!(circuits[0].state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_balancer_whose_endpoints_all_wait_is_woken_by_the_first_that_goes_on() {
    let Cluster { mut balancer, circuits, .. } = cluster(3, OnOpen::Wait);
    for circuit in &circuits {
        circuit.isolate();
    }
    let mut task = task::spawn(());
    assert_pending!(task.enter(|cx, _| balancer.poll_ready(cx)));
    assert_pending!(task.enter(|cx, _| balancer.poll_ready(cx)));
    assert!(!task.is_woken());
    circuits[1].reset();
    assert!(task.is_woken());
    assert_ready_ok!(task.enter(|cx, _| balancer.poll_ready(cx)));
    assert_eq!(balancer.call(7).await.unwrap(), 7);
}
