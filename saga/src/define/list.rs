//! The steps of a definition while it is written down.

use super::{
    Effect, Inputs, Step, StepCx, StepError, UndoCx, UndoError,
    code::{Code, Definition, Form, Source, erase_run, erase_undo},
    inputs::Slots,
};
use crate::{BuildError, Data, Graph, Kind, Node};
use mainstay_core::InvalidConfig;
use std::{sync::Arc, time::Duration};

/// The steps so far. It belongs to whoever records, not to the draft, which may be forgotten.
pub(super) struct List<A> {
    nodes: Vec<Node>,
    code: Vec<Code<A>>,
    is_committed: bool,
    /// The first one; what follows may be its consequence.
    error: Option<BuildError>,
}

/// The place of a step's output.
pub(super) type Slot = usize;

impl<A> List<A> {
    pub(super) const fn new() -> Self {
        Self { nodes: Vec::new(), code: Vec::new(), is_committed: false, error: None }
    }

    /// Adds a step without an undo.
    pub(super) fn action<'s, N, T, F, R>(
        &mut self,
        kind: Kind,
        condition: Option<Slot>,
        step: Step<'s>,
        inputs: N,
        run: F,
    ) -> Slot
    where
        N: Inputs<'s>,
        T: Data,
        F: Fn(StepCx<A>, N::Value) -> R + Send + Sync + 'static,
        R: Future<Output = Result<T, StepError>> + Send + 'static,
    {
        let slots = inputs.slots();
        let run = erase_run(self.sources(&slots), N::load, Form::of(condition), run);
        self.push(step, kind, condition, slots, Code::Action { run, undo: None })
    }

    /// Adds a step with an undo.
    pub(super) fn compensatable<'s, N, T, F, R, U, Q>(
        &mut self,
        condition: Option<Slot>,
        step: Step<'s>,
        inputs: N,
        run: F,
        undo: U,
    ) -> Slot
    where
        N: Inputs<'s>,
        T: Data,
        F: Fn(StepCx<A>, N::Value) -> R + Send + Sync + 'static,
        R: Future<Output = Result<T, StepError>> + Send + 'static,
        U: Fn(UndoCx<A>, N::Value, Effect<T>) -> Q + Send + Sync + 'static,
        Q: Future<Output = Result<(), UndoError>> + Send + 'static,
    {
        let slots = inputs.slots();
        let sources = self.sources(&slots);
        let form = Form::of(condition);
        let run = erase_run(Arc::clone(&sources), N::load, form, run);
        let undo = erase_undo(Arc::clone(step.name()), sources, N::load, form, undo);
        self.push(step, Kind::Compensatable, condition, slots, Code::Action { run, undo: Some(undo) })
    }

    /// Adds a wait for a message.
    pub(super) fn signal<T: Data>(&mut self, step: Step<'_>, at_most: Option<Duration>) -> Slot {
        self.push(step, Kind::Signal { at_most }, None, Slots(Vec::new()), Code::signal::<T>())
    }

    /// Adds a wait for a time.
    pub(super) fn timer(&mut self, step: Step<'_>, wait: Duration) -> Slot {
        self.push(step, Kind::Timer { wait }, None, Slots(Vec::new()), Code::Timer)
    }

    fn push(&mut self, step: Step<'_>, kind: Kind, condition: Option<Slot>, slots: Slots, code: Code<A>) -> Slot {
        let name = Arc::clone(step.name());
        // A node that is wrong has its place too, so that later handles mean what they say.
        let node = step.into_node(kind, self.is_committed).unwrap_or_else(|error| {
            self.error.get_or_insert(error);
            Node::new(Arc::clone(&name), kind)
        });
        let node = node.reads(slots.0.into_iter().filter_map(|slot| slot.checked_sub(1)));
        let node = self.with_condition(node, &name, condition);
        self.is_committed |= kind == Kind::Pivot;
        self.nodes.push(node);
        self.code.push(code);
        self.nodes.len()
    }

    fn with_condition(&mut self, node: Node, name: &Arc<str>, condition: Option<Slot>) -> Node {
        match condition.map(|slot| slot.checked_sub(1)) {
            Some(Some(step)) => node.when(step),
            Some(None) => {
                let error = InvalidConfig::new("when", "the input", "the output of a step");
                self.error.get_or_insert(BuildError::Setting { step: Arc::clone(name), error });
                node
            }
            None => node,
        }
    }

    fn sources(&self, slots: &Slots) -> Arc<[Source]> {
        let name = |slot: Slot| slot.checked_sub(1).map(|step| Arc::clone(&self.nodes[step].name));
        slots.0.iter().map(|&slot| Source { slot, step: name(slot) }).collect()
    }

    /// Puts the steps together, with the result at this place.
    pub(super) fn finish(self, name: &str, version: u32, result: Slot) -> Result<Definition<A>, BuildError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        let mut graph = Graph::new(name, version, self.nodes)?;
        if let Some(step) = result.checked_sub(1) {
            graph = graph.with_result(step)?;
        }
        Ok(Definition { graph: Arc::new(graph), code: self.code.into() })
    }
}
