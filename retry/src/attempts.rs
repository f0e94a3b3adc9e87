//! What becomes of a call after each attempt: no timer, no service.

use crate::{
    Charge, Clock, Course, OnlyIf, Pay, Repeat,
    observe::{Cause, Observers},
};
use mainstay_core::{Class, Classify, Deadline, Failure, Now, Reason, Refusable, Refused, Uncertainty, Verdict};
use std::time::Duration;

/// Whose word counts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms<C, P, V> {
    pub(crate) classify: C,
    pub(crate) budget: P,
    pub(crate) only_if: V,
    /// Whether a refusal in a box is proof.
    pub(crate) is_above_boundary: bool,
    pub(crate) observers: Observers,
}

impl<C, P: Pay, V> Terms<C, P, V> {
    /// What the end of an attempt says; `None` if it is the answer. A success is paid in.
    #[inline]
    pub(crate) fn judge<T, E: Refusable>(&self, result: Result<&T, &E>) -> Option<Class>
    where
        C: Classify<T, E>,
    {
        match self.classify.judge(result) {
            Class::Success => self.budget.deposit(),
            // An answer that says nothing about the service is an answer.
            Class::Ignored if result.is_ok() => {}
            class => return Some(class),
        }
        None
    }

    /// Whether a call that ended so may be sent again: it was certainly not executed, or it is idempotent and has failed in a
    /// way that may pass.
    pub(crate) fn may_repeat<Req, R, T, E>(
        &self,
        class: Class,
        result: Result<&T, &E>,
        (repeat, kept): (&R, &R::Kept),
    ) -> bool
    where
        R: Repeat<Req>,
        E: Refusable,
    {
        let Some(refused) = refusal(result) else {
            let may_pass = matches!(class, Class::Failure(Failure::Transient | Failure::Overloaded { .. }));
            return may_pass && repeat.is_idempotent(kept);
        };
        // Whoever refuses because nobody waits any more would do so again.
        let in_vain = refused.reason() == Reason::DeadlinePassed;
        let not_executed = self.is_above_boundary || !E::NEEDS_BOUNDARY;
        !in_vain && (not_executed || repeat.is_idempotent(kept))
    }
}

/// The attempts at one call that have ended.
#[derive(Debug)]
pub(crate) struct Attempts<T, E> {
    pub(crate) course: Course,
    /// The most uncertain end so far, the later of two alike: the answer, unless there is a success.
    kept: Option<(Uncertainty, Result<T, E>)>,
}

/// What follows an attempt.
pub(crate) enum Next<T, E, P: Pay> {
    Answer(Result<T, E>),
    /// Another attempt, after this wait; it is paid.
    Again(Duration, Charge<P>),
}

impl<T, E> Attempts<T, E> {
    pub(crate) const fn new(course: Course) -> Self {
        Self { course, kept: None }
    }

    /// The answer when no attempt follows, and none has succeeded.
    pub(crate) fn answer(&mut self) -> Result<T, E> {
        let (_, answer) = self.kept.take().expect("the future was polled after its answer");
        answer
    }

    /// The moment from which on nothing starts, by this policy or by the request.
    pub(crate) fn limit(&self, of_request: Option<Deadline>) -> Option<Deadline> {
        self.course.deadline().into_iter().chain(of_request).min()
    }

    /// Whether a failed response is what is kept.
    pub(crate) const fn holds_response(&self) -> bool {
        matches!(self.kept, Some((_, Ok(_))))
    }

    /// The answer if the attempt that was waited for would start too late.
    pub(crate) fn answer_if_late<C, P, V>(
        &mut self,
        limit: Option<Deadline>,
        terms: &Terms<C, P, V>,
    ) -> Option<Result<T, E>> {
        limit.is_some_and(|limit| limit.has_passed(Clock.now())).then(|| self.give_up(Cause::Deadline, terms))
    }

    /// The answer, because the attempt that was waited for does not come about.
    pub(crate) fn give_up<C, P, V>(&mut self, cause: Cause, terms: &Terms<C, P, V>) -> Result<T, E> {
        terms.observers.gave_up(self.course.attempt(), cause);
        self.answer()
    }
}

impl<T, E: Refusable> Attempts<T, E> {
    /// Takes the end of an attempt that is not the answer by itself; `request` is what may be sent again.
    pub(crate) fn failed<Req, R, C, P, V>(
        &mut self,
        class: Class,
        result: Result<T, E>,
        request: Option<(&R, &R::Kept)>,
        terms: &Terms<C, P, V>,
    ) -> Next<T, E, P>
    where
        R: Repeat<Req>,
        P: Pay,
        V: OnlyIf<R::Seen, T, E>,
    {
        let again = request.and_then(|request| self.again(class, result.as_ref(), request, terms));
        self.keep(result);
        match again {
            Some((wait, charge)) => Next::Again(wait, charge),
            None => Next::Answer(self.answer()),
        }
    }

    /// The wait before another attempt, and its charge, if there is to be one.
    fn again<Req, R, C, P, V>(
        &mut self,
        class: Class,
        result: Result<&T, &E>,
        (repeat, kept): (&R, &R::Kept),
        terms: &Terms<C, P, V>,
    ) -> Option<(Duration, Charge<P>)>
    where
        R: Repeat<Req>,
        P: Pay,
        V: OnlyIf<R::Seen, T, E>,
    {
        let (ended, was_last) = (self.course.attempt(), self.course.is_last());
        let named = refusal(result).and_then(Refused::retry_after);
        if !was_last && named.is_some_and(|wait| self.course.is_too_long(wait)) {
            // Whoever comes earlier is refused once more.
            terms.observers.gave_up(ended.next(), Cause::RetryAfter);
            return None;
        }
        let Some(wait) = self.course.next(asked(class, result), repeat.deadline(kept), Clock) else {
            terms.observers.gave_up(ended.next(), if was_last { Cause::Attempts } else { Cause::Deadline });
            return None;
        };
        if !repeat.can_repeat(kept) {
            terms.observers.gave_up(ended.next(), Cause::Request);
            return None;
        }
        if !terms.only_if.allows(repeat.seen(kept), result, ended) {
            return None;
        }
        let Some(charge) = terms.budget.charge() else {
            terms.observers.gave_up(ended.next(), Cause::Budget);
            return None;
        };
        terms.observers.scheduled(self.course.attempt(), wait);
        Some((wait, charge))
    }

    /// Keeps the end of an attempt if it leaves as much open as the one that is kept.
    fn keep(&mut self, result: Result<T, E>) {
        let uncertainty = result.as_ref().map_or_else(Uncertainty::of, |_| Uncertainty::Failed);
        if self.kept.as_ref().is_none_or(|(kept, _)| *kept <= uncertainty) {
            self.kept = Some((uncertainty, result));
        }
    }
}

/// The wait that was asked for.
fn asked<T, E: Refusable>(class: Class, result: Result<&T, &E>) -> Option<Duration> {
    match class {
        Class::Failure(Failure::Overloaded { retry_after }) => retry_after,
        _ => refusal(result)?.retry_after(),
    }
}

fn refusal<'a, T, E: Refusable>(result: Result<&T, &'a E>) -> Option<&'a Refused> {
    match result.err()?.verdict() {
        Verdict::Refused(refused) => Some(refused),
        Verdict::TimedOut(_) | Verdict::Other => None,
    }
}
