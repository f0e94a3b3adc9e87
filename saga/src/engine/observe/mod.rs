//! Those outside who are told what the journal has kept, never under a lock of ours. One that panics stops nothing.

#[cfg(feature = "metrics")]
mod metrics;
#[cfg(not(feature = "metrics"))]
#[path = "metrics_off.rs"]
mod metrics;

pub(crate) use metrics::{InMemory, Stopwatch, Timings, Took};

use super::trace;
use crate::{Graph, ParkReason, Record, SagaId, panics::quietly};
use metrics::Metrics;
use std::sync::Arc;
#[cfg(feature = "metrics")]
use std::time::Duration;

/// The observers of one definition.
pub(crate) struct Observers {
    engine: &'static str,
    saga: Arc<str>,
    metrics: Metrics,
}

impl Observers {
    pub(crate) fn new(engine: &'static str, graph: &Graph) -> Self {
        Self { engine, saga: Arc::clone(&graph.name), metrics: Metrics::new(engine, graph) }
    }

    /// Tells of records that are durable.
    pub(crate) fn recorded(&self, id: SagaId, records: &[Record]) {
        for record in records {
            trace::recorded(self.engine, &self.saga, id, record);
            quietly(|| self.metrics.recorded(record));
        }
    }

    /// Tells of a saga that was parked without its state.
    pub(crate) fn parked(&self, id: SagaId, reason: &ParkReason) {
        self.recorded(id, &[Record::Parked { reason: reason.clone() }]);
    }

    /// Tells how long attempts took whose ends are durable.
    pub(crate) fn timed(&self, timings: &mut Timings) {
        quietly(|| self.metrics.timed(timings));
    }

    /// Tells how long the journal took to keep records.
    pub(crate) fn appended(&self, took: &Took) {
        quietly(|| self.metrics.appended(took));
    }

    /// Tells of a saga that is in memory, until what is given is dropped.
    pub(crate) fn entered(&self) -> InMemory {
        self.metrics.entered()
    }

    #[cfg(feature = "metrics")]
    pub(crate) fn rebind_metrics(&self, graph: &Graph) {
        self.metrics.rebind(self.engine, graph);
    }

    /// Tells how old the oldest saga is that has not ended.
    #[cfg(feature = "metrics")]
    pub(crate) fn oldest(&self, age: Duration) {
        quietly(|| self.metrics.oldest(age));
    }

    /// Tells of a saga that was taken from the journal.
    pub(crate) fn claimed(&self) {
        quietly(|| self.metrics.claimed());
    }

    /// Tells of a saga that another owner has taken.
    pub(crate) fn fenced(&self) {
        quietly(|| self.metrics.fenced());
    }
}
