//! The answer of a call.

use super::KeyedCircuit;
use crate::{future::ResponseFuture, guard::Guard};
use mainstay_core::{Classify, Refusable, Refused};
use pin_project::pin_project;
use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

/// The future of [`KeyedCircuitBreaker`](crate::KeyedCircuitBreaker).
///
/// # Cancel safety
///
/// As [`ResponseFuture`].
///
/// # Panics
///
/// A refused call panics when polled again after its answer.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct KeyedResponseFuture<F, K, C> {
    #[pin]
    state: State<F, K, C>,
}

#[pin_project(project = StateProjected)]
enum State<F, K, C> {
    Guarded(#[pin] ResponseFuture<F, KeyedCircuit<K>, C>),
    Unguarded(#[pin] F),
}

impl<F, K, C> KeyedResponseFuture<F, K, C> {
    pub(super) const fn refused(refused: Refused) -> Self {
        Self { state: State::Guarded(ResponseFuture::refused(refused)) }
    }

    pub(super) const fn admitted(inner: F, guard: Guard<KeyedCircuit<K>>, classify: C) -> Self {
        Self { state: State::Guarded(ResponseFuture::admitted(inner, guard, classify)) }
    }

    pub(super) const fn unguarded(inner: F) -> Self {
        Self { state: State::Unguarded(inner) }
    }
}

impl<F, K, C, T, E> Future for KeyedResponseFuture<F, K, C>
where
    F: Future<Output = Result<T, E>>,
    C: Classify<T, E>,
    E: Refusable,
{
    type Output = Result<T, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // Pending: the inner future will wake us.
        match self.project().state.project() {
            StateProjected::Guarded(future) => future.poll(cx),
            StateProjected::Unguarded(future) => future.poll(cx),
        }
    }
}

impl<F, K, C> fmt::Debug for KeyedResponseFuture<F, K, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut tuple = f.debug_tuple("KeyedResponseFuture");
        match &self.state {
            State::Guarded(future) => tuple.field(future).finish(),
            State::Unguarded(_) => tuple.finish_non_exhaustive(),
        }
    }
}
