//! The answer of a call that may wait for units.

use crate::{
    future::take_once,
    reservation::{Lender, Reservation},
};
use mainstay_core::Refused;
use pin_project::pin_project;
use std::{
    fmt,
    future::Future,
    ops::Deref,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::time::{Instant, Sleep, sleep_until};
use tower_service::Service;

/// The future of [`KeyedWaitingRateLimit`](crate::KeyedWaitingRateLimit).
///
/// # Cancel safety
///
/// Dropped before the inner service was called, it leaves the queue and gives its units back; later it drops the inner future,
/// and nothing is given back.
///
/// # Panics
///
/// A call that was refused, or whose service failed to become ready, panics when polled again after its answer.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct WaitingResponseFuture<S: Service<Req>, Req, H: Deref<Target: Lender>> {
    #[pin]
    state: State<S, Req, H>,
}

#[pin_project(project = StateProjected)]
enum State<S: Service<Req>, Req, H: Deref<Target: Lender>> {
    Refused(Option<Refused>),
    Waiting {
        #[pin]
        timer: Sleep,
        is_due: bool,
        service: S,
        call: Option<(Req, Reservation<H>)>,
    },
    Called(#[pin] S::Future),
}

impl<S: Service<Req>, Req, H: Deref<Target: Lender>> WaitingResponseFuture<S, Req, H> {
    pub(super) const fn refused(refused: Refused) -> Self {
        Self { state: State::Refused(Some(refused)) }
    }

    pub(super) const fn admitted(inner: S::Future) -> Self {
        Self { state: State::Called(inner) }
    }

    pub(super) fn waiting(at: Instant, service: S, request: Req, reservation: Reservation<H>) -> Self {
        Self {
            state: State::Waiting {
                timer: sleep_until(at),
                is_due: false,
                service,
                call: Some((request, reservation)),
            },
        }
    }
}

impl<S, Req, H> Future for WaitingResponseFuture<S, Req, H>
where
    S: Service<Req>,
    S::Error: From<Refused>,
    H: Deref<Target: Lender>,
{
    type Output = Result<S::Response, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            match state.as_mut().project() {
                StateProjected::Refused(refused) => return Poll::Ready(Err(take_once(refused).into())),
                StateProjected::Waiting { timer, is_due, service, call } => {
                    let (_, reservation) = call.as_ref().expect("the future was polled after a panic");
                    // Pending: the timer will wake us, or who leaves before; then the service will.
                    if !*is_due {
                        ready!(reservation.poll_turn(timer, cx));
                        *is_due = true;
                    }
                    if let Err(error) = ready!(service.poll_ready(cx)) {
                        // Given back before it is answered: a finished future may be kept for a while.
                        state.set(State::Refused(None));
                        return Poll::Ready(Err(error));
                    }
                    let (request, reservation) = call.take().expect("the future was polled after a panic");
                    reservation.spend();
                    let inner = service.call(request);
                    state.set(State::Called(inner));
                }
                // Pending: the inner future will wake us.
                StateProjected::Called(inner) => return inner.poll(cx),
            }
        }
    }
}

impl<S: Service<Req>, Req, H: Deref<Target: Lender>> fmt::Debug for WaitingResponseFuture<S, Req, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut tuple = f.debug_tuple("WaitingResponseFuture");
        match &self.state {
            State::Refused(refused) => tuple.field(refused).finish(),
            State::Waiting { call, .. } => {
                tuple.field(&call.as_ref().map(|(_, reservation)| reservation)).finish_non_exhaustive()
            }
            State::Called(_) => tuple.finish_non_exhaustive(),
        }
    }
}
