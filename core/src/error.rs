//! The flat error of a stack, and the one bound that every layer puts on errors.

use crate::{BoxError, Refused, TimedOut};
use std::{error, fmt};

/// What a stack answers when it does not answer: flat, however many layers it has.
///
/// A layer keeps the error type of the service that it wraps. Ten layers over a service whose error is `Error<E>` still
/// have the error `Error<E>`: lift the error once, at the bottom, by `.map_err(Error::Inner)`.
///
/// `Display` prints this level only; [`source`](error::Error::source) gives the rest. The texts are not part of the API.
///
/// ```
/// use mainstay_core::{Error, Reason, Refused, Refusable, Verdict};
/// use std::{error::Error as _, io};
///
/// let refused: Error<io::Error> = Refused::new(Reason::CircuitOpen, "payments").into();
/// assert!(matches!(refused.verdict(), Verdict::Refused(_)));
///
/// let failed = Error::Inner(io::Error::other("connection reset"));
/// assert!(matches!(failed.verdict(), Verdict::Other));
/// assert_eq!(failed.source().unwrap().to_string(), "connection reset");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error<E> {
    /// The call was certainly not handed to the service.
    Refused(Refused),
    /// The call was started and its outcome is unknown.
    TimedOut(TimedOut),
    /// The service itself failed.
    Inner(E),
}

/// What an error says about the execution of the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// Certainly not executed.
    Refused(&'a Refused),
    /// Started; whether it was executed is unknown.
    TimedOut(&'a TimedOut),
    /// Failed in the service: it may have been executed.
    Other,
}

/// An error type that can carry a refusal and a timeout through a stack.
///
/// Implemented for [`Error<E>`](Error) and for [`BoxError`]. An error enum of one's own joins in by two `From`
/// implementations and a `verdict`:
///
/// ```
/// use mainstay_core::{Refusable, Refused, TimedOut, Verdict};
///
/// enum ShopError {
///     Refused(Refused),
///     TimedOut(TimedOut),
///     OutOfStock,
/// }
///
/// impl From<Refused> for ShopError {
///     fn from(refused: Refused) -> Self {
///         Self::Refused(refused)
///     }
/// }
///
/// impl From<TimedOut> for ShopError {
///     fn from(timed_out: TimedOut) -> Self {
///         Self::TimedOut(timed_out)
///     }
/// }
///
/// impl Refusable for ShopError {
///     fn verdict(&self) -> Verdict<'_> {
///         match self {
///             Self::Refused(refused) => Verdict::Refused(refused),
///             Self::TimedOut(timed_out) => Verdict::TimedOut(timed_out),
///             Self::OutOfStock => Verdict::Other,
///         }
///     }
/// }
///
/// assert!(matches!(ShopError::OutOfStock.verdict(), Verdict::Other));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot carry a refusal",
    label = "this error type is not `Refusable`",
    note = "lift it at the bottom of the stack: `.map_err(mainstay::Error::Inner)`"
)]
pub trait Refusable: From<Refused> + From<TimedOut> {
    /// Whether a leaf can return, as an error of this type, a refusal that it only met on its way.
    ///
    /// A typed error says by its variant whose refusal it is; that is the default. Of a [`BoxError`] nobody can tell, so a
    /// policy that sends again what was refused does that over boxed errors only when it is told that there is a
    /// [`Boundary`](crate::Boundary) below.
    const NEEDS_BOUNDARY: bool = false;

    /// What this error says about the execution of the call.
    ///
    /// Only the error itself is looked at, never its [`source`](error::Error::source): a service that worked and *then*
    /// failed on a refusal from further away was executed.
    fn verdict(&self) -> Verdict<'_>;
}

impl<E> Error<E> {
    /// The refusal, if the call was refused by this stack.
    pub const fn refused(&self) -> Option<&Refused> {
        match self {
            Self::Refused(refused) => Some(refused),
            Self::TimedOut(_) | Self::Inner(_) => None,
        }
    }

    /// The error of the service, if it was the service that failed.
    pub fn into_inner(self) -> Option<E> {
        match self {
            Self::Inner(inner) => Some(inner),
            Self::Refused(_) | Self::TimedOut(_) => None,
        }
    }
}

impl<E> Refusable for Error<E> {
    fn verdict(&self) -> Verdict<'_> {
        match self {
            Self::Refused(refused) => Verdict::Refused(refused),
            Self::TimedOut(timed_out) => Verdict::TimedOut(timed_out),
            Self::Inner(_) => Verdict::Other,
        }
    }
}

/// A boxed error is judged by what is in the box itself.
///
/// A leaf that boxes a refusal of some *other* stack cannot be told from a refusal of this one: put a
/// [`Boundary`](crate::Boundary) above such a leaf. An [`Error<E>`](Error) in a box is [`Verdict::Other`], since `E` is
/// not known here: in a boxed stack lift nothing, its layers box their refusals themselves.
impl Refusable for BoxError {
    const NEEDS_BOUNDARY: bool = true;

    fn verdict(&self) -> Verdict<'_> {
        if let Some(refused) = self.downcast_ref::<Refused>() {
            Verdict::Refused(refused)
        } else if let Some(timed_out) = self.downcast_ref::<TimedOut>() {
            Verdict::TimedOut(timed_out)
        } else {
            Verdict::Other
        }
    }
}

impl<E> From<Refused> for Error<E> {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl<E> From<TimedOut> for Error<E> {
    fn from(timed_out: TimedOut) -> Self {
        Self::TimedOut(timed_out)
    }
}

impl<E> fmt::Display for Error<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refused) => refused.fmt(f),
            Self::TimedOut(timed_out) => timed_out.fmt(f),
            Self::Inner(_) => f.write_str("the service failed"),
        }
    }
}

impl<E: error::Error + 'static> error::Error for Error<E> {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Inner(inner) => Some(inner),
            Self::Refused(_) | Self::TimedOut(_) => None,
        }
    }
}
