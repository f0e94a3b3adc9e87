//! What is asked for in one commit.

use super::{
    owners::{Changes, Owners, Taken},
    row,
    tables::Tables,
};
use crate::{
    SagaId, Timestamp,
    journal::{
        Batch, Claim, Claimed, Created, Grant, JournalError, NewSaga,
        head::{Append, Head},
    },
};
use redb::Error;

/// What a request comes to: the outer error is that of the file, and ends the whole commit.
pub(super) type Answer<T> = Result<Result<T, JournalError>, Error>;

/// More in one batch is more than the file can hold in one row.
const LONGEST: usize = 1 << 30;

/// The changes of one commit. Each request is done whole or refused before it changes anything.
pub(super) struct Change<'t> {
    tables: Tables<'t>,
    owners: &'t Owners,
    owned: Changes,
    written: bool,
}

impl<'t> Change<'t> {
    pub(super) fn new(tables: Tables<'t>, owners: &'t Owners) -> Self {
        Self { tables, owners, owned: Changes::new(owners.clone()), written: false }
    }

    /// The number of the commit, if there is anything to commit, and what it does to owners.
    pub(super) fn finish(mut self) -> Result<(Option<u64>, Changes), Error> {
        let commit = if self.written { Some(self.tables.count()?) } else { None };
        Ok((commit, self.owned))
    }

    pub(super) fn create(&mut self, new: &NewSaga, batch: &Batch) -> Answer<Taken<Created>> {
        if let Some(id) = self.tables.find(&new.saga, &new.key)? {
            match self.tables.head(id)? {
                Ok(head) if id == new.id && head.is_made_by(batch) => return Ok(Ok(self.made(id, &head))),
                // Its head is gone, so it was damaged when it was forgotten: the key is free.
                Err(JournalError::NotFound) => {}
                Ok(_) | Err(_) => return Ok(Ok(Taken::new(Created::Existing(id), Vec::new(), self.owners.clone()))),
            }
        }
        if self.tables.has(new.id)? {
            return Ok(self.tables.head(new.id)?.and_then(|other| Err(JournalError::Conflict { seq: other.seq })));
        }
        let head = Head::new(new, batch);
        if let Err(error) = self.write(new.id, None, &head, batch)? {
            return Ok(Err(error));
        }
        self.tables.set_key(&head, new.id)?;
        Ok(Ok(self.made(new.id, &head)))
    }

    /// The answer to whoever made a saga.
    fn made(&mut self, id: SagaId, head: &Head) -> Taken<Created> {
        self.own(id, head);
        Taken::new(Created::New(head.grant(id)), vec![(id, head.epoch)], self.owners.clone())
    }

    pub(super) fn append(&mut self, grant: Grant, batch: &Batch) -> Answer<Grant> {
        let before = match self.tables.head(grant.id)? {
            Ok(head) => head,
            Err(error) => return Ok(Err(error)),
        };
        let mut head = before.clone();
        match head.append(grant, batch) {
            Err(error) => return Ok(Err(error)),
            Ok(Append::Repeated) => return Ok(Ok(head.grant(grant.id))),
            Ok(Append::Write) => {}
        }
        if let Err(error) = self.write(grant.id, Some(&before), &head, batch)? {
            return Ok(Err(error));
        }
        if before.phase.is_running() != head.phase.is_running() {
            self.own(grant.id, &head);
        }
        Ok(Ok(head.grant(grant.id)))
    }

    fn write(&mut self, id: SagaId, before: Option<&Head>, head: &Head, batch: &Batch) -> Answer<()> {
        let row = row::of_batch(head.epoch, batch);
        if row.len() > LONGEST {
            return Ok(Err(JournalError::Full));
        }
        self.written = true;
        if !batch.records.is_empty() {
            self.tables.put_batch(id, head.base.saturating_add(1), &row)?;
        }
        self.tables.put_head(id, before, head)?;
        Ok(Ok(()))
    }

    pub(super) fn claim(&mut self, claim: &Claim) -> Answer<Taken<Vec<Claimed>>> {
        let mut ours = Vec::new();
        if self.tables.due_count()? > self.owners.count() as u64 {
            for id in self.tables.due(claim.now)? {
                if ours.len() >= claim.at_most {
                    break;
                }
                let id = id?;
                if self.owners.has(id) {
                    continue;
                }
                // One whose head cannot be read delays no other.
                ours.extend(
                    self.tables.head(id)?.ok().filter(|head| head.is_of(&claim.definitions)).map(|head| (id, head)),
                );
            }
        }
        let claimed: Vec<_> = ours.into_iter().map(|(id, head)| self.take(id, &head)).collect::<Result<_, _>>()?;
        let sagas = claimed.iter().map(|Claimed { grant, .. }| (grant.id, grant.epoch)).collect();
        Ok(Ok(Taken::new(claimed, sagas, self.owners.clone())))
    }

    pub(super) fn claim_one(&mut self, id: SagaId) -> Answer<Taken<Claimed>> {
        let head = match self.tables.head(id)? {
            Ok(head) => head,
            Err(error) => return Ok(Err(error)),
        };
        let claimed = self.take(id, &head)?;
        let sagas = vec![(id, claimed.grant.epoch)];
        Ok(Ok(Taken::new(claimed, sagas, self.owners.clone())))
    }

    fn take(&mut self, id: SagaId, before: &Head) -> Result<Claimed, Error> {
        let mut head = before.clone();
        let claimed = head.claim(id);
        self.put(id, before, &head)?;
        self.own(id, &head);
        Ok(claimed)
    }

    pub(super) fn release(&mut self, grant: Grant, wake_at: Option<Timestamp>) -> Answer<()> {
        let before = match self.tables.head(grant.id)? {
            Ok(head) => head,
            Err(error) => return Ok(Err(error)),
        };
        let mut head = before.clone();
        if let Err(error) = head.release(grant, wake_at) {
            return Ok(Err(error));
        }
        if head != before {
            self.put(grant.id, &before, &head)?;
        }
        self.owned.set(grant.id, None);
        Ok(Ok(()))
    }

    fn put(&mut self, id: SagaId, before: &Head, head: &Head) -> Result<(), Error> {
        self.written = true;
        self.tables.put_head(id, Some(before), head)
    }

    pub(super) fn purge(&mut self, ended_before: Timestamp, at_most: usize) -> Answer<u64> {
        let ended = self.tables.ended(ended_before, at_most)?;
        for &(at, id) in &ended {
            self.written = true;
            self.tables.forget(at, id)?;
        }
        Ok(Ok(ended.len() as u64))
    }

    /// The asker owns the saga; one that does not run need not be owned.
    fn own(&mut self, id: SagaId, head: &Head) {
        self.owned.set(id, head.phase.is_running().then_some(head.epoch));
    }
}
