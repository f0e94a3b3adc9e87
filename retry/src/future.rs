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
//! 3. No later attempt starts at or after the limit. In readying a timer wakes the call at the limit; since timers may be late,
//!    and say nothing once a task has used up what tokio lets it do at a time, the clock has the last word.
//! 4. A call that holds a failed response does not wait for readiness: the response may hold the very slot that it waits for.
//!    Where the task has used up what tokio lets it do at a time, pending says nothing, and the service is asked in the next turn.
//! 5. Attempts without a wait between them use up what tokio lets a task do at a time, so that others have their turn, and a
//!    timeout around the call can end it.
//!
//! Most calls never leave the first state, so all that the others need is in a box, which is made when the first attempt has
//! failed: a call that succeeds at once is small, and allocates nothing.

use crate::{
    Charge, Clock, Course, OnlyIf, Pay, Repeat,
    attempts::{Attempts, Next, Terms},
    observe::Cause,
};
use mainstay_core::{Attempt, Class, Classify, Deadline, Now, Refusable};
use pin_project::pin_project;
use std::{
    fmt,
    future::Future,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    task::coop::{consume_budget, has_budget_remaining},
    time::{Sleep, sleep, sleep_until},
};
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
    /// `None` between attempts, and after the answer.
    #[pin]
    attempt: Option<S::Future>,
    /// `None` until the first attempt has failed.
    between: Option<Pinned<Between<S, R::Request, P>>>,
    /// `None` if the request is sent once only.
    again: Option<Again<S, R::Kept>>,
    /// Goes on in the box.
    course: Course,
    has_started: bool,
    repeat: R,
    terms: Terms<C, P, V>,
}

type Pinned<T> = Pin<Box<T>>;

/// What another attempt is made of.
pub(crate) struct Again<S, K> {
    pub(crate) service: S,
    pub(crate) kept: K,
}

/// What is between attempts.
#[pin_project]
struct Between<S: Service<Q>, Q, P: Pay> {
    attempts: Attempts<S::Response, S::Error>,
    /// Of the attempt that is waited for.
    charge: Option<Charge<P>>,
    #[pin]
    wait: Wait<Q>,
}

/// What is waited for before an attempt.
#[pin_project(project = WaitProjected)]
enum Wait<Q> {
    /// Time, if any.
    Backoff {
        #[pin]
        timer: Option<Sleep>,
    },
    Readiness {
        request: Option<Q>,
        limit: Option<Deadline>,
        /// Armed when the service is first found pending, if there is a limit.
        #[pin]
        timer: Option<Sleep>,
    },
}

impl<S, Req, R, C, P, V> ResponseFuture<S, Req, R, C, P, V>
where
    S: Service<R::Request>,
    R: Repeat<Req>,
    P: Pay,
{
    #[inline]
    pub(crate) const fn new(
        attempt: S::Future,
        again: Option<Again<S, R::Kept>>,
        course: Course,
        repeat: R,
        terms: Terms<C, P, V>,
    ) -> Self {
        Self { attempt: Some(attempt), between: None, again, course, has_started: false, repeat, terms }
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

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.as_mut().project();
        if !*this.has_started {
            *this.has_started = true;
            this.course.start(Clock);
        }
        let answer = loop {
            let this = self.as_mut().project();
            if let Some(attempt) = this.attempt.as_pin_mut() {
                // Pending: the inner future will wake us.
                let result = ready!(attempt.poll(cx));
                let answer = match this.terms.judge(result.as_ref()) {
                    None => Some(result),
                    Some(class) => self.as_mut().failed(class, result),
                };
                if let Some(answer) = answer {
                    break answer;
                }
            }
            if let Some(answer) = ready!(self.as_mut().poll_between(cx)) {
                break answer;
            }
        };
        // A finished future may be kept for a while.
        let mut this = self.project();
        this.attempt.set(None);
        *this.again = None;
        *this.between = None;
        Poll::Ready(answer)
    }
}

impl<S, Req, R, C, P, V> ResponseFuture<S, Req, R, C, P, V>
where
    S: Service<R::Request>,
    S::Error: Refusable,
    R: Repeat<Req>,
    P: Pay,
    V: OnlyIf<R::Seen, S::Response, S::Error>,
{
    /// After an attempt that is not the answer by itself: the answer, if no other follows.
    #[inline(never)]
    fn failed(self: Pin<&mut Self>, class: Class, result: Answer<S, R::Request>) -> Option<Answer<S, R::Request>> {
        let mut this = self.project();
        // It may have what another attempt needs.
        this.attempt.set(None);
        let request = this.again.as_ref().map(|again| (&*this.repeat, &again.kept));
        let request = request.filter(|request| this.terms.may_repeat(class, result.as_ref(), *request));
        if request.is_none() && this.between.is_none() {
            return Some(result);
        }
        let first = || Box::pin(Between::new(this.course.clone()));
        let mut between = this.between.get_or_insert_with(first).as_mut().project();
        match between.attempts.failed(class, result, request, this.terms) {
            Next::Answer(answer) => Some(answer),
            Next::Again(wait, charge) => {
                *between.charge = Some(charge);
                between.wait.set(Wait::Backoff { timer: (!wait.is_zero()).then(|| sleep(wait)) });
                None
            }
        }
    }

    /// Between two attempts: the answer, or the next attempt.
    #[inline(never)]
    fn poll_between(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Answer<S, R::Request>>> {
        let this = self.as_mut().project();
        let between = this.between.as_mut().expect("the future was polled after its answer");
        if let WaitProjected::Backoff { timer } = between.as_mut().project().wait.project() {
            // Pending: the timer will wake us, or the task is woken at once to go on in its next turn.
            match timer.as_pin_mut() {
                Some(timer) => ready!(timer.poll(cx)),
                None => ready!(pin!(consume_budget()).poll(cx)),
            }
            if let Some(answer) = self.as_mut().make_request() {
                return Poll::Ready(Some(answer));
            }
        }
        self.poll_readiness(cx)
    }

    /// After the wait: makes the request of the next attempt.
    fn make_request(self: Pin<&mut Self>) -> Option<Answer<S, R::Request>> {
        let this = self.project();
        let (Some(between), Some(again)) = (this.between, this.again) else {
            unreachable!("only what was kept is sent again");
        };
        let mut between = between.as_mut().project();
        let limit = between.attempts.limit(this.repeat.deadline(&again.kept));
        if let Some(answer) = between.attempts.answer_if_late(limit, this.terms) {
            return Some(answer);
        }
        match this.repeat.again(&mut again.kept, between.attempts.course.attempt()) {
            Some(request) => between.wait.set(Wait::Readiness { request: Some(request), limit, timer: None }),
            None => return Some(between.attempts.give_up(Cause::Request, this.terms)),
        }
        None
    }

    /// With the request: waits until the service is ready, and calls it.
    fn poll_readiness(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Answer<S, R::Request>>> {
        let mut this = self.project();
        let (Some(between), Some(again)) = (this.between, this.again) else {
            unreachable!("only what was kept is sent again");
        };
        let between = between.as_mut().project();
        let WaitProjected::Readiness { request, limit, mut timer } = between.wait.project() else {
            unreachable!("there is a request when the wait is over");
        };
        // There is a timer if it was pending before, so time has passed since the clock was read.
        let is_late = timer.is_some() && limit.is_some_and(|limit| limit.has_passed(Clock.now()));
        let polled = if is_late { None } else { Some(again.service.poll_ready(cx)) };
        let cause = match polled {
            None => Cause::Deadline,
            Some(Poll::Ready(Ok(()))) => {
                let request = request.take().expect("a request is sent once");
                if let Some(charge) = between.charge.take() {
                    charge.spend();
                }
                this.terms.observers.retried();
                this.attempt.set(Some(again.service.call(request)));
                return Poll::Ready(None);
            }
            Some(Poll::Ready(Err(_))) => Cause::Unready,
            Some(Poll::Pending) if between.attempts.holds_response() && has_budget_remaining() => Cause::Unready,
            Some(Poll::Pending) => {
                if between.attempts.holds_response() {
                    cx.waker().wake_by_ref();
                }
                if timer.is_none() {
                    timer.set(limit.map(timer_at));
                }
                // Pending: the service will wake us, and so will the timer.
                ready!(timer.as_pin_mut().map_or(Poll::Pending, |timer| timer.poll(cx)));
                Cause::Deadline
            }
        };
        Poll::Ready(Some(between.attempts.give_up(cause, this.terms)))
    }
}

impl<S: Service<Q>, Q, P: Pay> Between<S, Q, P> {
    const fn new(course: Course) -> Self {
        Self { attempts: Attempts::new(course), charge: None, wait: Wait::Backoff { timer: None } }
    }
}

/// A timer for the limit, or for about thirty years from now: tokio cannot round up the last moments that there are.
fn timer_at(limit: Deadline) -> Sleep {
    let far = Deadline::after(Clock.now(), Duration::MAX);
    sleep_until(limit.earlier(far).instant().into())
}

impl<S, Req, R, C, P, V> fmt::Debug for ResponseFuture<S, Req, R, C, P, V>
where
    S: Service<R::Request>,
    R: Repeat<Req>,
    P: Pay,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let attempt = self.between.as_ref().map_or(Attempt::FIRST, |between| between.attempts.course.attempt());
        f.debug_struct("ResponseFuture")
            .field("attempt", &attempt)
            .field("is_called", &self.attempt.is_some())
            .finish_non_exhaustive()
    }
}
