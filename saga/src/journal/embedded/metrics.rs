//! How many requests a commit serves, through the `metrics` facade.

use crate::panics::quietly;
use metrics::{Histogram, histogram};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// A histogram, made when it is first given something. Clones are the same.
///
/// It has no label: the journals of one process, which seldom has two, are told apart by nothing that is configured.
#[derive(Clone)]
pub(super) struct BatchSizes(Arc<Mutex<Arc<OnceLock<Histogram>>>>);

impl BatchSizes {
    pub(super) fn new() -> Self {
        Self(Arc::default())
    }

    pub(super) fn record(&self, requests: usize) {
        let histogram = Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner));
        #[expect(clippy::cast_precision_loss, reason = "the queue is far shorter")]
        let requests = requests as f64;
        // The thread that writes must outlive a recorder that panics.
        quietly(|| histogram.get_or_init(|| histogram!("mainstay_saga_append_batch_size")).record(requests));
    }

    /// Takes the recorder that is installed when something is recorded next.
    pub(super) fn rebind(&self) {
        let mut histogram = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let old = std::mem::take(&mut *histogram);
        drop(histogram);
        // Without the lock, like all code of the recorder.
        drop(old);
    }
}
