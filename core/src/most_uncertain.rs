//! One honest answer for several attempts.

use crate::{Refusable, Verdict};

/// Keeps, of the errors of several attempts, the one that leaves most open.
///
/// A layer that makes several attempts (retry, hedge, balance, fallback to a service) may answer *refused* only if every
/// attempt was refused, since one that was started may have been executed. The order is: unknown, then failed, then
/// refused; of two equally uncertain errors the later one is kept.
///
/// ```
/// use mainstay_core::{Error, MostUncertain, Reason, Refused, TimedOut};
/// use std::{io, time::Duration};
///
/// let mut errors = MostUncertain::<Error<io::Error>>::default();
/// errors.record(TimedOut::new("payments", Duration::from_secs(1)).into());
/// errors.record(Refused::new(Reason::CircuitOpen, "payments").into());
///
/// // The second attempt was refused, and yet nobody knows whether the first one was executed.
/// assert!(matches!(errors.into_error(), Some(Error::TimedOut(_))));
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct MostUncertain<E> {
    kept: Option<E>,
}

/// How much the end of an attempt leaves open about its execution, the least first.
///
/// For layers whose attempts also end in responses that are failures, as with HTTP: such a response is `Failed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Uncertainty {
    /// Certainly not executed.
    Refused,
    /// Ended in the service, which may have executed it.
    Failed,
    /// Started, and nobody knows.
    Unknown,
}

impl<E> MostUncertain<E> {
    /// The kept error; `None` if none was recorded.
    pub fn into_error(self) -> Option<E> {
        self.kept
    }
}

impl<E: Refusable> MostUncertain<E> {
    /// Takes the error of one more attempt.
    pub fn record(&mut self, error: E) {
        if self.kept.as_ref().is_none_or(|kept| Uncertainty::of(kept) <= Uncertainty::of(&error)) {
            self.kept = Some(error);
        }
    }
}

impl<E> Default for MostUncertain<E> {
    fn default() -> Self {
        Self { kept: None }
    }
}

impl Uncertainty {
    /// What this error leaves open.
    pub fn of<E: Refusable>(error: &E) -> Self {
        match error.verdict() {
            Verdict::Refused(_) => Self::Refused,
            Verdict::Other => Self::Failed,
            Verdict::TimedOut(_) => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Error, Reason, Refused, TimedOut};
    use proptest::prelude::*;
    use std::time::Duration;

    fn error(kind: u8) -> Error<u8> {
        match kind {
            0 => Refused::new(Reason::CircuitOpen, "test").into(),
            1 => Error::Inner(1),
            _ => TimedOut::new("test", Duration::ZERO).into(),
        }
    }

    proptest! {
        #[test]
        fn the_answer_is_the_most_uncertain_in_any_order(kinds in prop::collection::vec(0_u8..3, 0..12)) {
            let mut errors = MostUncertain::default();
            for &kind in &kinds {
                errors.record(error(kind));
            }
            prop_assert_eq!(errors.into_error(), kinds.iter().max().map(|&kind| error(kind)));
        }
    }

    #[test]
    fn of_equally_uncertain_errors_the_later_is_kept() {
        let mut errors = MostUncertain::default();
        errors.record(Error::Inner(1));
        errors.record(Error::Inner(2));
        errors.record(Refused::new(Reason::CircuitOpen, "test").into());
        assert_eq!(errors.into_error(), Some(Error::Inner(2)));
    }
}
