//! Counters, gauges and histograms through the `metrics` facade.

use crate::{FailedAs, Graph, ParkReason, Record, panics::quietly};
use metrics::{Counter, Gauge, Histogram, Label, counter, gauge, histogram};
use std::{
    sync::{
        Arc, OnceLock, PoisonError, RwLock,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};
use tokio::time::Instant;

/// What is counted of one definition. Clones are the same.
#[derive(Clone)]
pub(crate) struct Metrics(Arc<RwLock<Arc<Counters>>>);

/// A saga in memory, counted until it is dropped.
pub(crate) struct InMemory(Metrics);

impl Drop for InMemory {
    fn drop(&mut self) {
        self.0.hold(-1);
    }
}

/// Measures by tokio's clock, which tests can pause.
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn read(&self) -> Took {
        Took(self.0.elapsed())
    }
}

/// How long something took.
#[derive(Debug)]
pub(crate) struct Took(Duration);

/// How long attempts took whose ends are not yet durable.
pub(crate) struct Timings(Vec<Timing>);

struct Timing {
    step: usize,
    outcome: usize,
    took: Took,
}

impl Timings {
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds an attempt of a step that ended with this record.
    pub(crate) fn add(&mut self, step: usize, record: &Record, took: Took) {
        self.0.extend(outcome(record).map(|(_, outcome)| Timing { step, outcome, took }));
    }
}

/// The counters of one definition. Each is made when it first counts: that finds a recorder which was installed after the engine
/// was made.
struct Counters {
    engine: &'static str,
    saga: Arc<str>,
    in_memory: OnceLock<Gauge>,
    /// What was added to that gauge.
    held: AtomicI64,
    started: OnceLock<Counter>,
    claimed: OnceLock<Counter>,
    fenced: OnceLock<Counter>,
    append_seconds: OnceLock<Histogram>,
    oldest: OnceLock<Gauge>,
    ended: [OnceLock<Counter>; ENDS.len()],
    parked: [OnceLock<Counter>; REASONS.len()],
    steps: Vec<Step>,
}

/// The counters of one step.
struct Step {
    name: Arc<str>,
    attempts: [OnceLock<Counter>; OUTCOMES.len()],
    seconds: [OnceLock<Histogram>; OUTCOMES.len()],
}

const ENDS: [&str; 3] = ["completed", "compensated", "abandoned"];

const REASONS: [&str; 8] = [
    "pivot_unknown",
    "step_rejected",
    "undo_failed",
    "never_ends",
    "unreadable",
    "corrupt",
    "definition_changed",
    "too_long",
];

/// Of a phase of a step: how an attempt ended.
const OUTCOMES: [(&str, &str); 6] = [
    ("do", "succeeded"),
    ("do", "rejected"),
    ("do", "not_executed"),
    ("do", "unknown"),
    ("undo", "succeeded"),
    ("undo", "failed"),
];

impl Metrics {
    pub(crate) fn new(engine: &'static str, graph: &Graph) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(Counters::new(engine, graph)))))
    }

    pub(crate) fn recorded(&self, record: &Record) {
        self.counters().recorded(record);
    }

    pub(crate) fn timed(&self, timings: &mut Timings) {
        if timings.0.is_empty() {
            return;
        }
        let counters = self.counters();
        timings.0.drain(..).for_each(|timing| counters.timed(&timing));
    }

    pub(crate) fn appended(&self, took: &Took) {
        self.counters().appended(took);
    }

    pub(crate) fn oldest(&self, age: Duration) {
        self.counters().oldest(age);
    }

    pub(crate) fn entered(&self) -> InMemory {
        self.hold(1);
        InMemory(self.clone())
    }

    /// Counts so many more sagas in memory, with the recorder of now.
    fn hold(&self, more: i64) {
        let counters = self.counters();
        counters.hold(more);
        self.follow(counters);
    }

    /// Moves on what was added to these counters after a `rebind` had replaced them.
    fn follow(&self, mut counters: Arc<Counters>) {
        loop {
            let present = self.counters();
            if Arc::ptr_eq(&counters, &present) {
                return;
            }
            counters.move_to(&present);
            counters = present;
        }
    }

    pub(crate) fn claimed(&self) {
        let counters = self.counters();
        counters.count(&counters.claimed, "mainstay_saga_claimed_total");
    }

    pub(crate) fn fenced(&self) {
        let counters = self.counters();
        counters.count(&counters.fenced, "mainstay_saga_fenced_total");
    }

    /// Takes the recorder that is installed now.
    pub(crate) fn rebind(&self, engine: &'static str, graph: &Graph) {
        let new = Arc::new(Counters::new(engine, graph));
        let old = std::mem::replace(&mut *self.0.write().unwrap_or_else(PoisonError::into_inner), new);
        // Without the lock, like all code of the recorder.
        self.follow(old);
    }

    fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Counters {
    fn new(engine: &'static str, graph: &Graph) -> Self {
        let step = |name: &Arc<str>| Step {
            name: Arc::clone(name),
            attempts: Default::default(),
            seconds: Default::default(),
        };
        Self {
            engine,
            saga: Arc::clone(&graph.name),
            in_memory: OnceLock::new(),
            held: AtomicI64::new(0),
            started: OnceLock::new(),
            claimed: OnceLock::new(),
            fenced: OnceLock::new(),
            append_seconds: OnceLock::new(),
            oldest: OnceLock::new(),
            ended: Default::default(),
            parked: Default::default(),
            steps: graph.nodes().iter().map(|node| step(&node.name)).collect(),
        }
    }

    fn recorded(&self, record: &Record) {
        match record {
            Record::Created { .. } => self.count(&self.started, "mainstay_saga_started_total"),
            Record::Completed => self.ended(0),
            Record::Compensated => self.ended(1),
            Record::Abandoned(_) => self.ended(2),
            Record::Parked { reason } => self.parked(position(reason)),
            _ => {
                if let Some((step, outcome)) = outcome(record) {
                    self.attempt(step, outcome);
                }
            }
        }
    }

    fn hold(&self, more: i64) {
        // Relaxed: a sum, in whatever order.
        self.held.fetch_add(more, Ordering::Relaxed);
        self.tell_in_memory(more);
    }

    /// Moves the sagas in memory to another recorder.
    fn move_to(&self, other: &Self) {
        // Relaxed: whoever takes a unit is the only one who does; the lock around the counters orders it after its addition.
        let held = self.held.swap(0, Ordering::Relaxed);
        if held != 0 {
            self.tell_in_memory(-held);
            other.hold(held);
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "there is no room for so many sagas")]
    fn tell_in_memory(&self, more: i64) {
        let made = || gauge!("mainstay_saga_in_memory", "engine" => self.engine, "saga" => Arc::clone(&self.saga));
        // While a panic unwinds, perhaps.
        quietly(|| self.in_memory.get_or_init(made).increment(more as f64));
    }

    fn count(&self, place: &OnceLock<Counter>, name: &'static str) {
        let made = || counter!(name, "engine" => self.engine, "saga" => Arc::clone(&self.saga));
        place.get_or_init(made).increment(1);
    }

    fn ended(&self, end: usize) {
        let made = || counter!("mainstay_saga_ended_total", "engine" => self.engine, "saga" => Arc::clone(&self.saga), "outcome" => ENDS[end]);
        self.ended[end].get_or_init(made).increment(1);
    }

    fn parked(&self, reason: usize) {
        let made = || counter!("mainstay_saga_parked_total", "engine" => self.engine, "saga" => Arc::clone(&self.saga), "reason" => REASONS[reason]);
        self.parked[reason].get_or_init(made).increment(1);
    }

    fn attempt(&self, step: &Arc<str>, outcome: usize) {
        let Some(step) = self.steps.iter().find(|known| known.name == *step) else { return };
        let made = || counter!("mainstay_saga_step_attempts_total", self.labels(step, outcome));
        step.attempts[outcome].get_or_init(made).increment(1);
    }

    fn timed(&self, timing: &Timing) {
        let (step, outcome) = (&self.steps[timing.step], timing.outcome);
        let made = || histogram!("mainstay_saga_step_seconds", self.labels(step, outcome));
        step.seconds[outcome].get_or_init(made).record(timing.took.0);
    }

    fn labels(&self, step: &Step, outcome: usize) -> Vec<Label> {
        let (phase, result) = OUTCOMES[outcome];
        vec![
            Label::new("engine", self.engine),
            Label::new("saga", Arc::clone(&self.saga)),
            Label::new("step", Arc::clone(&step.name)),
            Label::new("phase", phase),
            Label::new("outcome", result),
        ]
    }

    fn oldest(&self, age: Duration) {
        let made =
            || gauge!("mainstay_saga_oldest_active_seconds", "engine" => self.engine, "saga" => Arc::clone(&self.saga));
        self.oldest.get_or_init(made).set(age);
    }

    fn appended(&self, took: &Took) {
        let made =
            || histogram!("mainstay_saga_append_seconds", "engine" => self.engine, "saga" => Arc::clone(&self.saga));
        self.append_seconds.get_or_init(made).record(took.0);
    }
}

/// A recorder that is not told any more is left with nothing.
impl Drop for Counters {
    fn drop(&mut self) {
        if let Some(oldest) = self.oldest.get() {
            quietly(|| oldest.set(0.0));
        }
    }
}

/// The step that a record ends an attempt of, and the place of how among [`OUTCOMES`].
const fn outcome(record: &Record) -> Option<(&Arc<str>, usize)> {
    match record {
        Record::StepSucceeded { step, .. } => Some((step, 0)),
        Record::StepFailed { step, outcome, .. } => Some((step, failure(*outcome))),
        Record::UndoSucceeded { step } => Some((step, 4)),
        Record::UndoFailed { step, .. } => Some((step, 5)),
        _ => None,
    }
}

const fn failure(outcome: FailedAs) -> usize {
    match outcome {
        FailedAs::Rejected | FailedAs::RejectedForKey => 1,
        FailedAs::NotExecuted => 2,
        FailedAs::Unknown => 3,
    }
}

const fn position(reason: &ParkReason) -> usize {
    match reason {
        ParkReason::PivotUnknown { .. } => 0,
        ParkReason::StepRejected { .. } => 1,
        ParkReason::UndoFailed { .. } => 2,
        ParkReason::NeverEnds { .. } => 3,
        ParkReason::Unreadable { .. } => 4,
        ParkReason::Corrupt { .. } => 5,
        ParkReason::DefinitionChanged => 6,
        ParkReason::TooLong => 7,
    }
}
