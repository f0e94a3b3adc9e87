//! Layers that wake too little, too much, or not at all.

use crate::{breaks_only, on};
use mainstay_conformance::{Clause, Probe, ProbeError, ProbeFuture, Reply, Request, Subject, check};
use std::{
    task::{Context, Poll, Waker},
    time::Duration,
};
use tower_service::Service;

macro_rules! calls_the_probe {
    () => {
        type Response = Reply;
        type Error = ProbeError;
        type Future = ProbeFuture;

        fn call(&mut self, request: Request) -> ProbeFuture {
            self.inner.call(request)
        }
    };
}

/// Does not listen.
#[derive(Clone)]
struct Deaf {
    inner: Probe,
}

impl Service<Request> for Deaf {
    calls_the_probe!();

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), ProbeError>> {
        self.inner.poll_ready(&mut Context::from_waker(Waker::noop()))
    }
}

#[test]
fn deaf() {
    breaks_only(&check(Subject::new("deaf", || on(|inner| Deaf { inner }))), Clause::NoLostWakeup);
}

/// Keeps the waker of the first poll.
struct Faithful {
    inner: Probe,
    first: Option<Waker>,
}

impl Service<Request> for Faithful {
    calls_the_probe!();

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ProbeError>> {
        let first = self.first.get_or_insert_with(|| cx.waker().clone());
        let ready = self.inner.poll_ready(&mut Context::from_waker(first));
        if ready.is_ready() {
            self.first = None;
        }
        ready
    }
}

#[test]
fn faithful_to_the_first_waker() {
    let subject = Subject::without_clone("faithful", || on(|inner| Faithful { inner, first: None }));
    breaks_only(&check(subject), Clause::LatestWakerIsWoken);
}

/// Wakes itself while it waits.
#[derive(Clone)]
struct Restless {
    inner: Probe,
}

impl Service<Request> for Restless {
    calls_the_probe!();

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ProbeError>> {
        let ready = self.inner.poll_ready(cx);
        if ready.is_pending() {
            cx.waker().wake_by_ref();
        }
        ready
    }
}

#[test]
fn restless() {
    breaks_only(&check(Subject::new("restless", || on(|inner| Restless { inner }))), Clause::NoBusyLoop);
}

/// Sleeps until the inner service is ready.
#[derive(Clone)]
struct Blocks {
    inner: Probe,
}

impl Service<Request> for Blocks {
    calls_the_probe!();

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ProbeError>> {
        let ready = self.inner.poll_ready(cx);
        while ready.is_pending() {
            std::thread::park();
        }
        ready
    }
}

#[test]
fn blocks_its_thread() {
    let subject = Subject::new("blocks", || on(|inner| Blocks { inner })).patience(Duration::from_millis(500));
    breaks_only(&check(subject), Clause::NeverBlocks);
}
