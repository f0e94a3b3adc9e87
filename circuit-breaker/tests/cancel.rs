//! Calls that are dropped before they end.

use mainstay_circuit_breaker::{Circuit, CircuitBreaker, CircuitBreakerLayer, Config, Guard, Outcome, State, Window};
use mainstay_core::{AnyError, Error, lift};
use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};
use tokio_test::{assert_pending, assert_ready, assert_ready_ok, task};
use tower::{Layer, Service};

/// Ready at poll number `left + 1`. When it is dropped it notes how many probes are out.
struct Work {
    circuit: Arc<Circuit>,
    left: u32,
    result: Result<(), Error<&'static str>>,
    probes_at_drop: Arc<Mutex<Vec<u32>>>,
}

/// Calls with request `n` end at poll number `n + 1`.
#[derive(Clone)]
struct Leaf {
    circuit: Arc<Circuit>,
    result: Result<(), Error<&'static str>>,
    probes_at_drop: Arc<Mutex<Vec<u32>>>,
}

impl Future for Work {
    type Output = Result<(), Error<&'static str>>;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                Poll::Pending
            }
            None => Poll::Ready(self.result),
        }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        let probes = self.circuit.snapshot().probes;
        self.probes_at_drop.lock().unwrap().push(probes);
    }
}

impl Service<u32> for Leaf {
    type Response = ();
    type Error = Error<&'static str>;
    type Future = Work;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, polls: u32) -> Work {
        let Self { circuit, result, probes_at_drop } = self.clone();
        Work { circuit, left: polls, result, probes_at_drop }
    }
}

type Breaker = CircuitBreaker<Leaf, Arc<Circuit>, AnyError>;

/// One failure opens, for a second; one probe closes.
fn config() -> Config {
    Config::default().window(Window::Consecutive(1)).open_for(Duration::from_secs(1)).probes(1)
}

fn service(config: Config, result: Result<(), Error<&'static str>>) -> Breaker {
    let circuit = Arc::new(Circuit::new(config).unwrap());
    let leaf = Leaf { circuit: Arc::clone(&circuit), result, probes_at_drop: Arc::default() };
    CircuitBreakerLayer::with_circuit(circuit).layer(leaf)
}

/// A service whose next call is the only probe.
async fn service_to_probe() -> Breaker {
    let service = service(config(), Ok(()));
    open(&service.handle());
    tokio::time::advance(Duration::from_secs(1)).await;
    service
}

fn open(circuit: &Circuit) {
    Guard::admit(circuit).unwrap().settle(Outcome::Failure);
    assert_eq!(circuit.state(), State::Open);
}

fn call(service: &mut Breaker, polls: u32) -> <Breaker as Service<u32>>::Future {
    assert_ready_ok!(task::spawn(()).enter(|cx, _| Service::<u32>::poll_ready(service, cx)));
    service.call(polls)
}

async fn never() -> Result<(), Error<Infallible>> {
    std::future::pending().await
}

fn voted(circuit: &Circuit) -> (u64, u64) {
    let snapshot = circuit.snapshot();
    (snapshot.votes.calls, snapshot.abandoned)
}

// ===== the layer =====

#[tokio::test(start_paused = true)]
async fn a_probe_dropped_after_any_number_of_polls_returns_its_slot() {
    for polls in 0..=5 {
        let mut service = service_to_probe().await;
        let mut other = service.clone();
        let mut probe = task::spawn(call(&mut service, 100));
        for _ in 0..polls {
            assert_pending!(probe.poll());
        }
        assert!(matches!(assert_ready!(task::spawn(call(&mut other, 0)).poll()), Err(Error::Refused(_))));
        drop(probe);

        assert_eq!(service.handle().snapshot().probes, 0);
        assert_eq!(service.handle().state(), State::HalfOpen, "neither a success nor a failure");
        assert_ready_ok!(task::spawn(call(&mut other, 0)).poll(), "the slot is free at once");
        assert_eq!(service.handle().state(), State::Closed);
    }
}

#[tokio::test(start_paused = true)]
async fn the_inner_future_is_gone_before_its_slot_is_given_back() {
    let mut service = service_to_probe().await;
    let mut probe = task::spawn(call(&mut service, 1));
    assert_pending!(probe.poll());
    drop(probe);

    assert_eq!(*service.get_ref().probes_at_drop.lock().unwrap(), [1]);
    assert_eq!(service.handle().snapshot().probes, 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_dropped_after_any_number_of_polls_is_abandoned_and_does_not_vote() {
    for polls in 0..=5 {
        let mut service = service(config().window(Window::Last(100)), Err(Error::Inner("failed")));
        let mut call = task::spawn(call(&mut service, 5));
        for _ in 0..polls {
            assert_pending!(call.poll());
        }
        drop(call);
        assert_eq!(voted(&service.handle()), (0, 1), "dropped after {polls} polls");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_votes_at_its_answer_and_not_again_when_dropped() {
    let mut service = service(config().window(Window::Last(100)), Err(Error::Inner("failed")));
    let mut call = task::spawn(call(&mut service, 1));
    assert_pending!(call.poll());
    assert_eq!(assert_ready!(call.poll()), Err(Error::Inner("failed")));

    assert_eq!(voted(&service.handle()), (1, 0));
    drop(call);
    assert_eq!(voted(&service.handle()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_finished_future_that_is_kept_holds_no_slot() {
    let mut service = service_to_probe().await;
    let mut probe = task::spawn(call(&mut service, 0));
    assert_ready_ok!(probe.poll());

    assert_eq!(service.handle().state(), State::Closed);
    assert_ready_ok!(task::spawn(call(&mut service, 0)).poll());
    drop(probe);
    assert_eq!(service.handle().state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_refused_call_dropped_unpolled_was_refused_once_and_is_not_abandoned() {
    let mut service = service(config(), Ok(()));
    service.handle().isolate();
    let refused = call(&mut service, 0);
    assert_eq!(service.handle().snapshot().refused, 1);
    drop(refused);

    let snapshot = service.handle().snapshot();
    assert_eq!((snapshot.refused, snapshot.abandoned), (1, 0));
    assert!(service.get_ref().probes_at_drop.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_call_outlives_its_service_and_its_layer() {
    let mut service = service(config().window(Window::Last(100)), Ok(()));
    let circuit = service.handle();
    let (mut finished, mut dropped) = (task::spawn(call(&mut service, 1)), task::spawn(call(&mut service, 1)));
    assert_pending!(finished.poll());
    assert_pending!(dropped.poll());
    drop(service);

    assert_ready_ok!(finished.poll());
    drop(dropped);
    assert_eq!(voted(&circuit), (1, 1));
    drop(circuit);
    drop(finished);
}

#[tokio::test(start_paused = true)]
async fn a_service_outlives_its_dropped_calls() {
    let mut service = service(config().window(Window::Last(100)), Ok(()));
    let circuit = service.handle();
    assert_ready_ok!(task::spawn(call(&mut service, 0)).poll());
    drop(call(&mut service, 1));
    drop(service);
    assert_eq!(voted(&circuit), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_never_called_after_it_was_ready_holds_no_slot() {
    let mut service = service_to_probe().await;
    let mut other = service.clone();
    assert_ready_ok!(task::spawn(()).enter(|cx, _| Service::<u32>::poll_ready(&mut service, cx)));

    assert_ready_ok!(task::spawn(call(&mut other, 0)).poll());
    assert_eq!(other.handle().state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_call_dropped_in_a_later_generation_changes_nothing() {
    let mut service = service(config().window(Window::Last(100)), Ok(()));
    let late = call(&mut service, 1);
    service.handle().reset();
    drop(late);
    assert_eq!(voted(&service.handle()), (0, 0));
}

// ===== what abandoned calls add up to =====

#[tokio::test(start_paused = true)]
async fn a_service_that_never_answers_opens_the_circuit_by_abandoned_calls_alone() {
    let windows = [Window::Consecutive(5), Window::Last(5), Window::Last(100), Window::Within(Duration::from_secs(10))];
    for window in windows {
        let mut service = service(config().window(window).minimum_calls(5), Ok(()));
        for _ in 0..4 {
            drop(call(&mut service, 1));
        }
        assert_eq!(service.handle().state(), State::Closed, "{window:?}");
        drop(call(&mut service, 1));
        assert_eq!(service.handle().state(), State::Open, "{window:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_answer_among_abandoned_calls_keeps_the_circuit_closed() {
    let windows = [Window::Consecutive(5), Window::Last(5), Window::Last(100), Window::Within(Duration::from_secs(10))];
    for window in windows {
        let mut service = service(config().window(window).minimum_calls(5), Ok(()));
        for _ in 0..4 {
            drop(call(&mut service, 1));
        }
        assert_ready_ok!(task::spawn(call(&mut service, 0)).poll());
        for _ in 0..4 {
            drop(call(&mut service, 1));
        }
        assert_eq!(service.handle().state(), State::Closed, "{window:?}");
    }
}

// ===== guards =====

#[tokio::test(start_paused = true)]
async fn a_dropped_guard_is_an_abandoned_call_and_a_settled_one_is_not() {
    let circuit = Circuit::new(config().window(Window::Last(100))).unwrap();
    drop(Guard::admit(&circuit).unwrap());
    assert_eq!(voted(&circuit), (0, 1));

    let mut guard = Guard::admit(&circuit).unwrap();
    assert_eq!(guard.run(|| 7), 7);
    assert_eq!(voted(&circuit), (0, 1), "a part that returns settles nothing");
    guard.settle(Outcome::Success);
    assert_eq!(voted(&circuit), (1, 0), "a vote ends the row of abandoned calls");
    Guard::admit(&circuit).unwrap().settle(Outcome::Ignored);
    assert_eq!(voted(&circuit), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_guard_returns_the_probes_slot() {
    let circuit = Arc::new(Circuit::new(config()).unwrap());
    open(&circuit);
    tokio::time::advance(Duration::from_secs(1)).await;

    let probe = Guard::admit(Arc::clone(&circuit)).unwrap();
    assert!(Guard::admit(&*circuit).is_err());
    drop(probe);
    Guard::admit(&*circuit).unwrap().settle(Outcome::Success);
    assert_eq!(circuit.state(), State::Closed);
}

// ===== without tower =====

/// Three awaits, then the answer.
async fn three_steps() -> Result<u32, Error<Infallible>> {
    for _ in 0..3 {
        let mut first = true;
        poll_fn(|_| if std::mem::take(&mut first) { Poll::Pending } else { Poll::Ready(()) }).await;
    }
    Ok(3)
}

#[tokio::test(start_paused = true)]
async fn a_plain_call_dropped_at_any_await_returns_its_slot() {
    for polls in 1..=3 {
        let circuit = Circuit::new(config()).unwrap();
        open(&circuit);
        tokio::time::advance(Duration::from_secs(1)).await;
        let mut probe = task::spawn(circuit.call(three_steps));
        for _ in 0..polls {
            assert_pending!(probe.poll());
        }
        assert_eq!(circuit.snapshot().probes, 1);
        drop(probe);
        assert_eq!(circuit.snapshot().probes, 0);
        assert_eq!(circuit.call(|| lift(async { Ok::<_, Infallible>(1) })).await, Ok(1));
        assert_eq!(circuit.state(), State::Closed);
    }
}

#[tokio::test(start_paused = true)]
async fn a_plain_call_dropped_unpolled_has_not_asked_the_circuit() {
    let circuit = Circuit::new(config().window(Window::Last(100))).unwrap();
    drop(circuit.call(|| -> std::future::Ready<Result<(), Error<Infallible>>> { unreachable!("not polled") }));
    assert_eq!(voted(&circuit), (0, 0));

    circuit.isolate();
    drop(circuit.call(never));
    assert_eq!(circuit.snapshot().refused, 0);
}

#[tokio::test(start_paused = true)]
async fn a_plain_call_dropped_early_is_abandoned_and_after_its_answer_it_has_voted() {
    let circuit = Circuit::new(config().window(Window::Last(100))).unwrap();
    let mut dropped = task::spawn(circuit.call(never));
    assert_pending!(dropped.poll());
    drop(dropped);
    assert_eq!(voted(&circuit), (0, 1));

    let mut finished = task::spawn(circuit.call(three_steps));
    for _ in 0..3 {
        assert_pending!(finished.poll());
    }
    assert_eq!(assert_ready!(finished.poll()), Ok(3));
    assert_eq!(voted(&circuit), (1, 0));
    drop(finished);
    assert_eq!(voted(&circuit), (1, 0));
}

// ===== the runtime goes first =====

fn paused_runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

#[test]
fn a_probe_that_outlives_the_runtime_and_its_clock_returns_its_slot() {
    let runtime = paused_runtime();
    let (mut service, probe) = runtime.block_on(async {
        let mut service = service_to_probe().await;
        // The virtual clock is now far ahead of the one that is read without a runtime.
        tokio::time::advance(Duration::from_hours(24)).await;
        let mut probe = task::spawn(call(&mut service, 100));
        assert_pending!(probe.poll());
        (service, probe)
    });
    drop(runtime);
    assert_eq!(service.handle().snapshot().probes, 1);
    drop(probe);

    assert_eq!(service.handle().snapshot().probes, 0);
    assert_ready_ok!(task::spawn(call(&mut service, 0)).poll());
    assert_eq!(service.handle().state(), State::Closed);
}

#[test]
fn calls_in_tasks_are_abandoned_when_the_runtime_is_dropped() {
    let circuit = Arc::new(Circuit::new(config().window(Window::Last(100))).unwrap());
    let runtime = paused_runtime();
    for _ in 0..3 {
        let circuit = Arc::clone(&circuit);
        runtime.spawn(async move { circuit.call(never).await });
    }
    runtime.block_on(tokio::task::yield_now());
    assert_eq!(voted(&circuit), (0, 0));
    drop(runtime);
    assert_eq!(voted(&circuit), (0, 3));
}
