//! Callers that wait for the service behind while the circuit begins to refuse: they come, and are refused.

#[path = "support/waiting.rs"]
mod support;

use mainstay_circuit_breaker::{Circuit, Config, Guard, OnOpen, Outcome, State};
use mainstay_core::Error;
use std::{
    sync::{Arc, atomic::Ordering::SeqCst},
    time::Duration,
};
use support::{Client, Do, World, advance, woken};
use tokio_test::task;

const SECOND: Duration = Duration::from_secs(1);

fn config() -> Config {
    support::config().on_open(OnOpen::Refuse)
}

fn unready(world: &World) {
    world.behind.unready.store(true, SeqCst);
}

fn is_refused(client: &mut Client) -> bool {
    client.goes_on();
    matches!(client.ask(Do::Succeed), Err(Error::Refused(_)))
}

#[tokio::test(start_paused = true)]
async fn a_circuit_that_opens_wakes_those_who_wait_for_the_service() {
    for open in [|world: &World| world.fail(), |world: &World| world.circuit.isolate()] {
        let world = World::new(config());
        unready(&world);
        let mut clients = world.waiting(3);
        open(&world);
        assert_eq!(woken(&clients), [0, 1, 2]);
        assert!(clients.iter_mut().all(is_refused));
        assert_eq!(world.circuit.snapshot().refused, 3);
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_slot_that_is_taken_wakes_those_who_wait_for_the_service() {
    let world = World::open(config().probes(2));
    advance(10 * SECOND).await;
    unready(&world);
    let mut clients = world.waiting(2);
    let first = Guard::admit(&*world.circuit).unwrap();
    assert_eq!(woken(&clients), [], "one is left");
    clients.iter_mut().for_each(Client::waits);
    let second = Guard::admit(&*world.circuit).unwrap();
    assert_eq!(woken(&clients), [0, 1]);
    assert!(clients.iter_mut().all(is_refused));
    drop((first, second));
    clients.iter_mut().for_each(Client::waits);
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_for_the_service_do_not_wake_one_another() {
    let world = World::open(config().probes(2));
    advance(10 * SECOND).await;
    unready(&world);
    let mut clients = world.waiting(3);
    for _ in 0..100 {
        clients.iter_mut().for_each(Client::waits);
        assert_eq!(woken(&clients), []);
    }
    drop(Guard::admit(&*world.circuit).unwrap());
    for _ in 0..100 {
        clients.iter_mut().for_each(Client::waits);
        assert_eq!(woken(&clients), []);
    }
}

#[tokio::test(start_paused = true)]
async fn the_later_waker_is_woken_and_a_dropped_one_is_not() {
    let world = World::new(config());
    unready(&world);
    let mut clients = world.waiting(2);
    let earlier = std::mem::replace(&mut clients[0].task, task::spawn(()));
    clients[0].waits();
    let Client { service, task: gone } = clients.pop().unwrap();
    drop(service);
    world.circuit.isolate();
    assert!(clients[0].is_woken() && !earlier.is_woken() && !gone.is_woken());
}

#[tokio::test(start_paused = true)]
async fn one_who_was_told_to_come_and_be_refused_is_not_sent_back_to_wait() {
    let world = World::new(config());
    unready(&world);
    let mut client = world.client();
    client.waits();
    world.circuit.isolate();
    client.goes_on();
    world.circuit.reset();
    client.goes_on();
    assert!(is_refused(&mut client));
    client.waits();
}

#[tokio::test(start_paused = true)]
async fn the_service_still_wakes_those_who_wait_for_it() {
    let world = World::new(config());
    unready(&world);
    let mut clients = world.waiting(2);
    world.behind.make_ready();
    assert_eq!(woken(&clients), [0, 1]);
    clients[0].goes_on();
    assert_eq!(clients[0].ask(Do::Succeed), Ok(()));
    // A circuit that opens later may wake it once for nothing.
    world.circuit.isolate();
    assert!(is_refused(&mut clients[1]));
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_the_service_of_a_circuit_that_is_waited_for_has_nothing_to_be_woken_for() {
    let world = World::new(support::config());
    unready(&world);
    let mut client = world.client();
    client.waits();
    world.fail();
    assert!(!client.is_woken());
    world.behind.make_ready();
    assert!(client.is_woken());
    client.waits();
    advance(10 * SECOND).await;
    assert!(client.is_woken());
    client.goes_on();
}

#[tokio::test(start_paused = true)]
async fn a_circuit_that_is_no_longer_in_shadow_wakes_those_who_wait_for_the_service() {
    let world = World::open(config().shadow(true));
    unready(&world);
    let mut client = world.client();
    client.waits();
    world.circuit.reconfigure(config()).unwrap();
    assert!(client.is_woken());
    assert!(is_refused(&mut client));
}

#[test]
fn a_circuit_that_opens_while_the_service_is_asked_refuses_at_once() {
    // The service behind opens the circuit from its own `poll_ready`, before the caller is registered.
    struct Opens(Arc<Circuit>);
    impl tower::Service<Do> for Opens {
        type Response = ();
        type Error = Error<&'static str>;
        type Future = std::future::Ready<support::Answer>;

        fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Self::Error>> {
            Guard::admit(&*self.0).unwrap().settle(Outcome::Failure);
            std::task::Poll::Pending
        }

        fn call(&mut self, _: Do) -> Self::Future {
            unreachable!("it is never ready")
        }
    }
    let world = World::new(config());
    let layer = mainstay_circuit_breaker::CircuitBreakerLayer::with_circuit(Arc::clone(&world.circuit));
    let mut service = tower::Layer::layer(&layer, Opens(Arc::clone(&world.circuit)));
    let mut task = task::spawn(());
    let ready = task.enter(|cx, _| tower::Service::<Do>::poll_ready(&mut service, cx));
    assert_eq!(ready, std::task::Poll::Ready(Ok(())));
    assert_eq!(world.circuit.state(), State::Open);
}
