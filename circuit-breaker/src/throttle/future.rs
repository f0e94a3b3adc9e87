//! The answer of a call.

use super::{Throttle, ThrottleGuard};
use crate::future::take_once;
use mainstay_core::{Classify, Refusable, Refused};
use pin_project::pin_project;
use std::{
    fmt,
    future::Future,
    ops::Deref,
    pin::Pin,
    task::{Context, Poll, ready},
};

/// The future of [`ThrottleService`](crate::ThrottleService).
///
/// # Cancel safety
///
/// Dropped before it is ready, the call is *abandoned*: its request is taken back.
///
/// # Panics
///
/// A refused call panics when polled again after its answer.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct ThrottleFuture<F, H: Deref<Target = Throttle>, C> {
    #[pin]
    state: State<F, H, C>,
}

/// The inner future comes before the guard, so that it is gone when the call is settled.
#[pin_project(project = StateProjected)]
pub(super) enum State<F, H: Deref<Target = Throttle>, C> {
    Refused(Option<Refused>),
    Admitted {
        #[pin]
        inner: F,
        guard: ThrottleGuard<H>,
        classify: C,
    },
}

impl<F, H: Deref<Target = Throttle>, C> ThrottleFuture<F, H, C> {
    pub(super) const fn refused(refused: Refused) -> Self {
        Self { state: State::Refused(Some(refused)) }
    }

    pub(super) const fn admitted(inner: F, guard: ThrottleGuard<H>, classify: C) -> Self {
        Self { state: State::Admitted { inner, guard, classify } }
    }
}

impl<F, H, C, T, E> Future for ThrottleFuture<F, H, C>
where
    F: Future<Output = Result<T, E>>,
    H: Deref<Target = Throttle>,
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

impl<F, H: Deref<Target = Throttle>, C> fmt::Debug for ThrottleFuture<F, H, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThrottleFuture").field("state", &self.state).finish()
    }
}

impl<F, H: Deref<Target = Throttle>, C> fmt::Debug for State<F, H, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refused) => f.debug_tuple("Refused").field(refused).finish(),
            Self::Admitted { guard, .. } => f.debug_tuple("Admitted").field(guard).finish(),
        }
    }
}
