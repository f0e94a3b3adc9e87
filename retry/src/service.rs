//! The service: the first attempt, and what is needed for others.

use crate::{
    Always, Cloned, Course, NoBudget, OnlyIf, Pay, Policy, Repeat,
    attempts::Terms,
    future::{Again, ResponseFuture},
    seeds::Seeds,
};
use mainstay_core::{AnyError, Classify, Refusable};
use std::{
    fmt,
    task::{Context, Poll},
};
use tower_service::Service;

/// Sends a call again when that can help and is safe; made by [`RetryLayer`](crate::RetryLayer).
///
/// # Readiness
///
/// That of the inner service. The first attempt spends it. Later ones earn their own inside the response future, on a clone
/// of the inner service that is called itself; nothing is reserved for a retry that may never come. Readiness is not cloned.
///
/// A call that has a failed response does not wait for readiness: what it waits for may be the permit that this response holds. It
/// answers the response. A call that has an error waits.
///
/// # Errors
///
/// An error of the inner `poll_ready` is passed on, but before a later attempt it is none: the answer is that of the attempts that
/// were made. When no attempt has succeeded, the answer is that of the attempt which leaves most open whether the call was
/// executed: [`TimedOut`](mainstay_core::TimedOut) before a failure, which may be a response, before
/// [`Refused`](mainstay_core::Refused); of two alike, the later. So *refused* is answered only if every attempt was refused.
///
/// # Cancel safety
///
/// Dropping the response future drops the attempt that runs, and no other follows. What was paid for a retry that has not
/// started is given back.
///
/// # Panics
///
/// The response future panics where it has to wait, outside of a tokio runtime with a timer. A panic of the inner service goes
/// on to the caller; what the attempt has cost stays spent.
pub struct Retry<S, R = Cloned, C = AnyError, P = NoBudget, V = Always> {
    inner: S,
    policy: Policy,
    seeds: Seeds,
    repeat: R,
    terms: Terms<C, P, V>,
}

impl<S, R, C, P, V> Retry<S, R, C, P, V> {
    pub(crate) const fn new(inner: S, policy: Policy, repeat: R, terms: Terms<C, P, V>) -> Self {
        Self { inner, seeds: Seeds::new(policy.config().seed), policy, repeat, terms }
    }

    /// The inner service.
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service.
    pub const fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Takes the retries away.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, Req, R, C, P, V> Service<Req> for Retry<S, R, C, P, V>
where
    S: Service<R::Request> + Clone,
    S::Error: Refusable,
    R: Repeat<Req> + Clone,
    C: Classify<S::Response, S::Error> + Clone,
    P: Pay,
    V: OnlyIf<R::Seen, S::Response, S::Error> + Clone,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S, Req, R, C, P, V>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        let (first, kept) = self.repeat.first(request);
        let kept = kept.filter(|_| self.policy.config().max_attempts > 1);
        let attempt = self.inner.call(first);
        // What was ready is spent now, so nothing is lost with the clone.
        let again = kept.map(|kept| Again { service: self.inner.clone(), kept });
        let course = Course::new(self.policy, self.seeds.next());
        ResponseFuture::new(attempt, again, course, self.repeat.clone(), self.terms.clone())
    }
}

impl<S: Clone, R: Clone, C: Clone, P: Clone, V: Clone> Clone for Retry<S, R, C, P, V> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            policy: self.policy,
            seeds: self.seeds.clone(),
            repeat: self.repeat.clone(),
            terms: self.terms.clone(),
        }
    }
}

impl<S: fmt::Debug, R, C, P, V> fmt::Debug for Retry<S, R, C, P, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retry").field("inner", &self.inner).field("policy", &self.policy).finish_non_exhaustive()
    }
}
