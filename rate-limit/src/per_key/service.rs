//! The service: the limit is that of the request's key.

use super::KeyOf;
use crate::{
    acquire::admit,
    cost::{Cost, One},
    future::ResponseFuture,
    keyed::KeyedLimiter,
};
use mainstay_core::Refusable;
use std::{
    fmt,
    hash::Hash,
    mem,
    ops::Deref,
    task::{Context, Poll},
};
use tower_service::Service;

/// Refuses the calls of a key (a client, a tenant) that are too many.
///
/// # Readiness
///
/// That of the inner service: whose limit is asked is known only in `call`. What the inner service reserved for a call that is
/// then refused stays reserved for the next one, or until this service is dropped. Readiness is not cloned.
///
/// # Cancel safety
///
/// Nothing is held between `poll_ready` and `call`. What a call took is not given back when its future is dropped, since the
/// service was asked.
///
/// # Panics
///
/// `call` panics unless `poll_ready` has returned ready on this very value since the last call, and if the functions that
/// find the key and say the cost do; nothing is taken then.
pub struct KeyedRateLimit<S, F, H, C = One> {
    inner: S,
    key: F,
    limiter: H,
    cost: C,
    ready: bool,
}

impl<S, F, H, C> KeyedRateLimit<S, F, H, C> {
    /// Puts `limiter` around a service; `key` finds the key of a request, and `cost` says how many units it takes.
    pub const fn new(inner: S, key: F, limiter: H, cost: C) -> Self {
        Self { inner, key, limiter, cost, ready: false }
    }

    /// The inner service.
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service.
    pub const fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Takes the limits away.
    pub fn into_inner(self) -> S {
        self.inner
    }

    /// The limits, to look at and to command.
    pub fn handle(&self) -> H
    where
        H: Clone,
    {
        self.limiter.clone()
    }

    /// Spends the readiness, and gives what a call is decided by.
    #[track_caller]
    pub(super) fn begin(&mut self) -> (&F, &H, &C) {
        assert!(mem::take(&mut self.ready), "`call` needs a `poll_ready` that returned ready");
        (&self.key, &self.limiter, &self.cost)
    }
}

impl<S, F, H, C, Req> Service<Req> for KeyedRateLimit<S, F, H, C>
where
    S: Service<Req>,
    S::Error: Refusable,
    F: KeyOf<Req, Key: Hash>,
    H: Deref<Target = KeyedLimiter<F::Key>>,
    C: Cost<Req>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.ready = false;
        // Pending: the inner service will wake us.
        let ready = self.inner.poll_ready(cx);
        self.ready = matches!(ready, Poll::Ready(Ok(())));
        ready
    }

    #[inline]
    #[track_caller]
    fn call(&mut self, request: Req) -> Self::Future {
        let (key, limiter, cost) = self.begin();
        let cost = cost.cost(&request);
        let answer = key.with_key(&request, |key| limiter.check_cost(key, cost));
        match admit(answer, limiter.name()) {
            Ok(()) => ResponseFuture::admitted(self.inner.call(request)),
            Err(refused) => ResponseFuture::refused(refused),
        }
    }
}

impl<S: Clone, F: Clone, H: Clone, C: Clone> Clone for KeyedRateLimit<S, F, H, C> {
    fn clone(&self) -> Self {
        // A clone of the inner service has to be polled ready itself.
        Self::new(self.inner.clone(), self.key.clone(), self.limiter.clone(), self.cost.clone())
    }
}

impl<S, F, K, H, C> fmt::Debug for KeyedRateLimit<S, F, H, C>
where
    S: fmt::Debug,
    K: ?Sized,
    H: Deref<Target = KeyedLimiter<K>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedRateLimit")
            .field("inner", &self.inner)
            .field("limiter", &*self.limiter)
            .field("ready", &self.ready)
            .finish_non_exhaustive()
    }
}
