//! The answer of a call, or that of another service.

use crate::{
    choose::Choose,
    layer::Rule,
    observe::{self, Observe},
};
use mainstay_core::{Class, Refusable, Uncertainty};
use pin_project::pin_project;
use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tower_service::Service;

/// The future of a [`Fallback`](crate::Fallback) to another service.
///
/// # Cancel safety
///
/// Dropping it drops what is running: the inner call, or that of the other service.
///
/// # Panics
///
/// If it is polled again after an answer that was the fallback's.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct OtherFuture<F, T: Service<Q>, Q, W, O> {
    #[pin]
    state: State<F, T, Q, W, O>,
}

#[pin_project(project = StateProjected, project_replace = StateReplaced)]
enum State<F, T: Service<Q>, Q, W, O> {
    Asked {
        #[pin]
        inner: F,
        other: T,
        kept: Option<Q>,
        rule: Rule<W, O>,
    },
    /// The other service is not ready yet.
    Waiting {
        original: Result<T::Response, T::Error>,
        other: T,
        kept: Q,
        rule: Rule<W, O>,
    },
    AskedOther {
        original: Result<T::Response, T::Error>,
        #[pin]
        call: T::Future,
        rule: Rule<W, O>,
    },
    Answered,
}

impl<F, T: Service<Q>, Q, W, O> OtherFuture<F, T, Q, W, O> {
    pub(crate) const fn new(inner: F, other: T, kept: Option<Q>, rule: Rule<W, O>) -> Self {
        Self { state: State::Asked { inner, other, kept, rule } }
    }
}

impl<F, T, Q, W, O> Future for OtherFuture<F, T, Q, W, O>
where
    F: Future<Output = Result<T::Response, T::Error>>,
    T: Service<Q>,
    T::Error: Refusable,
    W: Choose<T::Response, T::Error>,
    O: Observe<T::Response, T::Error>,
{
    type Output = Result<T::Response, T::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            match state.as_mut().project() {
                // ## Asked => (Waiting | answered)
                StateProjected::Asked { inner, kept, rule, .. } => {
                    // Pending: the inner future will wake us.
                    let outcome = ready!(inner.poll(cx));
                    if kept.is_none() || !rule.choose.falls_back(outcome.as_ref()) {
                        return Poll::Ready(outcome);
                    }
                    state.as_mut().wait_with(outcome);
                }
                // ## Waiting => (AskedOther | answered)
                StateProjected::Waiting { other, .. } => {
                    // Pending: the other service will wake us.
                    match ready!(other.poll_ready(cx)) {
                        Ok(()) => state.as_mut().ask_other(),
                        Err(error) => return Poll::Ready(state.settle(Err(error))),
                    }
                }
                // ## AskedOther => answered
                StateProjected::AskedOther { call, .. } => {
                    // Pending: the other service's future will wake us.
                    let second = ready!(call.poll(cx));
                    return Poll::Ready(state.settle(second));
                }
                StateProjected::Answered => panic!("the future was polled after its answer"),
            }
        }
    }
}

/// Between two states it is `Answered`: what unwinds there is not polled again.
impl<F, T, Q, W, O> State<F, T, Q, W, O>
where
    T: Service<Q>,
    T::Error: Refusable,
    W: Choose<T::Response, T::Error>,
    O: Observe<T::Response, T::Error>,
{
    /// The inner future is dropped here.
    fn wait_with(mut self: Pin<&mut Self>, original: Result<T::Response, T::Error>) {
        if let StateReplaced::Asked { other, kept: Some(kept), rule, .. } =
            self.as_mut().project_replace(Self::Answered)
        {
            rule.tell(original.as_ref());
            self.set(Self::Waiting { original, other, kept, rule });
        }
    }

    fn ask_other(mut self: Pin<&mut Self>) {
        if let StateReplaced::Waiting { original, mut other, kept, rule } =
            self.as_mut().project_replace(Self::Answered)
        {
            let call = other.call(kept);
            self.set(Self::AskedOther { original, call, rule });
        }
    }

    /// Of two failures the one that leaves more open; of equals the second.
    fn settle(self: Pin<&mut Self>, second: Result<T::Response, T::Error>) -> Result<T::Response, T::Error> {
        let (StateReplaced::Waiting { original, rule, .. } | StateReplaced::AskedOther { original, rule, .. }) =
            self.project_replace(Self::Answered)
        else {
            return second;
        };
        let failed = match rule.choose.class(second.as_ref()) {
            Class::Success => false,
            Class::Failure(_) => true,
            Class::Ignored => second.is_err(),
        };
        if !failed {
            return second;
        }
        observe::failed(rule.name, second.as_ref());
        if uncertainty(&original) > uncertainty(&second) { original } else { second }
    }
}

/// What a failed outcome leaves open; a response comes from the service.
fn uncertainty<T, E: Refusable>(failed: &Result<T, E>) -> Uncertainty {
    failed.as_ref().map_or_else(Uncertainty::of, |_| Uncertainty::Failed)
}

impl<F, T: Service<Q>, Q, W, O> fmt::Debug for OtherFuture<F, T, Q, W, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Asked { .. } => "Asked",
            State::Waiting { .. } => "Waiting",
            State::AskedOther { .. } => "AskedOther",
            State::Answered => "Answered",
        };
        f.debug_struct("OtherFuture").field("state", &format_args!("{state}")).finish()
    }
}
