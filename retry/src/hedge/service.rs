//! The service: the first attempt through what was ready, the others through a clone.

use super::{future::HedgeFuture, hedging::Hedging, next::Resend, race::Race};
use crate::{Cloned, NoBudget, Pay, Repeat};
use mainstay_core::{AnyError, Classify, Refusable};
use std::{
    fmt,
    ops::Deref,
    sync::Arc,
    task::{Context, Poll},
};
use tower_service::Service;

/// Starts another attempt beside one that takes long, and answers with the first success.
///
/// Only requests that are idempotent even while both run, as [`R`](crate::Repeat::may_overlap) says, are sent more than once. All
/// others pass through. With each call that may be hedged a clone of the inner service is made and kept, so it should be cheap.
///
/// # Readiness
///
/// That of the inner service, for the first attempt. Nothing is reserved for a hedge: when its time has come, a clone of the
/// inner service is polled ready within the response future, and called at once. While it is not ready, no other hedge
/// starts. An error of its readiness ends hedging, and not the call: what runs goes on, and if nothing succeeds the error counts
/// as that of one more attempt. If nothing runs and an attempt has ended in a failed response, that is answered and no room is
/// waited for: the response may hold it.
///
/// # Cancel safety
///
/// Nothing is held between `poll_ready` and `call`. Dropping the response future drops all attempts.
///
/// # Panics
///
/// `call` panics where that of the inner service does. A panic of one attempt goes on to the caller, and ends the others.
#[derive(Clone, Copy)]
pub struct Hedge<S, R = Cloned, C = AnyError, B = NoBudget, H = Arc<Hedging>> {
    inner: S,
    hedging: H,
    repeat: R,
    classify: C,
    budget: B,
}

impl<S, R, C, B, H> Hedge<S, R, C, B, H> {
    /// Puts `hedging` around a service: `repeat` says what can be sent again, `classify` what is a success, and `budget`
    /// pays for hedges.
    pub const fn new(inner: S, hedging: H, repeat: R, classify: C, budget: B) -> Self {
        Self { inner, hedging, repeat, classify, budget }
    }

    /// The inner service.
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service.
    pub const fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Takes the hedging away.
    pub fn into_inner(self) -> S {
        self.inner
    }

    /// The policy, to look at.
    pub fn handle(&self) -> H
    where
        H: Clone,
    {
        self.hedging.clone()
    }
}

impl<S, R, C, B, H, Req> Service<Req> for Hedge<S, R, C, B, H>
where
    S: Service<R::Request> + Clone,
    S::Error: Refusable,
    R: Repeat<Req> + Clone,
    C: Classify<S::Response, S::Error> + Clone,
    B: Pay,
    H: Deref<Target = Hedging> + Clone,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = HedgeFuture<S, Req, R, C, B, H>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        // The inner service will wake us.
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        let (first, kept) = self.repeat.first(request);
        let kept = kept.filter(|kept| self.repeat.may_overlap(kept));
        let first = self.inner.call(first);
        // A clone is not ready, as it should be: a hedge earns its readiness when it starts.
        let next = kept.map(|kept| Resend::new(self.inner.clone(), self.repeat.clone(), kept));
        let (hedging, classify, budget) = (self.hedging.clone(), self.classify.clone(), self.budget.clone());
        HedgeFuture::new(Race::new(hedging, classify, budget, first, next))
    }
}

impl<S: fmt::Debug, R, C, B, H: Deref<Target = Hedging>> fmt::Debug for Hedge<S, R, C, B, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hedge").field("inner", &self.inner).field("hedging", &*self.hedging).finish_non_exhaustive()
    }
}
