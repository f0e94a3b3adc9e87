//! The journals of the house keep what every journal promises.

#![cfg(feature = "testkit")]

mod support;

use mainstay_saga::{journal::Memory, journal_suite, testkit::FaultyJournal, testkit::journal::Stand};
use support::in_memory::InMemory;

journal_suite!(memory, InMemory);

/// One that fails on purpose, and has no purpose.
struct Faultless;

impl Stand for Faultless {
    type Journal = FaultyJournal<Memory>;

    async fn fresh(&self) -> FaultyJournal<Memory> {
        FaultyJournal::new(Memory::new())
    }

    async fn reopen(&self, journal: FaultyJournal<Memory>) -> FaultyJournal<Memory> {
        journal.cut_off();
        journal.get_ref().forget_owners();
        FaultyJournal::new(journal.get_ref().clone())
    }
}

journal_suite!(faultless, Faultless);

#[cfg(feature = "redb")]
mod embedded {
    use crate::support::in_file::InFile;
    use mainstay_saga::{journal::EmbeddedConfig, journal_suite};

    journal_suite!(as_usual, InFile::new(EmbeddedConfig::default()));
    journal_suite!(one_at_a_time, InFile::new(EmbeddedConfig::default().queue(1)));
    journal_suite!(quick_repair, InFile::new(EmbeddedConfig::default().quick_repair(true)));
}
