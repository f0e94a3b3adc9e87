//! What is known of a saga outside of the task that runs it.

use super::ask::Ask;
use crate::{
    ParkReason, Payload, SagaId,
    engine::outcome::Outcome,
    journal::{Claimed, JournalError},
};
use std::{
    pin::pin,
    sync::{Mutex, MutexGuard, PoisonError},
};
use tokio::sync::{Notify, futures::Notified};

/// A saga's place in an engine: who waits for it looks here, and who asks something of it leaves it here.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) id: SagaId,
    inner: Mutex<Inner>,
    /// Wakes those who wait.
    changed: Notify,
    /// Wakes the task.
    asked: Notify,
}

#[derive(Debug)]
struct Inner {
    stage: Stage,
    asks: Vec<Ask>,
    /// A claim that came while another task was at its end.
    claimed: Option<Claimed>,
}

/// How far a saga is, as seen from outside.
#[derive(Debug)]
pub(crate) enum Stage {
    /// Nobody knows yet whether the journal has it.
    Starting,
    /// The journal did not take it.
    NotStarted(Option<JournalError>),
    /// Its key belongs to another.
    Existing(SagaId),
    /// A task has it.
    Running,
    /// No task of this engine has it: what is known of it is in the journal.
    Away,
    Parked(ParkReason),
    Ended(Outcome<Payload>),
}

impl Seat {
    pub(crate) fn new(id: SagaId, stage: Stage) -> Self {
        let inner = Mutex::new(Inner { stage, asks: Vec::new(), claimed: None });
        Self { id, inner, changed: Notify::new(), asked: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set(&self, stage: Stage) {
        drop(self.put(stage));
        self.tell();
    }

    /// The stage before, which is foreign in part: to be dropped without a lock, and then the change is to be [told](Self::tell).
    /// What has ended stays so, whatever is asked of it afterwards.
    pub(crate) fn put(&self, stage: Stage) -> Stage {
        match &mut self.lock().stage {
            Stage::Ended(_) => stage,
            before => std::mem::replace(before, stage),
        }
    }

    pub(crate) fn tell(&self) {
        self.changed.notify_waiters();
    }

    pub(crate) fn push(&self, ask: Ask) {
        self.lock().asks.push(ask);
    }

    /// Wakes the task that runs the saga, now or when it next waits.
    pub(crate) fn poke(&self) {
        self.asked.notify_one();
    }

    pub(crate) fn asked(&self) -> Notified<'_> {
        self.asked.notified()
    }

    pub(crate) fn take_asks(&self) -> Vec<Ask> {
        std::mem::take(&mut self.lock().asks)
    }

    /// Leaves a claim for the task that is at its end.
    pub(crate) fn leave(&self, claimed: Claimed) {
        self.lock().claimed = Some(claimed);
    }

    pub(crate) fn take_claimed(&self) -> Option<Claimed> {
        self.lock().claimed.take()
    }

    /// What is known of the saga if its task ends without a word. What it had asked of the journal may have been done.
    pub(crate) fn left_by_task(&self, why: &str) -> Option<Stage> {
        match self.lock().stage {
            Stage::Starting => Some(Stage::NotStarted(Some(JournalError::Ambiguous(why.into())))),
            Stage::Running => Some(Stage::Away),
            _ => None,
        }
    }

    pub(crate) fn has_asks(&self) -> bool {
        !self.lock().asks.is_empty()
    }

    /// Waits until there is something to see. Nothing is lost if it is dropped.
    pub(crate) async fn see<T>(&self, mut look: impl FnMut(&mut Stage) -> Option<T>) -> T {
        if let Some(seen) = look(&mut self.lock().stage) {
            return seen;
        }
        loop {
            let mut changed = pin!(self.changed.notified());
            // Before the look, so that no change falls between the two.
            changed.as_mut().enable();
            if let Some(seen) = look(&mut self.lock().stage) {
                return seen;
            }
            changed.await;
        }
    }
}
