//! The answer of a call, over all its attempts.
//!
//! | state | what is held | cancelled here |
//! | --- | --- | --- |
//! | called | the inner future of the attempt | the attempt is dropped, its charge is spent |
//! | waiting | a timer, and the charge of the next attempt | the charge is given back |
//! | readying | the request and its charge, a timer if there is a deadline | the charge is given back |
//! | answered | nothing | |
//!
//! An attempt that ends is answered, or goes on to waiting, or to readying if there is nothing to wait for. The wait over, the
//! request is made again *before* readiness is asked for, so that what is reserved then is used. Ready, the charge is spent
//! and the very value that was ready is called. Invariants:
//!
//! 1. The charge of an attempt is spent if and only if `call` was reached.
//! 2. After the first attempt has ended, and until the answer, at least one end is kept.
//! 3. No attempt starts at or after the limit; in readying a timer at the limit sees to that.

use crate::{
    Charge, Clock, OnlyIf, Pay, Repeat,
    attempts::{Attempts, Next, Terms},
    observe::Cause,
};
use mainstay_core::{Classify, Deadline, Refusable};
use pin_project::pin_project;
use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::time::{Sleep, sleep, sleep_until};
use tower_service::Service;

/// The future of [`Retry`](crate::Retry).
///
/// # Cancel safety
///
/// Dropped before it is ready, it drops the attempt that runs, and no other follows. What was paid for a retry that has not
/// started is given back.
///
/// # Panics
///
/// Where it has to wait, outside of a tokio runtime with a timer, and when it is polled after its answer.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<S, Req, R, C, P, V>
where
    S: Service<R::Request>,
    R: Repeat<Req>,
    P: Pay,
{
    #[pin]
    state: State<S::Future, R::Request>,
    attempts: Attempts<S::Response, S::Error>,
    /// `None` if the request is sent once only.
    again: Option<Again<S, R::Kept>>,
    /// Of the attempt that is waited for.
    charge: Option<Charge<P>>,
    repeat: R,
    terms: Terms<C, P, V>,
    has_started: bool,
}

/// What another attempt is made of.
pub(crate) struct Again<S, K> {
    pub(crate) service: S,
    pub(crate) kept: K,
}

#[pin_project(project = StateProjected)]
enum State<F, Q> {
    Called {
        #[pin]
        attempt: F,
    },
    Waiting {
        #[pin]
        timer: Sleep,
    },
    Readying {
        request: Option<Q>,
        limit: Option<Deadline>,
        /// Armed when the service is first found pending, if there is a limit.
        #[pin]
        timer: Option<Sleep>,
    },
    Answered,
}

impl<S, Req, R, C, P, V> ResponseFuture<S, Req, R, C, P, V>
where
    S: Service<R::Request>,
    R: Repeat<Req>,
    P: Pay,
{
    pub(crate) const fn new(
        attempt: S::Future,
        attempts: Attempts<S::Response, S::Error>,
        again: Option<Again<S, R::Kept>>,
        repeat: R,
        terms: Terms<C, P, V>,
    ) -> Self {
        Self { state: State::Called { attempt }, attempts, again, charge: None, repeat, terms, has_started: false }
    }
}

type Answer<S, Q> = Result<<S as Service<Q>>::Response, <S as Service<Q>>::Error>;

impl<S, Req, R, C, P, V> Future for ResponseFuture<S, Req, R, C, P, V>
where
    S: Service<R::Request>,
    S::Error: Refusable,
    R: Repeat<Req>,
    C: Classify<S::Response, S::Error>,
    P: Pay,
    V: OnlyIf<R::Seen, S::Response, S::Error>,
{
    type Output = Answer<S, R::Request>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.as_mut().project();
        if !*this.has_started {
            *this.has_started = true;
            this.attempts.course.start(Clock);
        }
        let answer = loop {
            let mut this = self.as_mut().project();
            let step = match this.state.as_mut().project() {
                // Pending: the inner future will wake us.
                StateProjected::Called { attempt } => {
                    let result = ready!(attempt.poll(cx));
                    self.as_mut().ended(result)
                }
                StateProjected::Waiting { timer } => {
                    // Pending: the timer will wake us.
                    ready!(timer.poll(cx));
                    self.as_mut().start_again()
                }
                StateProjected::Readying { .. } => ready!(self.as_mut().poll_readying(cx)),
                StateProjected::Answered => panic!("the future was polled after its answer"),
            };
            if let Some(answer) = step {
                break answer;
            }
        };
        // A finished future may be kept for a while.
        let mut this = self.project();
        this.state.set(State::Answered);
        *this.again = None;
        *this.charge = None;
        Poll::Ready(answer)
    }
}

impl<S, Req, R, C, P, V> ResponseFuture<S, Req, R, C, P, V>
where
    S: Service<R::Request>,
    S::Error: Refusable,
    R: Repeat<Req>,
    C: Classify<S::Response, S::Error>,
    P: Pay,
    V: OnlyIf<R::Seen, S::Response, S::Error>,
{
    /// After an attempt: the answer, or a wait for another one.
    fn ended(mut self: Pin<&mut Self>, result: Answer<S, R::Request>) -> Option<Answer<S, R::Request>> {
        let mut this = self.as_mut().project();
        let request = this.again.as_ref().map(|again| (&*this.repeat, &again.kept));
        let (wait, charge) = match this.attempts.ended(result, request, this.terms) {
            Next::Answer(answer) => return Some(answer),
            Next::Again(wait, charge) => (wait, charge),
        };
        *this.charge = Some(charge);
        if wait.is_zero() {
            return self.start_again();
        }
        this.state.set(State::Waiting { timer: sleep(wait) });
        None
    }

    /// After the wait: makes the request of the next attempt.
    fn start_again(self: Pin<&mut Self>) -> Option<Answer<S, R::Request>> {
        let mut this = self.project();
        let again = this.again.as_mut().expect("only what was kept is sent again");
        let limit = this.attempts.limit(this.repeat.deadline(&again.kept));
        if let Some(answer) = this.attempts.answer_if_late(limit, this.terms) {
            return Some(answer);
        }
        // The attempt that ended goes first: it may have what is needed again.
        this.state.set(State::Answered);
        match this.repeat.again(&mut again.kept, this.attempts.course.attempt()) {
            Some(request) => this.state.set(State::Readying { request: Some(request), limit, timer: None }),
            None => return Some(this.attempts.give_up(Cause::Request, this.terms)),
        }
        None
    }

    /// Before the next attempt: waits until the service is ready, and calls it.
    fn poll_readying(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Answer<S, R::Request>>> {
        let mut this = self.project();
        let StateProjected::Readying { request, limit, mut timer } = this.state.as_mut().project() else {
            return Poll::Ready(None);
        };
        // Before the service, which may have become ready too late.
        if has_elapsed(timer.as_mut(), cx) {
            return Poll::Ready(Some(this.attempts.give_up(Cause::Deadline, this.terms)));
        }
        let service = &mut this.again.as_mut().expect("only what was kept is sent again").service;
        match service.poll_ready(cx) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) => {
                this.attempts.keep(Err(error));
                return Poll::Ready(Some(this.attempts.answer()));
            }
            // Pending: the service will wake us, and so will the timer.
            Poll::Pending => {
                let (Some(limit), None) = (*limit, timer.as_ref().as_pin_ref()) else {
                    return Poll::Pending;
                };
                timer.set(Some(sleep_until(limit.instant().into())));
                if !has_elapsed(timer, cx) {
                    return Poll::Pending;
                }
                return Poll::Ready(Some(this.attempts.give_up(Cause::Deadline, this.terms)));
            }
        }
        let request = request.take().expect("a request is sent once");
        if let Some(charge) = this.charge.take() {
            charge.spend();
        }
        this.terms.observers.retried();
        this.state.set(State::Called { attempt: service.call(request) });
        Poll::Ready(None)
    }
}

fn has_elapsed(timer: Pin<&mut Option<Sleep>>, cx: &mut Context<'_>) -> bool {
    timer.as_pin_mut().is_some_and(|timer| timer.poll(cx).is_ready())
}

impl<S, Req, R, C, P, V> fmt::Debug for ResponseFuture<S, Req, R, C, P, V>
where
    S: Service<R::Request>,
    R: Repeat<Req>,
    P: Pay,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Called { .. } => "called",
            State::Waiting { .. } => "waiting",
            State::Readying { .. } => "readying",
            State::Answered => "answered",
        };
        f.debug_struct("ResponseFuture")
            .field("state", &state)
            .field("attempt", &self.attempts.course.attempt())
            .finish_non_exhaustive()
    }
}
