//! Through `tracing`. A subscriber that panics at an event stops nothing.

use crate::{
    Graph, Record, SagaId,
    journal::{Grant, JournalError},
    panics::quietly,
};
use std::time::Duration;
use tracing::{Instrument, debug, debug_span, info, info_span, warn};

/// What an event happens in.
pub(crate) struct Span(tracing::Span);

impl Span {
    pub(crate) fn in_scope<T>(&self, act: impl FnOnce() -> T) -> T {
        self.0.in_scope(act)
    }

    /// The future, all of which happens in the span.
    pub(crate) fn of<F: Future>(self, future: F) -> impl Future<Output = F::Output> {
        future.instrument(self.0)
    }
}

/// One stay of a saga in memory.
pub(crate) fn run(graph: &Graph, grant: Grant) -> Span {
    let (saga, version) = (graph.name(), graph.version());
    Span(info_span!("saga.run", saga, version, id = %grant.id, epoch = grant.epoch))
}

pub(crate) fn step(step: &str, attempt: u32, undo: bool) -> Span {
    Span(debug_span!("saga.step", step, attempt, phase = if undo { "undo" } else { "do" }))
}

/// What the journal is asked to keep, until it has.
pub(crate) fn append(records: usize) -> Span {
    Span(debug_span!("saga.append", records))
}

/// What the journal has kept.
pub(crate) fn recorded(engine: &'static str, saga: &str, id: SagaId, record: &Record) {
    quietly(|| match record {
        Record::Created { key, .. } => debug!(engine, saga, %id, key = &**key, "saga was started"),
        Record::StepFailed { step, outcome, error, retry_at } => {
            let will_retry = retry_at.is_some();
            debug!(engine, saga, %id, step = &**step, ?outcome, error = &**error, will_retry, "step failed");
        }
        Record::UndoFailed { step, error, retry_at } => {
            let will_retry = retry_at.is_some();
            warn!(engine, saga, %id, step = &**step, error = &**error, will_retry, "undo failed");
        }
        Record::Turned { cause } => info!(engine, saga, %id, ?cause, "saga was turned back"),
        Record::Parked { reason } => warn!(engine, saga, %id, ?reason, "saga was parked"),
        Record::Resumed(by) => info!(engine, saga, %id, by = &*by.by, reason = &*by.reason, "saga was resumed"),
        Record::MarkedCompensated { step, by } => {
            info!(engine, saga, %id, step = &**step, by = &*by.by, reason = &*by.reason, "step was marked as compensated");
        }
        Record::Skipped { step, by } => {
            info!(engine, saga, %id, step = &**step, by = &*by.by, reason = &*by.reason, "step was skipped");
        }
        Record::Completed => debug!(engine, saga, %id, "saga was completed"),
        Record::Compensated => info!(engine, saga, %id, "saga was compensated"),
        Record::Abandoned(by) => warn!(engine, saga, %id, by = &*by.by, reason = &*by.reason, "saga was abandoned"),
        _ => {}
    });
}

pub(crate) fn journal_failed(engine: &'static str, id: SagaId, error: &JournalError, pause: Duration) {
    quietly(|| warn!(engine, %id, %error, ?pause, "journal failed and is asked again"));
}

pub(crate) fn lost(engine: &'static str, grant: Grant, error: &JournalError) {
    quietly(|| warn!(engine, id = %grant.id, epoch = grant.epoch, %error, "saga was lost to another owner"));
}

pub(crate) fn broken(engine: &'static str, id: SagaId, panic: &str) {
    quietly(|| warn!(engine, %id, panic, "task of a saga panicked and gives it back"));
}

pub(crate) fn claim_failed(engine: &'static str, error: &JournalError) {
    quietly(|| warn!(engine, %error, "due sagas could not be claimed"));
}

#[cfg(feature = "metrics")]
pub(crate) fn look_failed(engine: &'static str, error: &JournalError) {
    quietly(|| warn!(engine, %error, "oldest saga could not be looked for"));
}
