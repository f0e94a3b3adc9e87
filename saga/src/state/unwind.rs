//! What is left to undo.

use super::{State, Status};
use crate::{Graph, Kind};

impl State {
    /// Finds out which steps are settled. A step is when nothing is left to undo of it, nor of any step that needs it, also
    /// through others: what was left out or only read in between does not loosen the order.
    pub(super) fn mark_settled(&mut self, graph: &Graph) {
        for position in (0..self.steps.len()).rev() {
            let later = graph.nodes[position].needed_by.iter().map(|&next| &self.steps[next]);
            let (settled, if_lost) = later.fold((true, true), |(settled, if_lost), step| {
                (settled && step.is_settled, if_lost && step.is_settled_if_lost)
            });
            self.steps[position].is_settled = settled && self.is_done_with(graph, position, false);
            self.steps[position].is_settled_if_lost = if_lost && self.is_done_with(graph, position, true);
        }
    }

    /// Whether nothing is left to undo of this step alone, or would be left if nothing were running any more.
    pub(super) fn is_done_with(&self, graph: &Graph, position: usize, if_lost: bool) -> bool {
        let step = &self.steps[position];
        let has_undo = graph.nodes[position].kind == Kind::Compensatable;
        match step.status {
            Status::Idle
            | Status::Waiting { .. }
            | Status::LeftOut
            | Status::Undone
            | Status::MarkedCompensated
            | Status::Skipped => true,
            Status::Running => (if_lost || !step.is_live) && !has_undo,
            Status::Succeeded => !has_undo,
            Status::Retrying { .. } | Status::Failed | Status::Stuck => !(has_undo && step.taint),
            Status::Undoing | Status::RetryingUndo { .. } | Status::UndoStuck => false,
        }
    }
}
