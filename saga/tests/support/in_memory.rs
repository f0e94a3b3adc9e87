//! Where journals in memory come from.

use mainstay_saga::{journal::Memory, testkit::journal::Stand};

pub(crate) struct InMemory;

impl Stand for InMemory {
    type Journal = Memory;

    async fn fresh(&self) -> Memory {
        Memory::new()
    }

    async fn reopen(&self, journal: Memory) -> Memory {
        journal.forget_owners();
        journal
    }
}
