//! Panics of everything that is not ours.

use mainstay_circuit_breaker::{Circuit, CircuitBreaker, CircuitBreakerLayer, Config, Guard, Outcome, State, Window};
use mainstay_core::{AnyError, Class, Classify, Error, Failure, lift};
use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    ops::Deref,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Wake},
    time::Duration,
};
use tokio_test::{assert_pending, assert_ready, assert_ready_ok, task};
use tower::{Layer, Service};

/// Where to panic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Bang {
    #[default]
    Nowhere,
    Ready,
    Call,
    /// At this poll, counted from 1; the polls before are pending.
    Poll(u32),
    Drop,
}

#[derive(Clone, Default)]
struct Leaf {
    bang: Bang,
}

struct Work {
    bang: Bang,
    polls: u32,
}

impl Service<Bang> for Leaf {
    type Response = ();
    type Error = Error<Infallible>;
    type Future = Work;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        assert_ne!(std::mem::take(&mut self.bang), Bang::Ready, "bang");
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, bang: Bang) -> Work {
        assert_ne!(bang, Bang::Call, "bang");
        Work { bang, polls: 0 }
    }
}

impl Future for Work {
    type Output = Result<(), Error<Infallible>>;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        self.polls += 1;
        match self.bang {
            Bang::Poll(k) if k == self.polls => panic!("bang"),
            Bang::Poll(_) => Poll::Pending,
            _ => Poll::Ready(Ok(())),
        }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        assert_ne!(self.bang, Bang::Drop, "bang");
    }
}

type Breaker<C = AnyError> = CircuitBreaker<Leaf, Arc<Circuit>, C>;
type Call<C = AnyError> = <Breaker<C> as Service<Bang>>::Future;

fn config() -> Config {
    Config::default().window(Window::Last(100)).open_for(Duration::from_secs(1)).probes(1)
}

fn service() -> Breaker {
    CircuitBreakerLayer::new(config()).unwrap().layer(Leaf::default())
}

/// A service whose next call is the only probe.
async fn service_to_probe() -> Breaker {
    let service = CircuitBreakerLayer::new(config().window(Window::Consecutive(1))).unwrap().layer(Leaf::default());
    Guard::admit(service.handle()).unwrap().settle(Outcome::Failure);
    tokio::time::advance(Duration::from_secs(1)).await;
    service
}

fn ready<C: Classify<(), Error<Infallible>> + Clone>(service: &mut Breaker<C>) {
    assert_ready_ok!(task::spawn(()).enter(|cx, _| service.poll_ready(cx)));
}

fn call<C: Classify<(), Error<Infallible>> + Clone>(service: &mut Breaker<C>, bang: Bang) -> task::Spawn<Call<C>> {
    ready(service);
    task::spawn(service.call(bang))
}

fn panics<R>(act: impl FnOnce() -> R) -> bool {
    catch_unwind(AssertUnwindSafe(|| drop(act()))).is_err()
}

/// Votes, failed votes, abandoned calls.
fn counted(circuit: &Circuit) -> (u64, u64, u64) {
    let snapshot = circuit.snapshot();
    (snapshot.votes.calls, snapshot.votes.failed, snapshot.abandoned)
}

#[track_caller]
fn works_on(service: &mut Breaker) {
    let before = counted(&service.handle());
    assert_ready_ok!(call(service, Bang::Nowhere).poll());
    let after = counted(&service.handle());
    assert_eq!(after, (before.0 + 1, before.1, 0));
}

// ===== the inner service =====

#[tokio::test(start_paused = true)]
async fn a_panic_in_poll_ready_counts_as_a_failure_and_leaves_the_service_unready() {
    let mut service = service();
    ready(&mut service);
    service.get_mut().bang = Bang::Ready;

    assert!(panics(|| task::spawn(()).enter(|cx, _| service.poll_ready(cx))));
    assert_eq!(counted(&service.handle()), (1, 1, 0));
    assert!(panics(|| service.call(Bang::Nowhere)), "it is not known to be ready any more");
    assert_eq!(counted(&service.handle()), (1, 1, 0));
    works_on(&mut service);
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_poll_ready_takes_a_probes_vote() {
    let mut service = service_to_probe().await;
    service.get_mut().bang = Bang::Ready;

    assert!(panics(|| task::spawn(()).enter(|cx, _| service.poll_ready(cx))));
    let snapshot = service.handle().snapshot();
    assert_eq!((snapshot.state, snapshot.reopenings, snapshot.probes), (State::Open, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_call_counts_as_a_failure() {
    let mut service = service();
    ready(&mut service);

    assert!(panics(|| service.call(Bang::Call)));
    assert_eq!(counted(&service.handle()), (1, 1, 0));
    assert!(panics(|| service.call(Bang::Nowhere)), "readiness was spent");
    works_on(&mut service);
}

#[tokio::test(start_paused = true)]
async fn a_panic_at_any_poll_counts_as_one_failure() {
    for k in 1..=5 {
        let mut service = service();
        let mut call = call(&mut service, Bang::Poll(k));
        for _ in 1..k {
            assert_pending!(call.poll());
        }
        assert!(panics(|| call.poll()));
        assert_eq!(counted(&service.handle()), (1, 1, 0), "at poll {k}");
        assert_pending!(call.poll(), "whoever polls on talks to the inner future");
        drop(call);
        assert_eq!(counted(&service.handle()), (1, 1, 0), "at poll {k}");
        works_on(&mut service);
    }
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_panics_has_failed_and_the_circuit_recovers() {
    for bang in [Bang::Call, Bang::Poll(1)] {
        let mut service = service_to_probe().await;
        assert!(panics(|| call(&mut service, bang).poll().is_ready()));
        assert_eq!(service.handle().state(), State::Open);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_ready_ok!(call(&mut service, Bang::Nowhere).poll());
        assert_eq!(service.handle().state(), State::Closed);
    }
}

#[tokio::test(start_paused = true)]
async fn a_future_that_panics_when_dropped_early_is_an_abandoned_call() {
    let mut service = service();
    let call = call(&mut service, Bang::Drop);

    assert!(panics(|| drop(call)));
    assert_eq!(counted(&service.handle()), (0, 0, 1));
    works_on(&mut service);
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_panics_when_dropped_early_returns_its_slot() {
    let mut service = service_to_probe().await;
    let probe = call(&mut service, Bang::Drop);

    assert!(panics(|| drop(probe)));
    assert_ready_ok!(call(&mut service, Bang::Nowhere).poll());
    assert_eq!(service.handle().state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_future_that_panics_when_dropped_after_its_answer_has_voted_for_it() {
    let mut service = service();
    let mut call = call(&mut service, Bang::Drop);
    assert_ready_ok!(call.poll());

    assert!(panics(|| drop(call)));
    assert_eq!(counted(&service.handle()), (1, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_refused_future_polled_after_its_answer_panics_and_counts_nothing() {
    let mut service = service();
    service.handle().isolate();
    let mut call = call(&mut service, Bang::Nowhere);
    assert!(matches!(assert_ready!(call.poll()), Err(Error::Refused(_))));

    assert!(panics(|| call.poll()));
    assert_eq!(service.handle().snapshot().refused, 1);
}

// ===== the classifier =====

#[derive(Clone, Copy)]
struct BangingClassifier;

impl<T, E> Classify<T, E> for BangingClassifier {
    fn classify(&self, _: Result<&T, &E>) -> Class {
        panic!("bang")
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_classifier_panics_is_abandoned() {
    let layer = CircuitBreakerLayer::new(config()).unwrap();
    let mut service = layer.clone().classify(BangingClassifier).layer(Leaf::default());
    let mut call = call(&mut service, Bang::Nowhere);

    assert!(panics(|| call.poll()));
    drop(call);
    assert_eq!(counted(&layer.handle()), (0, 0, 1));
    works_on(&mut layer.layer(Leaf::default()));
}

#[tokio::test(start_paused = true)]
async fn a_probe_whose_classifier_panics_returns_its_slot() {
    let circuit = service_to_probe().await.handle();
    let layer = CircuitBreakerLayer::with_circuit(Arc::clone(&circuit));
    let mut service = layer.clone().classify(BangingClassifier).layer(Leaf::default());
    let mut probe = call(&mut service, Bang::Nowhere);

    assert!(panics(|| probe.poll()));
    drop(probe);
    assert_eq!((circuit.state(), circuit.snapshot().probes), (State::HalfOpen, 0));
    assert_ready_ok!(call(&mut layer.layer(Leaf::default()), Bang::Nowhere).poll());
    assert_eq!(circuit.state(), State::Closed);
}

#[derive(Clone)]
struct Unready;

impl Service<()> for Unready {
    type Response = ();
    type Error = Error<&'static str>;
    type Future = std::future::Pending<Result<(), Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Err(Error::Inner("gone")))
    }

    fn call(&mut self, (): ()) -> Self::Future {
        unreachable!("never ready")
    }
}

#[tokio::test(start_paused = true)]
async fn a_classifier_that_panics_over_an_error_of_readiness_counts_nothing() {
    let layer = CircuitBreakerLayer::new(config()).unwrap().classify(BangingClassifier);
    let mut service = layer.layer(Unready);

    assert!(panics(|| task::spawn(()).enter(|cx, _| service.poll_ready(cx)).is_ready()));
    assert_eq!(counted(&layer.handle()), (0, 0, 0));
}

/// Panics when it is cloned for a call; the clone for the service is the first.
struct UnclonableClassifier(u32);

impl Clone for UnclonableClassifier {
    fn clone(&self) -> Self {
        assert_eq!(self.0, 0, "bang");
        Self(self.0 + 1)
    }
}

impl<T, E> Classify<T, E> for UnclonableClassifier {
    fn classify(&self, _: Result<&T, &E>) -> Class {
        Class::Failure(Failure::Transient)
    }
}

/// Notes how many probes are out when its future is dropped.
struct DropSpy(Arc<Circuit>, Arc<Mutex<Vec<u32>>>);

struct DropSpyFuture(Arc<Circuit>, Arc<Mutex<Vec<u32>>>);

impl Drop for DropSpyFuture {
    fn drop(&mut self) {
        self.1.lock().unwrap().push(self.0.snapshot().probes);
    }
}

impl Future for DropSpyFuture {
    type Output = Result<(), Error<Infallible>>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Pending
    }
}

impl Service<()> for DropSpy {
    type Response = ();
    type Error = Error<Infallible>;
    type Future = DropSpyFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (): ()) -> DropSpyFuture {
        DropSpyFuture(Arc::clone(&self.0), Arc::clone(&self.1))
    }
}

#[tokio::test(start_paused = true)]
async fn a_classifier_that_cannot_be_cloned_leaves_no_probe_out_and_drops_the_inner_future_first() {
    let circuit = service_to_probe().await.handle();
    let seen = Arc::default();
    let layer = CircuitBreakerLayer::with_circuit(Arc::clone(&circuit)).classify(UnclonableClassifier(0));
    let mut service = layer.layer(DropSpy(Arc::clone(&circuit), Arc::clone(&seen)));
    assert_ready_ok!(task::spawn(()).enter(|cx, _| service.poll_ready(cx)));

    assert!(panics(|| service.call(())));
    assert_eq!(circuit.snapshot().probes, 0);
    assert_eq!(circuit.state(), State::HalfOpen);
    assert_eq!(*seen.lock().unwrap(), [1]);
}

/// Leads to a circuit, and panics when it is cloned a second time.
struct UnclonableHandle(Arc<Circuit>, u32);

impl Clone for UnclonableHandle {
    fn clone(&self) -> Self {
        assert_eq!(self.1, 0, "bang");
        Self(Arc::clone(&self.0), 1)
    }
}

impl Deref for UnclonableHandle {
    type Target = Circuit;

    fn deref(&self) -> &Circuit {
        &self.0
    }
}

#[tokio::test(start_paused = true)]
async fn a_handle_that_cannot_be_cloned_leaves_no_probe_out() {
    let circuit = service_to_probe().await.handle();
    let mut service = CircuitBreakerLayer::with_circuit(UnclonableHandle(Arc::clone(&circuit), 0)).layer(Sink);
    assert_ready_ok!(task::spawn(()).enter(|cx, _| Service::<u8>::poll_ready(&mut service, cx)));

    assert!(panics(|| service.call(1_u8)));
    assert_eq!(circuit.snapshot().probes, 0);
}

// ===== requests =====

/// Panics when it is dropped.
struct BangingRequest;

impl Drop for BangingRequest {
    fn drop(&mut self) {
        panic!("bang")
    }
}

/// Takes its request and lets it go.
struct Sink;

impl<Req> Service<Req> for Sink {
    type Response = ();
    type Error = Error<Infallible>;
    type Future = std::future::Ready<Result<(), Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Req) -> Self::Future {
        drop(request);
        std::future::ready(Ok(()))
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_panics_when_refused_leaves_the_service_as_after_any_refusal() {
    let layer = CircuitBreakerLayer::new(config()).unwrap();
    let mut service = layer.layer(Sink);
    layer.handle().isolate();
    assert_ready_ok!(task::spawn(()).enter(|cx, _| Service::<BangingRequest>::poll_ready(&mut service, cx)));

    assert!(panics(|| service.call(BangingRequest)));
    assert_eq!(layer.handle().snapshot().refused, 1);
    layer.handle().reset();
    assert_ready_ok!(task::spawn(()).enter(|cx, _| Service::<u8>::poll_ready(&mut service, cx)));
    assert_ready_ok!(task::spawn(service.call(1_u8)).poll());
    assert_eq!(counted(&layer.handle()), (1, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_panics_in_the_hands_of_the_service_is_a_failure() {
    let layer = CircuitBreakerLayer::new(config()).unwrap();
    let mut service = layer.layer(Sink);
    assert_ready_ok!(task::spawn(()).enter(|cx, _| Service::<BangingRequest>::poll_ready(&mut service, cx)));

    assert!(panics(|| service.call(BangingRequest)));
    assert_eq!(counted(&layer.handle()), (1, 1, 0));
}

// ===== without tower =====

#[tokio::test(start_paused = true)]
async fn work_that_panics_before_it_gives_a_future_is_a_failure() {
    let circuit = Circuit::new(config()).unwrap();
    let mut call =
        task::spawn(circuit.call(|| -> std::future::Ready<Result<(), Error<Infallible>>> { panic!("bang") }));
    assert_eq!(counted(&circuit), (0, 0, 0));

    assert!(panics(|| call.poll()));
    drop(call);
    assert_eq!(counted(&circuit), (1, 1, 0));
    assert_eq!(circuit.call(|| lift(async { Ok::<_, Infallible>(1) })).await, Ok(1));
}

#[tokio::test(start_paused = true)]
async fn work_that_panics_at_any_poll_is_one_failure() {
    for k in 1..=3 {
        let circuit = Circuit::new(config()).unwrap();
        let mut call = task::spawn(circuit.call(|| Work { bang: Bang::Poll(k), polls: 0 }));
        for _ in 1..k {
            assert_pending!(call.poll());
        }
        assert!(panics(|| call.poll()));
        drop(call);
        assert_eq!(counted(&circuit), (1, 1, 0), "at poll {k}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_plain_call_whose_classifier_panics_is_abandoned() {
    let circuit = Circuit::new(config()).unwrap();
    let work = || Work { bang: Bang::Nowhere, polls: 0 };
    let mut call = task::spawn(circuit.call_classified(BangingClassifier, work));

    assert!(panics(|| call.poll()));
    drop(call);
    assert_eq!(counted(&circuit), (0, 0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_part_that_panics_under_a_guard_is_one_failure() {
    let circuit = Circuit::new(config()).unwrap();
    let mut guard = Guard::admit(&circuit).unwrap();

    assert!(panics(|| guard.run(|| panic!("bang"))));
    assert_eq!(counted(&circuit), (1, 1, 0));
    drop(guard);
    assert_eq!(counted(&circuit), (1, 1, 0));
}

// ===== innocent bystanders =====

#[tokio::test(start_paused = true)]
async fn a_call_dropped_by_an_unrelated_panic_is_abandoned_and_has_not_failed() {
    let mut service = service();
    let circuit = Circuit::new(config()).unwrap();

    assert!(panics(|| {
        let mut polled = call(&mut service, Bang::Poll(9));
        assert_pending!(polled.poll());
        let _unpolled = call(&mut service, Bang::Poll(9));
        let mut plain = task::spawn(circuit.call(|| Work { bang: Bang::Poll(9), polls: 0 }));
        assert_pending!(plain.poll());
        let _guard = Guard::admit(&circuit).unwrap();
        panic!("unrelated");
    }));
    assert_eq!(counted(&service.handle()), (0, 0, 2));
    assert_eq!(counted(&circuit), (0, 0, 2));
    works_on(&mut service);
}

#[tokio::test(start_paused = true)]
async fn of_two_nested_calls_the_one_that_panicked_has_failed_and_the_one_it_held_is_abandoned() {
    let (outer, inner) = (Circuit::new(config()).unwrap(), Circuit::new(config()).unwrap());
    let mut call = task::spawn(outer.call(|| {
        let mut held = Some(Box::pin(inner.call(|| Work { bang: Bang::Poll(9), polls: 0 })));
        poll_fn(move |cx| -> Poll<Result<(), Error<Infallible>>> {
            let mut held = held.take().unwrap();
            assert_pending!(held.as_mut().poll(cx));
            panic!("bang")
        })
    }));

    assert!(panics(|| call.poll()));
    drop(call);
    assert_eq!(counted(&outer), (1, 1, 0));
    assert_eq!(counted(&inner), (0, 0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_panic_that_opens_the_circuit_while_it_unwinds_tells_the_watchers() {
    let circuit = Circuit::new(config().window(Window::Consecutive(1))).unwrap();
    let watch = circuit.watch();
    let mut call = task::spawn(circuit.call(|| Work { bang: Bang::Poll(1), polls: 0 }));

    assert!(panics(|| call.poll()));
    assert_eq!((watch.borrow().state, circuit.state()), (State::Open, State::Open));
    // A second unwinding goes through a circuit that is open.
    assert!(panics(move || {
        let _call = call;
        panic!("unrelated");
    }));
    assert_eq!(circuit.snapshot().generation, 1);
}

struct BangingWaker;

impl Wake for BangingWaker {
    fn wake(self: Arc<Self>) {
        panic!("bang")
    }
}

#[tokio::test(start_paused = true)]
async fn a_watcher_that_panics_when_a_probe_is_sent_leaves_no_probe_out() {
    let circuit = Circuit::new(config().window(Window::Consecutive(1)).probes(1)).unwrap();
    Guard::admit(&circuit).unwrap().settle(Outcome::Failure);
    tokio::time::advance(Duration::from_secs(3600)).await;
    let mut watch = circuit.watch();
    let mut changed = Box::pin(watch.changed());
    assert!(changed.as_mut().poll(&mut Context::from_waker(&Arc::new(BangingWaker).into())).is_pending());

    assert!(panics(|| Guard::admit(&circuit)));
    let snapshot = circuit.snapshot();
    assert_eq!((snapshot.state, snapshot.probes), (State::HalfOpen, 0));
    Guard::admit(&circuit).expect("the slot is free").settle(Outcome::Success);
    assert_eq!(circuit.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_watcher_that_panics_disturbs_the_call_that_told_it_and_no_other() {
    let mut service = CircuitBreakerLayer::new(config().window(Window::Consecutive(1))).unwrap().layer(Sink);
    let circuit = service.handle();
    let mut watch = circuit.watch();
    let mut changed = Box::pin(watch.changed());
    assert!(changed.as_mut().poll(&mut Context::from_waker(&Arc::new(BangingWaker).into())).is_pending());

    let mut guard = Guard::admit(&*circuit).unwrap();
    guard.run(|| ());
    assert!(panics(|| guard.settle(Outcome::Failure)));
    let snapshot = circuit.snapshot();
    assert_eq!((snapshot.state, snapshot.generation, snapshot.abandoned), (State::Open, 1, 0));
    circuit.reset();
    assert_ready_ok!(task::spawn(()).enter(|cx, _| Service::<u8>::poll_ready(&mut service, cx)));
    assert_ready_ok!(task::spawn(service.call(1_u8)).poll());
    assert_eq!(circuit.snapshot().generation, 2);
}
