//! What was reserved for a key: a plain token.

use super::id::Id;
use crate::{decision::Decision, reserved::Reserved};
use std::{task::Waker, time::Duration};

/// What was reserved for a key; a plain token, as [`Reserved`] is.
#[derive(Debug)]
#[must_use = "what is not used has to be given back"]
pub struct KeyedReserved {
    pub(super) reserved: Reserved,
    /// `None` for the limit of those without room.
    pub(super) id: Option<Id>,
}

impl KeyedReserved {
    /// How long to wait before the units may be used, as [`Reserved::wait`] says.
    pub const fn wait(&self) -> Duration {
        self.reserved.wait()
    }

    /// Has this one woken, and not the one from before, when the units may be used sooner.
    pub(crate) fn watch_by(&self, waker: Option<Waker>) {
        self.reserved.watch_by(waker);
    }

    /// The decision by which they were reserved, as [`Reserved::decision`] says.
    pub const fn decision(&self) -> Decision {
        self.reserved.decision()
    }
}
