//! The service: refusals come from `call`, readiness from within.

use super::{Throttle, ThrottleFuture, ThrottleGuard};
use crate::clock::Clock;
use mainstay_core::{AnyError, Class, Classify, Now, Refusable, Refused};
use std::{
    fmt, mem,
    ops::Deref,
    sync::Arc,
    task::{Context, Poll},
};
use tower_service::Service;

/// Refuses a share of the calls while the service behind it accepts few.
///
/// # Readiness
///
/// That of the inner service; chance decides in `call`. What the inner service reserved for a call that is then refused
/// stays reserved for the next one, or until this service is dropped.
///
/// An error of the inner `poll_ready` is passed on, and counts like an error of a call: a request that was not accepted.
/// Readiness is not cloned.
///
/// # Cancel safety
///
/// Nothing is held between `poll_ready` and `call`. A response future that is dropped early is an *abandoned* call: its
/// request is taken back.
///
/// # Panics
///
/// `call` panics unless `poll_ready` has returned ready on this very value since the last call.
///
/// A panic of the inner service counts as a failure and goes on to the caller.
pub struct ThrottleService<S, H = Arc<Throttle>, C = AnyError> {
    inner: S,
    throttle: H,
    classify: C,
    ready: bool,
}

impl<S, H, C> ThrottleService<S, H, C> {
    /// Puts `throttle` around a service; `classify` says what is not accepted.
    pub const fn new(inner: S, throttle: H, classify: C) -> Self {
        Self { inner, throttle, classify, ready: false }
    }

    /// The inner service.
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service.
    pub const fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Takes the throttle away.
    pub fn into_inner(self) -> S {
        self.inner
    }

    /// The throttle, to look at and to command.
    pub fn handle(&self) -> H
    where
        H: Clone,
    {
        self.throttle.clone()
    }
}

impl<S, H, C, Req> Service<Req> for ThrottleService<S, H, C>
where
    S: Service<Req>,
    S::Error: Refusable,
    H: Deref<Target = Throttle> + Clone,
    C: Classify<S::Response, S::Error> + Clone,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ThrottleFuture<S::Future, H, C>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.poll_inner(cx)
    }

    #[track_caller]
    fn call(&mut self, request: Req) -> Self::Future {
        match self.start(request) {
            Ok((guard, inner)) => ThrottleFuture::admitted(inner, guard, self.classify.clone()),
            Err(refused) => ThrottleFuture::refused(refused),
        }
    }
}

impl<S, H, C> ThrottleService<S, H, C>
where
    H: Deref<Target = Throttle> + Clone,
{
    /// `poll_ready`, whatever becomes of the answer.
    pub(super) fn poll_inner<Req>(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>>
    where
        S: Service<Req>,
        S::Error: Refusable,
        C: Classify<S::Response, S::Error>,
    {
        self.ready = false;
        let scope = UnreadyScope(&self.throttle);
        let ready = self.inner.poll_ready(cx);
        mem::forget(scope);
        match ready {
            Poll::Ready(Ok(())) => self.ready = true,
            Poll::Ready(Err(ref error)) => {
                if let Class::Failure(_) = self.classify.judge(Err(error)) {
                    self.throttle.fail_unready(Clock.now());
                }
            }
            // The inner service will wake us.
            Poll::Pending => {}
        }
        ready
    }

    /// The first half of `call`, whatever becomes of the answer. The guard comes first in the pair, so that a caller who
    /// unwinds drops the inner future before it.
    #[track_caller]
    pub(super) fn start<Req>(&mut self, request: Req) -> Result<(ThrottleGuard<H>, S::Future), Refused>
    where
        S: Service<Req>,
    {
        assert!(mem::take(&mut self.ready), "`call` needs a `poll_ready` that returned ready");
        let mut guard = ThrottleGuard::admit(self.throttle.clone())?;
        let inner = guard.run(|| self.inner.call(request));
        Ok((guard, inner))
    }

    #[cfg(feature = "http")]
    pub(super) const fn classifier(&self) -> &C {
        &self.classify
    }
}

/// Dropped only while the inner `poll_ready` unwinds.
struct UnreadyScope<'a>(&'a Throttle);

impl Drop for UnreadyScope<'_> {
    fn drop(&mut self) {
        self.0.fail_unready(Clock.now());
    }
}

impl<S: Clone, H: Clone, C: Clone> Clone for ThrottleService<S, H, C> {
    fn clone(&self) -> Self {
        // A clone of the inner service has to be polled ready itself.
        Self::new(self.inner.clone(), self.throttle.clone(), self.classify.clone())
    }
}

impl<S: fmt::Debug, H: Deref<Target = Throttle>, C> fmt::Debug for ThrottleService<S, H, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThrottleService")
            .field("inner", &self.inner)
            .field("throttle", &*self.throttle)
            .field("ready", &self.ready)
            .finish_non_exhaustive()
    }
}
