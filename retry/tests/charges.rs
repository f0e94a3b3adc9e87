//! What is paid for: an attempt that starts, and nothing else; however the call ends.

#![allow(clippy::float_cmp, reason = "halves are exact")]

mod support;

use mainstay_core::Error;
use mainstay_retry::{Budget, BudgetConfig, Cloned, Retries, RetryLayer, repeat_fn};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};
use support::{
    End, FAILED, Leaf, OK, REFUSED,
    Readiness::{Broken, Pending, Ready},
    SECOND, at_once, doubling,
};
use tokio::time::advance;
use tokio_test::{assert_pending, assert_ready, assert_ready_err, assert_ready_ok, task};
use tower::{Layer, Service, ServiceExt};

type Layered = RetryLayer<Cloned<mainstay_retry::Marked>, mainstay_core::AnyError, Arc<Budget>>;

fn budget() -> Arc<Budget> {
    Arc::new(Budget::new(BudgetConfig::default().ratio(0.5).initial(5)).unwrap())
}

fn paid(config: mainstay_retry::Config, budget: &Arc<Budget>) -> Layered {
    RetryLayer::new(config).unwrap().idempotent().budget(Arc::clone(budget))
}

fn withdrawn(budget: &Budget) -> (u64, u64) {
    let snapshot = budget.snapshot();
    (snapshot.withdrawn, snapshot.given_back)
}

/// Polls the first attempt; the service is ready for it.
macro_rules! call {
    ($layer:expr, $leaf:expr) => {{
        let mut service = $layer.layer($leaf.handle());
        assert_ready_ok!(task::spawn(()).enter(|cx, _| service.poll_ready(cx)));
        task::spawn(service.call(1))
    }};
}

#[tokio::test(start_paused = true)]
async fn a_call_that_ends_well_earns_and_pays_nothing() {
    let budget = budget();
    let before = budget.snapshot().balance;
    let leaf = Leaf::new([OK, OK]);
    for _ in 0..2 {
        assert!(paid(at_once(), &budget).layer(leaf.handle()).oneshot(1).await.is_ok());
    }
    assert_eq!(withdrawn(&budget), (0, 0));
    assert_eq!(budget.snapshot().balance, before + 1.0);
}

#[tokio::test(start_paused = true)]
async fn one_success_earns_once_whatever_it_took() {
    let budget = budget();
    let before = budget.snapshot().balance;
    let leaf = Leaf::new([FAILED, REFUSED]);
    assert!(paid(at_once(), &budget).layer(leaf.handle()).oneshot(1).await.is_ok());
    assert_eq!(withdrawn(&budget), (2, 0), "refused calls are paid for as well");
    assert_eq!(budget.snapshot().balance, before - 2.0 + 0.5);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_paid_is_not_sent_and_nobody_waits_for_it() {
    let budget = Arc::new(Budget::new(BudgetConfig::default().initial(1)).unwrap());
    let leaf = Leaf::new([FAILED, FAILED]);
    let answer = paid(doubling(), &budget).layer(leaf.handle()).oneshot(1).await;
    assert_eq!(answer, Err(Error::Inner("reset")), "the failure, and not that the budget is spent");
    assert_eq!(leaf.times(), [0, 1].map(|at| at * SECOND));
    assert_eq!(budget.snapshot().exhausted, 1);
}

#[tokio::test(start_paused = true)]
async fn it_is_paid_when_the_retry_is_decided_on_and_given_back_when_the_wait_is_cancelled() {
    let budget = budget();
    let leaf = Leaf::new([FAILED]);
    let mut call = call!(paid(doubling(), &budget), leaf);
    assert_pending!(call.poll());
    assert_eq!(withdrawn(&budget), (1, 0));
    drop(call);
    assert_eq!(withdrawn(&budget), (1, 1));
    assert_eq!(leaf.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn it_is_given_back_when_the_call_is_cancelled_before_the_service_is_ready() {
    let budget = budget();
    let leaf = Leaf::new([FAILED]).readiness([Ready, Pending]);
    let mut call = call!(paid(at_once(), &budget), leaf);
    assert_pending!(call.poll());
    assert_eq!(withdrawn(&budget), (1, 0));
    drop(call);
    assert_eq!(withdrawn(&budget), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn it_is_given_back_when_the_service_is_broken_and_the_answer_is_that_of_the_attempts() {
    let budget = budget();
    for first in [REFUSED, FAILED, support::TIMED_OUT] {
        let End::With(answer) = first else { unreachable!() };
        let leaf = Leaf::new([first]).readiness([Ready, Broken]);
        let mut call = call!(paid(at_once(), &budget), leaf);
        assert_eq!(assert_ready!(call.poll()), answer, "what was refused and never called again is still refused");
        assert_eq!(leaf.calls(), 1);
    }
    assert_eq!(withdrawn(&budget), (3, 3));
}

#[tokio::test(start_paused = true)]
async fn it_is_given_back_when_the_request_is_gone() {
    let budget = budget();
    let leaf = Leaf::new([FAILED, FAILED]);
    let repeat = repeat_fn(|request: &u32, attempt| (attempt.number() < 3).then_some(*request)).idempotent();
    let layer = RetryLayer::new(at_once()).unwrap().repeat(repeat).budget(Arc::clone(&budget));
    assert_eq!(layer.layer(leaf.handle()).oneshot(1).await, Err(Error::Inner("reset")));
    assert_eq!((leaf.calls(), withdrawn(&budget)), (2, (2, 1)));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_started_stays_paid_cancelled_or_not() {
    let budget = budget();
    let leaf = Leaf::new([FAILED, End::Never]);
    let mut call = call!(paid(at_once(), &budget), leaf);
    assert_pending!(call.poll());
    assert_eq!((leaf.calls(), leaf.script().alive), (2, 1));
    drop(call);
    assert_eq!((withdrawn(&budget), leaf.script().alive), ((1, 0), 0));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_panics_stays_paid() {
    for end in [End::PanicInCall, End::PanicInPoll] {
        let budget = budget();
        let leaf = Leaf::new([FAILED, end]);
        let mut call = call!(paid(at_once(), &budget), leaf);
        assert!(catch_unwind(AssertUnwindSafe(|| call.poll().is_ready())).is_err());
        drop(call);
        assert_eq!(withdrawn(&budget), (1, 0), "{end:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn it_is_given_back_when_the_deadline_comes_before_the_service_is_ready() {
    let budget = budget();
    let leaf = Leaf::new([FAILED]).readiness([Ready, Pending, Pending]);
    let mut call = call!(paid(doubling().deadline(3 * SECOND), &budget), leaf);
    assert_pending!(call.poll());
    advance(SECOND).await;
    assert!(call.is_woken());
    assert_pending!(call.poll());
    advance(2 * SECOND).await;
    assert!(call.is_woken(), "by the deadline: the service does not wake it");
    assert_eq!(assert_ready_err!(call.poll()), Error::Inner("reset"));
    assert_eq!((leaf.calls(), withdrawn(&budget)), (1, (1, 1)));
}

#[tokio::test(start_paused = true)]
async fn the_plain_form_pays_and_takes_back_likewise() {
    let budget = budget();
    let retries = Retries::new(doubling()).unwrap().budget(&*budget);
    let mut leaf = Leaf::new([FAILED, FAILED]);
    let mut call = task::spawn(retries.call_idempotent(|_| {
        assert_ready_ok!(task::spawn(()).enter(|cx, _| leaf.poll_ready(cx)));
        leaf.call(1)
    }));
    assert_pending!(call.poll());
    assert_eq!(withdrawn(&budget), (1, 0));
    advance(SECOND).await;
    assert_pending!(call.poll());
    assert_eq!(withdrawn(&budget), (2, 0));
    drop(call);
    assert_eq!((leaf.calls(), withdrawn(&budget)), (2, (2, 1)));
}
