//! The answer of a call, or the fallback's.

use crate::{answer::Answer, choose::Choose, layer::Rule, observe::Observe};
use mainstay_core::Refusable;
use pin_project::pin_project;
use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

/// The future of a [`Fallback`](crate::Fallback) that needs no other service.
///
/// # Cancel safety
///
/// Dropping it drops the inner future; nothing else is held.
///
/// # Panics
///
/// If it is polled again after an answer that was the fallback's.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<F, A, W, O> {
    #[pin]
    state: State<F, A, W, O>,
}

#[pin_project(project = StateProjected, project_replace = StateReplaced)]
enum State<F, A, W, O> {
    Asked {
        #[pin]
        inner: F,
        answer: A,
        rule: Rule<W, O>,
    },
    Answered,
}

impl<F, A, W, O> ResponseFuture<F, A, W, O> {
    pub(crate) const fn new(inner: F, answer: A, rule: Rule<W, O>) -> Self {
        Self { state: State::Asked { inner, answer, rule } }
    }
}

impl<F, A, W, O, T, E> Future for ResponseFuture<F, A, W, O>
where
    F: Future<Output = Result<T, E>>,
    A: Answer<T, E>,
    W: Choose<T, E>,
    O: Observe<T, E>,
    E: Refusable,
{
    type Output = Result<T, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        if let StateProjected::Asked { inner, answer, rule } = state.as_mut().project() {
            // Pending: the inner future will wake us.
            let outcome = ready!(inner.poll(cx));
            if !(rule.choose.falls_back(outcome.as_ref()) && answer.takes(outcome.as_ref())) {
                return Poll::Ready(outcome);
            }
            // The inner future is dropped here.
            if let StateReplaced::Asked { answer, rule, .. } = state.project_replace(State::Answered) {
                rule.tell(outcome.as_ref());
                return Poll::Ready(answer.answer(outcome));
            }
        }
        panic!("the future was polled after its answer")
    }
}

impl<F, A, W, O> fmt::Debug for ResponseFuture<F, A, W, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Asked { .. } => "Asked",
            State::Answered => "Answered",
        };
        f.debug_struct("ResponseFuture").field("state", &format_args!("{state}")).finish()
    }
}
