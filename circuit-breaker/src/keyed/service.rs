//! The service: the circuit is that of the request.

use super::{Circuits, KeyOf, KeyedResponseFuture};
use crate::guard::Guard;
use mainstay_core::{AnyError, Classify, Refusable};
use std::{
    fmt, mem,
    ops::Deref,
    sync::Arc,
    task::{Context, Poll},
};
use tower_service::Service;

/// Refuses the calls of a key (a host, a tenant) while those of the same key are failing.
///
/// # Readiness
///
/// That of the inner service: which circuit is asked is known only in `call`. So refusals come from `call`; what the inner
/// service reserved for a call that is then refused stays reserved for the next one, or until this service is dropped.
///
/// An error or a panic of the inner `poll_ready` is passed on and counts for no key. Readiness is not cloned.
///
/// # Cancel safety
///
/// Nothing is held between `poll_ready` and `call`. A response future that is dropped early is an *abandoned* call: it
/// does not vote, and a probe gives its slot back.
///
/// # Panics
///
/// `call` panics unless `poll_ready` has returned ready on this very value since the last call, and if the function that
/// finds the key panics; nothing is admitted then.
///
/// A panic of the inner `call` and its future counts as a failure of the key and goes on to the caller.
pub struct KeyedCircuitBreaker<S, F, H, C = AnyError> {
    inner: S,
    key: F,
    circuits: H,
    classify: C,
    ready: bool,
}

impl<S, F, H, C> KeyedCircuitBreaker<S, F, H, C> {
    /// Puts `circuits` around a service; `key` finds that of a request, and `classify` says what counts as a failure.
    pub const fn new(inner: S, key: F, circuits: H, classify: C) -> Self {
        Self { inner, key, circuits, classify, ready: false }
    }

    /// The inner service.
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service.
    pub const fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Takes the circuit breaker away.
    pub fn into_inner(self) -> S {
        self.inner
    }

    /// The circuits, to look at and to command.
    pub fn handle(&self) -> H
    where
        H: Clone,
    {
        self.circuits.clone()
    }
}

impl<S, F, H, C, Req> Service<Req> for KeyedCircuitBreaker<S, F, H, C>
where
    S: Service<Req>,
    S::Error: Refusable,
    F: KeyOf<Req>,
    H: Deref<Target = Circuits<F::Key>>,
    C: Classify<S::Response, S::Error> + Clone,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = KeyedResponseFuture<S::Future, F::Key, C>;

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
        let Some(circuit) = self.key.circuit(&request, &self.circuits) else {
            return KeyedResponseFuture::unguarded(self.inner.call(request));
        };
        match Guard::admit(circuit) {
            Ok(mut guard) => {
                let inner = guard.run(|| self.inner.call(request));
                // Cloned when the inner future exists: a clone that panics drops it before the guard.
                KeyedResponseFuture::admitted(inner, guard, self.classify.clone())
            }
            Err(refused) => KeyedResponseFuture::refused(refused),
        }
    }
}

impl<S: Clone, F: Clone, H: Clone, C: Clone> Clone for KeyedCircuitBreaker<S, F, H, C> {
    fn clone(&self) -> Self {
        // A clone of the inner service has to be polled ready itself.
        Self::new(self.inner.clone(), self.key.clone(), self.circuits.clone(), self.classify.clone())
    }
}

impl<S: fmt::Debug, F, K, H: Deref<Target = Circuits<K>>, C> fmt::Debug for KeyedCircuitBreaker<S, F, H, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedCircuitBreaker")
            .field("inner", &self.inner)
            .field("circuits", &*self.circuits)
            .field("ready", &self.ready)
            .finish_non_exhaustive()
    }
}

/// The circuits behind an `Arc`, as the layer makes them.
pub(super) type Shared<K> = Arc<Circuits<K>>;
