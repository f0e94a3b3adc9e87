//! What `poll_ready` promises, over a service whose readiness is a real token.
//!
//! A service that only counts how often it may be called would let two clones be ready on one slot. Here each value holds
//! its own token: taken from a pool in `poll_ready`, spent in `call`, given back when dropped, absent in clones.

use mainstay_circuit_breaker::{CircuitBreaker, CircuitBreakerLayer, Clock, Config, Outcome, State, Window};
use mainstay_core::{AnyError, Class, Classify, Error, Reason, Refused, TimedOut, classify_fn};
use std::{
    cell::{Cell, RefCell},
    future::Ready,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};
use tokio_test::{assert_pending, assert_ready, assert_ready_err, assert_ready_ok, task};
use tower::{Layer, Service};

type Answer = Result<u32, Error<&'static str>>;
type Breaker<C = AnyError> = CircuitBreaker<Leaf, Arc<mainstay_circuit_breaker::Circuit>, C>;

#[derive(Default)]
struct Pool {
    free: Cell<usize>,
    polls: Cell<usize>,
    calls: Cell<usize>,
    busy: Cell<bool>,
    fails: RefCell<Option<Error<&'static str>>>,
    waiter: RefCell<Option<Waker>>,
}

struct Token(Rc<Pool>);

struct Leaf {
    pool: Rc<Pool>,
    token: Option<Token>,
}

impl Pool {
    fn of(free: usize) -> Rc<Self> {
        Rc::new(Self { free: Cell::new(free), ..Self::default() })
    }

    /// Puts one token more into the pool, and wakes whoever polled last.
    fn give(&self) {
        self.free.update(|free| free + 1);
        let waiter = self.waiter.take();
        waiter.into_iter().for_each(Waker::wake);
    }

    fn fail_next(&self, error: Error<&'static str>) {
        self.fails.replace(Some(error));
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        self.0.give();
    }
}

impl Clone for Leaf {
    fn clone(&self) -> Self {
        Self { pool: Rc::clone(&self.pool), token: None }
    }
}

impl Service<u32> for Leaf {
    type Response = u32;
    type Error = Error<&'static str>;
    type Future = Ready<Answer>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        assert!(!self.pool.busy.get(), "`call` polled for readiness");
        self.pool.polls.update(|polls| polls + 1);
        if let Some(error) = self.pool.fails.take() {
            return Poll::Ready(Err(error));
        }
        if self.token.is_some() {
            return Poll::Ready(Ok(()));
        }
        if self.pool.free.get() == 0 {
            self.pool.waiter.replace(Some(cx.waker().clone()));
            return Poll::Pending;
        }
        self.pool.free.update(|free| free - 1);
        self.token = Some(Token(Rc::clone(&self.pool)));
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u32) -> Self::Future {
        drop(self.token.take().expect("called without a token of its own"));
        self.pool.calls.update(|calls| calls + 1);
        std::future::ready(if request == 0 { Err(Error::Inner("zero")) } else { Ok(request) })
    }
}

/// One failure opens, for ten seconds; one probe closes.
fn config() -> Config {
    Config::default().name("leaf").window(Window::Consecutive(1)).open_for(Duration::from_secs(10)).probes(1)
}

fn layer(config: Config) -> CircuitBreakerLayer {
    CircuitBreakerLayer::new(config).unwrap()
}

fn over(pool: &Rc<Pool>, layer: &CircuitBreakerLayer) -> Breaker {
    layer.layer(Leaf { pool: Rc::clone(pool), token: None })
}

fn poll<C: Classify<u32, Error<&'static str>> + Clone>(
    service: &mut Breaker<C>,
) -> Poll<Result<(), Error<&'static str>>> {
    task::spawn(()).enter(|cx, _| service.poll_ready(cx))
}

/// Polls the service ready, and the answer of its call.
fn ask(service: &mut Breaker, request: u32) -> Answer {
    assert_ready_ok!(poll(service));
    answer(service, request)
}

fn answer(service: &mut Breaker, request: u32) -> Answer {
    assert_ready!(task::spawn(service.call(request)).poll())
}

fn is_refused(answer: &Answer) -> bool {
    matches!(answer, Err(Error::Refused(refused)) if refused.reason() == Reason::CircuitOpen && refused.by() == "leaf")
}

fn call_panics(service: &mut Breaker) -> bool {
    catch_unwind(AssertUnwindSafe(|| drop(service.call(1)))).is_err()
}

// ===== the inner service decides while calls pass =====

#[tokio::test(start_paused = true)]
async fn each_call_spends_a_token_of_the_very_value_that_was_polled() {
    let (pool, layer) = (Pool::of(2), layer(config()));
    let mut one = over(&pool, &layer);
    let mut two = one.clone();

    // The leaf panics if it is called without its own token.
    for round in 1..=100 {
        assert_ready_ok!(poll(&mut one));
        let mut moved = one;
        one = moved.clone();
        assert_eq!(ask(&mut two, round), Ok(round));
        assert_eq!(answer(&mut moved, round), Ok(round));
        assert_eq!(pool.free.get(), 2);
    }
    assert_eq!(pool.calls.get(), 200);
}

#[tokio::test(start_paused = true)]
async fn waits_for_the_inner_service_and_is_woken_by_it() {
    let pool = Pool::of(0);
    let mut service = over(&pool, &layer(config()));
    let mut task = task::spawn(());

    assert_pending!(task.enter(|cx, _| service.poll_ready(cx)));
    assert!(!task.is_woken());
    pool.give();
    assert!(task.is_woken());
    assert_ready_ok!(task.enter(|cx, _| service.poll_ready(cx)));
    assert_eq!(answer(&mut service, 7), Ok(7));
}

#[tokio::test(start_paused = true)]
async fn of_two_tasks_that_polled_the_later_is_woken() {
    let pool = Pool::of(0);
    let mut service = over(&pool, &layer(config()));
    let (mut earlier, mut later) = (task::spawn(()), task::spawn(()));

    assert_pending!(earlier.enter(|cx, _| service.poll_ready(cx)));
    assert_pending!(later.enter(|cx, _| service.poll_ready(cx)));
    pool.give();
    assert!(later.is_woken());
    assert!(!earlier.is_woken());
}

#[tokio::test(start_paused = true)]
async fn waiting_wakes_nobody() {
    let pool = Pool::of(0);
    let mut service = over(&pool, &layer(config()));
    let mut task = task::spawn(());

    for _ in 0..1_000 {
        assert_pending!(task.enter(|cx, _| service.poll_ready(cx)));
        assert!(!task.is_woken());
    }
}

#[tokio::test(start_paused = true)]
async fn stays_ready_on_one_token() {
    let pool = Pool::of(2);
    let mut service = over(&pool, &layer(config()));

    for _ in 0..5 {
        assert_ready_ok!(poll(&mut service));
        assert_eq!(pool.free.get(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_ready_service_that_is_dropped_gives_its_token_to_a_waiting_clone() {
    let pool = Pool::of(1);
    let mut first = over(&pool, &layer(config()));
    let mut second = first.clone();
    let mut waiting = task::spawn(());

    assert_ready_ok!(poll(&mut first));
    assert_pending!(waiting.enter(|cx, _| second.poll_ready(cx)));
    drop(first);
    assert!(waiting.is_woken());
    assert_eq!(ask(&mut second, 3), Ok(3));
    drop(second);
    assert_eq!(pool.free.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_polls_in_one_task_refuse_nothing() {
    let (pool, layer) = (Pool::of(1), layer(config()));
    let mut service = over(&pool, &layer);

    for round in 1..=10_000 {
        assert_eq!(ask(&mut service, round), Ok(round));
    }
    assert_eq!((pool.calls.get(), layer.handle().snapshot().refused), (10_000, 0));
}

// ===== an open circuit answers by itself =====

#[tokio::test(start_paused = true)]
async fn an_open_circuit_refuses_without_asking_a_service_that_is_never_ready() {
    let (pool, layer) = (Pool::of(1), layer(config()));
    let mut service = over(&pool, &layer);
    assert_eq!(ask(&mut service, 0), Err(Error::Inner("zero")));
    pool.free.set(0);
    let polls = pool.polls.get();

    for _ in 0..5 {
        assert!(is_refused(&ask(&mut service, 1)));
    }
    assert_eq!((pool.polls.get(), pool.calls.get()), (polls, 1));
    assert_eq!(layer.handle().snapshot().refused, 5);
}

#[tokio::test(start_paused = true)]
async fn a_half_open_circuit_without_a_free_slot_refuses_without_asking_the_service() {
    let (pool, layer) = (Pool::of(1), layer(config()));
    let mut service = over(&pool, &layer);
    assert_eq!(ask(&mut service, 0), Err(Error::Inner("zero")));
    tokio::time::advance(Duration::from_secs(10)).await;
    assert_ready_ok!(poll(&mut service));
    let probe = service.call(1);
    pool.free.set(0);
    let polls = pool.polls.get();

    assert!(is_refused(&ask(&mut service, 2)));
    assert_eq!(pool.polls.get(), polls);
    drop(probe);
    assert_pending!(poll(&mut service));
}

#[tokio::test(start_paused = true)]
async fn an_open_circuit_stays_ready_however_often_it_is_polled() {
    let (pool, layer) = (Pool::of(0), layer(config()));
    let mut service = over(&pool, &layer);
    layer.handle().isolate();

    for _ in 0..10_000 {
        assert_ready_ok!(poll(&mut service));
    }
    assert_eq!((pool.polls.get(), layer.handle().snapshot().refused), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_circuit_whose_open_time_is_over_waits_for_the_service() {
    let (pool, layer) = (Pool::of(1), layer(config()));
    let mut service = over(&pool, &layer);
    assert_eq!(ask(&mut service, 0), Err(Error::Inner("zero")));
    pool.free.set(0);
    tokio::time::advance(Duration::from_secs(10)).await;
    let mut task = task::spawn(());

    assert_pending!(task.enter(|cx, _| service.poll_ready(cx)));
    assert_eq!(layer.handle().state(), State::Open, "waiting takes no probe slot");
    pool.give();
    assert!(task.is_woken());
    assert_eq!(ask(&mut service, 1), Ok(1));
    assert_eq!(layer.handle().state(), State::Closed);
}

// ===== told to come and be refused =====

#[tokio::test(start_paused = true)]
async fn a_caller_told_to_come_is_refused_though_the_circuit_has_closed() {
    let (pool, layer) = (Pool::of(1), layer(config()));
    let mut service = over(&pool, &layer);
    layer.handle().isolate();
    assert_ready_ok!(poll(&mut service));
    layer.handle().reset();

    let answer = answer(&mut service, 1);
    assert!(matches!(answer, Err(Error::Refused(refused)) if refused.retry_after() == Some(Duration::ZERO)));
    assert_eq!(pool.calls.get(), 0, "it was not polled ready, so it must not be called");
    assert_eq!(layer.handle().snapshot().refused, 1);
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_asks_again_after_the_circuit_closed_is_forwarded() {
    let (pool, layer) = (Pool::of(1), layer(config()));
    let mut service = over(&pool, &layer);
    layer.handle().isolate();
    assert_ready_ok!(poll(&mut service));
    layer.handle().reset();

    assert_eq!(ask(&mut service, 5), Ok(5));
    assert_eq!(layer.handle().snapshot().refused, 0);
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_asks_again_too_early_stays_ready_and_is_refused() {
    let (pool, layer) = (Pool::of(0), layer(config()));
    let mut service = over(&pool, &layer);
    layer.handle().isolate();
    assert_ready_ok!(poll(&mut service));
    layer.handle().reset();
    let mut task = task::spawn(());

    for _ in 0..3 {
        assert_ready_ok!(task.enter(|cx, _| service.poll_ready(cx)), "ready does not go back to pending");
    }
    assert_eq!(pool.polls.get(), 3);
    assert!(is_refused(&answer(&mut service, 1)));
    // The next call starts anew, and waits.
    assert_pending!(task.enter(|cx, _| service.poll_ready(cx)));
    pool.give();
    assert!(task.is_woken());
    assert_eq!(ask(&mut service, 2), Ok(2));
}

#[tokio::test(start_paused = true)]
async fn a_refused_call_keeps_what_the_inner_service_reserved() {
    let (pool, layer) = (Pool::of(2), layer(config()));
    let mut service = over(&pool, &layer);
    assert_ready_ok!(poll(&mut service));
    layer.handle().isolate();

    assert!(is_refused(&answer(&mut service, 1)));
    assert_eq!((pool.free.get(), pool.calls.get()), (1, 0));
    layer.handle().reset();
    assert_eq!(ask(&mut service, 2), Ok(2));
    assert_eq!(pool.free.get(), 2, "no second token was taken");
}

// ===== errors of `poll_ready` =====

#[tokio::test(start_paused = true)]
async fn an_error_of_the_inner_readiness_is_passed_on_and_counts_as_a_failure() {
    let (pool, layer) = (Pool::of(1), layer(config().window(Window::Last(2))));
    let mut service = over(&pool, &layer);
    pool.fail_next(Error::Inner("gone"));

    assert_eq!(assert_ready_err!(poll(&mut service)), Error::Inner("gone"));
    let votes = layer.handle().snapshot().votes;
    assert_eq!((votes.calls, votes.failed), (1, 1));
    pool.fail_next(TimedOut::new("below", Duration::from_secs(1)).into());
    assert!(matches!(assert_ready_err!(poll(&mut service)), Error::TimedOut(_)));
    assert_eq!(layer.handle().state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn an_error_of_the_inner_readiness_takes_a_probes_vote_and_no_slot() {
    let (pool, layer) = (Pool::of(1), layer(config().probes(2).failure_rate(1.0)));
    let mut service = over(&pool, &layer);
    assert_eq!(ask(&mut service, 0), Err(Error::Inner("zero")));
    tokio::time::advance(Duration::from_secs(10)).await;

    pool.fail_next(Error::Inner("gone"));
    assert_ready_err!(poll(&mut service));
    let snapshot = layer.handle().snapshot();
    assert_eq!((snapshot.state, snapshot.probes, snapshot.votes.failed), (State::HalfOpen, 0, 1));
    pool.fail_next(Error::Inner("gone"));
    assert_ready_err!(poll(&mut service));
    assert_eq!(layer.handle().state(), State::Open);
    assert_eq!(layer.handle().snapshot().reopenings, 1);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_from_the_inner_readiness_is_passed_on_and_does_not_count() {
    let (pool, layer) = (Pool::of(1), layer(config()));
    let mut service = over(&pool, &layer);
    let refused = Refused::new(Reason::BulkheadFull, "below");

    for _ in 0..5 {
        pool.fail_next(refused.into());
        assert_eq!(assert_ready_err!(poll(&mut service)), Error::Refused(refused));
    }
    let snapshot = layer.handle().snapshot();
    assert_eq!((snapshot.state, snapshot.votes.calls, snapshot.refused), (State::Closed, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn the_classifier_judges_errors_of_the_inner_readiness_too() {
    let pool = Pool::of(1);
    let layer = layer(config()).classify(classify_fn(|_: Result<&u32, &Error<&str>>| Class::Ignored));
    let mut service = layer.layer(Leaf { pool: Rc::clone(&pool), token: None });

    pool.fail_next(Error::Inner("expected"));
    assert_ready_err!(poll(&mut service));
    assert_eq!(layer.handle().snapshot().votes.calls, 0);
}

// ===== calls without readiness =====

#[tokio::test(start_paused = true)]
async fn a_call_without_readiness_panics_before_the_inner_service() {
    let (pool, layer) = (Pool::of(1), layer(config()));
    let mut service = over(&pool, &layer);

    assert!(call_panics(&mut service), "never polled");
    assert_eq!(ask(&mut service, 1), Ok(1));
    assert!(call_panics(&mut service), "readiness is spent by the call");
    layer.handle().isolate();
    assert!(is_refused(&ask(&mut service, 1)));
    assert!(call_panics(&mut service), "and by the refused call");
    layer.handle().reset();
    pool.free.set(0);
    assert_pending!(poll(&mut service));
    assert!(call_panics(&mut service), "pending is not ready");
    let snapshot = layer.handle().snapshot();
    assert_eq!((pool.calls.get(), snapshot.abandoned, snapshot.refused), (1, 0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_call_after_an_error_of_readiness_panics() {
    let pool = Pool::of(1);
    let mut service = over(&pool, &layer(config().window(Window::Last(100))));
    assert_ready_ok!(poll(&mut service));
    pool.fail_next(Error::Inner("gone"));
    assert_ready_err!(poll(&mut service));

    assert!(call_panics(&mut service));
    assert_eq!(pool.calls.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_polls_no_readiness() {
    let (pool, layer) = (Pool::of(1), layer(config()));
    let mut service = over(&pool, &layer);
    assert_ready_ok!(poll(&mut service));
    let polls = pool.polls.get();
    pool.busy.set(true);

    assert_eq!(answer(&mut service, 1), Ok(1));
    assert_eq!(pool.polls.get(), polls);
}

#[tokio::test(start_paused = true)]
async fn a_clone_of_a_ready_service_is_not_ready() {
    let (pool, layer) = (Pool::of(2), layer(config()));
    let mut service = over(&pool, &layer);

    assert_ready_ok!(poll(&mut service));
    assert!(call_panics(&mut service.clone()));
    assert_eq!(pool.free.get(), 1, "cloning neither takes a token nor gives one back");
    layer.handle().isolate();
    assert_ready_ok!(poll(&mut service));
    assert!(call_panics(&mut service.clone()), "to be refused is not cloned either");
    layer.handle().reset();
    assert_eq!(ask(&mut service, 1), Ok(1));
    assert_eq!(pool.calls.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_failing_readiness_in_shadow_is_no_refused_call() {
    let (pool, layer) = (Pool::of(1), layer(config().shadow(true)));
    let mut service = over(&pool, &layer);
    layer.handle().isolate();
    pool.fail_next(Error::Inner("gone"));
    assert_ready_err!(poll(&mut service));
    assert_eq!(layer.handle().snapshot().refused, 0);
}

#[tokio::test(start_paused = true)]
async fn a_failing_readiness_long_after_a_silent_probe_is_told_as_all_that_happened() {
    let (pool, layer) = (Pool::of(1), layer(config().window(Window::Consecutive(1)).probes(1)));
    let mut service = over(&pool, &layer);
    let circuit = layer.handle();
    circuit.settle(circuit.admit(Clock).unwrap(), Outcome::Failure, Clock);
    tokio::time::advance(Duration::from_secs(3600)).await;
    drop(circuit.admit(Clock).unwrap());
    tokio::time::advance(Duration::from_secs(3600)).await;

    pool.fail_next(Error::Inner("gone"));
    assert_ready_err!(poll(&mut service));
    // Open, half-open, open by the deadline, half-open by the open time, open by this failure.
    assert_eq!((circuit.snapshot().generation, circuit.state()), (5, State::Open));
    assert_eq!(circuit.watch().borrow().generation, 5);
}
