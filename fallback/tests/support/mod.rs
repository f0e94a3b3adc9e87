//! What the tests share.
#![allow(dead_code, reason = "each test file takes what it needs")]

use mainstay_core::{Class, Classify, Error, Failure, Reason, Refused, TimedOut};
use std::{
    cell::{Cell, RefCell},
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};
use tower::Service;

pub(crate) type E = Error<&'static str>;
pub(crate) type Answer = Result<u32, E>;

pub(crate) fn refused() -> Answer {
    Err(Refused::new(Reason::CircuitOpen, "further in").into())
}

pub(crate) fn timed_out() -> Answer {
    Err(TimedOut::new("further in", Duration::from_secs(1)).into())
}

pub(crate) const fn failed(why: &'static str) -> Answer {
    Err(Error::Inner(why))
}

/// Responses from 500 on are failures. The error "ignored" says nothing, and neither would a refusal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct From500;

impl Classify<u32, E> for From500 {
    fn classify(&self, result: Result<&u32, &E>) -> Class {
        match result {
            Ok(500..) => Class::Failure(Failure::Transient),
            Err(Error::Inner("ignored") | Error::Refused(_)) => Class::Ignored,
            Ok(_) => Class::Success,
            Err(_) => Class::Failure(Failure::Transient),
        }
    }
}

/// What a leaf saw, and what it shall do. Its readiness and its futures are pending until they are told.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) readied: Cell<u32>,
    pub(crate) asked: RefCell<Vec<u32>>,
    pub(crate) alive: Cell<u32>,
    pub(crate) readiness: Cell<Option<Result<(), E>>>,
    pub(crate) answer: Cell<Option<Answer>>,
    waker: RefCell<Option<Waker>>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Leaf(pub(crate) Rc<Told>);

#[derive(Debug)]
pub(crate) struct LeafFuture(Rc<Told>);

impl Leaf {
    /// Ready, and answers so.
    pub(crate) fn answering(answer: Answer) -> Self {
        let leaf = Self::default();
        leaf.0.readiness.set(Some(Ok(())));
        leaf.0.answer.set(Some(answer));
        leaf
    }

    /// Ready, and does not answer.
    pub(crate) fn silent() -> Self {
        let leaf = Self::default();
        leaf.0.readiness.set(Some(Ok(())));
        leaf
    }

    pub(crate) fn be(&self, readiness: Result<(), E>) {
        self.0.readiness.set(Some(readiness));
        self.wake();
    }

    pub(crate) fn answer(&self, answer: Answer) {
        self.0.answer.set(Some(answer));
        self.wake();
    }

    pub(crate) fn asked(&self) -> Vec<u32> {
        self.0.asked.borrow().clone()
    }

    pub(crate) fn alive(&self) -> u32 {
        self.0.alive.get()
    }

    pub(crate) fn future(&self) -> LeafFuture {
        self.0.alive.set(self.0.alive.get() + 1);
        LeafFuture(Rc::clone(&self.0))
    }

    fn wake(&self) {
        if let Some(waker) = self.0.waker.take() {
            waker.wake();
        }
    }
}

impl Service<u32> for Leaf {
    type Response = u32;
    type Error = E;
    type Future = LeafFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), E>> {
        self.0.readied.set(self.0.readied.get() + 1);
        self.0.waker.replace(Some(cx.waker().clone()));
        self.0.readiness.get().map_or(Poll::Pending, Poll::Ready)
    }

    fn call(&mut self, request: u32) -> LeafFuture {
        self.0.asked.borrow_mut().push(request);
        self.future()
    }
}

impl Future for LeafFuture {
    type Output = Answer;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer> {
        self.0.waker.replace(Some(cx.waker().clone()));
        self.0.answer.get().map_or(Poll::Pending, Poll::Ready)
    }
}

impl Drop for LeafFuture {
    fn drop(&mut self) {
        self.0.alive.set(self.0.alive.get() - 1);
    }
}
