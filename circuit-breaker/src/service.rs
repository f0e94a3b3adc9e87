//! The service: whether the caller was told to go on.

use crate::{circuit::Circuit, clock::Clock, future::ResponseFuture, guard::Guard, machine::Wait, word::Word};
use mainstay_core::{AnyError, Class, Classify, Refusable, Refused};
use std::{
    fmt, mem,
    ops::Deref,
    sync::Arc,
    task::{Context, Poll},
};
use tower_service::Service;

/// Refuses calls while the service behind it is failing.
///
/// # Readiness
///
/// While the circuit refuses, this is ready at once *without* asking the inner service, and `call` refuses: a dead service
/// must not make callers wait for the word no. Otherwise it is ready when the inner service is. Admission happens in
/// `call`, since a caller may sit on its readiness for ever and must not sit on the only probe slot. So a call can also be
/// refused after the inner service was found ready; what the inner service reserved stays reserved for the next call, or
/// until this service is dropped.
///
/// Once ready it stays ready: a caller that was told to come and be refused is refused, unless it asks again and by then
/// the circuit admits calls and the inner service is ready. The refusal says how long to wait from the moment of
/// `poll_ready`; if the circuit has changed since, from now, and zero if it admits calls again.
///
/// An error of the inner `poll_ready` is passed on, and counts like an error of a call. Readiness is not cloned.
///
/// # Cancel safety
///
/// Nothing is held between `poll_ready` and `call`. A response future that is dropped early is an *abandoned* call: it
/// does not vote, and a probe gives its slot back.
///
/// # Panics
///
/// `call` panics unless `poll_ready` has returned ready on this very value since the last call.
///
/// A panic of the inner service counts as a failure and goes on to the caller.
pub struct CircuitBreaker<S, H = Arc<Circuit>, C = AnyError> {
    inner: S,
    circuit: H,
    classify: C,
    turn: Turn,
}

/// What the next `call` was told.
#[derive(Clone, Copy, Debug)]
enum Turn {
    Unready,
    /// The circuit was this, and it said to wait so long.
    Refuse(Word, Wait),
    Forward,
}

impl<S, H, C> CircuitBreaker<S, H, C> {
    /// Puts `circuit` around a service; `classify` says what counts as a failure.
    pub const fn new(inner: S, circuit: H, classify: C) -> Self {
        Self { inner, circuit, classify, turn: Turn::Unready }
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

    /// The circuit, to look at and to command.
    pub fn handle(&self) -> H
    where
        H: Clone,
    {
        self.circuit.clone()
    }
}

impl<S, H, C, Req> Service<Req> for CircuitBreaker<S, H, C>
where
    S: Service<Req>,
    S::Error: Refusable,
    H: Deref<Target = Circuit> + Clone,
    C: Classify<S::Response, S::Error> + Clone,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, H, C>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.poll_turn(cx)
    }

    #[track_caller]
    fn call(&mut self, request: Req) -> Self::Future {
        match self.start(request) {
            Ok((guard, inner)) => {
                let classify = self.classify.clone();
                ResponseFuture::admitted(inner, guard, classify)
            }
            Err(refused) => ResponseFuture::refused(refused),
        }
    }
}

impl<S, H, C> CircuitBreaker<S, H, C>
where
    H: Deref<Target = Circuit> + Clone,
{
    /// `poll_ready`, whatever becomes of the answer.
    pub(crate) fn poll_turn<Req>(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>>
    where
        S: Service<Req>,
        S::Error: Refusable,
        C: Classify<S::Response, S::Error>,
    {
        let word = self.circuit.word();
        if let Err(wait) = self.circuit.would_admit_by(word, Clock) {
            self.turn = Turn::Refuse(word, wait);
            return Poll::Ready(Ok(()));
        }
        if let Turn::Forward = self.turn {
            self.turn = Turn::Unready;
        }
        let scope = UnreadyScope(&self.circuit);
        let ready = self.inner.poll_ready(cx);
        mem::forget(scope);
        match ready {
            Poll::Ready(Ok(())) => self.turn = Turn::Forward,
            Poll::Ready(Err(ref error)) => {
                self.turn = Turn::Unready;
                if let Class::Failure(_) = self.classify.judge(Err(error)) {
                    self.circuit.fail_unready(Clock);
                }
            }
            // We have said ready before. The inner service will wake a caller that asks again.
            Poll::Pending if matches!(self.turn, Turn::Refuse(..)) => return Poll::Ready(Ok(())),
            // The inner service will wake us.
            Poll::Pending => {}
        }
        ready
    }

    /// The first half of `call`, whatever becomes of the answer. The guard comes first in the pair, so that a caller who
    /// unwinds drops the inner future before it.
    #[track_caller]
    pub(crate) fn start<Req>(&mut self, request: Req) -> Result<(Guard<H>, S::Future), Refused>
    where
        S: Service<Req>,
    {
        let turn = self.turn;
        self.turn = Turn::Unready;
        match turn {
            Turn::Unready => panic!("`call` needs a `poll_ready` that returned ready"),
            Turn::Refuse(word, wait) => return Err(self.circuit.refuse(word, wait, Clock)),
            Turn::Forward => {}
        }
        // Cloned before anything is admitted: a clone that panics must not take a probe's slot with it.
        let circuit = self.circuit.clone();
        let permit = match circuit.admit_by_word() {
            Ok(permit) => permit,
            Err(word) => circuit.admit_by_state(word, Clock).map_err(|wait| circuit.refusal(wait))?,
        };
        let mut guard = Guard::new(circuit, permit);
        let inner = guard.run(|| self.inner.call(request));
        Ok((guard, inner))
    }

    #[cfg(feature = "http")]
    pub(crate) const fn classifier(&self) -> &C {
        &self.classify
    }
}

/// Dropped only while the inner `poll_ready` unwinds.
struct UnreadyScope<'a>(&'a Circuit);

impl Drop for UnreadyScope<'_> {
    fn drop(&mut self) {
        self.0.fail_unready(Clock);
    }
}

impl<S: Clone, H: Clone, C: Clone> Clone for CircuitBreaker<S, H, C> {
    fn clone(&self) -> Self {
        // A clone of the inner service has to be polled ready itself.
        Self::new(self.inner.clone(), self.circuit.clone(), self.classify.clone())
    }
}

impl<S: fmt::Debug, H: Deref<Target = Circuit>, C> fmt::Debug for CircuitBreaker<S, H, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CircuitBreaker")
            .field("inner", &self.inner)
            .field("circuit", &*self.circuit)
            .field("turn", &self.turn)
            .finish_non_exhaustive()
    }
}
