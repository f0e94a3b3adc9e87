//! The service: whether the caller was told to go on.

use crate::{
    circuit::Circuit,
    clock::Clock,
    future::ResponseFuture,
    guard::Guard,
    machine::Wait,
    permit::Outcome,
    status::State,
    wait::Waiter,
    word::{Flag, Word},
};
use mainstay_core::{AnyError, Class, Classify, Refusable, Refused};
use std::{
    fmt, mem,
    ops::Deref,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};
use tower_service::Service;

/// Refuses calls while the service behind it is failing, or lets them wait.
///
/// # Readiness
///
/// With [`OnOpen::Refuse`](crate::OnOpen::Refuse), the default, this is ready at once *without* asking the inner service
/// while the circuit refuses, and `call` refuses: a dead service must not make callers wait for the word no. Otherwise it is ready when the inner service is. Admission happens in
/// `call`, since a caller may sit on its readiness for ever and must not sit on the only probe slot. So a call can also be
/// refused after the inner service was found ready; what the inner service reserved stays reserved for the next call, or
/// until this service is dropped.
///
/// Once ready it stays ready: a caller that was told to come and be refused is refused, unless it asks again and by then
/// the circuit admits calls and the inner service is ready. The refusal says how long to wait from the moment of
/// `poll_ready`; if the circuit has changed since, from now, and zero if it admits calls again. Who waits for the inner
/// service while the circuit begins to refuse is woken, to be refused.
///
/// With [`OnOpen::Wait`](crate::OnOpen::Wait) it is *pending* while the circuit refuses, so that a balancer takes another
/// endpoint. **It goes back from ready to pending** when the circuit has opened in between; tower says that a service does
/// not, its balancer is prepared for it. Whoever waits is woken
///
/// - at the end of the open time, or at the deadline of a silent probe, by a timer of its own;
/// - in the order in which it came, when a probe's slot becomes free: as many are woken as slots are free;
/// - with all others, when the circuit closes, is disabled, or is reconfigured.
///
/// At most as many are let through as there are slots, and each has a second to make its call: after that the next one is
/// let through as well, so a service that was found ready and is not called, or a task that is woken and not polled, holds
/// nobody up for good. No slot is taken before `call`. If all are taken by then, the call is refused, with a time to wait of
/// zero, since it may come back to wait at once.
///
/// An error of the inner `poll_ready` is passed on, and counts like an error of a call. Readiness is not cloned.
///
/// # Cancel safety
///
/// No slot is held between `poll_ready` and `call`. A service that is dropped while it waits, woken or not, or while it is
/// ready, makes room for the next one that waits. A response future that is dropped early is an *abandoned* call: it
/// does not vote, and a probe gives its slot back.
///
/// # Panics
///
/// `call` panics unless the last `poll_ready` on this very value since the last call has returned ready.
///
/// With [`OnOpen::Wait`](crate::OnOpen::Wait), `poll_ready` panics where it has to wait for a time to pass, outside of a
/// tokio runtime with a timer. A waker that panics when it is woken by the circuit harms nobody else.
///
/// A panic of the inner service counts as a failure and goes on to the caller.
pub struct CircuitBreaker<S, H: Deref<Target = Circuit> = Arc<Circuit>, C = AnyError> {
    inner: S,
    circuit: H,
    classify: C,
    turn: Turn,
    /// Made at the first pending.
    waiter: Option<Box<Waiter<H>>>,
}

/// What the next `call` was told.
#[derive(Clone, Copy, Debug)]
enum Turn {
    Unready,
    /// The circuit was this, and it said to wait so long.
    Refuse(Word, Wait),
    Forward,
}

impl<S, H: Deref<Target = Circuit>, C> CircuitBreaker<S, H, C> {
    /// Puts `circuit` around a service; `classify` says what counts as a failure.
    pub const fn new(inner: S, circuit: H, classify: C) -> Self {
        Self { inner, circuit, classify, turn: Turn::Unready, waiter: None }
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
        if (self.waiter.is_some() || !word.is_closed_without(Flag::NONE)) && ready!(self.poll_circuit(word, cx)) {
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
                let class = self.classify.judge(Err(error));
                if let Class::Failure(_) = class {
                    self.circuit.fail_unready(class.into(), Clock);
                }
                self.leave();
            }
            Poll::Pending => return self.poll_inner_pending(cx).map(Ok),
        }
        ready
    }

    /// Asks a circuit that may be waited for: true if the call is to be refused, false if the inner service is to be asked.
    #[inline(never)]
    fn poll_circuit(&mut self, word: Word, cx: &mut Context<'_>) -> Poll<bool> {
        if word.is_closed_without(Flag::NONE) || word.state() == State::Disabled || word.has(Flag::SHADOW) {
            self.leave();
        } else if word.has(Flag::WAIT) {
            if self.waiter().poll(cx).is_pending() {
                self.turn = Turn::Unready;
                return Poll::Pending;
            }
        } else if let Err(wait) = self.circuit.would_admit_by(word, Clock) {
            self.leave();
            self.turn = Turn::Refuse(word, wait);
            return Poll::Ready(true);
        }
        Poll::Ready(false)
    }

    /// Ready if the call is to be refused all the same.
    #[inline(never)]
    fn poll_inner_pending(&mut self, cx: &Context<'_>) -> Poll<()> {
        self.leave();
        if let Turn::Refuse(..) = self.turn {
            // We have said ready before. The inner service will wake a caller that asks again.
            return Poll::Ready(());
        }
        // The inner service will wake us. A caller that is to be refused should not wait for it: the circuit wakes us too,
        // when it begins to refuse.
        while !self.circuit.word().has(Flag::WAIT) && !self.waiter().stand_by(cx) {
            let word = self.circuit.word();
            if let Err(wait) = self.circuit.would_admit_by(word, Clock) {
                self.turn = Turn::Refuse(word, wait);
                return Poll::Ready(());
            }
        }
        Poll::Pending
    }

    fn waiter(&mut self) -> &mut Waiter<H> {
        let circuit = &self.circuit;
        self.waiter.get_or_insert_with(|| Box::new(Waiter::new(circuit.clone())))
    }

    /// Lets another waiter through, if this was one.
    fn leave(&mut self) {
        if let Some(waiter) = &mut self.waiter {
            waiter.leave();
        }
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
            Err(word) => {
                let admitted = circuit.admit_by_state(word, Clock);
                // After the slot is taken, so that nobody is let through for it.
                self.leave();
                admitted.map_err(|wait| circuit.refusal(lost_race(word).unwrap_or(wait)))?
            }
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

/// What a waiter hears whose call came too late: nothing of how long, since it may come back to wait at once.
const fn lost_race(word: Word) -> Option<Wait> {
    if word.has(Flag::WAIT) { Some(Some(Duration::ZERO)) } else { None }
}

/// Dropped only while the inner `poll_ready` unwinds.
struct UnreadyScope<'a>(&'a Circuit);

impl Drop for UnreadyScope<'_> {
    fn drop(&mut self) {
        self.0.fail_unready(Outcome::Failure, Clock);
    }
}

impl<S: Clone, H: Deref<Target = Circuit> + Clone, C: Clone> Clone for CircuitBreaker<S, H, C> {
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
