//! The answer of a call that does not wait for units.

use mainstay_core::Refused;
use pin_project::pin_project;
use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

/// The future of [`RateLimit`](crate::RateLimit), [`WaitingRateLimit`](crate::WaitingRateLimit) and
/// [`KeyedRateLimit`](crate::KeyedRateLimit).
///
/// # Cancel safety
///
/// Dropping it drops the inner future. The units are not given back, since the service was asked.
///
/// # Panics
///
/// A refused call panics when polled again after its answer.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<F> {
    #[pin]
    state: State<F>,
}

#[pin_project(project = StateProjected)]
enum State<F> {
    Refused(Option<Refused>),
    Admitted(#[pin] F),
}

impl<F> ResponseFuture<F> {
    pub(crate) const fn refused(refused: Refused) -> Self {
        Self { state: State::Refused(Some(refused)) }
    }

    pub(crate) const fn admitted(inner: F) -> Self {
        Self { state: State::Admitted(inner) }
    }
}

impl<F, T, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<T, E>>,
    E: From<Refused>,
{
    type Output = Result<T, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProjected::Refused(refused) => Poll::Ready(Err(take_once(refused).into())),
            // Pending: the inner future will wake us.
            StateProjected::Admitted(inner) => inner.poll(cx),
        }
    }
}

/// The refusal, the first time.
pub(crate) const fn take_once(refused: &mut Option<Refused>) -> Refused {
    refused.take().expect("the future was polled after its answer")
}

impl<F> fmt::Debug for ResponseFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut tuple = f.debug_tuple("ResponseFuture");
        match &self.state {
            State::Refused(refused) => tuple.field(refused).finish(),
            State::Admitted(_) => tuple.finish_non_exhaustive(),
        }
    }
}
