//! Nothing, in place of tracing.

use crate::{
    Graph, Record, SagaId,
    journal::{Grant, JournalError},
};
use std::time::Duration;

pub(crate) struct Span;

impl Span {
    #[expect(clippy::unused_self, reason = "the twin of the method that does something")]
    pub(crate) fn in_scope<T>(&self, act: impl FnOnce() -> T) -> T {
        act()
    }

    #[expect(clippy::unused_self, reason = "the twin of the method that does something")]
    pub(crate) fn of<F: Future>(self, future: F) -> F {
        future
    }
}

pub(crate) const fn run(_graph: &Graph, _grant: Grant) -> Span {
    Span
}

pub(crate) const fn step(_step: &str, _attempt: u32, _undo: bool) -> Span {
    Span
}

pub(crate) const fn append(_records: usize) -> Span {
    Span
}

pub(crate) const fn recorded(_engine: &'static str, _saga: &str, _id: SagaId, _record: &Record) {}

pub(crate) const fn journal_failed(_engine: &'static str, _id: SagaId, _error: &JournalError, _pause: Duration) {}

pub(crate) const fn lost(_engine: &'static str, _grant: Grant, _error: &JournalError) {}

pub(crate) const fn broken(_engine: &'static str, _id: SagaId, _panic: &str) {}

pub(crate) const fn claim_failed(_engine: &'static str, _error: &JournalError) {}

#[cfg(feature = "metrics")]
pub(crate) const fn look_failed(_engine: &'static str, _error: &JournalError) {}
