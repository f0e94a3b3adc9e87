//! What counts as a failure, said once for all policies.

use crate::{Refusable, Verdict};
use std::{sync::Arc, time::Duration};

/// What the end of a call says about the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The service works.
    Success,
    /// The service does not work.
    Failure(Failure),
    /// Says nothing about the service; no policy counts it.
    Ignored,
}

/// The kinds of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The same call may succeed later.
    Transient,
    /// The same call will fail again, or the service asks that it not be sent again.
    Permanent,
    /// The service asks for less.
    Overloaded {
        /// How long the service asks to be left alone.
        retry_after: Option<Duration>,
    },
}

/// Decides what the end of a call says about the service.
///
/// One classifier serves the circuit breaker, retry, hedging, the balancer, the adaptive limit and the saga, so that
/// "what is a failure" is said once. [`classify_fn`] makes one of a closure.
///
/// Policies ask [`judge`](Classify::judge), so a classifier never sees the refusals of the policies further in.
pub trait Classify<Res, Err> {
    /// Classifies an answer of the service.
    fn classify(&self, result: Result<&Res, &Err>) -> Class;

    /// Classifies the answer of a stack: a refusal from further in is [`Class::Ignored`], because the service was not
    /// asked; everything else goes to [`classify`](Classify::classify).
    fn judge(&self, result: Result<&Res, &Err>) -> Class
    where
        Err: Refusable,
    {
        match result {
            Err(error) if matches!(error.verdict(), Verdict::Refused(_)) => Class::Ignored,
            result => self.classify(result),
        }
    }
}

/// Every error is a transient failure, every response a success.
///
/// With hyper, axum and reqwest a response of status 500 is an `Ok`: use the HTTP classifier there.
///
/// ```
/// use mainstay_core::{AnyError, Class, Classify, Failure};
///
/// assert_eq!(AnyError.classify(Ok::<_, &()>(&"fine")), Class::Success);
/// assert_eq!(AnyError.classify(Err::<&(), _>(&"reset")), Class::Failure(Failure::Transient));
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct AnyError;

impl<Res, Err> Classify<Res, Err> for AnyError {
    fn classify(&self, result: Result<&Res, &Err>) -> Class {
        match result {
            Ok(_) => Class::Success,
            Err(_) => Class::Failure(Failure::Transient),
        }
    }
}

impl<Res, Err, C: Classify<Res, Err> + ?Sized> Classify<Res, Err> for Arc<C> {
    fn classify(&self, result: Result<&Res, &Err>) -> Class {
        (**self).classify(result)
    }
}

/// A classifier made of a closure by [`classify_fn`].
#[derive(Clone, Copy, Debug)]
pub struct ClassifyFn<F> {
    decide: F,
}

/// Makes a classifier of a closure, and gives the compiler the types that a closure alone leaves open.
///
/// ```
/// use mainstay_core::{Class, Classify, Failure, classify_fn};
///
/// let classifier = classify_fn(|result: Result<&u16, &&str>| match result {
///     Ok(500..) => Class::Failure(Failure::Transient),
///     Ok(_) => Class::Success,
///     Err(&"cancelled by the user") => Class::Ignored,
///     Err(_) => Class::Failure(Failure::Transient),
/// });
///
/// assert_eq!(classifier.classify(Ok(&204)), Class::Success);
/// assert_eq!(classifier.classify(Ok(&503)), Class::Failure(Failure::Transient));
/// assert_eq!(classifier.classify(Err(&"cancelled by the user")), Class::Ignored);
/// ```
pub const fn classify_fn<F, Res, Err>(decide: F) -> ClassifyFn<F>
where
    F: Fn(Result<&Res, &Err>) -> Class,
{
    ClassifyFn { decide }
}

impl<F, Res, Err> Classify<Res, Err> for ClassifyFn<F>
where
    F: Fn(Result<&Res, &Err>) -> Class,
{
    fn classify(&self, result: Result<&Res, &Err>) -> Class {
        (self.decide)(result)
    }
}
