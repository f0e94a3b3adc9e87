//! What the end of an attempt means for its call; pure, but for the deposit.

use crate::Pay;
use mainstay_core::{Class, Classify, Failure, Reason, Refusable, Refused, Uncertainty, Verdict};
use std::time::Duration;

/// Judges the attempts of one call, and keeps what is to be answered if none succeeds.
pub(super) struct Referee<C, B, O> {
    classify: C,
    budget: B,
    kept: Option<(Uncertainty, O)>,
}

/// What the end of an attempt means for its call.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ruling<O> {
    /// The call ends without a success.
    Ended(O),
    /// The next attempt may start at once.
    Next,
    /// No attempt starts for that, nor before so long.
    Later(Duration),
}

impl<C, B, O> Referee<C, B, O> {
    pub(super) const fn new(classify: C, budget: B) -> Self {
        Self { classify, budget, kept: None }
    }

    pub(super) const fn budget(&self) -> &B {
        &self.budget
    }

    /// Drops what is kept, with the connection or the permit that it may hold.
    pub(super) fn clear(&mut self) {
        self.kept = None;
    }

    /// The answer when nothing runs and nothing can start.
    pub(super) fn take_kept(&mut self) -> O {
        self.kept.take().expect("the future was polled after its answer").1
    }
}

impl<C, B, T, E> Referee<C, B, Result<T, E>>
where
    C: Classify<T, E>,
    B: Pay,
    E: Refusable,
{
    /// How an attempt has failed; `None` if it has won.
    #[inline]
    pub(super) fn judge(&self, result: Result<&T, &E>) -> Option<Class> {
        let class = self.classify.judge(result);
        if class == Class::Success {
            self.budget.deposit();
            return None;
        }
        Some(class)
    }

    /// What an attempt that has not won means for its call.
    pub(super) fn rule(&mut self, class: Class, result: Result<T, E>) -> Ruling<Result<T, E>> {
        if class == Class::Ignored && result.is_ok() {
            return Ruling::Ended(result);
        }
        let refused = refused(&result);
        self.keep(uncertainty(&result), result);
        match (class, refused) {
            (Class::Failure(Failure::Permanent), _) => Ruling::Ended(self.take_kept()),
            (_, Some(refused)) => Ruling::Later(time_to_ask(refused)),
            (Class::Failure(Failure::Overloaded { retry_after }), None) => {
                Ruling::Later(retry_after.unwrap_or_default())
            }
            (Class::Failure(Failure::Transient), None) => Ruling::Next,
            (Class::Ignored | Class::Success, None) => Ruling::Later(Duration::ZERO),
        }
    }

    /// Whether what is kept is a response: it may hold a permit or a connection that others wait for.
    pub(super) const fn keeps_response(&self) -> bool {
        matches!(self.kept, Some((_, Ok(_))))
    }

    /// Takes the error of a service that did not become ready for an attempt.
    pub(super) fn keep_unready(&mut self, error: E) {
        self.keep(Uncertainty::of(&error), Err(error));
    }

    /// Of two that leave equally much open, the later is kept.
    fn keep(&mut self, uncertainty: Uncertainty, result: Result<T, E>) {
        if self.kept.as_ref().is_none_or(|(kept, _)| *kept <= uncertainty) {
            self.kept = Some((uncertainty, result));
        }
    }
}

fn refused<T, E: Refusable>(result: &Result<T, E>) -> Option<Refused> {
    match result.as_ref().err()?.verdict() {
        Verdict::Refused(refused) => Some(*refused),
        _ => None,
    }
}

/// When it is not in vain to ask again: who refuses at once would refuse another attempt as well.
const fn time_to_ask(refused: Refused) -> Duration {
    match (refused.reason(), refused.retry_after()) {
        (Reason::DeadlinePassed, _) => Duration::MAX,
        (_, Some(wait)) => wait,
        (_, None) => Duration::ZERO,
    }
}

/// A response that is a failure was executed, perhaps.
fn uncertainty<T, E: Refusable>(result: &Result<T, E>) -> Uncertainty {
    result.as_ref().err().map_or(Uncertainty::Failed, Uncertainty::of)
}
