//! Those outside who are told of transitions, never under the circuit's lock.

#[cfg(feature = "metrics")]
mod metrics;
#[cfg(not(feature = "metrics"))]
#[path = "metrics_off.rs"]
mod metrics;

use crate::status::{Change, Changes, State, Status};
use metrics::Metrics;
use tokio::sync::watch;

#[derive(Debug)]
pub(crate) struct Observers {
    name: &'static str,
    status: watch::Sender<Status>,
    metrics: Metrics,
}

impl Observers {
    pub(crate) fn new(name: &'static str) -> Self {
        let (status, _) = watch::channel(Status { state: State::Closed, generation: 0 });
        Self { name, status, metrics: Metrics::new(name) }
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    pub(crate) fn tell(&self, changes: &Changes, refused: u64) {
        for change in changes.iter() {
            self.metrics.record(change, refused);
            crate::trace::changed(self.name, change);
            // Last, since a waker that panics ends this.
            self.tell_watchers(change);
        }
    }

    /// Refusals that no transition has told of.
    pub(crate) fn tell_last(&self, refused: u64) {
        self.metrics.record_last(refused);
    }

    /// Two threads may come here in another order than they changed the circuit: the later generation stays.
    fn tell_watchers(&self, change: &Change) {
        self.status.send_if_modified(|status| {
            let newer = change.to.generation > status.generation;
            if newer {
                *status = change.to;
            }
            newer
        });
    }

    #[cfg(feature = "metrics")]
    pub(crate) fn rebind_metrics(&self) {
        self.metrics.rebind();
    }
}
