//! Layers that misuse readiness.

use crate::{breaks_only, on};
use mainstay_conformance::{Clause, Probe, ProbeError, ProbeFuture, Reply, Request, Subject, check};
use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker},
};
use tower::ServiceExt;
use tower_service::Service;

macro_rules! future_of_the_probe {
    () => {
        type Response = Reply;
        type Error = ProbeError;
        type Future = ProbeFuture;
    };
}

/// Calls a clone of the value that it polled.
#[derive(Clone)]
struct CallsAClone(Probe);

impl Service<Request> for CallsAClone {
    future_of_the_probe!();

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ProbeError>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> ProbeFuture {
        let mut clone = self.0.clone();
        clone.call(request)
    }
}

#[test]
fn calls_a_clone() {
    breaks_only(&check(Subject::new("calls a clone", || on(CallsAClone))), Clause::SpentWhereEarned);
}

/// Is ready without asking.
#[derive(Clone)]
struct NeverAsks(Probe);

impl Service<Request> for NeverAsks {
    future_of_the_probe!();

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), ProbeError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> ProbeFuture {
        self.0.call(request)
    }
}

#[test]
fn never_asks() {
    breaks_only(&check(Subject::new("never asks", || on(NeverAsks))), Clause::OnlyReadyInnerIsCalled);
}

/// Every second poll of a ready service says pending.
struct ChangesItsMind {
    inner: Probe,
    said: bool,
}

impl Service<Request> for ChangesItsMind {
    future_of_the_probe!();

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ProbeError>> {
        let ready = self.inner.poll_ready(cx);
        if std::mem::take(&mut self.said) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.said = ready.is_ready();
        ready
    }

    fn call(&mut self, request: Request) -> ProbeFuture {
        self.said = false;
        self.inner.call(request)
    }
}

#[test]
fn changes_its_mind() {
    let subject = Subject::without_clone("changes its mind", || on(|inner| ChangesItsMind { inner, said: false }));
    breaks_only(&check(subject), Clause::ReadinessStays);
}

/// Takes another inner value each time it is asked, and keeps the one before.
struct Hoards {
    ready: Vec<Probe>,
    next: Probe,
}

impl Service<Request> for Hoards {
    future_of_the_probe!();

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ProbeError>> {
        match self.next.poll_ready(cx)? {
            Poll::Ready(()) => {
                let clone = self.next.clone();
                self.ready.push(std::mem::replace(&mut self.next, clone));
                Poll::Ready(Ok(()))
            }
            Poll::Pending if self.ready.is_empty() => Poll::Pending,
            Poll::Pending => Poll::Ready(Ok(())),
        }
    }

    fn call(&mut self, request: Request) -> ProbeFuture {
        self.ready.pop().expect("it is ready").call(request)
    }
}

#[test]
fn hoards() {
    let layer = || on(|next| Hoards { ready: Vec::new(), next });
    breaks_only(&check(Subject::without_clone("hoards", layer)), Clause::ReadinessStays);
}

/// Tries again what has failed.
#[derive(Clone)]
struct TriesAgain(Probe);

impl Service<Request> for TriesAgain {
    future_of_the_probe!();

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ProbeError>> {
        match self.0.poll_ready(cx) {
            Poll::Ready(Err(_)) => self.0.poll_ready(cx),
            other => other,
        }
    }

    fn call(&mut self, request: Request) -> ProbeFuture {
        self.0.call(request)
    }
}

#[test]
fn tries_again() {
    breaks_only(&check(Subject::new("tries again", || on(TriesAgain))), Clause::ReadinessErrorEndsIt);
}

/// Says ready when the inner service has failed.
struct Swallows {
    inner: Probe,
    failed: bool,
}

impl Service<Request> for Swallows {
    future_of_the_probe!();

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ProbeError>> {
        if self.failed {
            return Poll::Ready(Ok(()));
        }
        match self.inner.poll_ready(cx) {
            Poll::Ready(Err(_)) => {
                self.failed = true;
                Poll::Ready(Ok(()))
            }
            other => other,
        }
    }

    fn call(&mut self, request: Request) -> ProbeFuture {
        self.inner.call(request)
    }
}

#[test]
fn swallows() {
    let subject = Subject::without_clone("swallows", || on(|inner| Swallows { inner, failed: false }));
    breaks_only(&check(subject), Clause::ReadinessErrorEndsIt);
}

/// Asks again in `call`.
#[derive(Clone)]
struct AsksInCall(Probe);

impl Service<Request> for AsksInCall {
    future_of_the_probe!();

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ProbeError>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> ProbeFuture {
        let _ = self.0.poll_ready(&mut Context::from_waker(Waker::noop()));
        self.0.call(request)
    }
}

#[test]
fn asks_in_call() {
    breaks_only(&check(Subject::new("asks in call", || on(AsksInCall))), Clause::CallDoesNotPollReadiness);
}

/// Is pending once before it says what the inner service said.
#[derive(Clone)]
struct Dawdles {
    inner: Probe,
    dawdled: bool,
}

impl Service<Request> for Dawdles {
    future_of_the_probe!();

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ProbeError>> {
        let ready = self.inner.poll_ready(cx);
        if matches!(ready, Poll::Ready(Ok(()))) && !std::mem::replace(&mut self.dawdled, true) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        ready
    }

    fn call(&mut self, request: Request) -> ProbeFuture {
        self.dawdled = false;
        self.inner.call(request)
    }
}

#[test]
fn dawdles() {
    let subject = Subject::new("dawdles", || on(|inner| Dawdles { inner, dawdled: false }));
    breaks_only(&check(subject), Clause::ReadyWhenInnerIsReady);
}

/// Remembers that it is ready, and so do its clones.
#[derive(Clone)]
struct ClonesItsReadiness {
    inner: Probe,
    ready: bool,
}

impl Service<Request> for ClonesItsReadiness {
    future_of_the_probe!();

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ProbeError>> {
        if !self.ready {
            std::task::ready!(self.inner.poll_ready(cx))?;
            self.ready = true;
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> ProbeFuture {
        self.ready = false;
        self.inner.call(request)
    }
}

#[test]
fn clones_its_readiness() {
    let subject = Subject::new("clones its readiness", || on(|inner| ClonesItsReadiness { inner, ready: false }));
    breaks_only(&check(subject), Clause::ClonesAreNotReady);
}

/// Is always ready, and waits in its future until the inner service is.
#[derive(Clone)]
struct WaitsOutOfSight(Probe);

impl Service<Request> for WaitsOutOfSight {
    type Response = Reply;
    type Error = ProbeError;
    type Future = Pin<Box<dyn Future<Output = Result<Reply, ProbeError>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), ProbeError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        Box::pin(self.0.clone().oneshot(request))
    }
}

#[test]
fn waits_out_of_sight() {
    let subject = Subject::new("waits out of sight", || on(WaitsOutOfSight));
    breaks_only(&check(subject), Clause::BackpressureIsPassedOn);
}
