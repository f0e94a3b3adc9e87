//! What a record changes, and which record may follow.

use super::{LEFT_OUT, MAX_RECORDS, MAX_STARTS, NULL, Signal, State, Status};
use crate::{ByOperator, Cause, FailedAs, Graph, Kind, ParkReason, Payload, Record, Timestamp, journal::Phase};
use std::{
    borrow::Cow,
    fmt::{self, Display, Formatter},
    sync::Arc,
};

/// A record that cannot follow those before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IllegalRecord {
    seq: u64,
    why: Why,
}

/// What is wrong with a record.
pub(super) type Why = Cow<'static, str>;

impl IllegalRecord {
    /// The number of the record, which counts from one.
    pub const fn seq(&self) -> u64 {
        self.seq
    }

    /// What is wrong with it.
    pub fn why(&self) -> &str {
        &self.why
    }

    pub(super) const fn new(seq: u64, why: Why) -> Self {
        Self { seq, why }
    }
}

impl Display for IllegalRecord {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "record {} cannot follow: {}", self.seq, self.why)
    }
}

impl std::error::Error for IllegalRecord {}

/// Refuses a record unless something holds.
pub(super) fn ensure(holds: bool, why: &'static str) -> Result<(), Why> {
    if holds { Ok(()) } else { Err(why.into()) }
}

fn find(graph: &Graph, step: &str) -> Result<usize, Why> {
    graph.position(step).ok_or_else(|| format!("there is no step {step:?}").into())
}

impl Record {
    /// The first record of a saga that is started now.
    pub fn created(graph: &Graph, key: Arc<str>, input: Payload, now: Timestamp) -> Self {
        Self::Created {
            saga: graph.name.clone(),
            version: graph.version,
            fingerprint: graph.fingerprint,
            key,
            input,
            deadline: graph.deadline.map(|deadline| now.after(deadline)),
        }
    }
}

impl State {
    /// Takes in the next record.
    ///
    /// # Errors
    ///
    /// If it cannot follow those before it; then nothing has changed.
    pub fn apply(&mut self, graph: &Graph, record: &Record) -> Result<(), IllegalRecord> {
        let result = self.check_open(graph, record).and_then(|()| self.dispatch(graph, record));
        result.map_err(|why| IllegalRecord::new(self.seq + 1, why))?;
        self.seq += 1;
        if self.cause.is_some() {
            self.mark_settled(graph);
        }
        Ok(())
    }

    fn check_open(&self, graph: &Graph, record: &Record) -> Result<(), Why> {
        ensure(graph.nodes.len() == self.steps.len(), "the state is one of another graph")?;
        ensure(!self.phase.is_ended(), "the saga has ended")?;
        ensure((self.seq == 0) == matches!(record, Record::Created { .. }), "a saga is created first, and once")
    }

    fn dispatch(&mut self, graph: &Graph, record: &Record) -> Result<(), Why> {
        let find = |step| find(graph, step);
        match record {
            Record::Created { saga, version, fingerprint, input, deadline, .. } => {
                ensure(*saga == graph.name && *version == graph.version, "the saga is one of another definition")?;
                ensure(*fingerprint == graph.fingerprint, "the definition has another graph")?;
                self.create(input, *deadline);
                Ok(())
            }
            Record::StepStarted { step, attempt } => self.step_started(graph, find(step)?, *attempt),
            Record::StepSucceeded { step, output } => self.step_succeeded(graph, find(step)?, output),
            Record::StepFailed { step, outcome, error, retry_at } => {
                self.step_failed(graph, find(step)?, *outcome, *retry_at, error)
            }
            Record::StepLeftOut { step } => self.step_left_out(graph, find(step)?),
            Record::WaitStarted { step, until } => self.wait_started(graph, find(step)?, *until),
            Record::SignalReceived { step, id, payload } => {
                let signal = Signal { id: id.clone(), payload: payload.clone() };
                self.signal_received(graph, find(step)?, signal)
            }
            Record::CancelRequested { reason } => self.cancel_requested(reason),
            Record::Turned { cause } => self.turned(graph, cause),
            Record::UndoStarted { step, attempt } => self.undo_started(graph, find(step)?, *attempt),
            Record::UndoSucceeded { step } => self.undo_succeeded(find(step)?),
            Record::UndoFailed { step, error, retry_at } => self.undo_failed(find(step)?, *retry_at, error),
            Record::Parked { reason } => self.parked(graph, reason),
            Record::Resumed(_) => self.resumed(graph),
            Record::MarkedCompensated { step, by } => self.marked_compensated(graph, find(step)?, by),
            Record::Skipped { step, .. } => self.skipped(graph, find(step)?),
            Record::Completed => self.completed(),
            Record::Compensated => self.compensated(),
            Record::Abandoned(by) => self.abandoned(by),
        }
    }

    fn create(&mut self, input: &Payload, deadline: Option<Timestamp>) {
        self.outputs[0] = Some(input.clone());
        self.deadline = deadline;
    }

    fn step_started(&mut self, graph: &Graph, position: usize, attempt: u32) -> Result<(), Why> {
        self.check_ready(graph, position)?;
        let kind = graph.nodes[position].kind;
        let step = &mut self.steps[position];
        ensure(kind.is_run(), "a wait is not run")?;
        let may_start = matches!(step.status, Status::Idle | Status::Retrying { .. } | Status::Running);
        ensure(may_start, "the step has ended")?;
        step.run.start(attempt)?;
        step.status = Status::Running;
        step.is_live = true;
        step.taint_before = step.taint;
        step.taint = kind != Kind::ReadOnly;
        Ok(())
    }

    /// Whether the saga goes forward and all is done that this step needs, and its condition is met.
    fn check_ready(&self, graph: &Graph, position: usize) -> Result<(), Why> {
        ensure(self.phase == Phase::Forward, "the saga does not go forward")?;
        ensure(self.steps[position].unmet == 0, "something that the step needs is not done")?;
        ensure(self.is_condition_met(graph, position), "the condition of the step is not met")
    }

    /// Whether the condition of a step, all of whose needs are done, is met.
    pub(super) fn is_condition_met(&self, graph: &Graph, position: usize) -> bool {
        let Some(condition) = graph.nodes[position].condition else { return true };
        self.outputs[condition + 1].as_ref().is_some_and(|output| output.as_str() == "true")
    }

    fn step_succeeded(&mut self, graph: &Graph, position: usize, output: &Payload) -> Result<(), Why> {
        let step = &self.steps[position];
        match graph.nodes[position].kind {
            Kind::Signal { .. } => {
                self.check_ready(graph, position)?;
                let may_end = matches!(step.status, Status::Idle | Status::Waiting { .. });
                let carried = step.signal.as_ref().map(|signal| &signal.payload);
                ensure(may_end && carried == Some(output), "no such signal is waited for")?;
            }
            Kind::Timer { .. } => {
                let is_waiting = matches!(step.status, Status::Waiting { .. });
                ensure(self.phase == Phase::Forward && is_waiting && *output == *NULL, "no time is waited for")?;
            }
            _ => ensure(step.status == Status::Running, "the step is not running")?,
        }
        self.finish(graph, position, Status::Succeeded, Some(output.clone()));
        Ok(())
    }

    /// Forward, nothing more is to be done for this step.
    pub(super) fn finish(&mut self, graph: &Graph, position: usize, status: Status, output: Option<Payload>) {
        let step = &mut self.steps[position];
        step.status = status;
        step.is_live = false;
        self.outputs[position + 1] = output;
        self.done += 1;
        for &next in &graph.nodes[position].needed_by {
            self.steps[next].unmet -= 1;
        }
    }

    fn step_failed(
        &mut self,
        graph: &Graph,
        position: usize,
        outcome: FailedAs,
        retry_at: Option<Timestamp>,
        error: &Arc<str>,
    ) -> Result<(), Why> {
        let is_final = outcome.is_final();
        let node = &graph.nodes[position];
        let is_turned = self.cause.is_some();
        let step = &mut self.steps[position];
        match step.status {
            Status::Running => {
                ensure(retry_at.is_none() || !(is_final || is_turned), "the step is not tried again")?;
                ensure(
                    retry_at.is_some() || is_final || is_turned || !node.committed,
                    "the step is tried without end",
                )?;
            }
            Status::Waiting { until: Some(_) } if matches!(node.kind, Kind::Signal { .. }) => {
                let is_late = outcome == FailedAs::Rejected && retry_at.is_none() && self.phase == Phase::Forward;
                ensure(is_late, "a wait ends by its time")?;
            }
            _ => return Err("the step is not running".into()),
        }
        step.run.end(!is_final);
        step.is_live = false;
        step.error = Some(error.clone());
        step.taint = match outcome {
            FailedAs::Rejected | FailedAs::NotExecuted => step.taint_before,
            FailedAs::RejectedForKey => false,
            FailedAs::Unknown => step.taint,
        };
        step.status = match retry_at {
            Some(at) => Status::Retrying { at },
            None if is_turned => Status::Failed,
            None if node.committed || (node.kind == Kind::Pivot && step.taint) => Status::Stuck,
            None => Status::Failed,
        };
        if step.status == Status::Failed {
            self.failed.get_or_insert((position, outcome));
        }
        Ok(())
    }

    fn step_left_out(&mut self, graph: &Graph, position: usize) -> Result<(), Why> {
        let step = &self.steps[position];
        let is_next = self.phase == Phase::Forward && step.unmet == 0 && step.status == Status::Idle;
        ensure(is_next && !self.is_condition_met(graph, position), "the step is not to be left out")?;
        self.finish(graph, position, Status::LeftOut, Some(LEFT_OUT.clone()));
        Ok(())
    }

    fn wait_started(&mut self, graph: &Graph, position: usize, until: Option<Timestamp>) -> Result<(), Why> {
        self.check_ready(graph, position)?;
        let step = &mut self.steps[position];
        ensure(step.status == Status::Idle, "the step has started")?;
        let is_wait = match graph.nodes[position].kind {
            Kind::Signal { .. } => true,
            Kind::Timer { .. } => until.is_some(),
            _ => false,
        };
        ensure(is_wait, "the step does not wait like this")?;
        step.status = Status::Waiting { until };
        Ok(())
    }

    fn signal_received(&mut self, graph: &Graph, position: usize, signal: Signal) -> Result<(), Why> {
        let step = &mut self.steps[position];
        ensure(matches!(graph.nodes[position].kind, Kind::Signal { .. }), "the step does not wait for a signal")?;
        let is_wanted = matches!(step.status, Status::Idle | Status::Waiting { .. } | Status::Stuck);
        ensure(self.cause.is_none() && is_wanted, "the signal comes too late")?;
        ensure(step.signal.is_none(), "a signal has arrived before")?;
        step.signal = Some(signal);
        Ok(())
    }

    fn cancel_requested(&mut self, reason: &Arc<str>) -> Result<(), Why> {
        ensure(self.cancel.is_none(), "the saga was cancelled before")?;
        ensure(self.cause.is_none(), "the saga is turned back already")?;
        ensure(!self.is_past_pivot(), "the pivot has succeeded")?;
        let is_unknown = self.phase == Phase::Parked && !self.may_turn();
        ensure(!is_unknown, "nobody knows whether the pivot has happened")?;
        self.cancel = Some(reason.clone());
        Ok(())
    }

    fn turned(&mut self, graph: &Graph, cause: &Cause) -> Result<(), Why> {
        ensure(self.may_turn(), "the pivot may have happened")?;
        let is_cancel = matches!(cause, Cause::Cancelled { .. });
        ensure(
            self.phase == Phase::Forward || (self.phase == Phase::Parked && is_cancel),
            "the saga does not go forward",
        )?;
        let is_true = match cause {
            Cause::StepFailed { .. } => self.failure(graph).as_ref() == Some(cause),
            Cause::Cancelled { reason } => self.cancel.as_ref() == Some(reason),
            Cause::DeadlinePassed => self.deadline.is_some(),
            Cause::Operator(by) => self.vouched.as_ref() == Some(by),
        };
        ensure(is_true, "there is no such cause")?;
        self.cause = Some(cause.clone());
        self.counted_from = self.seq;
        self.unpark();
        Ok(())
    }

    fn undo_started(&mut self, graph: &Graph, position: usize, attempt: u32) -> Result<(), Why> {
        ensure(self.phase == Phase::Backward, "the saga is not turned back")?;
        let is_open = !self.is_done_with(graph, position, true);
        ensure(is_open && self.steps[position].status != Status::UndoStuck, "nothing is to be undone")?;
        let mut later = graph.nodes[position].needed_by.iter();
        ensure(later.all(|&next| self.steps[next].is_settled_if_lost), "what came later is to be undone first")?;
        let step = &mut self.steps[position];
        step.undo.start(attempt)?;
        step.status = Status::Undoing;
        step.is_live = true;
        Ok(())
    }

    fn undo_succeeded(&mut self, position: usize) -> Result<(), Why> {
        let step = &mut self.steps[position];
        ensure(step.status == Status::Undoing, "the step is not being undone")?;
        step.undo.end(false);
        step.status = Status::Undone;
        step.is_live = false;
        Ok(())
    }

    fn undo_failed(&mut self, position: usize, retry_at: Option<Timestamp>, error: &Arc<str>) -> Result<(), Why> {
        let step = &mut self.steps[position];
        ensure(step.status == Status::Undoing, "the step is not being undone")?;
        step.undo.end(true);
        step.status = retry_at.map_or(Status::UndoStuck, |at| Status::RetryingUndo { at });
        step.is_live = false;
        step.error = Some(error.clone());
        Ok(())
    }

    fn parked(&mut self, graph: &Graph, reason: &ParkReason) -> Result<(), Why> {
        ensure(self.phase != Phase::Parked, "the saga is parked already")?;
        let stands = |step: &Arc<str>, is_so: fn(&Self, usize) -> bool| {
            graph.position(step).is_some_and(|position| is_so(self, position))
        };
        let is_true = match reason {
            ParkReason::PivotUnknown { step } => {
                graph.position(step) == self.pivot && stands(step, |state, at| state.steps[at].status == Status::Stuck)
            }
            ParkReason::StepRejected { step } => {
                graph.position(step) != self.pivot && stands(step, |state, at| state.steps[at].status == Status::Stuck)
            }
            ParkReason::UndoFailed { step } => stands(step, |state, at| state.steps[at].status == Status::UndoStuck),
            ParkReason::NeverEnds { step } => stands(step, |state, at| state.steps[at].never_ends()),
            ParkReason::Unreadable { step, .. } => stands(step, |_, _| true),
            ParkReason::Corrupt { .. } | ParkReason::DefinitionChanged => true,
            ParkReason::TooLong => self.is_too_long(),
        };
        ensure(is_true, "there is no such reason")?;
        self.phase = Phase::Parked;
        self.parked_for = Some(reason.clone());
        if let ParkReason::Unreadable { step, .. } = reason {
            self.steps[find(graph, step)?].is_live = false;
        }
        Ok(())
    }

    /// Whether as many records were written as may be in one direction.
    pub(super) const fn is_too_long(&self) -> bool {
        self.seq - self.counted_from >= MAX_RECORDS
    }

    fn completed(&mut self) -> Result<(), Why> {
        ensure(self.phase == Phase::Forward && self.done == self.steps.len(), "not all steps are done")?;
        self.phase = Phase::Completed;
        Ok(())
    }

    fn compensated(&mut self) -> Result<(), Why> {
        let all_settled = self.steps.iter().all(|step| step.is_settled_if_lost);
        ensure(self.phase == Phase::Backward && all_settled, "not all steps are undone")?;
        self.phase = Phase::Compensated;
        Ok(())
    }

    fn abandoned(&mut self, by: &ByOperator) -> Result<(), Why> {
        ensure(self.phase == Phase::Parked, "only a parked saga is given up")?;
        self.abandoned = Some(by.clone());
        self.phase = Phase::Abandoned;
        self.lose_live();
        Ok(())
    }
}

impl super::Tries {
    fn start(&mut self, attempt: u32) -> Result<(), Why> {
        ensure(self.attempts.checked_add(1) == Some(attempt), "the attempt has the wrong number")?;
        ensure(self.starts < MAX_STARTS, "it was started too often without an end")?;
        self.attempts = attempt;
        self.starts += 1;
        Ok(())
    }

    fn end(&mut self, has_failed: bool) {
        self.failures = self.failures.saturating_add(u32::from(has_failed));
        self.starts = 0;
    }
}
