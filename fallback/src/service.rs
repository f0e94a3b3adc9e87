//! The service: asks, and keeps what the fallback may need.

use crate::{
    answer::{Answer, Synchronous},
    choose::{Choose, Failed},
    future::ResponseFuture,
    layer::Rule,
    observe::{Nobody, Observe},
    other::{Keep, Other},
    other_future::OtherFuture,
};
use mainstay_core::{AnyError, Refusable};
use std::{
    fmt,
    task::{Context, Poll},
};
use tower_service::Service;

/// Answers in the place of a service whose call has failed.
///
/// A call falls back if it was refused further in, or if the classifier calls its outcome a failure, unless
/// [`only_if`](crate::FallbackLayer::only_if) says no. The inner future is dropped before the fallback answers. The
/// observer, the classifier and the fallback are called without any lock.
///
/// # Another service
///
/// It is polled ready, and called, only when it is needed, in the future of the call. That is a second attempt at the call:
/// where the first one may have been executed, that may be twice. What must not happen twice is excluded by
/// [`keep`](crate::FallbackLayer::keep) or [`only_if`](crate::FallbackLayer::only_if).
///
/// If the other service fails too, the answer is the outcome that leaves more open: timed out before failed before refused;
/// of equals that of the other service. So *refused* is answered only if neither was asked. That failure is counted, and is
/// an event; the observer is not shown it.
///
/// The wait for the other service has no end of its own, neither for its readiness nor for its answer. A timeout around that
/// service ends its calls, and not the wait until it is ready; a timeout outside of the fallback ends both.
///
/// # Readiness
///
/// That of the inner service. An error of its `poll_ready` is passed on, and does not fall back: there is no request yet,
/// and tower says that such a service is done. Policies of the house refuse in `call`, or are answered there.
///
/// # Cancel safety
///
/// Dropping the future drops what is running, the inner call or that of the other service; nothing else is held.
///
/// # Panics
///
/// A panic of the fallback, of the classifier or of the observer goes on to the caller.
#[derive(Clone, Copy)]
pub struct Fallback<S, A, W = Failed<AnyError>, O = Nobody> {
    inner: S,
    answer: A,
    rule: Rule<W, O>,
}

impl<S, A, W, O> Fallback<S, A, W, O> {
    pub(crate) const fn new(inner: S, answer: A, rule: Rule<W, O>) -> Self {
        Self { inner, answer, rule }
    }

    /// The inner service.
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service.
    pub const fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Takes the fallback away.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

// Closures have no `Debug`, and so they are left out.
impl<S: fmt::Debug, A, W, O> fmt::Debug for Fallback<S, A, W, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fallback").field("inner", &self.inner).field("name", &self.rule.name).finish_non_exhaustive()
    }
}

impl<S, A, W, O, Req> Service<Req> for Fallback<S, A, W, O>
where
    S: Service<Req>,
    S::Error: Refusable,
    A: Synchronous + Answer<S::Response, S::Error> + Clone,
    W: Choose<S::Response, S::Error> + Clone,
    O: Observe<S::Response, S::Error> + Clone,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, A, W, O>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        // First, so that a clone that panics does so before the call is started.
        let (answer, rule) = (self.answer.clone(), self.rule.clone());
        ResponseFuture::new(self.inner.call(request), answer, rule)
    }
}

impl<S, T, K, W, O, Req> Service<Req> for Fallback<S, Other<T, K>, W, O>
where
    S: Service<Req>,
    S::Error: Refusable,
    K: Keep<Req>,
    T: Service<K::Request, Response = S::Response, Error = S::Error> + Clone,
    W: Choose<S::Response, S::Error> + Clone,
    O: Observe<S::Response, S::Error> + Clone,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = OtherFuture<S::Future, T, K::Request, W, O>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let kept = self.answer.keep.keep(&request);
        let (other, rule) = (self.answer.service.clone(), self.rule.clone());
        OtherFuture::new(self.inner.call(request), other, kept, rule)
    }
}
