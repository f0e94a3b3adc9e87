//! The answer of a call.

use crate::{circuit::Circuit, guard::Guard};
use mainstay_core::{Classify, Refusable, Refused};
use pin_project::pin_project;
use std::{
    fmt,
    future::Future,
    ops::Deref,
    pin::Pin,
    task::{Context, Poll, ready},
};

/// The future of [`CircuitBreaker`](crate::CircuitBreaker).
///
/// # Cancel safety
///
/// Dropped before it is ready, the call is *abandoned*: it does not vote, and a probe gives its slot back.
///
/// # Panics
///
/// A refused call panics when polled again after its answer.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<F, H: Deref<Target = Circuit>, C> {
    #[pin]
    state: State<F, H, C>,
}

/// The inner future comes before the guard, so that it is gone when the slot is given back.
#[pin_project(project = StateProjected)]
pub(crate) enum State<F, H: Deref<Target = Circuit>, C> {
    Refused(Option<Refused>),
    Admitted {
        #[pin]
        inner: F,
        guard: Guard<H>,
        classify: C,
    },
}

impl<F, H: Deref<Target = Circuit>, C> ResponseFuture<F, H, C> {
    pub(crate) const fn refused(refused: Refused) -> Self {
        Self { state: State::Refused(Some(refused)) }
    }

    pub(crate) const fn admitted(inner: F, guard: Guard<H>, classify: C) -> Self {
        Self { state: State::Admitted { inner, guard, classify } }
    }
}

impl<F, H, C, T, E> Future for ResponseFuture<F, H, C>
where
    F: Future<Output = Result<T, E>>,
    H: Deref<Target = Circuit>,
    C: Classify<T, E>,
    E: Refusable,
{
    type Output = Result<T, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProjected::Refused(refused) => Poll::Ready(Err(take_once(refused).into())),
            StateProjected::Admitted { inner, guard, classify } => {
                // Pending: the inner future will wake us.
                let result = ready!(guard.run(|| inner.poll(cx)));
                // Settled before it is answered: a finished future may be kept for a while.
                guard.settle_once(classify.judge(result.as_ref()).into());
                Poll::Ready(result)
            }
        }
    }
}

/// The refusal, the first time.
pub(crate) const fn take_once(refused: &mut Option<Refused>) -> Refused {
    refused.take().expect("the future was polled after its answer")
}

impl<F, H: Deref<Target = Circuit>, C> fmt::Debug for ResponseFuture<F, H, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").field("state", &self.state).finish()
    }
}

impl<F, H: Deref<Target = Circuit>, C> fmt::Debug for State<F, H, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refused) => f.debug_tuple("Refused").field(refused).finish(),
            Self::Admitted { guard, .. } => f.debug_struct("Admitted").field("guard", guard).finish_non_exhaustive(),
        }
    }
}
