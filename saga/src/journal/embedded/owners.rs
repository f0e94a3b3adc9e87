//! Who is owned by somebody in this process.

use crate::SagaId;
use std::{
    collections::HashMap,
    mem,
    sync::{Arc, Mutex, PoisonError},
};

/// The running sagas that somebody in this process owns, and the epochs under which they do.
///
/// It is not kept in the file: no other process has the file open, so after a restart nobody owns anything.
#[derive(Debug, Clone, Default)]
pub(super) struct Owners(Arc<Mutex<HashMap<SagaId, u64>>>);

impl Owners {
    fn with<T>(&self, act: impl FnOnce(&mut HashMap<SagaId, u64>) -> T) -> T {
        // A few words in a map: nothing that can panic halfway.
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Writes down who owns a saga, and gives back who did.
    fn set(&self, id: SagaId, epoch: Option<u64>) -> Option<u64> {
        self.with(|owners| match epoch {
            Some(epoch) => owners.insert(id, epoch),
            None => owners.remove(&id),
        })
    }

    pub(super) fn has(&self, id: SagaId) -> bool {
        self.with(|owners| owners.contains_key(&id))
    }

    pub(super) fn count(&self) -> usize {
        self.with(|owners| owners.len())
    }

    fn give_back(&self, id: SagaId, epoch: u64) {
        self.with(|owners| {
            if owners.get(&id) == Some(&epoch) {
                owners.remove(&id);
            }
        });
    }
}

/// What becomes of owners in one commit: without the commit they are those that were.
pub(super) struct Changes {
    owners: Owners,
    before: Vec<(SagaId, Option<u64>)>,
}

impl Changes {
    pub(super) const fn new(owners: Owners) -> Self {
        Self { owners, before: Vec::new() }
    }

    pub(super) fn set(&mut self, id: SagaId, epoch: Option<u64>) {
        let before = self.owners.set(id, epoch);
        self.before.push((id, before));
    }

    /// There was a commit.
    pub(super) fn keep(mut self) {
        self.before.clear();
    }
}

impl Drop for Changes {
    fn drop(&mut self) {
        for (id, before) in self.before.drain(..).rev() {
            self.owners.set(id, before);
        }
    }
}

/// An answer that makes its receiver an owner. If nobody receives it, the sagas are nobody's.
pub(super) struct Taken<T> {
    answer: T,
    hold: Hold,
}

impl<T> Taken<T> {
    /// The sagas with the epochs under which they are owned.
    pub(super) fn new(answer: T, sagas: Vec<(SagaId, u64)>, owners: Owners) -> Self {
        Self { answer, hold: Hold { sagas, owners } }
    }

    /// What was answered; the receiver owns the sagas.
    pub(super) fn receive(self) -> T {
        let Self { answer, mut hold } = self;
        hold.sagas.clear();
        answer
    }
}

struct Hold {
    sagas: Vec<(SagaId, u64)>,
    owners: Owners,
}

impl Drop for Hold {
    fn drop(&mut self) {
        for (id, epoch) in mem::take(&mut self.sagas) {
            self.owners.give_back(id, epoch);
        }
    }
}
