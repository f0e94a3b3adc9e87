//! A saga, for those who wait for it.

use super::{
    outcome::{Outcome, WaitError},
    read::Found,
    seat::{Seat, Stage},
    shared::Base,
};
use crate::{Data, Payload, SagaId};
use futures_util::future::select;
use std::{
    fmt::{self, Debug, Formatter},
    marker::PhantomData,
    pin::pin,
    sync::Arc,
};
use tokio::time::timeout;

/// A saga that was started, now or before. Dropping it changes nothing: the saga goes on.
pub struct Handle<O> {
    held: Held,
    is_new: bool,
    output: PhantomData<fn() -> O>,
}

/// A seat that somebody looks at, and that may be forgotten once nobody does.
pub(crate) struct Held {
    base: Arc<Base>,
    /// `None` only while it is dropped.
    seat: Option<Arc<Seat>>,
}

impl Held {
    pub(crate) fn new(base: &Arc<Base>, seat: Arc<Seat>) -> Self {
        Self { base: Arc::clone(base), seat: Some(seat) }
    }

    pub(crate) fn seat(&self) -> &Seat {
        #[expect(clippy::expect_used, reason = "only the destructor takes it")]
        self.seat.as_ref().expect("it is there until it is dropped")
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(seat) = self.seat.take() {
            self.base.registry.release(seat);
        }
    }
}

impl Clone for Held {
    fn clone(&self) -> Self {
        Self { base: Arc::clone(&self.base), seat: self.seat.clone() }
    }
}

enum Seen {
    Ended(Outcome<Payload>),
    Away,
}

impl<O> Handle<O> {
    pub(crate) const fn new(held: Held, is_new: bool) -> Self {
        Self { held, is_new, output: PhantomData }
    }

    /// The saga's name.
    pub fn id(&self) -> SagaId {
        self.held.seat().id
    }

    /// Whether it was started by the call that gave this handle, and not before under the same key.
    pub const fn is_new(&self) -> bool {
        self.is_new
    }
}

impl<O: Data> Handle<O> {
    /// Waits until the saga has ended, and its end is in the journal.
    ///
    /// A saga that is not in the memory of this engine is looked up in the journal, now and once in each
    /// [`poll_interval`](super::Config::poll_interval).
    ///
    /// # Errors
    ///
    /// [`Parked`](WaitError::Parked) as soon as the saga waits for an operator; asked again after the operator has acted, there is
    /// an outcome. Otherwise as [`WaitError`] says.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost: it can be asked as often as one likes.
    pub async fn outcome(&self) -> Result<Outcome<O>, WaitError> {
        loop {
            match self.held.seat().see(look).await {
                Seen::Ended(outcome) => return outcome.decode(),
                Seen::Away => {}
            }
            match self.held.base.look_up(self.id()).await? {
                Found::Ended(outcome) => return outcome.decode(),
                Found::Parked(reason) => return Err(WaitError::Parked(reason)),
                Found::Running if self.held.base.is_stopping() => return Err(WaitError::Stopped),
                Found::Running => self.back_or_later().await,
            }
        }
    }

    /// Waits until the saga is in memory again, or it is time to look again.
    async fn back_or_later(&self) {
        let base = &self.held.base;
        let is_here = |stage: &mut Stage| matches!(stage, Stage::Running | Stage::Ended(_)).then_some(());
        let back = pin!(self.held.seat().see(is_here));
        let stopped = pin!(base.stopped());
        // That time has passed is as good a reason to look as the others.
        let _ = timeout(base.config.poll_interval, select(back, stopped)).await;
    }
}

fn look(stage: &mut Stage) -> Option<Seen> {
    match stage {
        Stage::Starting | Stage::Running => None,
        Stage::Ended(outcome) => Some(Seen::Ended(outcome.clone())),
        // A parked saga is nobody's: an operator may have let it go on elsewhere.
        Stage::Parked(_) | Stage::Away | Stage::Existing(_) | Stage::NotStarted(_) => Some(Seen::Away),
    }
}

impl<O> Clone for Handle<O> {
    fn clone(&self) -> Self {
        Self { held: self.held.clone(), is_new: self.is_new, output: PhantomData }
    }
}

impl<O> Debug for Handle<O> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("id", &self.id()).field("is_new", &self.is_new).finish_non_exhaustive()
    }
}
