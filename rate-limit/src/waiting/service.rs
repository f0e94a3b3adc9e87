//! The service: whether it is the caller's turn.

use crate::{future::ResponseFuture, limiter::Limiter, reservation::Reservation};
use mainstay_core::Refusable;
use std::{
    fmt, mem,
    ops::Deref,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::time::{Sleep, sleep_until};
use tower_service::Service;

/// Lets callers wait until there is a unit for their call.
///
/// # Readiness
///
/// When the inner service is ready, a unit is reserved, and this is ready at its moment. So those who wait go on in the order in
/// which their inner services were ready, and nobody overtakes them. Each has a timer of its own; there is no task behind it.
/// The inner service stays reserved meanwhile, so put layers that others wait for in `poll_ready` (tower's `ConcurrencyLimit`,
/// `Buffer`) *outside*.
///
/// If the wait would be longer than it may be, this is ready at once, and the limiter is asked in `call`: it refuses, or
/// admits if things have changed by then. Once ready it stays ready.
///
/// The unit counts from the moment of readiness. Whoever sits on a ready service makes his call later than it counts.
///
/// An error of the inner `poll_ready` is passed on. Readiness is not cloned.
///
/// # Cancel safety
///
/// A service that is dropped while it waits or is ready gives its unit back, and those behind come
/// sooner. What a call took is not given back when its future is dropped, since
/// the service was asked.
///
/// # Panics
///
/// `call` panics unless the last `poll_ready` on this very value since the last call has returned ready. `poll_ready`
/// panics where it has to wait outside of a tokio runtime with a timer.
pub struct WaitingRateLimit<S, H: Deref<Target = Limiter> = Arc<Limiter>> {
    inner: S,
    limiter: H,
    wait_at_most: Duration,
    told: Told,
    /// Kept while the inner service is not ready.
    reservation: Option<Reservation<H>>,
    /// Made at the first wait.
    timer: Option<Pin<Box<Sleep>>>,
}

/// What the next `call` was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Nothing,
    /// To come, with what is reserved.
    Come,
    /// To come and ask: it would have had to wait for too long.
    Ask,
}

impl<S, H: Deref<Target = Limiter>> WaitingRateLimit<S, H> {
    /// Puts `limiter` around a service, whose callers wait for up to `wait_at_most`.
    pub const fn new(inner: S, limiter: H, wait_at_most: Duration) -> Self {
        Self { inner, limiter, wait_at_most, told: Told::Nothing, reservation: None, timer: None }
    }

    /// The inner service.
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service.
    pub const fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Takes the limit away; what was reserved is given back.
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

impl<S, H, Req> Service<Req> for WaitingRateLimit<S, H>
where
    S: Service<Req>,
    S::Error: Refusable,
    H: Deref<Target = Limiter> + Clone,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        let told = mem::replace(&mut self.told, Told::Nothing);
        match self.inner.poll_ready(cx) {
            Poll::Ready(Ok(())) => {}
            // The inner service will wake us.
            Poll::Pending => return Poll::Pending,
            error @ Poll::Ready(Err(_)) => {
                self.reservation = None;
                return error;
            }
        }
        if self.reservation.is_none() {
            // Who was told to come must not wait any more.
            let wait_at_most = if told == Told::Ask { Duration::ZERO } else { self.wait_at_most };
            // What is refused is counted in `call`, and not here.
            self.reservation = Reservation::take_untold(self.limiter.clone(), wait_at_most);
        }
        let Some(reservation) = &self.reservation else {
            self.told = Told::Ask;
            return Poll::Ready(Ok(()));
        };
        if told != Told::Come {
            // Pending: the timer will wake us, or who leaves before.
            ready!(poll_turn(reservation, &mut self.timer, cx));
        }
        self.told = Told::Come;
        Poll::Ready(Ok(()))
    }

    #[track_caller]
    fn call(&mut self, request: Req) -> Self::Future {
        let told = mem::replace(&mut self.told, Told::Nothing);
        assert!(told != Told::Nothing, "`call` needs a `poll_ready` that returned ready");
        if let Some(reservation) = self.reservation.take() {
            reservation.spend();
        } else if let Err(refused) = self.limiter.admit(1) {
            return ResponseFuture::refused(refused);
        }
        ResponseFuture::admitted(self.inner.call(request))
    }
}

fn poll_turn<H: Deref<Target = Limiter>>(
    reservation: &Reservation<H>,
    timer: &mut Option<Pin<Box<Sleep>>>,
    cx: &mut Context<'_>,
) -> Poll<()> {
    let Some(at) = reservation.at() else { return Poll::Ready(()) };
    let timer = timer.get_or_insert_with(|| Box::pin(sleep_until(at)));
    reservation.poll_turn(timer.as_mut(), cx)
}

impl<S: Clone, H: Deref<Target = Limiter> + Clone> Clone for WaitingRateLimit<S, H> {
    fn clone(&self) -> Self {
        // A clone of the inner service has to be polled ready itself.
        Self::new(self.inner.clone(), self.limiter.clone(), self.wait_at_most)
    }
}

impl<S: fmt::Debug, H: Deref<Target = Limiter>> fmt::Debug for WaitingRateLimit<S, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitingRateLimit")
            .field("inner", &self.inner)
            .field("limiter", &*self.limiter)
            .field("wait_at_most", &self.wait_at_most)
            .field("told", &self.told)
            .field("reservation", &self.reservation)
            .finish_non_exhaustive()
    }
}
