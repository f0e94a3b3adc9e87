//! Where further attempts come from.

use crate::Repeat;
use mainstay_core::{Attempt, Deadline};
use std::{
    marker::PhantomData,
    task::{Context, Poll, ready},
};
use tower_service::Service;

/// Makes the attempts of a call after the first.
pub(super) trait Next<F, E> {
    /// Makes one, when there is room for it; `None` if the request cannot be sent any more.
    ///
    /// After `None` or an error it is asked no more.
    fn poll_next(&mut self, attempt: Attempt, cx: &mut Context<'_>) -> Poll<Result<Option<F>, E>>;

    /// The moment from which on no attempt starts.
    fn deadline(&self) -> Option<Deadline>;
}

/// Sends the request again, through a clone of the service whose readiness is earned each time, and only then.
pub(super) struct Resend<S, Req, R: Repeat<Req>> {
    inner: S,
    repeat: R,
    kept: R::Kept,
    request: PhantomData<fn(Req)>,
}

impl<S, Req, R: Repeat<Req>> Resend<S, Req, R> {
    pub(super) const fn new(inner: S, repeat: R, kept: R::Kept) -> Self {
        Self { inner, repeat, kept, request: PhantomData }
    }
}

impl<S, Req, R> Next<S::Future, S::Error> for Resend<S, Req, R>
where
    S: Service<R::Request>,
    R: Repeat<Req>,
{
    fn poll_next(&mut self, attempt: Attempt, cx: &mut Context<'_>) -> Poll<Result<Option<S::Future>, S::Error>> {
        ready!(self.inner.poll_ready(cx))?;
        let request = self.repeat.again(&mut self.kept, attempt);
        Poll::Ready(Ok(request.map(|request| self.inner.call(request))))
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
    fn poll_next(&mut self, attempt: Attempt, _: &mut Context<'_>) -> Poll<Result<Option<F>, E>> {
        Poll::Ready(Ok(Some((self.0)(attempt))))
    }

    fn deadline(&self) -> Option<Deadline> {
        None
    }
}
