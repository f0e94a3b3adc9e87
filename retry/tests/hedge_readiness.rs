//! A hedge earns its readiness when it starts, and nothing is reserved for one that does not.

mod hedge_support;

use hedge_support::{ALMOST, DELAY, Leaf, Req, advance, config, counts, failed, layer};
use mainstay_core::{Attempt, Deadline, Error};
use mainstay_retry::{Budget, BudgetConfig, HedgeLayer, Repeat};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
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
    assert_eq!((snapshot.withdrawn, snapshot.given_back), (2, 1));
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
