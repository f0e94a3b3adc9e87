//! A permit that settles itself.

use super::{Throttle, ThrottlePermit};
use crate::{clock::Clock, permit::Outcome};
use mainstay_core::Refused;
use std::{fmt, mem, ops::Deref};

/// The right to make one call, which settles itself: as abandoned when dropped, as failed when the call panics.
///
/// Time is tokio's. `H` is whatever leads to the throttle: `&Throttle`, `Arc<Throttle>`, `&'static Throttle`.
///
/// ```
/// use mainstay_circuit_breaker::{Outcome, Throttle, ThrottleConfig, ThrottleGuard};
///
/// let throttle = Throttle::new(ThrottleConfig::default())?;
///
/// let guard = ThrottleGuard::admit(&throttle).expect("nothing has failed yet");
/// guard.settle(Outcome::Success);
///
/// drop(ThrottleGuard::admit(&throttle));
///
/// let snapshot = throttle.snapshot();
/// assert_eq!((snapshot.requests, snapshot.accepts), (1, 1), "the second was taken back");
/// # Ok::<(), mainstay_core::InvalidConfig>(())
/// ```
#[must_use = "a guard that is dropped is an abandoned call"]
#[clippy::has_significant_drop]
pub struct ThrottleGuard<H: Deref<Target = Throttle>> {
    throttle: H,
    permit: Option<ThrottlePermit>,
}

impl<H: Deref<Target = Throttle>> ThrottleGuard<H> {
    /// Asks the throttle for a call.
    ///
    /// # Errors
    ///
    /// The refusal.
    pub fn admit(throttle: H) -> Result<Self, Refused> {
        let permit = throttle.admit(Clock)?;
        Ok(Self { throttle, permit: Some(permit) })
    }

    /// Reports how the call ended.
    pub fn settle(mut self, outcome: Outcome) {
        self.settle_once(outcome);
    }

    /// Runs a part of the call; if it panics, the call has failed.
    pub fn run<R>(&mut self, part: impl FnOnce() -> R) -> R {
        let scope = PanicScope(self);
        let result = part();
        mem::forget(scope);
        result
    }

    /// Moves the right to another guard, so that this one has nothing left to settle.
    #[cfg(feature = "http")]
    pub(super) fn hand_over(&mut self) -> Self
    where
        H: Clone,
    {
        Self { throttle: self.throttle.clone(), permit: self.permit.take() }
    }

    pub(super) fn settle_once(&mut self, outcome: Outcome) {
        if let Some(permit) = self.permit.take() {
            self.throttle.settle(permit, outcome);
        }
    }
}

impl<H: Deref<Target = Throttle>> Drop for ThrottleGuard<H> {
    fn drop(&mut self) {
        self.settle_once(Outcome::Abandoned);
    }
}

impl<H: Deref<Target = Throttle>> fmt::Debug for ThrottleGuard<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThrottleGuard").field("throttle", &*self.throttle).field("permit", &self.permit).finish()
    }
}

/// Dropped only while what it guards unwinds.
struct PanicScope<'a, H: Deref<Target = Throttle>>(&'a mut ThrottleGuard<H>);

impl<H: Deref<Target = Throttle>> Drop for PanicScope<'_, H> {
    fn drop(&mut self) {
        self.0.settle_once(Outcome::Failure);
    }
}
