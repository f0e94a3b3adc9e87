//! Which calls are answered by the fallback.

use mainstay_core::{Class, Classify, Failure, Refusable, Verdict};
use std::fmt;

/// Decides which outcomes are answered by the fallback.
pub trait Choose<Res, E> {
    /// What the outcome is; that of a refused call is a [`Class::Failure`].
    fn class(&self, outcome: Result<&Res, &E>) -> Class;

    /// Whether a predicate takes the outcome out of the failures that fall back.
    fn vetoes(&self, failed: Result<&Res, &E>) -> bool;

    /// Whether the fallback may answer in its place.
    fn falls_back(&self, outcome: Result<&Res, &E>) -> bool {
        matches!(self.class(outcome), Class::Failure(_)) && !self.vetoes(outcome)
    }
}

/// Refused calls have failed, and so have those that a classifier calls a [`Class::Failure`].
#[derive(Clone, Copy, Debug)]
pub struct Failed<C> {
    classify: C,
}

/// Of those, the ones that a predicate lets pass.
#[derive(Clone, Copy)]
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
    fn class(&self, outcome: Result<&Res, &E>) -> Class {
        match outcome {
            Err(error) if matches!(error.verdict(), Verdict::Refused(_)) => Class::Failure(Failure::Transient),
            outcome => self.classify.classify(outcome),
        }
    }

    fn vetoes(&self, _: Result<&Res, &E>) -> bool {
        false
    }
}

impl<Res, E, W, F> Choose<Res, E> for OnlyIf<W, F>
where
    W: Choose<Res, E>,
    F: Fn(Result<&Res, &E>) -> bool,
{
    fn class(&self, outcome: Result<&Res, &E>) -> Class {
        self.choose.class(outcome)
    }

    fn vetoes(&self, failed: Result<&Res, &E>) -> bool {
        self.choose.vetoes(failed) || !(self.predicate)(failed)
    }
}

// Closures have no `Debug`.
impl<W: fmt::Debug, F> fmt::Debug for OnlyIf<W, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnlyIf").field("choose", &self.choose).finish_non_exhaustive()
    }
}
