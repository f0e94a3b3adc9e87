//! What a journal promises, as checks of one's own.
//!
//! [`journal_suite!`](crate::journal_suite) makes one test of each [`Clause`].

mod asking;
mod claiming;
mod clause;
mod dropping;
mod work;
mod writing;

pub use clause::Clause;

use crate::journal::Journal;
use std::{
    error,
    fmt::{self, Display, Formatter},
};

/// Where the journals come from that are checked.
pub trait Stand: Send + Sync {
    /// What is checked.
    type Journal: Journal;

    /// An empty journal that nobody else has.
    fn fresh(&self) -> impl Future<Output = Self::Journal> + Send;

    /// The same journal, after the process that had it has died.
    fn reopen(&self, journal: Self::Journal) -> impl Future<Output = Self::Journal> + Send;
}

/// How a journal breaks a clause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breach(String);

impl Breach {
    fn new(why: impl Display) -> Self {
        Self(why.to_string())
    }
}

impl Display for Breach {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl error::Error for Breach {}

/// Checks one clause, on journals of its own.
///
/// Run it in a runtime with several threads: some clauses are about callers at the same time.
///
/// # Errors
///
/// How the clause is broken, by the first thing that was seen.
///
/// # Cancel safety
///
/// If it is dropped, the clause is not checked.
pub async fn check<S: Stand>(clause: Clause, stand: &S) -> Result<(), Breach> {
    match clause {
        Clause::RecordsAreKept => writing::records_are_kept(stand).await,
        Clause::BatchesAreWhole => writing::batches_are_whole(stand).await,
        Clause::FencedOwnersAddNothing => writing::fenced_owners_add_nothing(stand).await,
        Clause::OtherNumbersConflict => writing::other_numbers_conflict(stand).await,
        Clause::RivalsDoNotBothWin => writing::rivals_do_not_both_win(stand).await,
        Clause::RepeatedAppendsCountOnce => writing::repeated_appends_count_once(stand).await,
        Clause::RepeatedCreationsCountOnce => writing::repeated_creations_count_once(stand).await,
        Clause::KeysAreTakenOnce => writing::keys_are_taken_once(stand).await,
        Clause::EndedSagasAreClosed => writing::ended_sagas_are_closed(stand).await,
        Clause::MissingSagasAreNotFound => writing::missing_sagas_are_not_found(stand).await,
        Clause::ClaimsTakeWhatIsDue => claiming::claims_take_what_is_due(stand).await,
        Clause::ClaimsAreInOrder => claiming::claims_are_in_order(stand).await,
        Clause::ClaimsAreExclusive => claiming::claims_are_exclusive(stand).await,
        Clause::ClaimsRaiseTheEpoch => claiming::claims_raise_the_epoch(stand).await,
        Clause::OwnedSagasAreLeftAlone => claiming::owned_sagas_are_left_alone(stand).await,
        Clause::OnlyRunningSagasAreClaimed => claiming::only_running_sagas_are_claimed(stand).await,
        Clause::ReleasedSagasWait => claiming::released_sagas_wait(stand).await,
        Clause::RestartsLoseNothing => claiming::restarts_lose_nothing(stand).await,
        Clause::SummariesAreTrue => asking::summaries_are_true(stand).await,
        Clause::ListsAreWhole => asking::lists_are_whole(stand).await,
        Clause::PurgesForgetTheEnded => asking::purges_forget_the_ended(stand).await,
        Clause::DroppedWritesAreWhole => dropping::dropped_writes_are_whole(stand).await,
        Clause::DroppedOwnersOwnNothing => dropping::dropped_owners_own_nothing(stand).await,
    }
}

/// One `#[test]` for each [`Clause`](crate::testkit::journal::Clause), in a module of the given name.
///
/// ```
/// use mainstay_saga::{journal::Memory, journal_suite, testkit::journal::Stand};
///
/// struct InMemory;
///
/// impl Stand for InMemory {
///     type Journal = Memory;
///
///     async fn fresh(&self) -> Memory {
///         Memory::new()
///     }
///
///     async fn reopen(&self, journal: Memory) -> Memory {
///         journal.forget_owners();
///         journal
///     }
/// }
///
/// journal_suite!(memory, InMemory);
/// # let _ = InMemory;
/// ```
#[macro_export]
macro_rules! journal_suite {
    ($name:ident, $stand:expr $(,)?) => {
        #[cfg(test)]
        mod $name {
            #[allow(unused_imports, reason = "the stand may need nothing from around")]
            use super::*;

            $crate::__each_journal_clause!($stand);
        }
    };
}

#[doc(hidden)]
pub mod __private {
    use super::{Clause, Stand, check};

    pub fn test<S: Stand>(clause: Clause, stand: &S) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build();
        if let Err(breach) = runtime.expect("a runtime").block_on(check(clause, stand)) {
            panic!("{clause}, but {breach}");
        }
    }
}
