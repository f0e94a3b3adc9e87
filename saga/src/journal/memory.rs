//! The journal that ends with the process.

use super::{
    Batch, Claim, Claimed, Created, Filter, Grant, Journal, JournalError, JournalFuture, NewSaga, Stored, Summary,
    head::{Append, Head},
};
use crate::{SagaId, Timestamp};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// How many ended sagas are kept, if nothing else is said.
const ENDED: usize = 1_024;

/// How many batches a saga of a few steps has: room is made for them at once.
const USUAL: usize = 4;

/// A journal in memory: for tests, and for sagas that need not outlive the process.
///
/// It keeps the promises of a journal while the process lives, and nothing afterwards. Clones are the same journal.
///
/// The last 1,024 sagas that ended are kept, so that one started again under its key is found. Older ones leave nothing behind,
/// and their keys are free.
///
/// # Examples
///
/// ```
/// use mainstay_saga::{SagaId, Timestamp, journal::{Batch, Created, Journal, Memory, NewSaga, Phase}};
///
/// # tokio_test::block_on(async {
/// let journal = Memory::new();
/// let now = Timestamp::from_millis(1_000);
/// let new = NewSaga { id: SagaId::new(now), saga: "order".into(), version: 1, key: "4711".into(), at: now };
/// let first = Batch { records: vec![b"created".to_vec()], nonce: 1, phase: Phase::Forward, at: now };
///
/// let Created::New(grant) = journal.create(new.clone(), first).await? else { panic!("the journal is empty") };
/// let last = Batch { records: vec![b"completed".to_vec()], nonce: 2, phase: Phase::Completed, at: now };
/// journal.append(grant, last).await?;
///
/// let records = journal.load(new.id).await?;
/// assert_eq!(records.iter().map(|record| record.seq).collect::<Vec<_>>(), [1, 2]);
/// # Ok::<_, mainstay_saga::journal::JournalError>(())
/// # }).unwrap();
/// ```
#[derive(Debug, Clone)]
pub struct Memory(Arc<Mutex<Sagas>>);

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

impl Memory {
    /// An empty one.
    pub fn new() -> Self {
        Self::with_ended(ENDED)
    }

    /// An empty one that keeps so many ended sagas.
    pub fn with_ended(keep: usize) -> Self {
        Self(Arc::new(Mutex::new(Sagas { keep, ..Sagas::default() })))
    }

    /// As after a restart: nobody owns a saga any more, and those that run can be claimed.
    ///
    /// For tests that let an engine die. One that lives goes on until its next append after somebody else's claim.
    pub fn forget_owners(&self) {
        let mut sagas = self.lock();
        let owned: Vec<_> = sagas.by_id.iter().filter(|(_, entry)| entry.owned).map(|(id, _)| *id).collect();
        for id in owned {
            sagas.change(id, |entry| entry.owned = false);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Sagas> {
        // Nothing foreign runs under the lock, so a panic under it is a bug that has been told already.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does it when the future is polled, and in one go.
    fn answer<'a, T: 'a>(
        &'a self,
        act: impl FnOnce(&mut Sagas) -> Result<T, JournalError> + Send + 'a,
    ) -> JournalFuture<'a, T> {
        Box::pin(async move { act(&mut self.lock()) })
    }
}

impl Journal for Memory {
    fn create(&self, new: NewSaga, batch: Batch) -> JournalFuture<'_, Created> {
        self.answer(move |sagas| sagas.create(&new, batch))
    }

    fn append(&self, grant: Grant, batch: Batch) -> JournalFuture<'_, Grant> {
        self.answer(move |sagas| sagas.append(grant, batch))
    }

    fn load(&self, id: SagaId) -> JournalFuture<'_, Vec<Stored>> {
        self.answer(move |sagas| Ok(sagas.entry(id)?.load()))
    }

    fn claim(&self, claim: Claim) -> JournalFuture<'_, Vec<Claimed>> {
        self.answer(move |sagas| Ok(sagas.claim(&claim)))
    }

    fn claim_one(&self, id: SagaId) -> JournalFuture<'_, Claimed> {
        self.answer(move |sagas| sagas.claim_one(id))
    }

    fn release(&self, grant: Grant, wake_at: Option<Timestamp>) -> JournalFuture<'_, ()> {
        self.answer(move |sagas| sagas.release(grant, wake_at))
    }

    fn find(&self, id: SagaId) -> JournalFuture<'_, Option<Summary>> {
        self.answer(move |sagas| Ok(sagas.by_id.get(&id).map(|entry| entry.head.summary(id))))
    }

    fn list(&self, filter: Filter, after: Option<SagaId>, at_most: usize) -> JournalFuture<'_, Vec<Summary>> {
        self.answer(move |sagas| Ok(sagas.list(&filter, after, at_most)))
    }

    fn purge(&self, ended_before: Timestamp, at_most: usize) -> JournalFuture<'_, u64> {
        self.answer(move |sagas| Ok(sagas.purge(ended_before, at_most)))
    }
}

#[derive(Debug, Default)]
struct Sagas {
    keep: usize,
    by_id: BTreeMap<SagaId, Box<Entry>>,
    by_key: HashMap<Key, SagaId>,
    /// Those that run and that nobody owns, by when they want to be claimed.
    due: BTreeSet<(Timestamp, SagaId)>,
    /// In the order in which they ended.
    ended: VecDeque<SagaId>,
}

/// Of a saga's definition and its own.
type Key = (Arc<str>, Arc<str>);

#[derive(Debug)]
struct Entry {
    head: Head,
    batches: Vec<Kept>,
    owned: bool,
}

/// A batch as it was given: records that were moved in need not be moved again.
#[derive(Debug)]
struct Kept {
    epoch: u64,
    at: Timestamp,
    records: Vec<Vec<u8>>,
}

impl Entry {
    fn key(&self) -> Key {
        (Arc::clone(&self.head.saga), Arc::clone(&self.head.key))
    }

    /// Where it stands among those that are due.
    fn due(&self) -> Option<Timestamp> {
        self.head.due().filter(|_| !self.owned)
    }

    fn push(&mut self, batch: Batch) {
        self.batches.push(Kept { epoch: self.head.epoch, at: batch.at, records: batch.records });
    }

    fn load(&self) -> Vec<Stored> {
        let records = self
            .batches
            .iter()
            .flat_map(|Kept { epoch, at, records }| records.iter().map(|bytes| (*epoch, *at, bytes.clone())));
        (1..).zip(records).map(|(seq, (epoch, at, bytes))| Stored { seq, epoch, at, bytes }).collect()
    }
}

impl Sagas {
    fn entry(&self, id: SagaId) -> Result<&Entry, JournalError> {
        self.by_id.get(&id).map(|entry| &**entry).ok_or(JournalError::NotFound)
    }

    /// Changes a saga that is there, and where it stands among those that are due.
    fn change<T>(&mut self, id: SagaId, change: impl FnOnce(&mut Entry) -> T) -> Option<T> {
        let entry = self.by_id.get_mut(&id)?;
        let before = entry.due();
        let changed = change(entry);
        let after = entry.due();
        if before != after {
            before.map(|at| self.due.remove(&(at, id)));
            after.map(|at| self.due.insert((at, id)));
        }
        Some(changed)
    }

    fn create(&mut self, new: &NewSaga, batch: Batch) -> Result<Created, JournalError> {
        let key = (Arc::clone(&new.saga), Arc::clone(&new.key));
        if let Some(&id) = self.by_key.get(&key) {
            return Ok(self.existing(id, new, &batch));
        }
        if let Some(other) = self.by_id.get(&new.id) {
            return Err(JournalError::Conflict { seq: other.head.seq });
        }
        let batches = Vec::with_capacity(USUAL);
        let mut entry = Box::new(Entry { head: Head::new(new, &batch), batches, owned: true });
        let grant = entry.head.grant(new.id);
        entry.push(batch);
        self.by_key.insert(key, new.id);
        let ends = entry.head.phase.is_ended();
        self.by_id.insert(new.id, entry);
        if ends {
            self.settle(new.id);
        }
        Ok(Created::New(grant))
    }

    /// The answer for a key that is taken: perhaps by the very same wish.
    fn existing(&mut self, id: SagaId, new: &NewSaga, batch: &Batch) -> Created {
        let own = self.change(id, |entry| {
            let own = id == new.id && entry.head.is_made_by(batch);
            entry.owned |= own;
            own.then(|| entry.head.grant(id))
        });
        own.flatten().map_or(Created::Existing(id), Created::New)
    }

    fn append(&mut self, grant: Grant, batch: Batch) -> Result<Grant, JournalError> {
        let id = grant.id;
        let ends = batch.phase.is_ended();
        let appended = self.change(id, |entry| {
            let ran = entry.head.phase.is_running();
            let append = entry.head.append(grant, &batch)?;
            // Who lets it run again is its owner.
            entry.owned |= entry.head.phase.is_running() && !ran;
            let grant = entry.head.grant(id);
            if append == Append::Write {
                entry.push(batch);
            }
            Ok((append, grant))
        });
        let (append, grant) = appended.ok_or(JournalError::NotFound)??;
        if ends && append == Append::Write {
            self.settle(id);
        }
        Ok(grant)
    }

    /// Counts a saga that has just ended, and forgets the one that ended first if there are too many.
    fn settle(&mut self, id: SagaId) {
        if let Some(entry) = self.by_id.get_mut(&id) {
            entry.owned = false;
        }
        self.ended.push_back(id);
        if self.ended.len() > self.keep
            && let Some(oldest) = self.ended.pop_front()
        {
            self.forget(oldest);
        }
    }

    fn forget(&mut self, id: SagaId) {
        if let Some(entry) = self.by_id.remove(&id) {
            self.by_key.remove(&entry.key());
            shrink(&mut self.by_key);
        }
    }

    fn claim(&mut self, claim: &Claim) -> Vec<Claimed> {
        let due = self.due.iter().take_while(|(at, _)| *at <= claim.now).map(|(_, id)| *id);
        let ours = due.filter(|id| self.by_id.get(id).is_some_and(|entry| entry.head.is_of(&claim.definitions)));
        let ours: Vec<_> = ours.take(claim.at_most).collect();
        ours.into_iter().filter_map(|id| self.claim_one(id).ok()).collect()
    }

    fn claim_one(&mut self, id: SagaId) -> Result<Claimed, JournalError> {
        let claimed = self.change(id, |entry| {
            entry.owned = true;
            entry.head.claim(id)
        });
        claimed.ok_or(JournalError::NotFound)
    }

    fn release(&mut self, grant: Grant, wake_at: Option<Timestamp>) -> Result<(), JournalError> {
        let released = self.change(grant.id, |entry| {
            entry.head.release(grant, wake_at)?;
            entry.owned = false;
            Ok(())
        });
        released.ok_or(JournalError::NotFound)?
    }

    fn list(&self, filter: &Filter, after: Option<SagaId>, at_most: usize) -> Vec<Summary> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let listed = self.by_id.range((from, Bound::Unbounded)).filter(|(_, entry)| filter.takes(&entry.head));
        listed.map(|(id, entry)| entry.head.summary(*id)).take(at_most).collect()
    }

    fn purge(&mut self, ended_before: Timestamp, at_most: usize) -> u64 {
        let ended = self.ended.iter().filter_map(|id| Some((self.by_id.get(id)?.head.updated_at, *id)));
        let mut old: Vec<_> = ended.filter(|(at, _)| *at < ended_before).collect();
        old.sort_unstable();
        let old: BTreeSet<_> = old.into_iter().take(at_most).map(|(_, id)| id).collect();
        self.ended.retain(|id| !old.contains(id));
        for id in &old {
            self.forget(*id);
        }
        old.len() as u64
    }
}

/// Gives back what a burst has left: a map does not by itself.
fn shrink(map: &mut HashMap<Key, SagaId>) {
    const SMALL: usize = 64;
    if map.capacity() > SMALL && map.len() < map.capacity() / 4 {
        map.shrink_to(map.len() * 2);
    }
}
