//! The service whose calls wait.

use super::{KeyOf, KeyedRateLimit, WaitingResponseFuture};
use crate::{
    cost::{Cost, One},
    keyed::KeyedLimiter,
    reservation::Reservation,
};
use mainstay_core::Refusable;
use std::{
    fmt,
    hash::Hash,
    ops::Deref,
    task::{Context, Poll},
    time::Duration,
};
use tower_service::Service;

/// Lets the calls of a key (a client, a host) wait until there are units for them.
///
/// # Readiness
///
/// That of the inner service: whose limit is asked is known only in `call`. A call for which there are units goes on at once. One
/// that has to wait gives the readiness of the inner service up, so that calls of other keys do not wait with it, waits for its
/// moment, and then for a clone of the inner service to be ready. The calls of a key reach that point in the order in which they
/// were made.
///
/// If the wait would be longer than it may be, the call is refused at once. So of one key no more calls wait than it can make
/// in that time; how many keys wait, only the callers limit.
///
/// An error of the inner `poll_ready` is passed on; after a wait it is the answer of the call. Readiness is not cloned.
///
/// # Cancel safety
///
/// A response future that is dropped before the inner service was called leaves the queue and gives its units back; those behind
/// come sooner. Later nothing is given back, since the service was asked.
///
/// # Panics
///
/// `call` panics unless `poll_ready` has returned ready on this very value since the last call, if the functions that find the
/// key and say the cost do, and if the call has to wait outside of a tokio runtime with a timer; nothing is taken then.
#[derive(Clone)]
pub struct KeyedWaitingRateLimit<S, F, H, C = One> {
    refusing: KeyedRateLimit<S, F, H, C>,
    wait_at_most: Duration,
}

impl<S, F, H, C> KeyedWaitingRateLimit<S, F, H, C> {
    /// The same limits, whose calls wait for up to `wait_at_most`, instead of being refused.
    pub const fn new(refusing: KeyedRateLimit<S, F, H, C>, wait_at_most: Duration) -> Self {
        Self { refusing, wait_at_most }
    }

    /// The inner service.
    pub const fn get_ref(&self) -> &S {
        self.refusing.get_ref()
    }

    /// The inner service.
    pub const fn get_mut(&mut self) -> &mut S {
        self.refusing.get_mut()
    }

    /// Takes the limits away.
    pub fn into_inner(self) -> S {
        self.refusing.into_inner()
    }

    /// The limits, to look at and to command.
    pub fn handle(&self) -> H
    where
        H: Clone,
    {
        self.refusing.handle()
    }
}

impl<S, F, H, C, Req> Service<Req> for KeyedWaitingRateLimit<S, F, H, C>
where
    S: Service<Req> + Clone,
    S::Error: Refusable,
    F: KeyOf<Req, Key: Hash>,
    H: Deref<Target = KeyedLimiter<F::Key>> + Clone,
    C: Cost<Req>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = WaitingResponseFuture<S, Req, H>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.refusing.poll_ready(cx)
    }

    #[track_caller]
    fn call(&mut self, request: Req) -> Self::Future {
        let (key, limiter, cost) = self.refusing.begin();
        let cost = cost.cost(&request);
        let taken = key
            .with_key(&request, |key| Reservation::take_of_key(limiter.clone(), key, cost, self.wait_at_most))
            .map_err(|error| error.refused(limiter.name()));
        match taken {
            Err(refused) => WaitingResponseFuture::refused(refused),
            Ok(reservation) => match reservation.at() {
                None => {
                    reservation.spend();
                    WaitingResponseFuture::admitted(self.get_mut().call(request))
                }
                Some(at) => WaitingResponseFuture::waiting(at, self.unready(), request, reservation),
            },
        }
    }
}

impl<S: Clone, F, H, C> KeyedWaitingRateLimit<S, F, H, C> {
    /// A service for one call, not ready. What this one has reserved is free again: the call would wait for it.
    fn unready(&mut self) -> S {
        let service = self.get_ref().clone();
        *self.get_mut() = service.clone();
        service
    }
}

impl<S, F, K, H, C> fmt::Debug for KeyedWaitingRateLimit<S, F, H, C>
where
    S: fmt::Debug,
    K: ?Sized,
    H: Deref<Target = KeyedLimiter<K>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedWaitingRateLimit")
            .field("refusing", &self.refusing)
            .field("wait_at_most", &self.wait_at_most)
            .finish()
    }
}
