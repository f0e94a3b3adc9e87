//! The moment that a decision takes.

use std::time::Instant;

/// A moment, or a clock that is read only if the decision needs to know the time.
///
/// The synchronous cores take `now: impl Now` and never read a clock themselves. Simulators and tests give an
/// [`Instant`]; the async shells give tokio's clock, and save the reading (about 20 ns) where the answer does not depend
/// on the time. [`now`](Now::now) is never asked under a lock.
pub trait Now {
    /// The moment of the decision.
    fn now(self) -> Instant;
}

impl Now for Instant {
    fn now(self) -> Instant {
        self
    }
}
