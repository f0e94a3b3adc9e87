//! Tower services in steps.

use super::{ErrorText, StepError};
use crate::FailedAs;
#[cfg(feature = "http")]
use mainstay_core::HttpStatus;
use mainstay_core::{AnyError, Class, Classify, Failure, Refusable, Verdict};
use std::{future::poll_fn, time::Duration};
use tower_service::Service;

/// A tower service that takes part in a saga: its answers in the words of a step.
///
/// | what happens | the step is told |
/// | --- | --- |
/// | the service is not ready, and never will be | not executed |
/// | a refusal of a policy further in | not executed, with its time to come back |
/// | a timeout, or any other error | unknown |
/// | a response that the classifier calls a failure | unknown |
/// | the same, because the service is overloaded | unknown, with its time to come back; see [`sheds_first`](Self::sheds_first) |
/// | any other response | the response |
///
/// So nothing is taken for undone that might have been done, as long as the call is the first effect of its step. Through `?` a step says
/// of itself what is told of the call; one that has done something before turns it into *unknown*, by
/// `.map_err(StepError::after_effects)`. A response that says no to what the saga wants, such as an HTTP 409 or
/// 422, comes from a service that works: to make it a [rejection](StepError::rejected) is up to the step. In an undo `?` turns what
/// is told into *try again*.
///
/// # Examples
///
/// ```
/// use mainstay_core::Error;
/// use mainstay_saga::{Participant, Saga};
/// use tower::{ServiceBuilder, service_fn};
///
/// let mailer = ServiceBuilder::new().map_err(Error::Inner).service(service_fn(async |_: String| Ok::<_, std::fmt::Error>(())));
/// let mailer = Participant::new(mailer);
///
/// let welcome = Saga::<(), String, ()>::define("welcome", 1, |mut s, name| {
///     s.read("mail", name, move |_, name| mailer.call(format!("hello, {name}")))
/// })?;
/// # let _ = welcome;
/// # Ok::<(), mainstay_saga::BuildError>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Participant<S, C = AnyError> {
    service: S,
    classify: C,
    above_boundary: bool,
    sheds_first: bool,
}

impl<S> Participant<S> {
    /// A service of which every response is a success.
    ///
    /// With hyper, axum and reqwest a response of status 500 is one too: that is what `Participant::http` (feature `http`) is for.
    pub const fn new(service: S) -> Self {
        Self { service, classify: AnyError, above_boundary: false, sheds_first: false }
    }
}

#[cfg(feature = "http")]
#[cfg_attr(docsrs, doc(cfg(feature = "http")))]
impl<S> Participant<S, HttpStatus> {
    /// A service that speaks HTTP: the responses 5xx, 408 and 429 are failures.
    pub const fn http(service: S) -> Self {
        Self { service, classify: HttpStatus, above_boundary: false, sheds_first: false }
    }
}

impl<S, C> Participant<S, C> {
    /// Decides by this classifier which responses are failures.
    pub fn classify<D>(self, classify: D) -> Participant<S, D> {
        let Self { service, above_boundary, sheds_first, .. } = self;
        Participant { service, classify, above_boundary, sheds_first }
    }

    /// Declares that there is a [`Boundary`](mainstay_core::Boundary) at the bottom of this stack, so that a refusal in a
    /// [`BoxError`](mainstay_core::BoxError) is proof that the call was not executed. Without it, it is unknown.
    ///
    /// Over the flat [`Error`](mainstay_core::Error) it changes nothing, whatever that is over: a refusal of the stack is proof,
    /// and one in [`Inner`](mainstay_core::Error::Inner) is none.
    #[must_use]
    pub fn above_boundary(mut self) -> Self {
        self.above_boundary = true;
        self
    }

    /// Declares that the service says that it is overloaded before it does anything, so that such an answer means not executed.
    ///
    /// A limit at its door does so. A service that answers 503 because *it* was refused something, half way through, does not.
    #[must_use]
    pub fn sheds_first(mut self) -> Self {
        self.sheds_first = true;
        self
    }

    /// The service.
    pub const fn get_ref(&self) -> &S {
        &self.service
    }

    /// Calls a clone of the service, when that is ready.
    ///
    /// # Errors
    ///
    /// As the table above says.
    ///
    /// # Cancel safety
    ///
    /// What is dropped before it was ready has not been executed; what is dropped later may have been. An engine takes both for
    /// unknown.
    pub fn call<Req, M>(&self, request: Req) -> impl Future<Output = Result<S::Response, StepError>> + use<S, C, Req, M>
    where
        S: Service<Req, Error: Refusable + ErrorText<M>> + Clone,
        C: Classify<S::Response, S::Error> + Clone,
    {
        let Self { mut service, classify, above_boundary, sheds_first } = self.clone();
        async move {
            if let Err(error) = poll_fn(|cx| service.poll_ready(cx)).await {
                let wait = come_back(&error);
                return Err(with(StepError::new(FailedAs::NotExecuted, error), wait));
            }
            let result = service.call(request).await;
            let class = classify.judge(result.as_ref());
            match (result, class) {
                (Ok(response), Class::Success | Class::Ignored) => Ok(response),
                (Ok(_), Class::Failure(failure)) => Err(failed(failure, describe(failure), sheds_first)),
                (Err(error), Class::Failure(failure)) => Err(failed(failure, error, sheds_first)),
                (Err(error), Class::Success | Class::Ignored) => {
                    Err(StepError::judged(error, above_boundary || !S::Error::NEEDS_BOUNDARY))
                }
            }
        }
    }
}

/// What a failure says about the call.
fn failed<M>(failure: Failure, cause: impl ErrorText<M>, sheds_first: bool) -> StepError {
    let (outcome, wait) = match failure {
        Failure::Overloaded { retry_after } if sheds_first => (FailedAs::NotExecuted, retry_after),
        Failure::Overloaded { retry_after } => (FailedAs::Unknown, retry_after),
        Failure::Transient | Failure::Permanent => (FailedAs::Unknown, None),
    };
    with(StepError::new(outcome, cause), wait)
}

const fn describe(failure: Failure) -> &'static str {
    match failure {
        Failure::Transient => "the response is a failure that may pass",
        Failure::Permanent => "the response is a failure that will not pass",
        Failure::Overloaded { .. } => "the response says that the service is overloaded",
    }
}

fn come_back<E: Refusable>(error: &E) -> Option<Duration> {
    match error.verdict() {
        Verdict::Refused(refused) => refused.retry_after(),
        Verdict::TimedOut(_) | Verdict::Other => None,
    }
}

fn with(error: StepError, wait: Option<Duration>) -> StepError {
    match wait {
        Some(wait) => error.with_retry_after(wait),
        None => error,
    }
}
