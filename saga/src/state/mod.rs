//! The machine of one saga: no clock, no task, no journal.
//!
//! ```text
//! records ── apply ──> State ── plan ──> the next record ── apply ──> …
//! ```
//!
//! [`State::plan`] says which record comes next, if one does. Whoever drives it applies that, asks again until nothing comes,
//! writes all of it to the journal as one, and only then starts what the records say was started. When an attempt ends,
//! [`State::settle`] makes its record, and it begins again. After a crash the records are applied once more, then
//! [`State::lose_live`] says that nothing runs any more, and the same plan goes on from there: recovery is no other path.
//!
//! # What becomes of a failed step
//!
//! An attempt that succeeds is known to have happened. One that ends as unknown, or not at all since the process died, leaves
//! the step in doubt; doubt goes with success, or with [`RejectedForKey`](crate::FailedAs::RejectedForKey).
//!
//! | kind | rejected | attempts spent, nothing in doubt | attempts spent in doubt | when the saga turns |
//! | --- | --- | --- | --- | --- |
//! | compensatable | the saga turns | the saga turns | the saga turns | undone if it succeeded or is in doubt |
//! | read-only | the saga turns | the saga turns | the saga turns | nothing to do |
//! | pivot | turns; in doubt: stuck | the saga turns | stuck | it does not, unless the pivot certainly did nothing |
//! | after the pivot | stuck | tried without end | tried without end | it does not |
//! | signal, timer | not in time: as a rejection | | | its wait ends |
//! | undo | stuck | stuck | stuck | |
//!
//! Once something has stuck, and nothing else runs, can start or waits for a time, the saga parks.
//!
//! # Examples
//!
//! ```
//! use mainstay_saga::{Graph, Kind, Node, Payload, Record, Timestamp, state::State};
//!
//! let graph = Graph::new("order", 1, vec![Node::new("charge", Kind::Compensatable)])?;
//! let now = Timestamp::from_millis(0);
//! let mut state = State::new(&graph);
//! state.apply(&graph, &Record::created(&graph, "order-1".into(), Payload::encode(&25)?, now))?;
//!
//! let started = state.plan(&graph, now).unwrap();
//! assert!(matches!(started, Record::StepStarted { attempt: 1, .. }));
//! state.apply(&graph, &started)?;
//! assert_eq!(state.plan(&graph, now), None, "it runs");
//!
//! let ended = state.settle(&graph, 0, Ok(Payload::encode("receipt")?), now, 0);
//! state.apply(&graph, &ended)?;
//! assert_eq!(state.plan(&graph, now), Some(Record::Completed));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod fold;
mod operator;
mod plan;
mod settle;
mod unwind;

pub use self::fold::IllegalRecord;

use crate::{
    ByOperator, Cause, Conditional, Effect, FailedAs, Graph, ParkReason, Payload, Record, Timestamp, journal::Phase,
};
use std::sync::{Arc, LazyLock};

/// So often something is started without an end before it is taken for what ends the process.
const MAX_STARTS: u32 = 25;

/// So many records are written in one direction before nothing more is started.
const MAX_RECORDS: u64 = 10_000;

static NULL: LazyLock<Payload> = LazyLock::new(|| constant(&()));
static LEFT_OUT: LazyLock<Payload> = LazyLock::new(|| constant(&Conditional::<()>::LeftOut));

#[expect(clippy::expect_used, reason = "a constant, which a test encodes")]
fn constant<T: serde::Serialize>(value: &T) -> Payload {
    Payload::encode(value).expect("units have JSON")
}

/// How a saga stands: what its records say, and what of it is running here.
///
/// The methods that take a graph take the one that it was made with.
#[derive(Debug, Clone)]
pub struct State {
    /// How many records there are.
    seq: u64,
    phase: Phase,
    parked_for: Option<ParkReason>,
    /// Why it was turned back.
    cause: Option<Cause>,
    cancel: Option<Arc<str>>,
    /// Who vouched that the pivot has no effect.
    vouched: Option<ByOperator>,
    /// Who gave the saga up.
    abandoned: Option<ByOperator>,
    deadline: Option<Timestamp>,
    pivot: Option<usize>,
    /// The first step that has failed for good, so that the saga turns back, and what is known of its last attempt.
    failed: Option<(usize, FailedAs)>,
    /// How many steps are done: forward there is nothing more to do for them.
    done: usize,
    /// From which record on they are counted.
    counted_from: u64,
    steps: Vec<Step>,
    /// The input, and the output of each step.
    outputs: Vec<Option<Payload>>,
}

/// What is known of one step.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, and all combinations occur")]
struct Step {
    status: Status,
    /// An attempt of it, or of its undo, is running here. The only thing that no record says.
    is_live: bool,
    /// An attempt may have happened, as far as anybody knows.
    taint: bool,
    /// The same before the attempt that runs.
    taint_before: bool,
    /// How many of the steps that it needs are not done.
    unmet: usize,
    run: Tries,
    undo: Tries,
    /// The signal that it waits for.
    signal: Option<Signal>,
    /// What it, or its undo, said last.
    error: Option<Arc<str>>,
    /// While unwinding: nothing is left to undo of it nor of any that comes after it.
    is_settled: bool,
    /// The same if nothing were running any more.
    is_settled_if_lost: bool,
}

/// A signal that has arrived.
#[derive(Debug, Clone)]
struct Signal {
    /// What tells a repeated delivery from another signal.
    id: Arc<str>,
    payload: Payload,
}

/// How often something was tried.
#[derive(Debug, Clone, Copy, Default)]
struct Tries {
    /// Started, ever.
    attempts: u32,
    /// Failed, since it got its attempts.
    failures: u32,
    /// Started without an end since one ended.
    starts: u32,
}

/// How a step stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Status {
    /// It has not started.
    Idle,
    /// It waits for a signal or a time.
    Waiting {
        /// Until when; `None` for a signal that is waited for without end.
        until: Option<Timestamp>,
    },
    /// An attempt was started, and its end is not in the journal.
    Running,
    /// An attempt has failed; another one follows.
    Retrying {
        /// Not before this moment.
        at: Timestamp,
    },
    /// It has succeeded.
    Succeeded,
    /// Its condition was not met.
    LeftOut,
    /// It has failed for good.
    Failed,
    /// It has failed for good, and the saga can neither go on nor back: an operator has to help.
    Stuck,
    /// An attempt to undo it was started, and its end is not in the journal.
    Undoing,
    /// An attempt to undo it has failed; another one follows.
    RetryingUndo {
        /// Not before this moment.
        at: Timestamp,
    },
    /// To undo it has failed for good: an operator has to help.
    UndoStuck,
    /// It has been undone.
    Undone,
    /// An operator vouched that it has no effect any more.
    MarkedCompensated,
    /// An operator left it as it is.
    Skipped,
}

impl State {
    /// The state of a saga without a record.
    pub fn new(graph: &Graph) -> Self {
        Self {
            seq: 0,
            phase: Phase::Forward,
            parked_for: None,
            cause: None,
            cancel: None,
            vouched: None,
            abandoned: None,
            deadline: None,
            pivot: graph.pivot(),
            failed: None,
            done: 0,
            counted_from: 0,
            steps: graph.nodes.iter().map(|node| Step::new(node.needs.len())).collect(),
            outputs: vec![None; graph.nodes.len() + 1],
        }
    }

    /// The state after these records, of which nothing is running here.
    ///
    /// # Errors
    ///
    /// If one of them cannot follow those before it.
    pub fn load<'r>(graph: &Graph, records: impl IntoIterator<Item = &'r Record>) -> Result<Self, IllegalRecord> {
        let mut state = Self::new(graph);
        for record in records {
            state.apply(graph, record)?;
        }
        state.lose_live();
        Ok(state)
    }

    /// Nothing is running any more: whatever was started and has no end in the journal may have happened.
    pub fn lose_live(&mut self) {
        for step in &mut self.steps {
            step.is_live = false;
            step.is_settled = step.is_settled_if_lost;
        }
    }

    /// How many records there are.
    pub const fn seq(&self) -> u64 {
        self.seq
    }

    /// How the saga stands, in the words of the journal.
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// Why it is parked, if it is.
    pub const fn park_reason(&self) -> Option<&ParkReason> {
        self.parked_for.as_ref()
    }

    /// Why it was turned back, if it was.
    pub const fn cause(&self) -> Option<&Cause> {
        self.cause.as_ref()
    }

    /// Who gave it up, if somebody did.
    pub const fn abandoned_by(&self) -> Option<&ByOperator> {
        self.abandoned.as_ref()
    }

    /// Why somebody wants it to be undone, if somebody does.
    pub fn cancel_reason(&self) -> Option<&Arc<str>> {
        self.cancel.as_ref()
    }

    /// When it is turned back.
    pub const fn deadline(&self) -> Option<Timestamp> {
        self.deadline
    }

    /// Whether the pivot has succeeded: nothing turns it back any more.
    pub fn is_past_pivot(&self) -> bool {
        self.pivot.is_some_and(|pivot| self.steps[pivot].status == Status::Succeeded)
    }

    /// Whether something is running here.
    pub fn has_live(&self) -> bool {
        self.steps.iter().any(|step| step.is_live)
    }

    /// The input, followed by the output of each step as far as there is one.
    pub fn outputs(&self) -> &[Option<Payload>] {
        &self.outputs
    }

    /// What the saga gives, once that is known.
    pub fn result(&self, graph: &Graph) -> Option<&Payload> {
        self.outputs[graph.result.map_or(0, |step| step + 1)].as_ref()
    }

    /// What is known of the step at this position.
    ///
    /// # Panics
    ///
    /// If there is none.
    pub fn step(&self, position: usize) -> StepView<'_> {
        StepView { step: &self.steps[position], output: self.outputs[position + 1].as_ref() }
    }
}

impl Step {
    fn new(unmet: usize) -> Self {
        Self {
            status: Status::Idle,
            is_live: false,
            taint: false,
            taint_before: false,
            unmet,
            run: Tries::default(),
            undo: Tries::default(),
            signal: None,
            error: None,
            is_settled: false,
            is_settled_if_lost: false,
        }
    }
}

/// What is known of a step, to be looked at.
#[derive(Debug, Clone, Copy)]
pub struct StepView<'s> {
    step: &'s Step,
    output: Option<&'s Payload>,
}

impl<'s> StepView<'s> {
    /// How it stands.
    pub const fn status(self) -> Status {
        self.step.status
    }

    /// Whether an attempt of it, or of its undo, is running here.
    pub const fn is_live(self) -> bool {
        self.step.is_live
    }

    /// How often it was started.
    pub const fn attempts(self) -> u32 {
        self.step.run.attempts
    }

    /// How often its undo was started.
    pub const fn undo_attempts(self) -> u32 {
        self.step.undo.attempts
    }

    /// Whether an attempt before the one that was started last may have happened.
    pub const fn maybe_done_before(self) -> bool {
        self.step.taint_before
    }

    /// The id of the signal that it waits for, once that has arrived.
    pub fn signal_id(self) -> Option<&'s Arc<str>> {
        self.step.signal.as_ref().map(|signal| &signal.id)
    }

    /// What it, or its undo, said last.
    pub fn error(self) -> Option<&'s Arc<str>> {
        self.step.error.as_ref()
    }

    /// What it gave.
    pub const fn output(self) -> Option<&'s Payload> {
        self.output
    }

    /// What it did, whether or not that needs an undo: `None` if that was nothing, or nothing is left of it.
    pub fn effect(self) -> Option<Effect<&'s Payload>> {
        use Status::{Idle, LeftOut, MarkedCompensated, Skipped, Undone, Waiting};
        match self.step.status {
            Idle | Waiting { .. } | LeftOut | Undone | MarkedCompensated | Skipped => None,
            _ => self.output.map(Effect::Known).or(self.step.taint.then_some(Effect::Maybe)),
        }
    }
}
