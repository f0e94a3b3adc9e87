//! How a graph is made and checked.

use super::{Graph, Kind, Node, Retry};
use mainstay_core::InvalidConfig;
use mainstay_retry::{Backoff, Config, Policy};
use std::{
    collections::HashSet,
    fmt::{self, Display, Formatter},
    num::NonZeroU32,
    sync::Arc,
    time::Duration,
};

const MAX_STEPS: usize = 1_000;
const MAX_NAME: usize = 64;

const FIRST_WAIT: Duration = Duration::from_millis(200);
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(30);
const RETRY: Retry =
    Retry { attempts: NonZeroU32::new(5), backoff: Backoff::exponential(FIRST_WAIT).cap(Duration::from_secs(30)) };
const UNDO_RETRY: Retry =
    Retry { attempts: NonZeroU32::new(10), backoff: Backoff::exponential(FIRST_WAIT).cap(Duration::from_secs(60)) };

/// What is wrong with a definition.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum BuildError {
    /// The name of the saga is not 1 to 64 of `a` to `z`, `0` to `9`, dot, hyphen and underscore.
    SagaName {
        /// The name.
        name: Arc<str>,
    },
    /// The name of a step is not 1 to 64 of those.
    StepName {
        /// The name.
        step: Arc<str>,
    },
    /// Two steps have this name.
    RepeatedStep {
        /// The name.
        step: Arc<str>,
    },
    /// The step waits for itself, or for one that comes later or does not exist.
    NotBefore {
        /// The step.
        step: Arc<str>,
    },
    /// A step that can be undone, or another pivot, after the pivot; or one before it that can only be tried again.
    Misplaced {
        /// The step.
        step: Arc<str>,
    },
    /// A setting of a step is out of its range or has no effect, or its condition is the input.
    Setting {
        /// The step.
        step: Arc<str>,
        /// Which one.
        error: InvalidConfig,
    },
    /// The deadline of the saga is zero, or its result is the output of a step that does not exist.
    Saga(InvalidConfig),
    /// There are more than 1,000 steps.
    TooManySteps,
}

impl Display for BuildError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        const NAME: &str = "has to be 1 to 64 of a-z, 0-9, dot, hyphen and underscore";
        match self {
            Self::SagaName { name } => write!(f, "the name of the saga {name:?} {NAME}"),
            Self::StepName { step } => write!(f, "the name of the step {step:?} {NAME}"),
            Self::RepeatedStep { step } => write!(f, "two steps have the name {step:?}"),
            Self::NotBefore { step } => write!(f, "the step {step:?} waits for one that does not come before it"),
            Self::Misplaced { step } => write!(f, "the step {step:?} is on the wrong side of the pivot for its kind"),
            Self::Setting { step, error } => write!(f, "in the step {step:?}, {error}"),
            Self::Saga(error) => write!(f, "in the saga, {error}"),
            Self::TooManySteps => write!(f, "the saga has more than {MAX_STEPS} steps"),
        }
    }
}

/// Without a source: the text has all of it.
impl std::error::Error for BuildError {}

/// Whether a saga or a step may have this name: it goes into idempotency keys, labels and diagrams.
fn is_name(name: &str) -> bool {
    let of_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_".contains(&byte);
    (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(of_name)
}

impl Node {
    /// A step that waits for nothing, with the defaults.
    pub fn new(name: impl Into<Arc<str>>, kind: Kind) -> Self {
        Self {
            name: name.into(),
            kind,
            needs: Vec::new(),
            reads: Vec::new(),
            needed_by: Vec::new(),
            read_by: Vec::new(),
            condition: None,
            committed: false,
            retry: RETRY,
            attempt_timeout: Some(ATTEMPT_TIMEOUT),
            undo_retry: UNDO_RETRY,
            undo_timeout: Some(ATTEMPT_TIMEOUT),
        }
    }

    /// Also waits for these, by position.
    pub fn needs(mut self, steps: impl IntoIterator<Item = usize>) -> Self {
        self.needs.extend(steps);
        self
    }

    /// Also waits for these and reads what they give.
    pub fn reads(mut self, steps: impl IntoIterator<Item = usize>) -> Self {
        self.reads.extend(steps);
        self
    }

    /// Is left out unless this step gives `true`.
    pub const fn when(mut self, condition: usize) -> Self {
        self.condition = Some(condition);
        self
    }

    /// How often it is tried. After the pivot only the waits count: there is no end.
    pub const fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// How long one attempt may take; `None`: for ever.
    pub const fn attempt_timeout(mut self, limit: Option<Duration>) -> Self {
        self.attempt_timeout = limit;
        self
    }

    /// How often its undo is tried before a person has to help.
    pub const fn undo_retry(mut self, retry: Retry) -> Self {
        self.undo_retry = retry;
        self
    }

    /// How long one attempt of its undo may take; `None`: for ever.
    pub const fn undo_timeout(mut self, limit: Option<Duration>) -> Self {
        self.undo_timeout = limit;
        self
    }

    /// All that it waits for, sorted and once each. A node of another graph may have been given: who needed it there counts
    /// for nothing here.
    fn settle_needs(&mut self) {
        self.needed_by.clear();
        self.read_by.clear();
        self.reads.extend(self.condition);
        self.needs.extend(&self.reads);
        for list in [&mut self.needs, &mut self.reads] {
            list.sort_unstable();
            list.dedup();
        }
    }

    fn check(&self) -> Result<(), BuildError> {
        if !is_name(&self.name) {
            return Err(BuildError::StepName { step: self.name.clone() });
        }
        self.check_settings().map_err(|error| BuildError::Setting { step: self.name.clone(), error })
    }

    fn check_settings(&self) -> Result<(), InvalidConfig> {
        for backoff in [self.retry.backoff, self.undo_retry.backoff] {
            Policy::new(Config::default().backoff(backoff))?;
        }
        check_limit("attempt_timeout", self.attempt_timeout)?;
        check_limit("undo_timeout", self.undo_timeout)
    }
}

fn check_limit(field: &'static str, limit: Option<Duration>) -> Result<(), InvalidConfig> {
    match limit {
        Some(Duration::ZERO) => Err(InvalidConfig::new(field, Duration::ZERO, "above zero")),
        _ => Ok(()),
    }
}

impl Graph {
    /// Puts the steps together. Each waits for steps before it in the list.
    ///
    /// The pivot also waits for every step before it, and every step after the pivot for the pivot, so that nothing runs
    /// beside the point of no return.
    ///
    /// # Errors
    ///
    /// If a name, an edge, the place of a kind or a setting is wrong; the error names the step.
    pub fn new(name: impl Into<Arc<str>>, version: u32, nodes: Vec<Node>) -> Result<Self, BuildError> {
        let mut graph = Self { name: name.into(), version, nodes, fingerprint: 0, deadline: None, result: None };
        if !is_name(&graph.name) {
            return Err(BuildError::SagaName { name: graph.name });
        }
        if graph.nodes.len() > MAX_STEPS {
            return Err(BuildError::TooManySteps);
        }
        graph.check_nodes()?;
        graph.separate();
        graph.connect();
        graph.fingerprint = graph.compute_fingerprint();
        Ok(graph)
    }

    /// Turns the saga back if it has not passed its pivot this long after its start.
    ///
    /// # Errors
    ///
    /// If the time is zero.
    pub fn with_deadline(mut self, deadline: Duration) -> Result<Self, BuildError> {
        check_limit("deadline", Some(deadline)).map_err(BuildError::Saga)?;
        self.deadline = Some(deadline);
        Ok(self)
    }

    /// Makes the output of this step that of the saga; otherwise the input is.
    ///
    /// # Errors
    ///
    /// If there is no such step.
    pub fn with_result(mut self, step: usize) -> Result<Self, BuildError> {
        if step >= self.nodes.len() {
            let error = InvalidConfig::new("result", step, "the position of a step");
            return Err(BuildError::Saga(error));
        }
        self.result = Some(step);
        self.fingerprint = self.compute_fingerprint();
        Ok(self)
    }

    fn check_nodes(&mut self) -> Result<(), BuildError> {
        let mut names = HashSet::new();
        let mut committed = false;
        for (position, node) in self.nodes.iter_mut().enumerate() {
            node.check()?;
            node.settle_needs();
            node.committed = committed;
            let step = node.name.clone();
            if !names.insert(step.clone()) {
                return Err(BuildError::RepeatedStep { step });
            }
            if node.needs.iter().any(|&need| need >= position) {
                return Err(BuildError::NotBefore { step });
            }
            let is_misplaced = match node.kind {
                Kind::Compensatable | Kind::Pivot => committed,
                Kind::Retriable => !committed,
                Kind::ReadOnly | Kind::Signal { .. } | Kind::Timer { .. } => false,
            };
            if is_misplaced {
                return Err(BuildError::Misplaced { step });
            }
            committed |= node.kind == Kind::Pivot;
        }
        Ok(())
    }

    /// Lets the pivot wait for all before it, and all after it for the pivot, by as few edges as that takes.
    fn separate(&mut self) {
        let Some(pivot) = self.pivot() else { return };
        let (before, rest) = self.nodes.split_at_mut(pivot);
        let mut is_needed = vec![false; pivot];
        for &need in before.iter().flat_map(|node| &node.needs) {
            is_needed[need] = true;
        }
        rest[0].needs.extend((0..pivot).filter(|&step| !is_needed[step]));
        for node in &mut rest[1..] {
            if node.needs.iter().all(|&need| need < pivot) {
                node.needs.push(pivot);
            }
        }
        for node in rest {
            node.settle_needs();
        }
    }

    fn connect(&mut self) {
        for step in 0..self.nodes.len() {
            for need in self.nodes[step].needs.clone() {
                self.nodes[need].needed_by.push(step);
            }
            for read in self.nodes[step].reads.clone() {
                self.nodes[read].read_by.push(step);
            }
        }
    }

    fn compute_fingerprint(&self) -> u64 {
        let mut hash = Fnv::new();
        for node in &self.nodes {
            hash.text(&node.name);
            hash.number(match node.kind {
                Kind::Compensatable => 1,
                Kind::ReadOnly => 2,
                Kind::Pivot => 3,
                Kind::Retriable => 4,
                Kind::Signal { .. } => 5,
                Kind::Timer { .. } => 6,
            });
            hash.number(node.needs.len());
            node.needs.iter().for_each(|&need| hash.number(need));
            hash.number(node.condition.map_or(0, |step| step + 1));
        }
        hash.number(self.result.map_or(0, |step| step + 1));
        hash.0
    }
}

/// FNV-1a with 64 bits (Fowler, Noll, Vo): the same number in every build, unlike the hashes of the standard library.
struct Fnv(u64);

impl Fnv {
    const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn byte(&mut self, byte: u8) {
        self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }

    /// The text and its end, which no name contains.
    fn text(&mut self, text: &str) {
        text.bytes().for_each(|byte| self.byte(byte));
        self.byte(0xff);
    }

    fn number(&mut self, number: usize) {
        (number as u64).to_le_bytes().into_iter().for_each(|byte| self.byte(byte));
    }
}
