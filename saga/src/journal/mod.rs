//! Where records are kept.

#[cfg(feature = "redb")]
pub(crate) mod embedded;
mod head;
mod memory;

#[cfg(feature = "redb")]
pub use embedded::{Embedded, EmbeddedConfig, OpenError};
pub use memory::Memory;

use crate::{SagaId, Timestamp};
use mainstay_core::BoxError;
use std::{
    fmt::{self, Display, Formatter},
    pin::Pin,
    sync::Arc,
};

/// What a journal answers with.
///
/// Boxed, so that an engine need not be generic over its journal: next to a commit an allocation is nothing.
pub type JournalFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, JournalError>> + Send + 'a>>;

/// Where the records of sagas are kept, and who may add to them.
///
/// A journal knows nothing of what records say: it keeps bytes in order, and lets only the owner of a saga add to them. Who
/// claims a saga gets a higher *epoch*, from which moment on every append under a lower one is refused, also one that is
/// already under way. So two owners never write the same story, even if the first one wakes up late. Nothing is added to a saga
/// that has ended.
///
/// `mainstay_saga::journal_suite!` (feature `testkit`) checks an implementation, promise by promise.
///
/// # Cancel safety
///
/// A future that is dropped leaves what it asked for done or not done, never half done. A saga that it made or claimed without
/// saying so is nobody's, and can be claimed.
pub trait Journal: Send + Sync + 'static {
    /// Makes a saga with its first records, unless one of this name and key is there.
    ///
    /// Asked again with the same id and nonce after its answer was lost, it answers [`New`](Created::New) again, unless somebody has
    /// claimed the saga or added to it since.
    fn create(&self, new: NewSaga, batch: Batch) -> JournalFuture<'_, Created>;

    /// Adds records, all or none, if the epoch and the number of records are those of the grant.
    ///
    /// The answer comes after they are as durable as the journal makes them. Asked again with the same nonce after its answer
    /// was lost, it says that they are there.
    fn append(&self, grant: Grant, batch: Batch) -> JournalFuture<'_, Grant>;

    /// All records of a saga in order, as they were written.
    fn load(&self, id: SagaId) -> JournalFuture<'_, Vec<Stored>>;

    /// Takes sagas that are due: running, with nobody who owns them *in this process or another live one*, and of one of
    /// these definitions; those first that are due longest. Each gets a higher epoch.
    fn claim(&self, claim: Claim) -> JournalFuture<'_, Vec<Claimed>>;

    /// Takes this one saga whatever its phase, from whoever has it. For operators.
    fn claim_one(&self, id: SagaId) -> JournalFuture<'_, Claimed>;

    /// Gives a saga back, to be claimed from `wake_at` on; `None` for one that waits for a signal, and so is only taken by
    /// [`claim_one`](Self::claim_one).
    ///
    /// One that was not given back before the process died is due at once.
    fn release(&self, grant: Grant, wake_at: Option<Timestamp>) -> JournalFuture<'_, ()>;

    /// What is known of a saga without reading its records.
    fn find(&self, id: SagaId) -> JournalFuture<'_, Option<Summary>>;

    /// Summaries by ascending id, after this one.
    fn list(&self, filter: Filter, after: Option<SagaId>, at_most: usize) -> JournalFuture<'_, Vec<Summary>>;

    /// Forgets sagas that ended before this moment, at most so many and the oldest ends first, and says how many there were.
    fn purge(&self, ended_before: Timestamp, at_most: usize) -> JournalFuture<'_, u64>;
}

impl<J: Journal + ?Sized> Journal for Arc<J> {
    fn create(&self, new: NewSaga, batch: Batch) -> JournalFuture<'_, Created> {
        (**self).create(new, batch)
    }

    fn append(&self, grant: Grant, batch: Batch) -> JournalFuture<'_, Grant> {
        (**self).append(grant, batch)
    }

    fn load(&self, id: SagaId) -> JournalFuture<'_, Vec<Stored>> {
        (**self).load(id)
    }

    fn claim(&self, claim: Claim) -> JournalFuture<'_, Vec<Claimed>> {
        (**self).claim(claim)
    }

    fn claim_one(&self, id: SagaId) -> JournalFuture<'_, Claimed> {
        (**self).claim_one(id)
    }

    fn release(&self, grant: Grant, wake_at: Option<Timestamp>) -> JournalFuture<'_, ()> {
        (**self).release(grant, wake_at)
    }

    fn find(&self, id: SagaId) -> JournalFuture<'_, Option<Summary>> {
        (**self).find(id)
    }

    fn list(&self, filter: Filter, after: Option<SagaId>, at_most: usize) -> JournalFuture<'_, Vec<Summary>> {
        (**self).list(filter, after, at_most)
    }

    fn purge(&self, ended_before: Timestamp, at_most: usize) -> JournalFuture<'_, u64> {
        (**self).purge(ended_before, at_most)
    }
}

/// The right to add to a saga's records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    /// The saga.
    pub id: SagaId,
    /// Raised by each claim.
    pub epoch: u64,
    /// How many records there are.
    pub seq: u64,
}

/// A saga that is to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSaga {
    /// Its name.
    pub id: SagaId,
    /// The name of its definition.
    pub saga: Arc<str>,
    /// The version of its definition.
    pub version: u32,
    /// Unique among the sagas of this name, whatever their version.
    pub key: Arc<str>,
    /// The moment, for those who list.
    pub at: Timestamp,
}

/// What became of a wish to make a saga.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    /// It is there, and belongs to the caller.
    New(Grant),
    /// There was one with this key; it belongs to whom it belongs.
    Existing(SagaId),
}

/// Records that are added together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// What [`Record::encode`](crate::Record::encode) gave.
    pub records: Vec<Vec<u8>>,
    /// Random; equal for repetitions of one append.
    pub nonce: u64,
    /// The phase of the saga after them.
    pub phase: Phase,
    /// The moment, for those who list.
    pub at: Timestamp,
}

/// How a saga stands, as far as a journal has to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// Its steps run.
    Forward,
    /// It is being undone.
    Backward,
    /// It waits for an operator.
    Parked,
    /// All steps have succeeded.
    Completed,
    /// All has been undone.
    Compensated,
    /// An operator gave it up.
    Abandoned,
}

impl Phase {
    /// Whether something is still to be done without an operator.
    pub const fn is_running(self) -> bool {
        matches!(self, Self::Forward | Self::Backward)
    }

    /// Whether nothing will ever follow.
    pub const fn is_ended(self) -> bool {
        matches!(self, Self::Completed | Self::Compensated | Self::Abandoned)
    }
}

/// A record as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Counts from one, without gaps.
    pub seq: u64,
    /// The epoch of whoever wrote it.
    pub epoch: u64,
    /// When it was written; information only.
    pub at: Timestamp,
    /// What [`Record::encode`](crate::Record::encode) gave.
    pub bytes: Vec<u8>,
}

/// What an engine asks for when it claims.
#[derive(Debug, Clone)]
pub struct Claim {
    /// The definitions that it has, by name and version.
    pub definitions: Arc<[(Arc<str>, u32)]>,
    /// Who is due at this moment.
    pub now: Timestamp,
    /// So many at most.
    pub at_most: usize,
}

/// A saga that was claimed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    /// The right to add to it.
    pub grant: Grant,
    /// The name of its definition.
    pub saga: Arc<str>,
    /// The version of its definition.
    pub version: u32,
}

/// What is known of a saga without reading its records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Its name.
    pub id: SagaId,
    /// The name of its definition.
    pub saga: Arc<str>,
    /// The version of its definition.
    pub version: u32,
    /// The key that it was started with.
    pub key: Arc<str>,
    /// How it stands.
    pub phase: Phase,
    /// How often it was claimed, and made.
    pub epoch: u64,
    /// How many records there are.
    pub seq: u64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When the last record was added.
    pub updated_at: Timestamp,
}

/// Which sagas are listed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only those of this name.
    pub saga: Option<Arc<str>>,
    /// Only those of these phases; empty: all.
    pub phases: Vec<Phase>,
}

impl Filter {
    fn takes(&self, head: &head::Head) -> bool {
        self.saga.as_ref().is_none_or(|saga| *saga == head.saga)
            && (self.phases.is_empty() || self.phases.contains(&head.phase))
    }
}

/// Why a journal did not do what it was asked for.
#[derive(Debug)]
#[non_exhaustive]
pub enum JournalError {
    /// Somebody else has claimed the saga: whoever asked has to forget it.
    Fenced {
        /// The epoch of the owner.
        current: u64,
    },
    /// There are other records than the owner knows of, under its own epoch. A bug; the saga should be parked.
    Conflict {
        /// How many records there are.
        seq: u64,
    },
    /// There is no saga of this name.
    NotFound,
    /// Nothing was done; asked again, it may be.
    Transient(BoxError),
    /// It may have been done; asked again with the same nonce, it is done once.
    Ambiguous(BoxError),
    /// What is kept of the saga itself, not of its records, cannot be read.
    Corrupt(BoxError),
    /// There is no room. Nothing was done.
    Full,
    /// The journal is closed, and will not open again.
    Closed,
}

impl Display for JournalError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fenced { current } => write!(f, "the saga was claimed by another owner, in epoch {current}"),
            Self::Conflict { seq } => write!(f, "the saga has {seq} records, and its owner knows others"),
            Self::NotFound => f.write_str("there is no such saga"),
            Self::Transient(error) => write!(f, "the journal did nothing: {error}"),
            Self::Ambiguous(error) => write!(f, "the journal may have written or not: {error}"),
            Self::Corrupt(error) => write!(f, "the journal cannot read what it kept: {error}"),
            Self::Full => f.write_str("the journal is full"),
            Self::Closed => f.write_str("the journal is closed"),
        }
    }
}

impl std::error::Error for JournalError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Transient(error) | Self::Ambiguous(error) | Self::Corrupt(error) => Some(&**error),
            Self::Fenced { .. } | Self::Conflict { .. } | Self::NotFound | Self::Full | Self::Closed => None,
        }
    }
}
