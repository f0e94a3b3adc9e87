//! What an operator may do.

use super::{
    State, Status,
    fold::{IllegalRecord, Why, ensure},
};
use crate::{ByOperator, Graph, Kind, ParkReason, Record, Timestamp, journal::Phase};

impl State {
    /// Whether this record may come next, asked by somebody from outside: for requests to cancel, signals and operators.
    ///
    /// # Errors
    ///
    /// If it cannot, and why. A step that is running here is not settled by an operator, since its end is about to come.
    pub fn check(&self, graph: &Graph, record: &Record) -> Result<(), IllegalRecord> {
        if let Record::MarkedCompensated { step, .. } | Record::Skipped { step, .. } = record
            && graph.position(step).is_some_and(|position| self.steps[position].is_live)
        {
            return Err(IllegalRecord::new(self.seq + 1, "the step is running".into()));
        }
        self.clone().apply(graph, record)
    }

    /// Everything gets a fresh set of attempts, and what has stuck is tried again.
    pub(super) fn resumed(&mut self, graph: &Graph) -> Result<(), Why> {
        const AT_ONCE: Timestamp = Timestamp::from_millis(0);
        ensure(self.phase == Phase::Parked, "the saga is not parked")?;
        for (step, node) in self.steps.iter_mut().zip(&graph.nodes) {
            for tries in [&mut step.run, &mut step.undo] {
                tries.starts = 0;
                tries.failures = 0;
            }
            match step.status {
                Status::Stuck if node.kind.is_run() => step.status = Status::Retrying { at: AT_ONCE },
                Status::Stuck => step.status = Status::Idle,
                Status::UndoStuck => step.status = Status::RetryingUndo { at: AT_ONCE },
                _ => {}
            }
        }
        self.counted_from = self.seq;
        self.unpark();
        Ok(())
    }

    pub(super) fn marked_compensated(&mut self, graph: &Graph, position: usize, by: &ByOperator) -> Result<(), Why> {
        if self.cause.is_some() {
            return self.settle_by_hand(graph, position, Status::MarkedCompensated);
        }
        ensure(
            graph.nodes[position].kind == Kind::Pivot && self.is_stuck(graph, position),
            "the step is not a stuck pivot",
        )?;
        let pivot = &mut self.steps[position];
        pivot.status = Status::MarkedCompensated;
        pivot.taint = false;
        self.vouched = Some(by.clone());
        self.unpark();
        Ok(())
    }

    pub(super) fn skipped(&mut self, graph: &Graph, position: usize) -> Result<(), Why> {
        if self.cause.is_some() {
            return self.settle_by_hand(graph, position, Status::Skipped);
        }
        // What is tried without end never sticks by itself.
        let is_tried = matches!(self.steps[position].status, Status::Retrying { .. });
        ensure(
            graph.nodes[position].committed && (is_tried || self.is_stuck(graph, position)),
            "the step has not stuck after the pivot",
        )?;
        ensure(graph.result != Some(position), "the step gives the result of the saga")?;
        let readers: Vec<_> = graph.readers(position).collect();
        if !readers.is_empty() {
            return Err(format!("its output is read by {}", readers.join(", ")).into());
        }
        self.finish(graph, position, Status::Skipped, None);
        self.unpark();
        Ok(())
    }

    /// Nothing more is done for a step whose effect would have to be undone.
    fn settle_by_hand(&mut self, graph: &Graph, position: usize, status: Status) -> Result<(), Why> {
        ensure(!self.is_done_with(graph, position, true), "nothing is to be undone")?;
        let in_flight = matches!(self.steps[position].status, Status::Running | Status::Undoing);
        ensure(self.phase == Phase::Parked || !in_flight, "the step is running")?;
        self.steps[position].status = status;
        self.unpark();
        Ok(())
    }

    /// Whether an operator has to help with this step.
    fn is_stuck(&self, graph: &Graph, position: usize) -> bool {
        match self.steps[position].status {
            Status::Stuck => true,
            Status::Idle | Status::Waiting { .. } | Status::Running | Status::Retrying { .. } => {
                self.parked_for.as_ref().and_then(ParkReason::step) == Some(&graph.nodes[position].name)
            }
            _ => false,
        }
    }

    pub(super) fn unpark(&mut self) {
        self.phase = if self.cause.is_some() { Phase::Backward } else { Phase::Forward };
        self.parked_for = None;
    }
}
