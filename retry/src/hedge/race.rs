//! All attempts of one call, in one task.

use super::{
    hedging::Hedging,
    next::Next,
    referee::{Referee, Ruling},
    stopwatch::Stopwatch,
    timer::Timer,
};
use crate::{Charge, Pay, clock::Clock};
use mainstay_core::{Attempt, Class, Classify, Now, Refusable};
use pin_project::pin_project;
use std::{
    future::Future,
    mem,
    ops::Deref,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Instant,
};
use tokio::task::coop::has_budget_remaining;

/// The first attempt, those beside it, and the one that is yet to start.
///
/// The first one is in place, and what only the others need is made in place when it is pending or fails. So a call whose
/// first attempt answers when it is first polled sets no timer, and one without hedges allocates nothing. Attempts are
/// dropped before the charge and the handles.
#[pin_project(project = RaceProjected)]
pub(super) struct Race<F: Future, N, C, B: Pay, H: Deref<Target = Hedging>> {
    #[pin]
    first: Option<F>,
    #[pin]
    others: Option<Others<F, B>>,
    /// Until no other attempt can start.
    next: Option<N>,
    referee: Referee<C, B, F::Output>,
    stopwatch: Stopwatch<H>,
}

/// What the attempts after the first need.
#[pin_project]
struct Others<F, B: Pay> {
    #[pin]
    timer: Timer,
    hedges: Vec<Running<F>>,
    /// Of the attempt that is decided on and waits for the service to be ready.
    charge: Option<Charge<B>>,
    plan: Plan,
}

struct Running<F> {
    attempt: Attempt,
    future: Pin<Box<F>>,
}

/// When the next attempt starts.
struct Plan {
    /// Attempts that may still be decided on.
    left: u32,
    /// The last one that was sent.
    last: Attempt,
    /// Whether the timer was set for the next one.
    is_set: bool,
    /// An attempt has failed, so that the next one need not wait for its time.
    at_once: bool,
    /// The service asked to be left alone until then.
    earliest: Option<Instant>,
}

/// A [`Race`] that has [`Others`], with the fields of both.
struct Field<'a, F: Future, N, C, B: Pay, H: Deref<Target = Hedging>> {
    timer: Pin<&'a mut Timer>,
    hedges: &'a mut Vec<Running<F>>,
    charge: &'a mut Option<Charge<B>>,
    plan: &'a mut Plan,
    next: &'a mut Option<N>,
    referee: &'a mut Referee<C, B, F::Output>,
    stopwatch: &'a mut Stopwatch<H>,
    first_runs: bool,
}

impl<F: Future, N, C, B: Pay, H: Deref<Target = Hedging>> Race<F, N, C, B, H> {
    /// `next` is `None` if the request is sent once only.
    #[inline]
    pub(super) const fn new(hedging: H, classify: C, budget: B, first: F, next: Option<N>) -> Self {
        Self {
            first: Some(first),
            others: None,
            next,
            referee: Referee::new(classify, budget),
            stopwatch: Stopwatch::new(hedging),
        }
    }

    pub(super) fn hedging(&self) -> &Hedging {
        &self.stopwatch
    }
}

impl<F, B: Pay> Others<F, B> {
    const fn new(left: u32) -> Self {
        Self {
            timer: Timer::new(),
            hedges: Vec::new(),
            charge: None,
            plan: Plan { left, last: Attempt::FIRST, is_set: false, at_once: false, earliest: None },
        }
    }
}

impl<F, N, C, B, H, T, E> Future for Race<F, N, C, B, H>
where
    F: Future<Output = Result<T, E>>,
    N: Next<F, E>,
    C: Classify<T, E>,
    B: Pay,
    H: Deref<Target = Hedging>,
    E: Refusable,
{
    type Output = Result<T, E>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T, E>> {
        let mut this = self.as_mut().project();
        let mut failed = None;
        if let Poll::Ready(result) = this.poll_first(cx) {
            this.first.set(None);
            // By reference: an answer at once is not moved but to the caller.
            let Some(class) = this.referee.judge(result.as_ref()) else {
                this.stopwatch.record();
                this.end();
                return Poll::Ready(result);
            };
            // It says nothing of how long an answer takes, but that it would have been longer.
            this.stopwatch.cut_short();
            failed = Some((class, result));
        }
        self.poll_others(failed, cx)
    }
}

impl<F, N, C, B, H, T, E> Race<F, N, C, B, H>
where
    F: Future<Output = Result<T, E>>,
    N: Next<F, E>,
    C: Classify<T, E>,
    B: Pay,
    H: Deref<Target = Hedging>,
    E: Refusable,
{
    /// Goes on where the first attempt does not answer; `failed` is what it ended with, if it has ended just now.
    ///
    /// Out of line, so that a call that is answered at once is short.
    #[inline(never)]
    fn poll_others(
        self: Pin<&mut Self>,
        failed: Option<(Class, Result<T, E>)>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<T, E>> {
        let mut this = self.project();
        let answer = ready!(this.enter_field().poll(failed, cx));
        // The losers are gone, with all that they hold, before the caller goes on.
        this.end();
        Poll::Ready(answer)
    }
}

impl<F: Future, N, C, B: Pay, H: Deref<Target = Hedging>> RaceProjected<'_, F, N, C, B, H> {
    #[inline]
    fn poll_first(&mut self, cx: &mut Context<'_>) -> Poll<F::Output> {
        let Some(first) = self.first.as_mut().as_pin_mut() else { return Poll::Pending };
        if self.next.is_some() {
            self.stopwatch.start();
        }
        first.poll(cx)
    }

    fn enter_field(&mut self) -> Field<'_, F, N, C, B, H> {
        if self.others.is_none() {
            let most = self.stopwatch.config().max_hedges;
            self.others.set(Some(Others::new(most)));
        }
        let Some(others) = self.others.as_mut().as_pin_mut() else { unreachable!("they were made just now") };
        let others = others.project();
        Field {
            timer: others.timer,
            hedges: others.hedges,
            charge: others.charge,
            plan: others.plan,
            next: self.next,
            referee: self.referee,
            stopwatch: self.stopwatch,
            first_runs: self.first.is_some(),
        }
    }

    #[inline]
    fn end(&mut self) {
        self.first.set(None);
        if self.others.is_some() {
            self.others.set(None);
        }
        *self.next = None;
        self.referee.clear();
        self.stopwatch.cut_short();
    }
}

impl<F, N, C, B, H, T, E> Field<'_, F, N, C, B, H>
where
    F: Future<Output = Result<T, E>>,
    N: Next<F, E>,
    C: Classify<T, E>,
    B: Pay,
    H: Deref<Target = Hedging>,
    E: Refusable,
{
    fn poll(mut self, failed: Option<(Class, Result<T, E>)>, cx: &mut Context<'_>) -> Poll<Result<T, E>> {
        let answer = failed.and_then(|(class, result)| self.obey(class, result));
        let mut answer = answer.or_else(|| self.poll_hedges(0, cx));
        while answer.is_none() && self.poll_start(cx) {
            answer = self.poll_hedges(self.hedges.len() - 1, cx);
        }
        if answer.is_none() && self.is_under_way(cx) {
            // Whatever runs, the service that is not ready, or the timer will wake us.
            return Poll::Pending;
        }
        Poll::Ready(answer.unwrap_or_else(|| self.referee.take_kept()))
    }

    /// Polls the attempts from number `from` on, each of them once, until there is an answer.
    fn poll_hedges(&mut self, from: usize, cx: &mut Context<'_>) -> Option<Result<T, E>> {
        let mut number = from;
        while let Some(running) = self.hedges.get_mut(number) {
            let Poll::Ready(result) = running.future.as_mut().poll(cx) else {
                number += 1;
                continue;
            };
            let Running { attempt, future } = self.hedges.swap_remove(number);
            drop(future);
            let Some(class) = self.referee.judge(result.as_ref()) else {
                self.stopwatch.won(attempt.number());
                return Some(result);
            };
            if let Some(answer) = self.obey(class, result) {
                return Some(answer);
            }
        }
        None
    }

    /// The answer of the call, if an attempt that ended so without success ends it.
    fn obey(&mut self, class: Class, result: Result<T, E>) -> Option<Result<T, E>> {
        match self.referee.rule(class, result) {
            Ruling::Ended(answer) => return Some(answer),
            Ruling::Next => self.plan.at_once = self.stopwatch.config().on_failure,
            Ruling::Later(wait) if wait.is_zero() => {}
            Ruling::Later(wait) => match Clock.now().checked_add(wait) {
                Some(moment) if self.charge.is_none() => self.plan.earliest = self.plan.earliest.max(Some(moment)),
                // One that waits for room already is not sent before that time either.
                _ => self.give_up(),
            },
        }
        None
    }

    /// Starts the next attempt, if its time has come, it is paid for, and the service is ready; true if it did.
    fn poll_start(&mut self, cx: &mut Context<'_>) -> bool {
        while self.next.is_some() {
            if self.charge.is_some() {
                return self.poll_sent(cx);
            }
            if !self.poll_due(cx) {
                return false;
            }
            self.decide();
        }
        false
    }

    /// Whether the next attempt is to be decided on.
    fn poll_due(&mut self, cx: &mut Context<'_>) -> bool {
        loop {
            let at_once = mem::take(&mut self.plan.at_once);
            if !at_once && !self.poll_timer(cx) {
                return false;
            }
            let deadline = self.next.as_ref().and_then(Next::deadline);
            if deadline.is_none() && self.plan.earliest.is_none() {
                return true;
            }
            let now = Clock.now();
            if deadline.is_some_and(|deadline| deadline.has_passed(now)) {
                self.give_up();
                return false;
            }
            match self.plan.earliest {
                Some(earliest) if now < earliest => {
                    // After a failure its time is still to come. If it has come, there is another one.
                    if !at_once {
                        self.timer.as_mut().set(earliest, now);
                    }
                }
                _ => return true,
            }
        }
    }

    /// Whether the time of the next attempt has come.
    fn poll_timer(&mut self, cx: &mut Context<'_>) -> bool {
        if !mem::replace(&mut self.plan.is_set, true) {
            let now = Clock.now();
            match self.stopwatch.due(now) {
                Some(due) if due <= now => return true,
                Some(due) => self.timer.as_mut().set(due, now),
                None => {}
            }
        }
        self.timer.as_mut().poll_fired(cx)
    }

    /// Makes the request of the next attempt, and pays for it; without a charge after that, it does not start.
    fn decide(&mut self) {
        let Some(next) = self.next else { return };
        let attempt = self.plan.last.next();
        self.timer.as_mut().clear();
        self.plan.is_set = false;
        if !next.prepare(attempt) {
            return self.put_off();
        }
        self.plan.left -= 1;
        *self.charge = self.referee.budget().charge();
        if self.charge.is_none() {
            next.discard();
            self.stopwatch.suppressed(attempt.number());
            self.drop_next_if_last();
        }
    }

    /// The request cannot be sent now. After another delay it can be, perhaps; without a delay there is no such time.
    fn put_off(&mut self) {
        let now = Clock.now();
        let has_delay = self.stopwatch.due(now).is_none_or(|due| due > now);
        if !has_delay || !self.next.as_ref().is_some_and(Next::can_come) {
            self.give_up();
        }
    }

    /// Sends the attempt that was paid for when the service is ready; true if it did.
    fn poll_sent(&mut self, cx: &mut Context<'_>) -> bool {
        if self.poll_too_late(cx) {
            self.give_up();
            return false;
        }
        let Some(next) = self.next else { return false };
        match next.poll_ready(cx) {
            Poll::Ready(Ok(())) => {
                self.begin();
                return true;
            }
            Poll::Ready(Err(error)) => {
                self.referee.keep_unready(error);
                self.give_up();
            }
            Poll::Pending => self.wait_for_room(cx),
        }
        false
    }

    /// Whether the deadline has passed while the attempt waited for room; the timer is that of the deadline then.
    ///
    /// The clock decides: timers come up to a millisecond late, and not at all in a task that has used up its budget.
    fn poll_too_late(&mut self, cx: &mut Context<'_>) -> bool {
        let deadline = self.next.as_ref().filter(|_| self.timer.is_set()).and_then(Next::deadline);
        deadline.is_some_and(|deadline| deadline.has_passed(Clock.now()) || self.timer.as_mut().poll_fired(cx))
    }

    fn wait_for_room(&mut self, cx: &mut Context<'_>) {
        let deadline = self.next.as_ref().filter(|_| !self.timer.is_set()).and_then(Next::deadline);
        if let Some(deadline) = deadline {
            self.timer.as_mut().set(deadline.instant(), Clock.now());
            if self.timer.as_mut().poll_fired(cx) {
                self.give_up();
            }
        }
    }

    fn begin(&mut self) {
        let Some(next) = self.next else { return };
        // Before the service is called: what it is given may be on its way even if it panics then.
        if let Some(charge) = self.charge.take() {
            charge.spend();
        }
        let attempt = self.plan.last.next();
        let future = next.send(attempt);
        self.hedges.push(Running { attempt, future: Box::pin(future) });
        self.plan.last = attempt;
        self.timer.as_mut().clear();
        self.stopwatch.started(attempt.number());
        self.drop_next_if_last();
    }

    /// What the kept request and the clone of the service hold is free as soon as they are of no use.
    fn drop_next_if_last(&mut self) {
        if self.plan.left == 0 {
            *self.next = None;
        }
    }

    /// No other attempt starts; a charge is given back.
    fn give_up(&mut self) {
        *self.next = None;
        *self.charge = None;
        self.timer.as_mut().clear();
    }

    /// Whether an attempt runs, or one waits for room.
    fn is_under_way(&self, cx: &Context<'_>) -> bool {
        self.first_runs || !self.hedges.is_empty() || self.charge.is_some() && self.may_wait_for_room(cx)
    }

    /// For room nobody waits who has a response to give, since the response may be what takes it. A task that has used up what
    /// tokio lets it do at a time cannot tell, and asks in its next turn.
    fn may_wait_for_room(&self, cx: &Context<'_>) -> bool {
        if !self.referee.keeps_response() {
            return true;
        }
        let is_unknown = !has_budget_remaining();
        if is_unknown {
            cx.waker().wake_by_ref();
        }
        is_unknown
    }
}
