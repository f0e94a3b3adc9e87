//! What an attempt's end means.

use super::State;
use crate::{Graph, Payload, Record, StepError, Timestamp, UndoError, graph::Retry};
use mainstay_retry::Jitter;
use std::time::Duration;

/// No service is waited for longer than this, whatever it asks for.
const MAX_RETRY_AFTER: Duration = Duration::from_hours(24);

impl State {
    /// The record of how the attempt of a step has ended that is running.
    ///
    /// If there is another attempt it comes after the wait of the step's backoff, of which `draw`, 64 random bits, decides
    /// what is left to chance, and not before the time that the error asks for, up to a day.
    ///
    /// # Panics
    ///
    /// If there is no such step.
    pub fn settle(
        &self,
        graph: &Graph,
        position: usize,
        end: Result<Payload, StepError>,
        now: Timestamp,
        draw: u64,
    ) -> Record {
        self.settle_with(graph, position, end, now, || draw)
    }

    /// The same, drawn when there is something to wait for.
    pub(crate) fn settle_with(
        &self,
        graph: &Graph,
        position: usize,
        end: Result<Payload, StepError>,
        now: Timestamp,
        draw: impl FnOnce() -> u64,
    ) -> Record {
        let node = &graph.nodes[position];
        let step = node.name.clone();
        let error = match end {
            Ok(output) => return Record::StepSucceeded { step, output },
            Err(error) => error,
        };
        let failures = self.steps[position].run.failures;
        let ends = error.outcome().is_final()
            || self.cause.is_some()
            || (!node.committed && node.retry.is_spent(failures.saturating_add(1)));
        let retry_at = (!ends).then(|| next_attempt(&node.retry, failures, error.retry_after(), now, draw()));
        Record::StepFailed { step, outcome: error.outcome(), error: error.text().clone(), retry_at }
    }

    /// The record of how the attempt to undo a step has ended that is running.
    ///
    /// # Panics
    ///
    /// If there is no such step.
    pub fn settle_undo(
        &self,
        graph: &Graph,
        position: usize,
        end: Result<(), UndoError>,
        now: Timestamp,
        draw: u64,
    ) -> Record {
        self.settle_undo_with(graph, position, end, now, || draw)
    }

    /// The same, drawn when there is something to wait for.
    pub(crate) fn settle_undo_with(
        &self,
        graph: &Graph,
        position: usize,
        end: Result<(), UndoError>,
        now: Timestamp,
        draw: impl FnOnce() -> u64,
    ) -> Record {
        let node = &graph.nodes[position];
        let step = node.name.clone();
        let Err(error) = end else { return Record::UndoSucceeded { step } };
        let failures = self.steps[position].undo.failures;
        let ends = error.is_final() || node.undo_retry.is_spent(failures.saturating_add(1));
        let retry_at = (!ends).then(|| next_attempt(&node.undo_retry, failures, error.retry_after(), now, draw()));
        Record::UndoFailed { step, error: error.text().clone(), retry_at }
    }
}

/// When to try again after so many failures before this one.
fn next_attempt(retry: &Retry, failures: u32, asked_for: Option<Duration>, now: Timestamp, draw: u64) -> Timestamp {
    let wait = retry.backoff.delay(failures, longest_before(retry, failures), draw);
    now.after(wait.max(asked_for.unwrap_or_default().min(MAX_RETRY_AFTER)))
}

/// The longest that the wait before may have been, for the one form of jitter that looks at it: the journal does not keep it.
fn longest_before(retry: &Retry, failures: u32) -> Duration {
    if retry.backoff.jitter != Jitter::Decorrelated {
        return Duration::ZERO;
    }
    // Three times as long each time: after these it is at the cap of a day from any first wait.
    let waits = 0..failures.min(64);
    waits.fold(Duration::ZERO, |before, failures| retry.backoff.delay(failures, before, u64::MAX))
}
