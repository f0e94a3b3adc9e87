//! Layers that mind their callers too little: cancellation, completion, panics, foreign code.

use crate::{breaks_only, on};
use mainstay_conformance::{Clause, Outcome, Probe, ProbeError, ProbeFuture, Profile, Reply, Request, Subject, check};
use std::{
    future::Future,
    mem,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};
use tower_service::Service;

type Running = Pin<Box<ProbeFuture>>;
type Graveyard = Arc<Mutex<Vec<Running>>>;

fn bury(graveyard: &Graveyard, future: Running) {
    graveyard.lock().unwrap_or_else(PoisonError::into_inner).push(future);
}

/// Forgets its inner service when it is dropped.
struct Forgets(Option<Probe>);

impl Service<Request> for Forgets {
    type Response = Reply;
    type Error = ProbeError;
    type Future = ProbeFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ProbeError>> {
        self.0.as_mut().expect("not dropped").poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> ProbeFuture {
        self.0.as_mut().expect("not dropped").call(request)
    }
}

impl Drop for Forgets {
    fn drop(&mut self) {
        mem::forget(self.0.take());
    }
}

#[test]
fn forgets() {
    let subject = Subject::without_clone("forgets", || on(|inner| Forgets(Some(inner))));
    breaks_only(&check(subject), Clause::NothingIsLeftBehind);
}

/// Keeps the inner futures of dropped calls until the service goes.
#[derive(Clone)]
struct KeepsCancelled {
    inner: Probe,
    graveyard: Graveyard,
}

struct KeepsCancelledFuture {
    inner: Option<Running>,
    graveyard: Graveyard,
}

impl Service<Request> for KeepsCancelled {
    type Response = Reply;
    type Error = ProbeError;
    type Future = KeepsCancelledFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ProbeError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> KeepsCancelledFuture {
        KeepsCancelledFuture { inner: Some(Box::pin(self.inner.call(request))), graveyard: Arc::clone(&self.graveyard) }
    }
}

impl Future for KeepsCancelledFuture {
    type Output = Result<Reply, ProbeError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = std::task::ready!(self.inner.as_mut().expect("polled after completion").as_mut().poll(cx));
        self.inner = None;
        Poll::Ready(answer)
    }
}

impl Drop for KeepsCancelledFuture {
    fn drop(&mut self) {
        if let Some(future) = self.inner.take() {
            bury(&self.graveyard, future);
        }
    }
}

#[test]
fn keeps_what_was_cancelled() {
    let layer = || on(|inner| KeepsCancelled { inner, graveyard: Graveyard::default() });
    breaks_only(&check(Subject::new("keeps what was cancelled", layer)), Clause::DropCancels);
}

/// Asks another if the first does not answer at once, takes the first answer, and lets the other go on.
#[derive(Clone)]
struct LetsTheLoserRun {
    inner: Probe,
    graveyard: Graveyard,
}

struct RaceFuture {
    running: Vec<Running>,
    other: Option<(Probe, Request)>,
    graveyard: Graveyard,
}

impl Service<Request> for LetsTheLoserRun {
    type Response = Reply;
    type Error = ProbeError;
    type Future = RaceFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ProbeError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> RaceFuture {
        let other = Some((self.inner.clone(), request.clone()));
        RaceFuture { running: vec![Box::pin(self.inner.call(request))], other, graveyard: Arc::clone(&self.graveyard) }
    }
}

impl Future for RaceFuture {
    type Output = Result<Reply, ProbeError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        for at in 0..self.running.len() {
            if let Poll::Ready(answer) = self.running[at].as_mut().poll(cx) {
                drop(self.running.swap_remove(at));
                for loser in mem::take(&mut self.running) {
                    bury(&self.graveyard, loser);
                }
                return Poll::Ready(answer);
            }
        }
        if let Some((mut service, request)) = self.other.take() {
            match service.poll_ready(cx) {
                Poll::Ready(Ok(())) => {
                    let mut second = Box::pin(service.call(request));
                    let answer = second.as_mut().poll(cx);
                    self.running.push(second);
                    assert!(answer.is_pending(), "nobody answers at once");
                }
                Poll::Pending => self.other = Some((service, request)),
                // The first is still running.
                Poll::Ready(Err(_)) => {}
            }
        }
        Poll::Pending
    }
}

#[test]
fn lets_the_loser_run() {
    let layer = || on(|inner| LetsTheLoserRun { inner, graveyard: Graveyard::default() });
    let profile = Profile::pass_through().max_inner_calls(2);
    breaks_only(&check(Subject::new("lets the loser run", layer).profile(profile)), Clause::AnswerEndsAll);
}

/// Polls once more after the answer.
#[derive(Clone)]
struct PollsOnceMore(Probe);

struct PollsOnceMoreFuture(Running);

impl Service<Request> for PollsOnceMore {
    type Response = Reply;
    type Error = ProbeError;
    type Future = PollsOnceMoreFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ProbeError>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> PollsOnceMoreFuture {
        PollsOnceMoreFuture(Box::pin(self.0.call(request)))
    }
}

impl Future for PollsOnceMoreFuture {
    type Output = Result<Reply, ProbeError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = self.0.as_mut().poll(cx);
        if answer.is_ready() {
            let _ = self.0.as_mut().poll(cx);
        }
        answer
    }
}

#[test]
fn polls_once_more() {
    breaks_only(&check(Subject::new("polls once more", || on(PollsOnceMore))), Clause::NoPollAfterCompletion);
}

/// Is busy while it calls, and stays so if that panics.
#[derive(Clone)]
struct StaysBusy {
    inner: Probe,
    busy: Arc<AtomicBool>,
}

impl Service<Request> for StaysBusy {
    type Response = Reply;
    type Error = ProbeError;
    type Future = ProbeFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ProbeError>> {
        if self.busy.load(Ordering::SeqCst) {
            return Poll::Pending;
        }
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> ProbeFuture {
        self.busy.store(true, Ordering::SeqCst);
        let future = self.inner.call(request);
        self.busy.store(false, Ordering::SeqCst);
        future
    }
}

#[test]
fn stays_busy() {
    let layer = || on(|inner| StaysBusy { inner, busy: Arc::default() });
    breaks_only(&check(Subject::new("stays busy", layer)), Clause::PanicsDoNotSpread);
}

/// Calls the inner service under a lock that all clones share.
#[derive(Clone)]
struct CallsUnderLock {
    inner: Probe,
    lock: Arc<Mutex<()>>,
}

impl Service<Request> for CallsUnderLock {
    type Response = Reply;
    type Error = ProbeError;
    type Future = ProbeFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ProbeError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> ProbeFuture {
        let _locked = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        self.inner.call(request)
    }
}

#[test]
fn calls_under_a_lock() {
    let layer = || on(|inner| CallsUnderLock { inner, lock: Arc::default() });
    let subject = Subject::new("calls under a lock", layer).patience(Duration::from_millis(500));
    breaks_only(&check(subject), Clause::NothingForeignUnderLock);
}

/// Keeps the latest waker in a place that all clones share, and drops the one before while it is locked.
#[derive(Clone)]
struct DropsWakersUnderLock {
    inner: Probe,
    latest: Arc<Mutex<Option<Waker>>>,
}

impl Service<Request> for DropsWakersUnderLock {
    type Response = Reply;
    type Error = ProbeError;
    type Future = ProbeFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ProbeError>> {
        let waker = cx.waker().clone();
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = Some(waker);
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> ProbeFuture {
        self.inner.call(request)
    }
}

#[test]
fn drops_wakers_under_a_lock() {
    let layer = || on(|inner| DropsWakersUnderLock { inner, latest: Arc::default() });
    let subject = Subject::new("drops wakers under a lock", layer).patience(Duration::from_millis(500));
    breaks_only(&check(subject), Clause::NothingForeignUnderLock);
}

/// Panics by itself at its third call.
#[derive(Clone)]
struct PanicsByItself {
    inner: Probe,
    calls: u32,
}

impl Service<Request> for PanicsByItself {
    type Response = Reply;
    type Error = ProbeError;
    type Future = ProbeFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ProbeError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> ProbeFuture {
        self.calls += 1;
        assert!(self.calls < 3, "no reactor running, or so");
        self.inner.call(request)
    }
}

#[test]
fn panics_by_itself() {
    let report = check(Subject::new("panics by itself", || on(|inner| PanicsByItself { inner, calls: 0 })));
    breaks_only(&report, Clause::PanicsDoNotSpread);
    let Outcome::Fails(seen) = report.outcome(Clause::PanicsDoNotSpread) else { unreachable!() };
    assert!(seen.what().contains("Subject::on_tokio"), "{seen}");
}

/// Panics at every call, with the request in hand: whatever is planted there must not panic on top of it.
#[derive(Clone)]
struct AlwaysPanics(Probe);

impl Service<Request> for AlwaysPanics {
    type Response = Reply;
    type Error = ProbeError;
    type Future = ProbeFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ProbeError>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> ProbeFuture {
        panic!("not yet written, for call {}", request.id());
    }
}

#[test]
fn always_panics() {
    breaks_only(&check(Subject::new("always panics", || on(AlwaysPanics))), Clause::PanicsDoNotSpread);
}

#[test]
fn what_cannot_even_be_made_is_a_finding() {
    let report = check(Subject::new("cannot be made", || -> tower_layer::Identity { panic!("no config") }));
    let Outcome::Fails(seen) = report.outcome(Clause::PanicsDoNotSpread) else { panic!("{report}") };
    assert!(seen.what().contains("no config"), "{seen}");
    assert!(matches!(report.outcome(Clause::SpentWhereEarned), Outcome::NotReached));
}

/// Forgets an inner service at its thirteenth call, which only many calls in a row reach.
#[derive(Clone)]
struct ForgetsOnceInAWhile {
    inner: Probe,
    calls: Arc<Mutex<u32>>,
}

impl Service<Request> for ForgetsOnceInAWhile {
    type Response = Reply;
    type Error = ProbeError;
    type Future = ProbeFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ProbeError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> ProbeFuture {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        *calls += 1;
        let leak = *calls == 13;
        drop(calls);
        if leak {
            mem::forget(self.inner.clone());
        }
        self.inner.call(request)
    }
}

#[test]
fn forgets_once_in_a_while() {
    let layer = || on(|inner| ForgetsOnceInAWhile { inner, calls: Arc::default() });
    breaks_only(&check(Subject::new("forgets once in a while", layer)), Clause::NothingIsLeftBehind);
}

/// Clones the inner service under a lock that all clones share.
struct ClonesUnderLock {
    inner: Probe,
    lock: Arc<Mutex<()>>,
}

impl Clone for ClonesUnderLock {
    fn clone(&self) -> Self {
        let _locked = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        Self { inner: self.inner.clone(), lock: Arc::clone(&self.lock) }
    }
}

impl Service<Request> for ClonesUnderLock {
    type Response = Reply;
    type Error = ProbeError;
    type Future = ProbeFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ProbeError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> ProbeFuture {
        self.inner.call(request)
    }
}

#[test]
fn clones_under_a_lock() {
    let layer = || on(|inner| ClonesUnderLock { inner, lock: Arc::default() });
    let subject = Subject::new("clones under a lock", layer).patience(Duration::from_millis(500));
    breaks_only(&check(subject), Clause::NothingForeignUnderLock);
}
