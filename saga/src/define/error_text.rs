//! The texts of errors, as they are kept.

use self::sealed::{Flat, OverBox, Plain};
use crate::text::LONGEST;
use mainstay_core::{BoxError, Error};
use std::{
    error,
    fmt::{self, Display, Write},
    sync::Arc,
};

/// An error whose text can be kept, with those of its sources.
///
/// Those are each [`std::error::Error`], a [`BoxError`], and [`Error<E>`](Error) over one of both: the first two, since they are
/// `Into<BoxError>`, and `Error<BoxError>` although it is not. `M` tells the two apart; the compiler finds it. It needs a name only
/// in code that is generic over errors, and `M: 'static` there if a step holds the future of a call:
///
/// ```
/// use mainstay_core::{BoxError, Error, Reason, Refusable, Refused};
/// use mainstay_saga::{ErrorText, FailedAs, StepError};
///
/// fn noted<E: Refusable + ErrorText<M>, M>(error: E) -> StepError {
///     let error = StepError::of(error);
///     eprintln!("{error}");
///     error
/// }
///
/// let refused = Error::<BoxError>::Refused(Refused::new(Reason::CircuitOpen, "payments"));
/// assert_eq!(noted(refused).outcome(), FailedAs::NotExecuted);
///
/// let broken = Error::<BoxError>::Inner("connection reset".into());
/// assert_eq!(noted(broken).to_string(), "the service failed: connection reset");
/// ```
///
/// It is sealed: an error of one's own has a text by being a [`std::error::Error`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no text that a saga can keep",
    label = "this error is no `std::error::Error`, and not over one",
    note = "what has one: each `std::error::Error`, a `BoxError`, and `mainstay::Error<E>` over one of these"
)]
pub trait ErrorText<M>: sealed::Sealed<M> {
    /// The text, and those of the sources, up to 8 KiB.
    fn into_text(self) -> Arc<str>;
}

mod sealed {
    use super::{BoxError, Display, Error};

    /// It can be boxed.
    #[derive(Debug)]
    pub enum Plain {}

    /// It is one with a box in it.
    #[derive(Debug)]
    pub enum Flat {}

    pub trait Sealed<M> {}

    impl<E: Into<BoxError>> Sealed<Plain> for E {}

    impl<E: OverBox> Sealed<Flat> for E {}

    /// `Error<BoxError>`. Were that named where the text is implemented, the compiler would know for all other errors which of both
    /// ways is meant, and say what that one lacks; so it says that there is none.
    pub trait OverBox: Display {
        fn inner(&self) -> Option<&BoxError>;
    }

    impl OverBox for Error<BoxError> {
        fn inner(&self) -> Option<&BoxError> {
            if let Self::Inner(inner) = self { Some(inner) } else { None }
        }
    }
}

impl<E: Into<BoxError>> ErrorText<Plain> for E {
    fn into_text(self) -> Arc<str> {
        let error = self.into();
        chain(&error, error.source())
    }
}

impl<E: OverBox> ErrorText<Flat> for E {
    fn into_text(self) -> Arc<str> {
        chain(&self, self.inner().map(|inner| &**inner as &(dyn error::Error + 'static)))
    }
}

/// As much as is kept of an error and its sources, as one text.
fn chain(error: &dyn Display, mut source: Option<&(dyn error::Error + 'static)>) -> Arc<str> {
    let mut kept = Bounded(String::new());
    let mut more = || {
        write!(kept, "{error}")?;
        while let Some(cause) = source {
            write!(kept, ": {cause}")?;
            source = cause.source();
        }
        fmt::Result::Ok(())
    };
    // An error here means that there is no more room: what is there is kept.
    let _ = more();
    kept.0.into()
}

/// A text that does not grow beyond the longest one.
struct Bounded(String);

impl Write for Bounded {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        let fits = more.floor_char_boundary(LONGEST - self.0.len());
        self.0.push_str(&more[..fits]);
        if fits < more.len() { Err(fmt::Error) } else { Ok(()) }
    }
}
