//! What the checks have in common.

use super::Breach;
use crate::{
    SagaId, Timestamp,
    journal::{Batch, Claim, Claimed, Created, Filter, Grant, Journal, JournalError, NewSaga, Phase, Stored, Summary},
};
use std::{
    fmt::Display,
    future::poll_fn,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::Poll,
};

pub(super) type Checked = Result<(), Breach>;

/// Ends a check unless this holds.
macro_rules! ensure {
    ($holds:expr, $($why:tt)+) => {
        if !$holds {
            return Err($crate::testkit::journal::Breach::new(format_args!($($why)+)));
        }
    };
}
pub(super) use ensure;

/// The time of day in all checks.
pub(super) const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

pub(super) const fn later(millis: u64) -> Timestamp {
    Timestamp::from_millis(NOW.as_millis() + millis)
}

/// A journal, and what is to be written in it.
pub(super) struct Work<J> {
    pub(super) journal: Arc<J>,
    next: AtomicU64,
}

impl<J: Journal> Work<J> {
    pub(super) fn new(journal: J) -> Self {
        Self { journal: Arc::new(journal), next: AtomicU64::new(1) }
    }

    /// The journal, when nobody else has it any more.
    pub(super) fn into_inner(self) -> Result<J, Breach> {
        Arc::into_inner(self.journal).ok_or_else(|| Breach::new("a future has kept the journal after it was dropped"))
    }

    /// A number that there was not before.
    pub(super) fn number(&self) -> u64 {
        // Relaxed: only the number matters, and each is given once in whatever order.
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn new_saga(&self) -> NewSaga {
        let number = self.number();
        let id = SagaId::from_u128(u128::from(number) << 64 | 7);
        NewSaga { id, saga: "order".into(), version: 1, key: format!("key {number}").into(), at: NOW }
    }

    pub(super) fn batch(&self, records: usize) -> Batch {
        let nonce = self.number();
        let record = |at| format!("record {at} of batch {nonce}").into_bytes();
        Batch { records: (0..records).map(record).collect(), nonce, phase: Phase::Forward, at: later(nonce) }
    }

    pub(super) async fn create(&self, new: NewSaga, batch: Batch) -> Result<Grant, Breach> {
        match self.journal.create(new, batch).await.or_breach("to make a saga")? {
            Created::New(grant) => Ok(grant),
            Created::Existing(id) => Err(Breach::new(format_args!("a saga of a new key is that of {id}"))),
        }
    }

    /// Makes a saga of two records, which belongs to the caller.
    pub(super) async fn start(&self) -> Result<Grant, Breach> {
        self.create(self.new_saga(), self.batch(2)).await
    }

    /// Makes a saga that waits until this time.
    pub(super) async fn start_waiting(&self, until: Timestamp) -> Result<SagaId, Breach> {
        let grant = self.start().await?;
        self.release(grant, Some(until)).await?;
        Ok(grant.id)
    }

    pub(super) async fn append(&self, grant: Grant, batch: Batch) -> Result<Grant, Breach> {
        self.journal.append(grant, batch).await.or_breach("to append")
    }

    /// Adds one record, after which the saga stands so.
    pub(super) async fn turn(&self, grant: Grant, phase: Phase) -> Result<Grant, Breach> {
        self.append(grant, Batch { phase, ..self.batch(1) }).await
    }

    pub(super) async fn release(&self, grant: Grant, wake_at: Option<Timestamp>) -> Checked {
        self.journal.release(grant, wake_at).await.or_breach("to release")
    }

    pub(super) async fn load(&self, id: SagaId) -> Result<Vec<Stored>, Breach> {
        self.journal.load(id).await.or_breach("to load")
    }

    pub(super) async fn claim_one(&self, id: SagaId) -> Result<Grant, Breach> {
        Ok(self.journal.claim_one(id).await.or_breach("to claim one saga")?.grant)
    }

    pub(super) async fn claim(&self, now: Timestamp, at_most: usize) -> Result<Vec<Claimed>, Breach> {
        self.journal.claim(claim(now, at_most)).await.or_breach("to claim")
    }

    /// The ids of those that are claimed.
    pub(super) async fn claim_ids(&self, now: Timestamp, at_most: usize) -> Result<Vec<SagaId>, Breach> {
        Ok(self.claim(now, at_most).await?.iter().map(|claimed| claimed.grant.id).collect())
    }

    pub(super) async fn summary(&self, id: SagaId) -> Result<Summary, Breach> {
        let found = self.journal.find(id).await.or_breach("to find")?;
        found.ok_or_else(|| Breach::new(format_args!("saga {id} is not found")))
    }

    pub(super) async fn list(
        &self,
        filter: Filter,
        after: Option<SagaId>,
        at_most: usize,
    ) -> Result<Vec<Summary>, Breach> {
        self.journal.list(filter, after, at_most).await.or_breach("to list")
    }
}

/// A claim of sagas of the definition of all checks.
pub(super) fn claim(now: Timestamp, at_most: usize) -> Claim {
    Claim { definitions: [("order".into(), 1)].into(), now, at_most }
}

/// What a journal holds of a batch.
pub(super) fn stored(epoch: u64, from: u64, batch: &Batch) -> Vec<Stored> {
    let one = |(seq, bytes): (u64, &Vec<u8>)| Stored { seq, epoch, at: batch.at, bytes: bytes.clone() };
    (from..).zip(&batch.records).map(one).collect()
}

/// Where two lists begin to differ; whole lists are too long to be read.
pub(super) fn difference<T: PartialEq>(left: &[T], right: &[T]) -> String {
    let same = left.iter().zip(right).take_while(|(left, right)| left == right).count();
    format!("{} instead of {}, different from number {} on", left.len(), right.len(), same + 1)
}

/// An answer that has to be there.
pub(super) trait OrBreach<T> {
    fn or_breach(self, what: impl Display) -> Result<T, Breach>;
}

impl<T> OrBreach<T> for Result<T, JournalError> {
    fn or_breach(self, what: impl Display) -> Result<T, Breach> {
        self.map_err(|error| Breach::new(format_args!("the journal refuses {what}: {error}")))
    }
}

/// Polls a future so often at most, and drops it.
pub(super) async fn polled<F: Future>(times: usize, future: F) -> Option<F::Output> {
    if times == 0 {
        return None;
    }
    let mut future = pin!(future);
    let mut polls = 0;
    poll_fn(|context| {
        polls += 1;
        match future.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if polls < times => Poll::Pending,
            Poll::Pending => Poll::Ready(None),
        }
    })
    .await
}
