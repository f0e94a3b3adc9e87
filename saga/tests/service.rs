//! An engine as a tower service: readiness is room, in the order of asking.

mod shop;

use mainstay_core::{Error, Reason};
use mainstay_saga::{Config, Engine, Outcome, RunError, SagaService, Start, StartError, journal::Memory};
use shop::{Do, Shop, chains};
use std::{sync::Arc, task::Poll, time::Duration};
use tokio_test::{
    assert_pending, assert_ready, assert_ready_err, assert_ready_ok,
    task::{self, Spawn},
};
use tower::{Service, ServiceExt};

async fn small(shop: &Arc<Shop>, room: usize) -> (Engine<Shop>, Orders) {
    let builder = Engine::builder(Arc::clone(shop), Memory::new()).register(&chains());
    let engine = builder.config(Config::default().max_in_memory(room)).start().await.unwrap();
    let service = engine.service(&chains());
    (engine, service)
}

type Orders = SagaService<Shop, u32, u32>;

fn poll_ready(service: &mut Spawn<Orders>) -> Poll<Result<(), Error<RunError>>> {
    service.enter(|cx, mut service| service.poll_ready(cx))
}

#[tokio::test(start_paused = true)]
async fn answer_is_the_outcome() {
    let shop = Shop::new();
    let (_engine, service) = small(&shop, 10).await;
    let outcome = service.clone().oneshot(Start::new("1", 10)).await.unwrap();
    assert_eq!(outcome, Outcome::Completed(13));
    let again = service.oneshot(Start::new("1", 99)).await.unwrap();
    assert_eq!(again, Outcome::Completed(13), "the key was used before");
    assert_eq!(shop.count("a"), 1);
}

#[tokio::test(start_paused = true)]
async fn clones_wait_for_room_in_the_order_of_asking() {
    let shop = Shop::new();
    shop.plan("b", [Do::Slow, Do::Slow]);
    let (engine, service) = small(&shop, 1).await;
    let (one, two, three) = (service.clone(), service.clone(), service);
    let mut one = task::spawn(one);
    let (mut two, mut three) = (task::spawn(two), task::spawn(three));
    assert_ready_ok!(poll_ready(&mut one));
    assert_pending!(poll_ready(&mut two));
    assert_pending!(poll_ready(&mut three));

    let first = tokio::spawn(one.call(Start::new("1", 10)));
    first.await.unwrap().unwrap();
    assert!(two.is_woken());
    assert!(!three.is_woken(), "there is room for one");
    assert_ready_ok!(poll_ready(&mut two));
    assert_pending!(poll_ready(&mut three));

    drop(two);
    assert!(three.is_woken(), "room that was kept is given back");
    assert_ready_ok!(poll_ready(&mut three));
    assert_eq!(engine.in_memory(), 0);
}

#[tokio::test(start_paused = true)]
async fn call_that_did_not_wait_for_room_is_refused() {
    let shop = Shop::new();
    let (_engine, mut service) = small(&shop, 1).await;
    let error = service.call(Start::new("1", 10)).await.unwrap_err();
    assert_eq!(error.refused().map(mainstay_core::Refused::reason), Some(Reason::BulkheadFull));
    let mut ready = service.ready().await.unwrap().clone();
    let error = ready.call(Start::new("1", 10)).await.unwrap_err();
    assert!(error.refused().is_some(), "readiness is not cloned");
    assert!(shop.calls().is_empty());
}

#[tokio::test(start_paused = true)]
async fn saga_goes_on_when_nobody_waits_for_the_answer() {
    let shop = Shop::new();
    shop.plan("a", [Do::Slow]);
    let (engine, mut service) = small(&shop, 1).await;
    let mut answer = task::spawn(service.ready().await.unwrap().call(Start::new("1", 10)));
    assert_pending!(answer.poll());
    tokio::task::yield_now().await;
    drop(answer);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(shop.calls(), ["a", "b", "c"]);
    assert_eq!(engine.in_memory(), 0);
}

#[tokio::test(start_paused = true)]
async fn stopped_engine_is_never_ready() {
    let shop = Shop::new();
    shop.plan("a", [Do::Slow]);
    let (engine, service) = small(&shop, 1).await;
    let mut held = task::spawn(service.clone());
    assert_ready_ok!(poll_ready(&mut held));
    let mut waiting = task::spawn(service);
    assert_pending!(poll_ready(&mut waiting));
    engine.shutdown(Duration::ZERO).await;
    let late = held.enter(|_, mut service| service.call(Start::new("1", 10))).await.unwrap_err();
    assert!(matches!(late, Error::Inner(RunError::Start(StartError::Stopped))));
    assert!(shop.calls().is_empty());
    let error = assert_ready!(poll_ready(&mut held)).unwrap_err();
    assert!(matches!(error, Error::Inner(RunError::Start(StartError::Stopped))));
    drop(held);
    drop(assert_ready_err!(poll_ready(&mut waiting)));
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_room_hears_of_a_shutdown() {
    let shop = Shop::new();
    let (engine, service) = small(&shop, 1).await;
    let mut held = task::spawn(service.clone());
    assert_ready_ok!(poll_ready(&mut held));
    let mut waiting = task::spawn(service);
    assert_pending!(poll_ready(&mut waiting));
    engine.shutdown(Duration::ZERO).await;
    assert!(waiting.is_woken(), "although nobody has given back his room");
    drop(assert_ready_err!(poll_ready(&mut waiting)));
}
