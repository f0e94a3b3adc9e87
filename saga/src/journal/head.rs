//! The rules of a journal, for those that are written here.

use super::{Batch, Claimed, Grant, JournalError, NewSaga, Phase, Summary};
use crate::{SagaId, Timestamp};
use std::sync::Arc;

/// Before any moment: the clock may have been set back when one that somebody had at a crash is looked for.
const AT_ONCE: Timestamp = Timestamp::from_millis(0);

/// What a journal knows of one saga, its records aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) saga: Arc<str>,
    pub(super) version: u32,
    pub(super) key: Arc<str>,
    pub(super) phase: Phase,
    pub(super) epoch: u64,
    /// How many records there are.
    pub(super) seq: u64,
    /// How many there were before the last batch, and the nonce of that batch: by these a repetition is known.
    pub(super) base: u64,
    pub(super) nonce: u64,
    pub(super) created_at: Timestamp,
    pub(super) updated_at: Timestamp,
    /// From when on it may be claimed, if it runs and nobody owns it.
    pub(super) wake_at: Option<Timestamp>,
}

/// What an append comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Append {
    /// The records are to be written, and the head as it is now.
    Write,
    /// They are there.
    Repeated,
}

impl Head {
    pub(super) fn new(new: &NewSaga, batch: &Batch) -> Self {
        Self {
            saga: Arc::clone(&new.saga),
            version: new.version,
            key: Arc::clone(&new.key),
            phase: batch.phase,
            epoch: 1,
            seq: length(batch),
            base: 0,
            nonce: batch.nonce,
            created_at: new.at,
            updated_at: batch.at,
            wake_at: Some(AT_ONCE),
        }
    }

    /// Whether it was made by this very batch, and nothing has happened since.
    pub(super) fn is_made_by(&self, batch: &Batch) -> bool {
        self.epoch == 1 && self.base == 0 && self.nonce == batch.nonce
    }

    pub(super) fn append(&mut self, grant: Grant, batch: &Batch) -> Result<Append, JournalError> {
        self.check_epoch(grant)?;
        if batch.nonce == self.nonce && grant.seq == self.base {
            return Ok(Append::Repeated);
        }
        if grant.seq != self.seq || self.phase.is_ended() {
            return Err(JournalError::Conflict { seq: self.seq });
        }
        if batch.phase.is_running() && !self.phase.is_running() {
            self.wake_at = Some(AT_ONCE);
        }
        self.base = self.seq;
        self.seq = self.seq.saturating_add(length(batch));
        self.nonce = batch.nonce;
        self.phase = batch.phase;
        self.updated_at = batch.at;
        Ok(Append::Write)
    }

    pub(super) fn claim(&mut self, id: SagaId) -> Claimed {
        self.epoch = self.epoch.saturating_add(1);
        // It waited, and now somebody has it: whoever looks for it after a crash must find it.
        self.wake_at = Some(AT_ONCE);
        Claimed { grant: self.grant(id), saga: Arc::clone(&self.saga), version: self.version }
    }

    pub(super) fn release(&mut self, grant: Grant, wake_at: Option<Timestamp>) -> Result<(), JournalError> {
        self.check_epoch(grant)?;
        self.wake_at = wake_at;
        Ok(())
    }

    fn check_epoch(&self, grant: Grant) -> Result<(), JournalError> {
        match grant.epoch {
            older if older < self.epoch => Err(JournalError::Fenced { current: self.epoch }),
            unheard_of if unheard_of > self.epoch => Err(JournalError::Conflict { seq: self.seq }),
            _ => Ok(()),
        }
    }

    /// From when on somebody should have it.
    pub(super) fn due(&self) -> Option<Timestamp> {
        self.wake_at.filter(|_| self.phase.is_running())
    }

    pub(super) fn is_of(&self, definitions: &[(Arc<str>, u32)]) -> bool {
        definitions.iter().any(|(saga, version)| *version == self.version && *saga == self.saga)
    }

    pub(super) const fn grant(&self, id: SagaId) -> Grant {
        Grant { id, epoch: self.epoch, seq: self.seq }
    }

    pub(super) fn summary(&self, id: SagaId) -> Summary {
        Summary {
            id,
            saga: Arc::clone(&self.saga),
            version: self.version,
            key: Arc::clone(&self.key),
            phase: self.phase,
            epoch: self.epoch,
            seq: self.seq,
            created_at: self.created_at,
            updated_at: self.updated_at,
        }
    }
}

fn length(batch: &Batch) -> u64 {
    batch.records.len() as u64
}
