//! What a step and an undo say when they have not succeeded.

use super::ErrorText;
use crate::FailedAs;
use mainstay_core::{BoxError, Refusable, Verdict};
use std::{
    error::Error,
    fmt::{self, Display, Formatter},
    sync::Arc,
    time::Duration,
};

/// How an attempt of a step has failed: what is known of it, in the words that the journal keeps.
///
/// Through `?` every [`std::error::Error`] becomes *unknown*: whoever fails in the middle of a step may have done the first half
/// of it, and a step that may have happened is undone. What is known better has to be said:
///
/// | | did this attempt do anything? | is it tried again? |
/// | --- | --- | --- |
/// | [`unknown`](Self::unknown), and `?` | perhaps | yes |
/// | [`not_executed`](Self::not_executed) | no | yes |
/// | [`rejected`](Self::rejected) | no | no |
/// | [`rejected_for_key`](Self::rejected_for_key) | no, and neither did those before | no |
///
/// The error is kept as text, with its sources, up to 8 KiB of it: it has to outlive the process.
///
/// It is not an `Error` itself, or `?` could not take every error. A [`BoxError`] is none either: `.map_err(StepError::unknown)`.
///
/// ```
/// use mainstay_saga::{FailedAs, StepError};
///
/// fn charge(cents: &str) -> Result<u64, StepError> {
///     let cents = cents.parse()?;
///     if cents > 100_000 { Err(StepError::rejected("more than the card allows")) } else { Ok(cents) }
/// }
///
/// assert_eq!(charge("many").unwrap_err().outcome(), FailedAs::Unknown);
/// assert_eq!(charge("250000").unwrap_err().outcome(), FailedAs::Rejected);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepError {
    outcome: FailedAs,
    text: Arc<str>,
    retry_after: Option<Duration>,
}

impl StepError {
    /// It did nothing, and to try again will not help: out of stock, no such customer.
    pub fn rejected(cause: impl Into<BoxError>) -> Self {
        Self::new(FailedAs::Rejected, cause)
    }

    /// Neither this attempt nor any before with the same key has done anything, and to try again will not help.
    ///
    /// Only a participant that knows all its keys can say so. Attempts whose end is unknown are then known to have done nothing.
    pub fn rejected_for_key(cause: impl Into<BoxError>) -> Self {
        Self::new(FailedAs::RejectedForKey, cause)
    }

    /// This attempt did nothing; the next one may succeed.
    pub fn not_executed(cause: impl Into<BoxError>) -> Self {
        Self::new(FailedAs::NotExecuted, cause)
    }

    /// It may have happened.
    pub fn unknown(cause: impl Into<BoxError>) -> Self {
        Self::new(FailedAs::Unknown, cause)
    }

    /// What the answer of a stack says about the execution of its call.
    ///
    /// A refusal is [`not_executed`](Self::not_executed), with its time to come back, and everything else [`unknown`](Self::unknown).
    /// For a step whose only effect is that call: one that did something before was executed, whatever was refused then. A
    /// refusal in a [`BoxError`] is unknown as well, since nobody can tell whose it was. In the flat [`Error`](mainstay_core::Error)
    /// somebody can, over whatever it is: [`Refused`](mainstay_core::Error::Refused) is one of the stack, and what is
    /// [`Inner`](mainstay_core::Error::Inner) came from the service.
    ///
    /// ```
    /// use mainstay_core::{Error, Reason, Refused, TimedOut};
    /// use mainstay_saga::{FailedAs, StepError};
    /// use std::{io, time::Duration};
    ///
    /// let wait = Duration::from_secs(3);
    /// let refused = Error::<io::Error>::Refused(Refused::new(Reason::CircuitOpen, "payments").with_retry_after(wait));
    /// let error = StepError::of(refused);
    /// assert_eq!((error.outcome(), error.retry_after()), (FailedAs::NotExecuted, Some(wait)));
    ///
    /// let timed_out = Error::<io::Error>::TimedOut(TimedOut::new("payments", wait));
    /// assert_eq!(StepError::of(timed_out).outcome(), FailedAs::Unknown);
    /// ```
    pub fn of<E: Refusable + ErrorText<M>, M>(error: E) -> Self {
        Self::judged(error, !E::NEEDS_BOUNDARY)
    }

    /// The same, where somebody knows whether a refusal is one of the stack itself.
    pub(crate) fn judged<E: Refusable + ErrorText<M>, M>(error: E, refusals_are_proof: bool) -> Self {
        let (outcome, retry_after) = match error.verdict() {
            Verdict::Refused(refused) if refusals_are_proof => (FailedAs::NotExecuted, refused.retry_after()),
            Verdict::Refused(refused) => (FailedAs::Unknown, refused.retry_after()),
            Verdict::TimedOut(_) | Verdict::Other => (FailedAs::Unknown, None),
        };
        Self { retry_after, ..Self::new(outcome, error) }
    }

    pub(crate) fn new<M>(outcome: FailedAs, cause: impl ErrorText<M>) -> Self {
        Self { outcome, text: cause.into_text(), retry_after: None }
    }

    /// Adds how long to wait before another attempt can help. The wait between attempts is then no shorter, but for what is
    /// beyond a day.
    #[must_use]
    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// The same error of an attempt that had done something before: [`unknown`](Self::unknown), whatever this one call has done.
    ///
    /// For every call of a step but the first: that the second was refused does not make the first undone.
    ///
    /// ```
    /// use mainstay_saga::{FailedAs, StepError};
    ///
    /// let refused = StepError::not_executed("the circuit is open");
    /// assert_eq!(refused.after_effects().outcome(), FailedAs::Unknown);
    /// ```
    #[must_use]
    pub fn after_effects(self) -> Self {
        Self { outcome: FailedAs::Unknown, ..self }
    }

    /// What is known of the attempt.
    pub fn outcome(&self) -> FailedAs {
        self.outcome
    }

    /// How long to wait before another attempt can help; `None` if nobody knows.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// The text of the error and its sources.
    pub(crate) fn text(&self) -> &Arc<str> {
        &self.text
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for StepError {
    fn from(error: E) -> Self {
        Self::unknown(error)
    }
}

impl Display for StepError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Why an attempt to undo a step has not succeeded.
///
/// Through `?` every [`std::error::Error`] and every [`StepError`] means *try again*: an undo is tried until it succeeds, or
/// until its attempts are spent and an operator has to help. Kept as text, like a [`StepError`].
///
/// ```
/// use mainstay_saga::UndoError;
///
/// fn refund(cents: &str) -> Result<u64, UndoError> {
///     if cents.is_empty() { Err(UndoError::needs_help("the account is closed")) } else { Ok(cents.parse()?) }
/// }
///
/// assert!(refund("").unwrap_err().is_final());
/// assert!(!refund("many").unwrap_err().is_final());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UndoError {
    text: Arc<str>,
    needs_help: bool,
    retry_after: Option<Duration>,
}

impl UndoError {
    /// To try again may help.
    pub fn try_again(cause: impl Into<BoxError>) -> Self {
        Self { text: cause.into_text(), needs_help: false, retry_after: None }
    }

    /// Only a person can help: once nothing else is to be undone the saga is parked.
    pub fn needs_help(cause: impl Into<BoxError>) -> Self {
        Self { needs_help: true, ..Self::try_again(cause) }
    }

    /// Adds how long to wait before another attempt can help. The wait between attempts is then no shorter, but for what is
    /// beyond a day.
    #[must_use]
    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// Whether only a person can help.
    pub fn is_final(&self) -> bool {
        self.needs_help
    }

    /// How long to wait before another attempt can help; `None` if nobody knows.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// The text of the error and its sources.
    pub(crate) fn text(&self) -> &Arc<str> {
        &self.text
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for UndoError {
    fn from(error: E) -> Self {
        Self::try_again(error)
    }
}

impl From<StepError> for UndoError {
    fn from(error: StepError) -> Self {
        Self { text: error.text, needs_help: false, retry_after: error.retry_after }
    }
}

impl Display for UndoError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
