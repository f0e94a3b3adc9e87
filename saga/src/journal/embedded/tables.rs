//! The tables of the file.
//!
//! All about a saga is kept by its id. Ids ascend with time, so sagas that run together share pages, and a commit of many appends
//! writes few of them.

use super::row;
use crate::{
    SagaId, Timestamp,
    journal::{Filter, JournalError, Stored, Summary, head::Head},
};
use redb::{
    Error, ReadTransaction, ReadableTable, ReadableTableMetadata, Table, TableDefinition, TableError, WriteTransaction,
};
use std::ops::Bound;

/// What is known of each saga, as [`row`] writes it.
const HEADS: TableDefinition<'_, u128, &[u8]> = TableDefinition::new("heads");
/// A batch of records by the number of its first.
const BATCHES: TableDefinition<'_, (u128, u64), &[u8]> = TableDefinition::new("batches");
/// Who has a key: the name of the definition, and the key.
const KEYS: TableDefinition<'_, (&str, &str), u128> = TableDefinition::new("keys");
/// Who runs and is not waiting for a signal, by the time from which on it may be claimed.
const DUE: TableDefinition<'_, (u64, u128), ()> = TableDefinition::new("due");
const PHASES: TableDefinition<'_, (u8, u128), ()> = TableDefinition::new("phases");
/// Who has ended, by when.
const ENDED: TableDefinition<'_, (u64, u128), ()> = TableDefinition::new("ended");
/// About the file.
const ABOUT: TableDefinition<'_, &str, u64> = TableDefinition::new(NAME);
/// The table that every journal has.
pub(super) const NAME: &str = "about";

/// The form of the tables.
const FORM: &str = "form";
/// How many commits there were: it tells whether one of which there was no answer has happened.
const COMMITS: &str = "commits";

/// The tables, to be written.
pub(super) struct Tables<'t> {
    heads: Table<'t, u128, &'static [u8]>,
    batches: Table<'t, (u128, u64), &'static [u8]>,
    keys: Table<'t, (&'static str, &'static str), u128>,
    due: Table<'t, (u64, u128), ()>,
    phases: Table<'t, (u8, u128), ()>,
    ended: Table<'t, (u64, u128), ()>,
    about: Table<'t, &'static str, u64>,
}

impl<'t> Tables<'t> {
    pub(super) fn open(transaction: &'t WriteTransaction) -> Result<Self, TableError> {
        Ok(Self {
            heads: transaction.open_table(HEADS)?,
            batches: transaction.open_table(BATCHES)?,
            keys: transaction.open_table(KEYS)?,
            due: transaction.open_table(DUE)?,
            phases: transaction.open_table(PHASES)?,
            ended: transaction.open_table(ENDED)?,
            about: transaction.open_table(ABOUT)?,
        })
    }

    pub(super) fn set_form(&mut self, form: u64) -> Result<(), Error> {
        self.about.insert(FORM, form)?;
        Ok(())
    }

    /// Counts this commit.
    pub(super) fn count(&mut self) -> Result<u64, Error> {
        let commits = self.about.get(COMMITS)?.map_or(0, |commits| commits.value()).wrapping_add(1);
        self.about.insert(COMMITS, commits)?;
        Ok(commits)
    }

    pub(super) fn head(&self, id: SagaId) -> Result<Result<Head, JournalError>, Error> {
        head(&self.heads, id)
    }

    pub(super) fn has(&self, id: SagaId) -> Result<bool, Error> {
        Ok(self.heads.get(id.to_u128())?.is_some())
    }

    /// Who has this key.
    pub(super) fn find(&self, saga: &str, key: &str) -> Result<Option<SagaId>, Error> {
        Ok(self.keys.get((saga, key))?.map(|id| SagaId::from_u128(id.value())))
    }

    pub(super) fn set_key(&mut self, head: &Head, id: SagaId) -> Result<(), Error> {
        self.keys.insert((&*head.saga, &*head.key), id.to_u128())?;
        Ok(())
    }

    pub(super) fn put_batch(&mut self, id: SagaId, first: u64, row: &[u8]) -> Result<(), Error> {
        self.batches.insert((id.to_u128(), first), row)?;
        Ok(())
    }

    /// Writes a head, and moves what depends on it.
    pub(super) fn put_head(&mut self, id: SagaId, before: Option<&Head>, head: &Head) -> Result<(), Error> {
        self.heads.insert(id.to_u128(), &*row::of_head(head))?;
        let places = (before.map(Places::of).unwrap_or_default(), Places::of(head));
        self.move_to(id, places.0, places.1)
    }

    fn move_to(&mut self, id: SagaId, from: Places, to: Places) -> Result<(), Error> {
        let id = id.to_u128();
        r#move(&mut self.due, id, from.due, to.due)?;
        r#move(&mut self.phases, id, from.phase, to.phase)?;
        r#move(&mut self.ended, id, from.ended, to.ended)
    }

    /// How many sagas may be claimed, now or later, by whoever owns them.
    pub(super) fn due_count(&self) -> Result<u64, Error> {
        Ok(self.due.len()?)
    }

    /// Who may be claimed at this moment, whoever owns them, in the order of their times.
    pub(super) fn due(&self, now: Timestamp) -> Result<impl Iterator<Item = Result<SagaId, Error>>, Error> {
        let due = self.due.range(..=(now.as_millis(), u128::MAX))?;
        Ok(due.map(|row| Ok(SagaId::from_u128(row?.0.value().1))))
    }

    /// Who ended before this moment, at most so many.
    pub(super) fn ended(&self, before: Timestamp, at_most: usize) -> Result<Vec<(Timestamp, SagaId)>, Error> {
        let rows = self.ended.range(..(before.as_millis(), 0))?.take(at_most);
        rows.map(|row| {
            let (at, id) = row?.0.value();
            Ok((Timestamp::from_millis(at), SagaId::from_u128(id)))
        })
        .collect()
    }

    /// Forgets a saga that has ended. What it had is found even if its head cannot be read.
    pub(super) fn forget(&mut self, ended_at: Timestamp, id: SagaId) -> Result<(), Error> {
        if let Ok(head) = self.head(id)? {
            self.keys.remove((&*head.saga, &*head.key))?;
        }
        let number = id.to_u128();
        self.heads.remove(number)?;
        self.batches.retain_in((number, 0)..=(number, u64::MAX), |_, _| false)?;
        for phase in row::PHASES {
            self.phases.remove((row::of_phase(phase), number))?;
        }
        self.ended.remove((ended_at.as_millis(), number))?;
        Ok(())
    }
}

/// Where a saga stands in the tables that are sorted by something else than its id.
#[derive(Debug, Clone, Copy, Default)]
struct Places {
    due: Option<u64>,
    phase: Option<u8>,
    ended: Option<u64>,
}

impl Places {
    fn of(head: &Head) -> Self {
        Self {
            due: head.due().map(Timestamp::as_millis),
            phase: Some(row::of_phase(head.phase)),
            ended: head.phase.is_ended().then_some(head.updated_at.as_millis()),
        }
    }
}

/// Moves a saga in a table, if there is anything to move.
fn r#move<P>(table: &mut Table<'_, (P, u128), ()>, id: u128, from: Option<P>, to: Option<P>) -> Result<(), Error>
where
    P: redb::Key + PartialEq + Copy + for<'a> redb::Value<SelfType<'a> = P>,
{
    if from == to {
        return Ok(());
    }
    if let Some(from) = from {
        table.remove((from, id))?;
    }
    if let Some(to) = to {
        table.insert((to, id), ())?;
    }
    Ok(())
}

fn head(heads: &impl ReadableTable<u128, &'static [u8]>, id: SagaId) -> Result<Result<Head, JournalError>, Error> {
    let row = heads.get(id.to_u128())?;
    Ok(row.map_or(Err(JournalError::NotFound), |row| row::head(id, row.value())))
}

/// The form of the tables.
pub(super) fn form(transaction: &ReadTransaction) -> Result<Option<u64>, Error> {
    Ok(transaction.open_table(ABOUT)?.get(FORM)?.map(|form| form.value()))
}

/// How many commits there were.
pub(super) fn commits(transaction: &ReadTransaction) -> Result<u64, Error> {
    Ok(transaction.open_table(ABOUT)?.get(COMMITS)?.map_or(0, |commits| commits.value()))
}

pub(super) fn find(transaction: &ReadTransaction, id: SagaId) -> Result<Result<Summary, JournalError>, Error> {
    Ok(head(&transaction.open_table(HEADS)?, id)?.map(|head| head.summary(id)))
}

pub(super) fn load(transaction: &ReadTransaction, id: SagaId) -> Result<Result<Vec<Stored>, JournalError>, Error> {
    let head = match head(&transaction.open_table(HEADS)?, id)? {
        Ok(head) => head,
        Err(error) => return Ok(Err(error)),
    };
    let batches = transaction.open_table(BATCHES)?;
    let number = id.to_u128();
    let mut stored = Vec::new();
    for row in batches.range((number, 0)..=(number, u64::MAX))? {
        let (key, value) = row?;
        if let Err(error) = row::batch(id, key.value().1, value.value(), &mut stored) {
            return Ok(Err(error));
        }
    }
    if stored.len() as u64 != head.seq {
        return Ok(Err(row::corrupt(format_args!("saga {id} has {} records of {}", stored.len(), head.seq))));
    }
    Ok(Ok(stored))
}

/// Summaries by ascending id. One whose head cannot be read is left out, so that it hides no other.
pub(super) fn list(
    transaction: &ReadTransaction,
    filter: &Filter,
    after: Option<SagaId>,
    at_most: usize,
) -> Result<Vec<Summary>, Error> {
    let heads = transaction.open_table(HEADS)?;
    let after = after.map(SagaId::to_u128);
    let summary = |id: u128, row: &[u8]| {
        let id = SagaId::from_u128(id);
        row::head(id, row).ok().filter(|head| filter.takes(head)).map(|head| head.summary(id))
    };
    if filter.phases.is_empty() {
        let rows = heads.range((after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded))?;
        let listed = rows.filter_map(|row| row.map(|(id, row)| summary(id.value(), row.value())).transpose());
        return Ok(listed.take(at_most).collect::<Result<_, _>>()?);
    }
    let phases = transaction.open_table(PHASES)?;
    let mut listed = Vec::new();
    for phase in row::PHASES.into_iter().filter(|phase| filter.phases.contains(phase)).map(row::of_phase) {
        let from = after.map_or(Bound::Included((phase, 0)), |after| Bound::Excluded((phase, after)));
        let ids = phases.range((from, Bound::Included((phase, u128::MAX))))?;
        let found = ids.filter_map(|row| {
            let found = row.and_then(|(key, _)| {
                let id = key.value().1;
                Ok(heads.get(id)?.and_then(|row| summary(id, row.value())))
            });
            found.transpose()
        });
        listed.extend(found.take(at_most).collect::<Result<Vec<_>, _>>()?);
    }
    listed.sort_unstable_by_key(|summary: &Summary| summary.id);
    listed.truncate(at_most);
    Ok(listed)
}
