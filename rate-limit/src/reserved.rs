//! What was reserved: a plain token.

use crate::{decision::Decision, machine::Taken};
use std::time::Duration;

/// Units that were taken for later, or for now; a plain token.
///
/// It belongs to the limiter that gave it. Whoever does not use them [gives them back](crate::Limiter::give_back_at); a token
/// that is dropped has used them.
#[derive(Debug)]
#[must_use = "what is not used has to be given back"]
pub struct Reserved {
    /// `None` if nothing was taken: for a cost of nothing, and in shadow mode.
    taken: Option<Taken>,
    decision: Decision,
    wait: u64,
}

impl Reserved {
    pub(crate) const fn new(taken: Option<Taken>, decision: Decision, wait: u64) -> Self {
        Self { taken, decision, wait }
    }

    pub(crate) const fn taken(&self) -> Option<&Taken> {
        self.taken.as_ref()
    }

    /// How long to wait before the units may be used, counted from the moment of the reservation; zero for at once.
    pub const fn wait(&self) -> Duration {
        Duration::from_nanos(self.wait)
    }

    /// The decision by which they were reserved: always allowed. What remains, remains as of the moment of the reservation.
    pub const fn decision(&self) -> Decision {
        self.decision
    }
}
