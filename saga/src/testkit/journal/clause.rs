//! The promises, by name.

use std::fmt::{self, Display, Formatter};

macro_rules! clauses {
    ($($clause:ident, $test:ident: $text:literal;)+) => {
        /// One promise of a journal.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Clause {
            $(#[doc = $text] $clause,)+
        }

        impl Clause {
            /// Each of them.
            pub const ALL: &[Self] = &[$(Self::$clause,)+];
        }

        impl Display for Clause {
            fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $(Self::$clause => $text,)+
                })
            }
        }

        #[doc(hidden)]
        #[macro_export]
        macro_rules! __each_journal_clause {
            ($stand:expr) => {
                $(
                    #[test]
                    fn $test() {
                        $crate::testkit::journal::__private::test($crate::testkit::journal::Clause::$clause, &$stand);
                    }
                )+
            };
        }
    };
}

clauses! {
    RecordsAreKept, records_are_kept: "records are kept byte for byte, and numbered from one without gaps";
    BatchesAreWhole, batches_are_whole: "of a batch, nobody sees a part";
    FencedOwnersAddNothing, fenced_owners_add_nothing: "who lost a saga to another owner is fenced, and adds nothing";
    OtherNumbersConflict, other_numbers_conflict: "an owner that knows another number of records adds nothing";
    RivalsDoNotBothWin, rivals_do_not_both_win: "of appends after the same record, one wins";
    RepeatedAppendsCountOnce, repeated_appends_count_once: "an append that is repeated with its nonce is done once";
    RepeatedCreationsCountOnce, repeated_creations_count_once: "a saga that is made again with its nonce is made once";
    KeysAreTakenOnce, keys_are_taken_once: "of the sagas of one definition with one key, there is one";
    EndedSagasAreClosed, ended_sagas_are_closed: "nothing is added to a saga that has ended";
    MissingSagasAreNotFound, missing_sagas_are_not_found: "of a saga that is not there, it is said that it is not";
    ClaimsTakeWhatIsDue, claims_take_what_is_due: "a claim takes what is due, of the definitions that it names, and no more than it asks for";
    ClaimsAreInOrder, claims_are_in_order: "who is due longest is claimed first";
    ClaimsAreExclusive, claims_are_exclusive: "of many who claim at the same time, one gets each saga";
    ClaimsRaiseTheEpoch, claims_raise_the_epoch: "each claim raises the epoch, and knows the number of records";
    OwnedSagasAreLeftAlone, owned_sagas_are_left_alone: "a saga that somebody owns is claimed by nobody who does not name it";
    OnlyRunningSagasAreClaimed, only_running_sagas_are_claimed: "a saga that is parked or has ended is claimed by nobody who does not name it";
    ReleasedSagasWait, released_sagas_wait: "a saga that was released is claimed from its time on, and without a time only by its name";
    RestartsLoseNothing, restarts_lose_nothing: "after a restart all that was answered is there, and who was owned can be claimed";
    SummariesAreTrue, summaries_are_true: "a summary says how a saga stands";
    ListsAreWhole, lists_are_whole: "pages of a list hold each saga that is asked for once, by ascending id";
    PurgesForgetTheEnded, purges_forget_the_ended: "a purge forgets who ended before a time, with records and key, and no other";
    DroppedWritesAreWhole, dropped_writes_are_whole: "a write whose future is dropped is done or not done, and can be repeated";
    DroppedOwnersOwnNothing, dropped_owners_own_nothing: "a saga is not owned by who dropped the future that would have said so";
}
