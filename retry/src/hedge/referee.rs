//! What the end of an attempt means for its call; pure, but for the deposit.

use crate::Pay;
use mainstay_core::{Class, Classify, Failure, Refusable, Uncertainty};
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
    /// The service asked for less: no attempt starts for that, nor before so long.
    Later(Duration),
}

impl<C, B, O> Referee<C, B, O> {
    pub(super) const fn new(classify: C, budget: B) -> Self {
        Self { classify, budget, kept: None }
    }

    pub(super) const fn budget(&self) -> &B {
        &self.budget
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
        let uncertainty = uncertainty(&result);
        match class {
            Class::Ignored if uncertainty != Uncertainty::Refused => return Ruling::Ended(result),
            Class::Failure(Failure::Permanent) => {
                self.keep(uncertainty, result);
                return Ruling::Ended(self.take_kept());
            }
            Class::Failure(Failure::Overloaded { retry_after }) => {
                self.keep(uncertainty, result);
                return Ruling::Later(retry_after.unwrap_or_default());
            }
            Class::Success | Class::Ignored | Class::Failure(Failure::Transient) => self.keep(uncertainty, result),
        }
        Ruling::Next
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

/// A response that is a failure was executed, perhaps.
fn uncertainty<T, E: Refusable>(result: &Result<T, E>) -> Uncertainty {
    result.as_ref().err().map_or(Uncertainty::Failed, Uncertainty::of)
}
