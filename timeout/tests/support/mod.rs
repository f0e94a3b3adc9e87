//! What the tests share.
#![allow(dead_code, reason = "each test file takes what it needs")]

use mainstay_core::{Deadline, Error, Meta};
use mainstay_timeout::{Config, TimeoutLayer};
use std::{
    cell::Cell,
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::{Duration, Instant},
};
use tower::Service;

pub(crate) type Answer = Result<u32, Error<&'static str>>;

pub(crate) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) const NANO: Duration = Duration::from_nanos(1);

pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

pub(crate) fn config(timeout: Duration) -> Config {
    Config::default().name("test").timeout(timeout)
}

pub(crate) fn layer(timeout: Duration) -> TimeoutLayer {
    TimeoutLayer::new(config(timeout)).expect("the test means a valid configuration")
}

/// A request that may carry a deadline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Job {
    pub(crate) due: Option<Deadline>,
}

impl Meta<Deadline> for Job {
    fn meta(&self) -> Option<Deadline> {
        self.due
    }

    fn set_meta(&mut self, value: Deadline) {
        self.due = Some(value);
    }
}

/// What the leaf saw, and what its futures shall do.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    pub(crate) readied: Rc<Cell<u32>>,
    pub(crate) called: Rc<Cell<Option<Job>>>,
    pub(crate) calls: Rc<Cell<u32>>,
    pub(crate) polls: Rc<Cell<u32>>,
    pub(crate) alive: Rc<Cell<u32>>,
    pub(crate) answer: Rc<Cell<Option<Answer>>>,
}

/// A service whose futures are pending until there is an answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Leaf(pub(crate) Told);

#[derive(Debug)]
pub(crate) struct LeafFuture(Told);

impl Leaf {
    pub(crate) fn answering(answer: Answer) -> Self {
        let leaf = Self::default();
        leaf.0.answer.set(Some(answer));
        leaf
    }

    pub(crate) fn future(&self) -> LeafFuture {
        self.0.alive.set(self.0.alive.get() + 1);
        LeafFuture(self.0.clone())
    }
}

impl Service<Job> for Leaf {
    type Response = u32;
    type Error = Error<&'static str>;
    type Future = LeafFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.readied.set(self.0.readied.get() + 1);
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Job) -> LeafFuture {
        self.0.calls.set(self.0.calls.get() + 1);
        self.0.called.set(Some(request));
        self.future()
    }
}

impl Future for LeafFuture {
    type Output = Answer;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Answer> {
        self.0.polls.set(self.0.polls.get() + 1);
        self.0.answer.get().map_or(Poll::Pending, Poll::Ready)
    }
}

impl Drop for LeafFuture {
    fn drop(&mut self) {
        self.0.alive.set(self.0.alive.get() - 1);
    }
}

pub(crate) fn timed_out(after: Duration) -> Answer {
    Err(mainstay_core::TimedOut::new("test", after).into())
}

pub(crate) fn too_late() -> Answer {
    Err(mainstay_core::Refused::new(mainstay_core::Reason::DeadlinePassed, "test").into())
}
