//! Which calls are answered by the fallback.

use mainstay_core::{Class, Classify, Refusable, Verdict};

/// Decides which outcomes are answered by the fallback.
pub trait Choose<Res, E> {
    /// Whether the outcome is a failure: then the fallback may answer in its place.
    fn has_failed(&self, outcome: Result<&Res, &E>) -> bool;

    /// Whether the fallback does answer in its place.
    fn falls_back(&self, outcome: Result<&Res, &E>) -> bool {
        self.has_failed(outcome)
    }
}

/// Refused calls have failed, and so have those that a classifier calls a [`Class::Failure`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Failed<C> {
    classify: C,
}

/// Of those, the ones that a predicate lets pass.
#[derive(Clone, Copy, Debug)]
pub struct OnlyIf<W, F> {
    choose: W,
    predicate: F,
}

impl<C> Failed<C> {
    pub(crate) const fn new(classify: C) -> Self {
        Self { classify }
    }
}

impl<W, F> OnlyIf<W, F> {
    pub(crate) const fn new(choose: W, predicate: F) -> Self {
        Self { choose, predicate }
    }
}

impl<Res, E: Refusable, C: Classify<Res, E>> Choose<Res, E> for Failed<C> {
    fn has_failed(&self, outcome: Result<&Res, &E>) -> bool {
        match outcome {
            Err(error) if matches!(error.verdict(), Verdict::Refused(_)) => true,
            outcome => matches!(self.classify.classify(outcome), Class::Failure(_)),
        }
    }
}

impl<Res, E, W, F> Choose<Res, E> for OnlyIf<W, F>
where
    W: Choose<Res, E>,
    F: Fn(Result<&Res, &E>) -> bool,
{
    fn has_failed(&self, outcome: Result<&Res, &E>) -> bool {
        self.choose.has_failed(outcome)
    }

    fn falls_back(&self, outcome: Result<&Res, &E>) -> bool {
        self.choose.falls_back(outcome) && (self.predicate)(outcome)
    }
}
