//! Where journals in files come from.

use super::directory::Directory;
use mainstay_saga::{
    journal::{Embedded, EmbeddedConfig},
    testkit::journal::Stand,
};
use std::sync::atomic::{AtomicU32, Ordering};

pub(crate) struct InFile {
    directory: Directory,
    config: EmbeddedConfig,
    files: AtomicU32,
}

impl InFile {
    pub(crate) fn new(config: EmbeddedConfig) -> Self {
        Self { directory: Directory::new("suite"), config, files: AtomicU32::new(0) }
    }
}

impl Stand for InFile {
    type Journal = Embedded;

    async fn fresh(&self) -> Embedded {
        // Only the number matters, and each is given once.
        let file = self.files.fetch_add(1, Ordering::Relaxed);
        Embedded::open_with(self.directory.file(&format!("{file}.redb")), self.config).unwrap()
    }

    async fn reopen(&self, journal: Embedded) -> Embedded {
        let path = journal.path().to_owned();
        drop(journal);
        Embedded::open_with(path, self.config).unwrap()
    }
}
