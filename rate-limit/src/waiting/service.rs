//! The service: whether it is the caller's turn.

use crate::{acquire::admit, clock::Clock, future::ResponseFuture, limiter::Limiter, reservation::Reservation};
use mainstay_core::{Now, Refusable};
use std::{
    fmt, mem,
    ops::Deref,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::{Instant, Sleep, sleep_until};
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
/// A service that is dropped while it waits or is ready gives its unit back, and nobody waits for it any longer who comes later;
/// those who wait already keep their moments. What a call took is not given back when its future is dropped, since
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
    turn: Turn<H>,
    /// Made at the first wait.
    timer: Option<Pin<Box<Sleep>>>,
}

/// What the next `call` was told.
enum Turn<H: Deref<Target = Limiter>> {
    Unready,
    /// To come when it is its turn.
    Wait(Reservation<H>),
    /// To come, with a unit.
    Come(Reservation<H>),
    /// To come and ask: it would have had to wait for too long.
    Ask,
}

impl<S, H: Deref<Target = Limiter>> WaitingRateLimit<S, H> {
    /// Puts `limiter` around a service, whose callers wait for up to `wait_at_most`.
    pub const fn new(inner: S, limiter: H, wait_at_most: Duration) -> Self {
        Self { inner, limiter, wait_at_most, turn: Turn::Unready, timer: None }
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
        // Given back if the inner service fails or panics.
        let turn = mem::replace(&mut self.turn, Turn::Unready);
        if self.inner.poll_ready(cx)?.is_pending() {
            // The inner service will wake us. What we have of the limiter we keep.
            self.turn = turn.not_yet();
            return Poll::Pending;
        }
        self.turn = match turn {
            Turn::Unready => self.ask(self.wait_at_most),
            // We have said ready before.
            Turn::Ask => self.ask(Duration::ZERO),
            Turn::Wait(_) | Turn::Come(_) => turn,
        };
        self.poll_turn(cx).map(Ok)
    }

    #[track_caller]
    fn call(&mut self, request: Req) -> Self::Future {
        match mem::replace(&mut self.turn, Turn::Unready) {
            Turn::Come(reservation) => reservation.spend(),
            Turn::Ask => {
                if let Err(refused) = admit(Ok(self.limiter.check()), self.limiter.name()) {
                    return ResponseFuture::refused(refused);
                }
            }
            Turn::Unready | Turn::Wait(_) => panic!("`call` needs a `poll_ready` that returned ready"),
        }
        ResponseFuture::admitted(self.inner.call(request))
    }
}

impl<S, H: Deref<Target = Limiter> + Clone> WaitingRateLimit<S, H> {
    /// Asks for a unit that comes in time.
    fn ask(&self, wait_at_most: Duration) -> Turn<H> {
        let now = Clock.now();
        // A look first: what is refused is counted in `call`, and not here.
        let seen = self.limiter.peek_at(now);
        if seen.allowed || seen.retry_after <= wait_at_most {
            let taken = Reservation::take_at(self.limiter.clone(), 1, wait_at_most, now);
            return taken.map_or(Turn::Ask, Turn::Wait);
        }
        Turn::Ask
    }

    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Turn::Wait(reservation) = &self.turn
            && let Some(at) = reservation.at()
            && poll_timer(&mut self.timer, at, cx).is_pending()
        {
            return Poll::Pending;
        }
        self.turn = match mem::replace(&mut self.turn, Turn::Unready) {
            Turn::Wait(reservation) => Turn::Come(reservation),
            turn => turn,
        };
        Poll::Ready(())
    }
}

impl<H: Deref<Target = Limiter>> Turn<H> {
    /// The same, when the inner service is not ready.
    fn not_yet(self) -> Self {
        match self {
            Self::Wait(reservation) | Self::Come(reservation) => Self::Wait(reservation),
            Self::Unready | Self::Ask => Self::Unready,
        }
    }
}

fn poll_timer(timer: &mut Option<Pin<Box<Sleep>>>, at: Instant, cx: &mut Context<'_>) -> Poll<()> {
    let timer = timer.get_or_insert_with(|| Box::pin(sleep_until(at)));
    if timer.deadline() != at {
        timer.as_mut().reset(at);
    }
    timer.as_mut().poll(cx)
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
            .field("turn", &self.turn)
            .finish_non_exhaustive()
    }
}

impl<H: Deref<Target = Limiter>> fmt::Debug for Turn<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unready => f.write_str("Unready"),
            Self::Wait(reservation) => f.debug_tuple("Wait").field(reservation).finish(),
            Self::Come(_) => f.write_str("Come"),
            Self::Ask => f.write_str("Ask"),
        }
    }
}
