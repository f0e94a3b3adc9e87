//! A hedge earns its readiness when it starts, and nothing is reserved for one that does not.

mod hedge_support;

use futures_util::task::AtomicWaker;
use hedge_support::{ALMOST, DELAY, Leaf, Req, advance, config, counts, failed, layer};
use mainstay_core::{Attempt, Class, Deadline, Error, Failure, classify_fn};
use mainstay_retry::{Budget, BudgetConfig, HedgeLayer, Repeat};
use std::{
    future::{Ready, ready},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};
use tokio::time::Instant;
use tokio_test::{assert_pending, assert_ready_eq, task};
use tower::{Layer, Service, limit::ConcurrencyLimitLayer};

fn noop() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

fn budget() -> Arc<Budget> {
    Arc::new(Budget::new(BudgetConfig::default()).unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_ready_service_and_a_call_hold_one_permit_until_the_hedge_starts() {
    let leaf = Leaf::default();
    let limited = ConcurrencyLimitLayer::new(2).layer(leaf.clone());
    let mut probe = limited.clone();
    let mut service = layer(config()).layer(limited);
    assert!(service.poll_ready(&mut noop()).is_ready());
    let mut call = task::spawn(service.call("read"));
    assert_pending!(call.poll());
    advance(ALMOST).await;
    assert_pending!(call.poll());
    assert!(probe.poll_ready(&mut noop()).is_ready(), "the second permit is free");
    drop(probe);
    advance(Duration::from_millis(1)).await;
    assert_pending!(call.poll());
    assert_eq!(leaf.running(), [0, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_hedge_waits_for_room_and_is_woken_by_it() {
    let leaf = Leaf::default();
    let tokens = budget();
    let limited = ConcurrencyLimitLayer::new(2).layer(leaf.clone());
    let mut other = limited.clone();
    let hedges = HedgeLayer::new(config().max_hedges(3)).unwrap().idempotent().budget(Arc::clone(&tokens));
    let mut service = hedges.layer(limited);
    assert!(service.poll_ready(&mut noop()).is_ready());
    let mut call = task::spawn(service.call("read"));
    assert_pending!(call.poll());
    assert!(other.poll_ready(&mut noop()).is_ready());
    advance(DELAY).await;
    assert_pending!(call.poll());
    advance(10 * DELAY).await;
    assert!(!call.is_woken(), "while one waits, no other is due");
    assert_eq!((leaf.calls(), tokens.snapshot().withdrawn), (1, 1));
    assert_eq!(counts(&hedges.handle()), (0, 0, 0), "it is paid and has not started");
    drop(other);
    assert!(call.is_woken());
    assert_pending!(call.poll());
    assert_eq!(leaf.running(), [0, 1]);
    assert_eq!(counts(&hedges.handle()), (1, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn the_first_attempt_is_answered_while_a_hedge_waits_for_room() {
    let leaf = Leaf::default();
    let tokens = budget();
    let limited = ConcurrencyLimitLayer::new(1).layer(leaf.clone());
    let hedges = HedgeLayer::new(config()).unwrap().idempotent().budget(Arc::clone(&tokens));
    let mut service = hedges.layer(limited);
    assert!(service.poll_ready(&mut noop()).is_ready());
    let mut call = task::spawn(service.call("read"));
    assert_pending!(call.poll());
    advance(DELAY).await;
    assert_pending!(call.poll());
    leaf.end(0, Ok(1));
    assert!(call.is_woken());
    assert_ready_eq!(call.poll(), Ok(1));
    let snapshot = tokens.snapshot();
    assert_eq!((leaf.calls(), snapshot.withdrawn, snapshot.given_back), (1, 1, 1));
    assert!(service.poll_ready(&mut noop()).is_ready(), "the place in line is given up too");
}

#[tokio::test(start_paused = true)]
async fn after_a_failure_the_permit_that_it_had_serves_the_next_attempt() {
    let leaf = Leaf::default();
    let mut service = layer(config()).layer(ConcurrencyLimitLayer::new(1).layer(leaf.clone()));
    assert!(service.poll_ready(&mut noop()).is_ready());
    let mut call = task::spawn(service.call("read"));
    assert_pending!(call.poll());
    leaf.end(0, failed("no"));
    assert_pending!(call.poll());
    assert_eq!(leaf.running(), [1]);
}

/// Ready for the first call, with an error after that.
#[derive(Clone)]
struct Dying(Leaf);

impl Service<Req> for Dying {
    type Response = u32;
    type Error = Error<&'static str>;
    type Future = <Leaf as Service<Req>>::Future;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(if self.0.calls() == 0 { Ok(()) } else { Err(Error::Inner("dead")) })
    }

    fn call(&mut self, request: Req) -> Self::Future {
        self.0.call(request)
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_fails_to_become_ready_ends_hedging_and_not_the_call() {
    let leaf = Leaf::default();
    let tokens = budget();
    let hedges = HedgeLayer::new(config().max_hedges(3)).unwrap().idempotent().budget(Arc::clone(&tokens));
    for (answer, expected) in [(Ok(1), Ok(1)), (hedge_support::refused(), failed("dead"))] {
        let leaf = Leaf::default();
        let mut service = hedges.layer(Dying(leaf.clone()));
        assert!(service.poll_ready(&mut noop()).is_ready());
        let mut call = task::spawn(service.call("read"));
        assert_pending!(call.poll());
        advance(DELAY).await;
        assert_pending!(call.poll());
        advance(10 * DELAY).await;
        assert!(!call.is_woken(), "it is not asked again");
        leaf.end(0, answer);
        assert_ready_eq!(call.poll(), expected);
        assert_eq!(leaf.calls(), 1);
    }
    let snapshot = tokens.snapshot();
    assert_eq!((leaf.calls(), snapshot.withdrawn, snapshot.given_back), (0, 2, 2));
}

/// Sends a request again until it has been sent so often; none starts after the deadline.
#[derive(Clone)]
struct Limited {
    times: Arc<AtomicU32>,
    deadline: Option<Deadline>,
}

impl Repeat<Req> for Limited {
    type Request = Req;
    type Kept = Req;
    type Seen = Req;

    fn first(&self, request: Req) -> (Req, Option<Req>) {
        (request, Some(request))
    }

    fn again(&self, kept: &mut Req, attempt: Attempt) -> Option<Req> {
        assert!(!attempt.is_first());
        (self.times.fetch_sub(1, Ordering::SeqCst) > 1).then_some(*kept)
    }

    fn is_idempotent(&self, _: &Req) -> bool {
        true
    }

    fn deadline(&self, _: &Req) -> Option<Deadline> {
        self.deadline
    }

    fn seen<'a>(&self, kept: &'a Req) -> &'a Req {
        kept
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_cannot_be_sent_any_more_holds_neither_charge_nor_readiness() {
    let leaf = Leaf::default();
    let tokens = budget();
    let limited = ConcurrencyLimitLayer::new(3).layer(leaf.clone());
    let mut probe = limited.clone();
    let repeat = Limited { times: Arc::new(2.into()), deadline: None };
    let hedges = HedgeLayer::new(config().max_hedges(3)).unwrap().repeat(repeat).budget(Arc::clone(&tokens));
    let mut service = hedges.layer(limited);
    assert!(service.poll_ready(&mut noop()).is_ready());
    let mut call = task::spawn(service.call("read"));
    assert_pending!(call.poll());
    for _ in 0..3 {
        advance(DELAY).await;
        assert_pending!(call.poll());
    }
    assert_eq!(leaf.running(), [0, 1]);
    let snapshot = tokens.snapshot();
    assert_eq!((snapshot.withdrawn, snapshot.given_back), (1, 0), "what cannot be sent is not paid");
    assert!(probe.poll_ready(&mut noop()).is_ready(), "the third permit is free");
}

fn until(deadline: Duration) -> Limited {
    Limited { times: Arc::new(100.into()), deadline: Some(Deadline::at((Instant::now() + deadline).into_std())) }
}

#[tokio::test(start_paused = true)]
async fn no_hedge_starts_at_or_after_the_deadline() {
    for (deadline, hedges) in [(DELAY, 0), (DELAY + Duration::from_millis(1), 1), (2 * DELAY, 1), (5 * DELAY, 3)] {
        let leaf = Leaf::default();
        let layer = HedgeLayer::new(config().max_hedges(3)).unwrap().repeat(until(deadline));
        let mut call = task::spawn(layer.layer(leaf.clone()).call("read"));
        assert_pending!(call.poll());
        for _ in 0..5 {
            advance(DELAY).await;
            assert_pending!(call.poll());
        }
        assert_eq!(leaf.calls(), 1 + hedges, "{deadline:?}");
    }
    // Not after a failure either.
    let leaf = Leaf::default();
    let layer = HedgeLayer::new(config().max_hedges(3)).unwrap().repeat(until(DELAY / 2));
    let mut call = task::spawn(layer.layer(leaf.clone()).call("read"));
    assert_pending!(call.poll());
    advance(DELAY / 2).await;
    leaf.end(0, failed("late"));
    assert_ready_eq!(call.poll(), failed("late"));
}

#[tokio::test(start_paused = true)]
async fn room_is_not_waited_for_beyond_the_deadline() {
    let leaf = Leaf::default();
    let tokens = budget();
    let limited = ConcurrencyLimitLayer::new(2).layer(leaf.clone());
    let mut other = limited.clone();
    let hedges = HedgeLayer::new(config()).unwrap().repeat(until(3 * DELAY)).budget(Arc::clone(&tokens));
    let mut service = hedges.layer(limited);
    assert!(service.poll_ready(&mut noop()).is_ready());
    let mut call = task::spawn(service.call("read"));
    assert_pending!(call.poll());
    assert!(other.poll_ready(&mut noop()).is_ready());
    // One permit is held by another, and the one of the first attempt is taken by a third as soon as it fails.
    let mut third = other.clone();
    let mut third_ready = task::spawn(std::future::poll_fn(|cx| third.poll_ready(cx)));
    assert_pending!(third_ready.poll());
    leaf.end(0, failed("early"));
    assert_pending!(call.poll());
    advance(2 * DELAY + ALMOST).await;
    assert!(!call.is_woken());
    advance(Duration::from_millis(1)).await;
    assert!(call.is_woken());
    // Room comes in the same moment, and is too late.
    drop(other);
    assert_ready_eq!(call.poll(), failed("early"));
    let snapshot = tokens.snapshot();
    assert_eq!((leaf.calls(), snapshot.withdrawn, snapshot.given_back), (1, 1, 1));
}

/// Attempts that hang; after the first, readiness comes when it is let in.
#[derive(Clone)]
struct Gate {
    leaf: Leaf,
    is_open: Arc<AtomicBool>,
    waiting: Arc<AtomicWaker>,
}

impl Service<Req> for Gate {
    type Response = u32;
    type Error = Error<&'static str>;
    type Future = <Leaf as Service<Req>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.waiting.register(cx.waker());
        if self.leaf.calls() == 0 || self.is_open.load(Ordering::SeqCst) { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    fn call(&mut self, request: Req) -> Self::Future {
        self.leaf.call(request)
    }
}

/// How many attempts there are if readiness comes after so long; `spent`: the task has used up the budget that tokio gives it.
async fn attempts_if_let_in_after(late: Duration, deadline: Duration, spent: bool) -> usize {
    let gate = Gate { leaf: Leaf::default(), is_open: Arc::default(), waiting: Arc::default() };
    let start = Instant::now();
    let hedges = HedgeLayer::new(config().delay(Duration::from_millis(1))).unwrap().repeat(until(deadline));
    let mut call = task::spawn(hedges.layer(gate.clone()).call("read"));
    assert_pending!(call.poll());
    advance(Duration::from_millis(2)).await;
    assert_pending!(call.poll());
    advance(late.saturating_sub(start.elapsed())).await;
    gate.is_open.store(true, Ordering::SeqCst);
    gate.waiting.wake();
    assert!(call.is_woken());
    std::future::poll_fn(|cx| {
        while spent && tokio::task::coop::has_budget_remaining() {
            std::task::ready!(std::pin::pin!(tokio::task::coop::consume_budget()).poll(cx));
        }
        assert_pending!(call.poll());
        Poll::Ready(())
    })
    .await;
    gate.leaf.calls()
}

#[tokio::test(start_paused = true)]
async fn the_clock_says_whether_readiness_came_in_time_and_not_the_timer() {
    let deadline = Duration::from_micros(10_200);
    for (late, attempts) in [(Duration::from_micros(10_100), 2), (deadline, 1), (Duration::from_micros(10_500), 1)] {
        assert_eq!(attempts_if_let_in_after(late, deadline, false).await, attempts, "{late:?}");
    }
    assert_eq!(attempts_if_let_in_after(Duration::from_secs(3), Duration::from_secs(1), true).await, 1);
}

/// A pool whose places are free when the response is dropped, as those of connections are.
#[derive(Clone)]
struct Pool {
    free: Arc<AtomicU32>,
    waiting: Arc<AtomicWaker>,
    has_place: bool,
    /// The first attempt ends in 500, later ones succeed.
    calls: Arc<AtomicU32>,
}

struct Place(Pool);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.free.fetch_add(1, Ordering::SeqCst);
        self.0.waiting.wake();
    }
}

impl Pool {
    fn new(places: u32) -> Self {
        Self { free: Arc::new(places.into()), waiting: Arc::default(), has_place: false, calls: Arc::default() }
    }
}

impl Service<Req> for Pool {
    type Response = (u16, Place);
    type Error = Error<u16>;
    type Future = Ready<Result<(u16, Place), Error<u16>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error<u16>>> {
        self.waiting.register(cx.waker());
        let take = |free: u32| free.checked_sub(1);
        if !self.has_place && self.free.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).is_err() {
            return Poll::Pending;
        }
        self.has_place = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Req) -> Self::Future {
        assert!(std::mem::take(&mut self.has_place), "it was polled ready");
        let status = if self.calls.fetch_add(1, Ordering::SeqCst) == 0 { 500 } else { 200 };
        ready(Ok((status, Place(self.clone()))))
    }
}

fn status(result: Result<&(u16, Place), &Error<u16>>) -> Class {
    match result {
        Ok((200, _)) => Class::Success,
        _ => Class::Failure(Failure::Transient),
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_the_place_that_the_failed_response_holds() {
    let tokens = budget();
    let hedges = HedgeLayer::new(config()).unwrap().idempotent().classify(classify_fn(status));
    let mut service = hedges.budget(Arc::clone(&tokens)).layer(Pool::new(1));
    assert!(service.poll_ready(&mut noop()).is_ready());
    let mut call = task::spawn(service.call("read"));
    let Poll::Ready(Ok((status, _place))) = call.poll() else { panic!("it waits for itself, for ever") };
    let snapshot = tokens.snapshot();
    assert_eq!((status, snapshot.withdrawn, snapshot.given_back), (500, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_future_that_has_answered_holds_no_failed_response() {
    let pool = Pool::new(2);
    let hedges = HedgeLayer::new(config()).unwrap().idempotent().classify(classify_fn(status));
    let mut service = hedges.layer(pool.clone());
    assert!(service.poll_ready(&mut noop()).is_ready());
    let mut call = task::spawn(service.call("read"));
    let Poll::Ready(Ok((status, _place))) = call.poll() else { panic!("both answer at once") };
    assert_eq!((status, pool.free.load(Ordering::SeqCst)), (200, 1), "the answer has one");
}

/// Ready as far as tokio lets its task ask; the first attempt ends in 500, later ones succeed.
#[derive(Clone, Default)]
struct AsksTokio(Arc<AtomicU32>);

impl Service<Req> for AsksTokio {
    type Response = u32;
    type Error = Error<&'static str>;
    type Future = Ready<hedge_support::Answer>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        std::pin::pin!(tokio::task::coop::consume_budget()).poll(cx).map(Ok)
    }

    fn call(&mut self, _: Req) -> Self::Future {
        ready(Ok(if self.0.fetch_add(1, Ordering::SeqCst) == 0 { 500 } else { 200 }))
    }
}

/// Polls a call in a task that has used up what tokio lets it do, and then in its next turn.
async fn answer_in_the_next_turn<F: Future>(call: F) -> Poll<F::Output> {
    let mut call = task::spawn(Box::pin(call));
    std::future::poll_fn(|cx| {
        while tokio::task::coop::has_budget_remaining() {
            std::task::ready!(std::pin::pin!(tokio::task::coop::consume_budget()).poll(cx));
        }
        assert!(call.poll().is_pending());
        Poll::Ready(())
    })
    .await;
    assert!(call.is_woken());
    tokio::task::yield_now().await;
    call.poll()
}

#[tokio::test(start_paused = true)]
async fn a_service_that_could_not_be_asked_is_asked_in_the_next_turn_of_the_task() {
    let hedges = layer(config()).classify(classify_fn(hedge_support::class));
    let call = hedges.layer(AsksTokio::default()).call("read");
    assert_eq!(answer_in_the_next_turn(call).await, Poll::Ready(Ok(200)));

    // It may hold what is waited for, and that is found out then.
    let mut service = layer(config()).classify(classify_fn(status)).layer(Pool::new(1));
    assert!(service.poll_ready(&mut noop()).is_ready());
    let Poll::Ready(Ok((status, _place))) = answer_in_the_next_turn(service.call("read")).await else {
        panic!("it waits for itself, for ever")
    };
    assert_eq!(status, 500);
}
