//! What a circuit remembers that must not be lost.

use crate::{machine::Machine, status::State};
use std::time::Instant;

/// What would be lost if a circuit were forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Past {
    /// Nothing bad: it is closed, and no call in its window failed, was slow or was abandoned.
    Spotless,
    /// Something that time may make irrelevant.
    Marked,
    /// Something that stands however long nobody asks.
    Standing,
}

impl Past {
    /// Changes nothing and tells nobody.
    pub(super) fn of(machine: &mut Machine, now: Instant) -> Self {
        match machine.state() {
            State::Closed => {
                let votes = machine.votes(now);
                let bad = votes.failed + votes.slow + machine.abandoned(now);
                if bad == 0 { Self::Spotless } else { Self::Marked }
            }
            // Once its time is over the next call would be a probe. Hosts come and go: those that went would otherwise
            // fill the table with open circuits, one by one and for ever.
            State::Open if machine.open_until().is_some_and(|until| now >= until) => Self::Marked,
            // With no handle there is no call whose end could be waited for.
            State::HalfOpen | State::Recovering => Self::Marked,
            // Refusing, or as an operator has said.
            State::Open | State::Isolated | State::Disabled => Self::Standing,
        }
    }
}
