//! What was reserved: a plain token.

use crate::{
    decision::Decision,
    machine::{Taken, When},
    queue::Ticket,
};
use std::{sync::Arc, task::Waker, time::Duration};

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

    /// The place in the queue that it has or had.
    pub(crate) const fn ticket(&self) -> Option<&Arc<Ticket>> {
        match &self.taken {
            Some(Taken { when: When::Place(ticket), .. }) => Some(ticket),
            _ => None,
        }
    }

    /// Has this one woken, and not the one from before, when the units may be used sooner.
    pub(crate) fn watch_by(&self, waker: Option<Waker>) {
        if let Some(ticket) = self.ticket() {
            ticket.set_waker(waker);
        }
    }

    /// How long to wait before the units may be used, counted from the moment of the reservation; zero for at once.
    ///
    /// It may come to be less, see [`Limiter::wait_at`](crate::Limiter::wait_at).
    pub const fn wait(&self) -> Duration {
        Duration::from_nanos(self.wait)
    }

    /// The decision by which they were reserved: always allowed. What remains, remains as of the moment of the reservation.
    pub const fn decision(&self) -> Decision {
        self.decision
    }
}
