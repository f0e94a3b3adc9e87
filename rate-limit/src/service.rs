//! The service that refuses.

use crate::{
    cost::{Cost, One},
    future::ResponseFuture,
    limiter::Limiter,
};
use mainstay_core::Refusable;
use std::{
    fmt, mem,
    ops::Deref,
    sync::Arc,
    task::{Context, Poll},
};
use tower_service::Service;

/// Refuses calls that are too many.
///
/// The refusal is of reason [`RateLimited`](mainstay_core::Reason::RateLimited) and says exactly how long to wait, if the call
/// can be admitted at all.
///
/// # Readiness
///
/// That of the inner service; the limiter is asked in `call`. What the inner service reserved for a call that is then refused
/// stays reserved for the next one, or until this service is dropped. Readiness is not cloned.
///
/// # Cancel safety
///
/// Nothing is held between `poll_ready` and `call`. What a call took is not given back when its future is dropped, since the
/// service was asked.
///
/// # Panics
///
/// `call` panics unless `poll_ready` has returned ready on this very value since the last call, and if the function that
/// says the cost does; nothing is taken then.
pub struct RateLimit<S, H = Arc<Limiter>, C = One> {
    inner: S,
    limiter: H,
    cost: C,
    ready: bool,
}

impl<S, H, C> RateLimit<S, H, C> {
    /// Puts `limiter` around a service; `cost` says how many units a request takes.
    pub const fn new(inner: S, limiter: H, cost: C) -> Self {
        Self { inner, limiter, cost, ready: false }
    }

    /// The inner service.
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service.
    pub const fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Takes the limit away.
    pub fn into_inner(self) -> S {
        self.inner
    }

    /// The limiter, to look at and to command.
    pub fn handle(&self) -> H
    where
        H: Clone,
    {
        self.limiter.clone()
    }
}

impl<S, H, C, Req> Service<Req> for RateLimit<S, H, C>
where
    S: Service<Req>,
    S::Error: Refusable,
    H: Deref<Target = Limiter>,
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
        assert!(mem::take(&mut self.ready), "`call` needs a `poll_ready` that returned ready");
        match self.limiter.admit(self.cost.cost(&request)) {
            Ok(()) => ResponseFuture::admitted(self.inner.call(request)),
            Err(refused) => ResponseFuture::refused(refused),
        }
    }
}

impl<S: Clone, H: Clone, C: Clone> Clone for RateLimit<S, H, C> {
    fn clone(&self) -> Self {
        // A clone of the inner service has to be polled ready itself.
        Self::new(self.inner.clone(), self.limiter.clone(), self.cost.clone())
    }
}

impl<S: fmt::Debug, H: Deref<Target = Limiter>, C> fmt::Debug for RateLimit<S, H, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimit")
            .field("inner", &self.inner)
            .field("limiter", &*self.limiter)
            .field("ready", &self.ready)
            .finish_non_exhaustive()
    }
}
