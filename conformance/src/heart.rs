//! How the kit notices from outside that a layer blocks its thread.

use crate::backend::Backend;
use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

/// What the driving thread shows to the one that watches it.
#[derive(Debug, Default)]
pub(crate) struct Heart {
    beats: AtomicU64,
    reentrant: AtomicBool,
    backend: Mutex<Option<Arc<Backend>>>,
}

impl Heart {
    pub(crate) fn beat(&self) {
        // Relaxed here and below: the watcher only looks for change over seconds, and reads the ledger under its lock.
        self.beats.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn beats(&self) -> u64 {
        self.beats.load(Ordering::Relaxed)
    }

    /// A run over this backend begins.
    pub(crate) fn begin(&self, backend: &Arc<Backend>) {
        let old = self.backend.lock().unwrap_or_else(PoisonError::into_inner).replace(Arc::clone(backend));
        drop(old);
        self.beat();
    }

    pub(crate) fn backend(&self) -> Option<Arc<Backend>> {
        self.backend.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Foreign code comes back to the layer from now on, or not any more.
    pub(crate) fn reentrant(&self, reentrant: bool) {
        // Relaxed: as above.
        self.reentrant.store(reentrant, Ordering::Relaxed);
    }

    pub(crate) fn is_reentrant(&self) -> bool {
        // Relaxed: as above.
        self.reentrant.load(Ordering::Relaxed)
    }
}
