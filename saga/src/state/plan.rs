//! What comes next.

use super::{MAX_STARTS, NULL, State, Status, Step};
use crate::{Cause, FailedAs, Graph, Kind, Node, ParkReason, Record, Timestamp, journal::Phase};

impl State {
    /// The record that comes next, if one does without anything else happening first.
    ///
    /// It changes nothing. Ask again after the record was [applied](Self::apply), until nothing comes; then wait for the end of
    /// what is running, for [`next_wake`](Self::next_wake), or for somebody from outside.
    pub fn plan(&self, graph: &Graph, now: Timestamp) -> Option<Record> {
        match self.phase {
            _ if self.seq == 0 || graph.nodes.len() != self.steps.len() => None,
            Phase::Forward => self.plan_forward(graph, now),
            Phase::Backward => self.plan_backward(graph, now),
            Phase::Parked => self.plan_cancel(),
            Phase::Completed | Phase::Compensated | Phase::Abandoned => None,
        }
    }

    /// When to ask again although nothing else has happened; `None` if time alone changes nothing.
    pub fn next_wake(&self) -> Option<Timestamp> {
        if !self.phase.is_running() {
            return None;
        }
        let deadline = self.deadline.filter(|_| self.may_turn());
        let timers = self.steps.iter().filter_map(|step| step.timer(self.phase));
        // A saga that is too long starts nothing, however late it is.
        timers.filter(|_| !self.is_too_long()).chain(deadline).min()
    }

    /// Whether the saga can still be turned back: it goes forward, and the pivot has certainly not happened.
    pub(super) fn may_turn(&self) -> bool {
        let may_have_happened = |pivot: usize| self.steps[pivot].taint || self.steps[pivot].status == Status::Succeeded;
        self.cause.is_none() && !self.pivot.is_some_and(may_have_happened)
    }

    fn plan_forward(&self, graph: &Graph, now: Timestamp) -> Option<Record> {
        self.plan_turn(graph)
            .or_else(|| (self.done == self.steps.len()).then_some(Record::Completed))
            .or_else(|| self.plan_deadline(now))
            .or_else(|| self.plan_each(|position, step| self.plan_step(graph, position, step, now)))
            .or_else(|| self.plan_park(graph))
    }

    fn plan_turn(&self, graph: &Graph) -> Option<Record> {
        let vouched = || self.vouched.clone().map(Cause::Operator);
        let cause = self.failure(graph).or_else(vouched);
        cause.map(|cause| Record::Turned { cause }).or_else(|| self.plan_cancel())
    }

    /// The step that has failed for good before all others, as a cause to turn back.
    pub(super) fn failure(&self, graph: &Graph) -> Option<Cause> {
        let (position, outcome) = self.failed?;
        let error = self.steps[position].error.clone().unwrap_or_default();
        Some(Cause::StepFailed { step: graph.nodes[position].name.clone(), outcome, error })
    }

    fn plan_cancel(&self) -> Option<Record> {
        let reason = self.cancel.as_ref().filter(|_| self.may_turn())?;
        Some(Record::Turned { cause: Cause::Cancelled { reason: reason.clone() } })
    }

    fn plan_deadline(&self, now: Timestamp) -> Option<Record> {
        let is_late = self.deadline.is_some_and(|deadline| deadline <= now) && self.may_turn();
        is_late.then_some(Record::Turned { cause: Cause::DeadlinePassed })
    }

    /// The first record that one of the steps asks for, unless there are too many already.
    fn plan_each(&self, plan: impl Fn(usize, &Step) -> Option<Record>) -> Option<Record> {
        if self.is_too_long() {
            return None;
        }
        self.steps.iter().enumerate().find_map(|(position, step)| plan(position, step))
    }

    fn plan_step(&self, graph: &Graph, position: usize, step: &Step, now: Timestamp) -> Option<Record> {
        let node = &graph.nodes[position];
        match step.status {
            Status::Idle if step.unmet == 0 => Some(self.plan_begin(graph, position, now)),
            Status::Waiting { until } => step.plan_wait(node, until.is_some_and(|until| until <= now)),
            Status::Retrying { at } if at <= now => Some(step.start(node)),
            Status::Running if !step.is_live && !step.never_ends() => Some(step.start(node)),
            _ => None,
        }
    }

    /// What becomes of a step once all that it needs is done.
    fn plan_begin(&self, graph: &Graph, position: usize, now: Timestamp) -> Record {
        let node = &graph.nodes[position];
        let step = &self.steps[position];
        let name = node.name.clone();
        if !self.is_condition_met(graph, position) {
            return Record::StepLeftOut { step: name };
        }
        match node.kind {
            Kind::Signal { at_most } => step.plan_wait(node, false).unwrap_or_else(|| {
                let until = at_most.map(|at_most| now.after(at_most));
                Record::WaitStarted { step: name, until }
            }),
            Kind::Timer { wait } => Record::WaitStarted { step: name, until: Some(now.after(wait)) },
            _ => step.start(node),
        }
    }

    fn plan_backward(&self, graph: &Graph, now: Timestamp) -> Option<Record> {
        if self.steps.iter().all(|step| step.is_settled) {
            return Some(Record::Compensated);
        }
        self.plan_each(|position, step| self.plan_undo(graph, position, step, now)).or_else(|| self.plan_park(graph))
    }

    fn plan_undo(&self, graph: &Graph, position: usize, step: &Step, now: Timestamp) -> Option<Record> {
        let is_due = match step.status {
            Status::UndoStuck => false,
            Status::RetryingUndo { at } => at <= now,
            _ => !step.is_live && !step.undo_never_ends(),
        };
        let node = &graph.nodes[position];
        let is_next = is_due
            && !self.is_done_with(graph, position, false)
            && node.needed_by.iter().all(|&later| self.steps[later].is_settled);
        is_next.then(|| Record::UndoStarted { step: node.name.clone(), attempt: step.undo.attempts.saturating_add(1) })
    }

    /// Gives up for now, if nothing runs, nothing waits for a time, and something has stuck.
    fn plan_park(&self, graph: &Graph) -> Option<Record> {
        if self.has_live() {
            return None;
        }
        if self.is_too_long() {
            return Some(Record::Parked { reason: ParkReason::TooLong });
        }
        if self.steps.iter().any(|step| step.timer(self.phase).is_some()) {
            return None;
        }
        let mut nodes = self.steps.iter().zip(&graph.nodes);
        nodes.find_map(|(step, node)| step.park_reason(node)).map(|reason| Record::Parked { reason })
    }
}

impl Step {
    /// Started as often as a step may be without an end.
    pub(super) fn never_ends(&self) -> bool {
        match self.status {
            Status::Running => self.run.starts >= MAX_STARTS,
            _ => self.undo_never_ends(),
        }
    }

    fn undo_never_ends(&self) -> bool {
        self.status == Status::Undoing && self.undo.starts >= MAX_STARTS
    }

    fn start(&self, node: &Node) -> Record {
        Record::StepStarted { step: node.name.clone(), attempt: self.run.attempts.saturating_add(1) }
    }

    /// How a wait ends, if it does.
    fn plan_wait(&self, node: &Node, is_over: bool) -> Option<Record> {
        let step = node.name.clone();
        if let Some(signal) = &self.signal {
            return Some(Record::StepSucceeded { step, output: signal.payload.clone() });
        }
        match node.kind {
            _ if !is_over => None,
            Kind::Timer { .. } => Some(Record::StepSucceeded { step, output: NULL.clone() }),
            _ => {
                let error = "no signal in time".into();
                Some(Record::StepFailed { step, outcome: FailedAs::Rejected, error, retry_at: None })
            }
        }
    }

    /// The moment that this step waits for.
    fn timer(&self, phase: Phase) -> Option<Timestamp> {
        match (phase, self.status) {
            (Phase::Forward, Status::Waiting { until }) => until,
            (Phase::Forward, Status::Retrying { at }) | (Phase::Backward, Status::RetryingUndo { at }) => Some(at),
            _ => None,
        }
    }

    /// Why an operator has to help with this step, if one has.
    fn park_reason(&self, node: &Node) -> Option<ParkReason> {
        let step = node.name.clone();
        match self.status {
            Status::Stuck if node.kind == Kind::Pivot => Some(ParkReason::PivotUnknown { step }),
            Status::Stuck => Some(ParkReason::StepRejected { step }),
            Status::UndoStuck => Some(ParkReason::UndoFailed { step }),
            Status::Running | Status::Undoing if self.never_ends() => Some(ParkReason::NeverEnds { step }),
            _ => None,
        }
    }
}
