//! The answer of a call.

use super::{hedging::Hedging, next::Resend, race::Race};
use crate::{Pay, Repeat};
use mainstay_core::{Classify, Refusable};
use pin_project::pin_project;
use std::{
    fmt,
    future::Future,
    ops::Deref,
    pin::Pin,
    task::{Context, Poll},
};
use tower_service::Service;

/// The future of [`Hedge`](crate::Hedge).
///
/// # Cancel safety
///
/// Dropped before it is ready, all attempts are dropped with it, and what was paid for one that has not started is given
/// back. The first attempt is counted as one that was cut short.
///
/// # Panics
///
/// When polled again after its answer. Outside of a tokio runtime with a timer, when the first attempt is pending and
/// another may have to start.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct HedgeFuture<S, Req, R, C, B, H>
where
    S: Service<R::Request>,
    R: Repeat<Req>,
    B: Pay,
    H: Deref<Target = Hedging>,
{
    #[pin]
    race: Race<S::Future, Resend<S, Req, R>, C, B, H>,
}

impl<S, Req, R, C, B, H> HedgeFuture<S, Req, R, C, B, H>
where
    S: Service<R::Request>,
    R: Repeat<Req>,
    B: Pay,
    H: Deref<Target = Hedging>,
{
    #[inline]
    pub(super) const fn new(race: Race<S::Future, Resend<S, Req, R>, C, B, H>) -> Self {
        Self { race }
    }
}

impl<S, Req, R, C, B, H> Future for HedgeFuture<S, Req, R, C, B, H>
where
    S: Service<R::Request>,
    S::Error: Refusable,
    R: Repeat<Req>,
    C: Classify<S::Response, S::Error>,
    B: Pay,
    H: Deref<Target = Hedging>,
{
    type Output = Result<S::Response, S::Error>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().race.poll(cx)
    }
}

impl<S, Req, R, C, B, H> fmt::Debug for HedgeFuture<S, Req, R, C, B, H>
where
    S: Service<R::Request>,
    R: Repeat<Req>,
    B: Pay,
    H: Deref<Target = Hedging>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HedgeFuture").field("hedging", self.race.hedging()).finish_non_exhaustive()
    }
}
