//! Where further attempts come from.

use crate::Repeat;
use mainstay_core::{Attempt, Deadline};
use std::{
    marker::PhantomData,
    task::{Context, Poll},
};
use tower_service::Service;

/// Makes the attempts of a call after the first.
pub(super) trait Next<F, E> {
    /// Makes the request of one; false if it cannot be sent, or not now. Nothing is held then.
    fn prepare(&mut self, attempt: Attempt) -> bool;

    /// Whether it may be sent later, if not now.
    fn can_come(&self) -> bool;

    /// Forgets the request that was made.
    fn discard(&mut self);

    /// Whether there is room for it. After an error it is asked no more.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), E>>;

    /// Sends the request that was made.
    fn send(&mut self, attempt: Attempt) -> F;

    /// The moment from which on no attempt starts.
    fn deadline(&self) -> Option<Deadline>;
}

/// Sends the request again, through a clone of the service whose readiness is earned each time, and only then.
pub(super) struct Resend<S, Req, R: Repeat<Req>> {
    inner: S,
    repeat: R,
    kept: R::Kept,
    /// Of the attempt that is decided on. It is made before the service is asked for room, so that none is held for a request
    /// that cannot be sent.
    prepared: Option<R::Request>,
    request: PhantomData<fn(Req)>,
}

impl<S, Req, R: Repeat<Req>> Resend<S, Req, R> {
    pub(super) const fn new(inner: S, repeat: R, kept: R::Kept) -> Self {
        Self { inner, repeat, kept, prepared: None, request: PhantomData }
    }
}

impl<S, Req, R> Next<S::Future, S::Error> for Resend<S, Req, R>
where
    S: Service<R::Request>,
    R: Repeat<Req>,
{
    fn prepare(&mut self, attempt: Attempt) -> bool {
        self.prepared = self.repeat.again(&mut self.kept, attempt);
        self.prepared.is_some()
    }

    fn can_come(&self) -> bool {
        self.repeat.can_repeat(&self.kept)
    }

    fn discard(&mut self) {
        self.prepared = None;
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn send(&mut self, _: Attempt) -> S::Future {
        self.inner.call(self.prepared.take().expect("it was prepared"))
    }

    fn deadline(&self) -> Option<Deadline> {
        self.repeat.deadline(&self.kept)
    }
}

/// Runs a closure again.
pub(super) struct Rerun<W>(pub(super) W);

impl<W, F, E> Next<F, E> for Rerun<W>
where
    W: FnMut(Attempt) -> F,
{
    fn prepare(&mut self, _: Attempt) -> bool {
        true
    }

    fn can_come(&self) -> bool {
        true
    }

    fn discard(&mut self) {}

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), E>> {
        Poll::Ready(Ok(()))
    }

    fn send(&mut self, attempt: Attempt) -> F {
        (self.0)(attempt)
    }

    fn deadline(&self) -> Option<Deadline> {
        None
    }
}
