//! The service: asks first, then calls.

use super::LimitFuture;
use crate::{
    cost::{Cost, One},
    limit::Limit,
    per_key::KeyOf,
};
use mainstay_core::Refusable;
use std::{
    fmt, mem,
    task::{Context, Poll},
};
use tower_service::Service;

/// Refuses the calls that a [`Limit`] does not allow.
///
/// # Readiness
///
/// That of the inner service. It is taken along into the future, where the limit is asked: the very value that was found ready
/// is called when the answer has come, and its readiness is free again if the answer is no. A clone takes its place here.
/// Readiness is not cloned.
///
/// # Cancel safety
///
/// A response future that is dropped while the limit is asked does not call the inner service. Whether the units were taken by
/// then is for the limit to say.
///
/// # Panics
///
/// `call` panics unless `poll_ready` has returned ready on this very value since the last call, and if the functions that find
/// the key and say the cost do; the limit is not asked then.
pub struct LimitService<S, F, L, C = One> {
    inner: S,
    name: &'static str,
    key: F,
    limit: L,
    cost: C,
    ready: bool,
}

impl<S, F, L, C> LimitService<S, F, L, C> {
    pub(super) const fn new(inner: S, name: &'static str, key: F, limit: L, cost: C) -> Self {
        Self { inner, name, key, limit, cost, ready: false }
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
}

impl<S, F, L, C, Req> Service<Req> for LimitService<S, F, L, C>
where
    S: Service<Req> + Clone,
    S::Error: Refusable,
    F: KeyOf<Req>,
    L: Limit<F::Key>,
    C: Cost<Req>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = LimitFuture<S, Req, L::Decide>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.ready = false;
        // Pending: the inner service will wake us.
        let ready = self.inner.poll_ready(cx);
        self.ready = matches!(ready, Poll::Ready(Ok(())));
        ready
    }

    #[track_caller]
    fn call(&mut self, request: Req) -> Self::Future {
        assert!(mem::take(&mut self.ready), "`call` needs a `poll_ready` that returned ready");
        let cost = self.cost.cost(&request);
        let spare = self.inner.clone();
        let decide = self.key.with_key(&request, |key| self.limit.decide(key, cost));
        LimitFuture::new(decide, self.name, mem::replace(&mut self.inner, spare), request)
    }
}

impl<S: Clone, F: Clone, L: Clone, C: Clone> Clone for LimitService<S, F, L, C> {
    fn clone(&self) -> Self {
        // A clone of the inner service has to be polled ready itself.
        Self::new(self.inner.clone(), self.name, self.key.clone(), self.limit.clone(), self.cost.clone())
    }
}

impl<S: fmt::Debug, F, L, C> fmt::Debug for LimitService<S, F, L, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LimitService")
            .field("inner", &self.inner)
            .field("name", &self.name)
            .field("ready", &self.ready)
            .finish_non_exhaustive()
    }
}
