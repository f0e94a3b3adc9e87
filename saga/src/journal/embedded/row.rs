//! How heads and batches are written in rows.
//!
//! Little-endian numbers of fixed width, texts and records with their lengths before them. Each row begins with the number of its
//! form, so that one of a later version is told from a damaged one.

use crate::{
    SagaId, Timestamp,
    journal::{Batch, JournalError, Phase, Stored, head::Head},
};
use std::{fmt::Display, sync::Arc};

/// The form of the rows below.
const ROW: u8 = 1;

pub(super) fn of_head(head: &Head) -> Vec<u8> {
    let mut row = Vec::with_capacity(96 + head.saga.len() + head.key.len());
    row.extend([ROW, of_phase(head.phase), u8::from(head.wake_at.is_some())]);
    row.extend(head.version.to_le_bytes());
    let moments = [head.created_at, head.updated_at, head.wake_at.unwrap_or(Timestamp::from_millis(0))];
    let numbers = [head.epoch, head.seq, head.base, head.nonce].into_iter().chain(moments.map(Timestamp::as_millis));
    row.extend(numbers.flat_map(u64::to_le_bytes));
    for text in [&head.saga, &head.key] {
        row.extend((text.len() as u64).to_le_bytes());
        row.extend(text.as_bytes());
    }
    row
}

pub(super) fn head(id: SagaId, row: &[u8]) -> Result<Head, JournalError> {
    read_head(&mut Cursor(row))
        .ok_or_else(|| corrupt(format_args!("the head of saga {id} is damaged, or of a later form")))
}

fn read_head(row: &mut Cursor<'_>) -> Option<Head> {
    let [ROW, phase, wakes] = row.take()? else { return None };
    let version = u32::from_le_bytes(row.take()?);
    let [epoch, seq, base, nonce] = [row.number()?, row.number()?, row.number()?, row.number()?];
    let [created_at, updated_at, wake_at] = [row.moment()?, row.moment()?, row.moment()?];
    let (saga, key) = (row.text()?, row.text()?);
    let wake_at = (wakes != 0).then_some(wake_at);
    let phase = phase_of(phase)?;
    row.0.is_empty().then_some(Head {
        saga,
        version,
        key,
        phase,
        epoch,
        seq,
        base,
        nonce,
        created_at,
        updated_at,
        wake_at,
    })
}

pub(super) fn of_batch(epoch: u64, batch: &Batch) -> Vec<u8> {
    let bytes: usize = batch.records.iter().map(|record| record.len() + size_of::<u64>()).sum();
    let mut row = Vec::with_capacity(1 + 2 * size_of::<u64>() + bytes);
    row.push(ROW);
    row.extend(epoch.to_le_bytes());
    row.extend(batch.at.as_millis().to_le_bytes());
    for record in &batch.records {
        row.extend((record.len() as u64).to_le_bytes());
        row.extend(record);
    }
    row
}

/// Adds the records of a batch, if they are those that follow.
pub(super) fn batch(id: SagaId, first: u64, row: &[u8], stored: &mut Vec<Stored>) -> Result<(), JournalError> {
    let next = stored.len() as u64 + 1;
    if first != next {
        return Err(corrupt(format_args!("of saga {id}, record {next} is followed by number {first}")));
    }
    read_batch(&mut Cursor(row), stored).ok_or_else(|| {
        corrupt(format_args!("the records of saga {id} from {first} on are damaged, or of a later form"))
    })
}

fn read_batch(row: &mut Cursor<'_>, stored: &mut Vec<Stored>) -> Option<()> {
    let [ROW] = row.take()? else { return None };
    let (epoch, at) = (row.number()?, row.moment()?);
    while !row.0.is_empty() {
        let bytes = row.bytes()?.to_vec();
        stored.push(Stored { seq: stored.len() as u64 + 1, epoch, at, bytes });
    }
    Some(())
}

pub(super) fn corrupt(what: impl Display) -> JournalError {
    JournalError::Corrupt(what.to_string().into())
}

pub(super) const PHASES: [Phase; 6] =
    [Phase::Forward, Phase::Backward, Phase::Parked, Phase::Completed, Phase::Compensated, Phase::Abandoned];

/// The numbers that phases have in the file: they never change.
pub(super) const fn of_phase(phase: Phase) -> u8 {
    match phase {
        Phase::Forward => 0,
        Phase::Backward => 1,
        Phase::Parked => 2,
        Phase::Completed => 3,
        Phase::Compensated => 4,
        Phase::Abandoned => 5,
    }
}

fn phase_of(number: u8) -> Option<Phase> {
    PHASES.get(usize::from(number)).copied()
}

/// What is left to read.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    fn number(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    fn moment(&mut self) -> Option<Timestamp> {
        self.number().map(Timestamp::from_millis)
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn text(&mut self) -> Option<Arc<str>> {
        str::from_utf8(self.bytes()?).ok().map(Arc::from)
    }
}
