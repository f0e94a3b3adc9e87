//! The shape of a saga, without its code.

mod build;
mod draw;

pub use self::build::BuildError;

use mainstay_retry::Backoff;
use std::{num::NonZeroU32, sync::Arc, time::Duration};

/// The steps of a saga and what each waits for.
///
/// A step only waits for steps before it in the list, so there is no cycle. The pivot waits for all before it, and all after
/// it wait for the pivot: what they do not need through others is added.
///
/// # Examples
///
/// ```
/// use mainstay_saga::{Graph, Kind, Node};
///
/// let graph = Graph::new("order", 1, vec![
///     Node::new("reserve-stock", Kind::Compensatable),
///     Node::new("charge", Kind::Compensatable).needs([0]),
///     Node::new("confirm", Kind::Pivot),
///     Node::new("mail", Kind::Retriable).reads([1]),
/// ])?;
///
/// assert_eq!(graph.nodes()[2].needed(), [1], "whoever waits for the charge waits for the stock");
/// assert_eq!(graph.nodes()[3].needed(), [1, 2]);
/// assert!(graph.nodes()[3].is_committed());
/// # Ok::<(), mainstay_saga::BuildError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Graph {
    pub(crate) name: Arc<str>,
    pub(crate) version: u32,
    pub(crate) nodes: Vec<Node>,
    pub(crate) fingerprint: u64,
    /// When the saga is turned back, counted from its start.
    pub(crate) deadline: Option<Duration>,
    /// The step whose output is that of the saga; without it, the input is.
    pub(crate) result: Option<usize>,
}

impl Graph {
    /// The name of the definition.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The version of the definition.
    pub const fn version(&self) -> u32 {
        self.version
    }

    /// The steps, in the order of the definition.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// A number made of the names, kinds, edges and conditions of the steps, and of which one gives the result: what records
    /// refer to. How often something is tried, and how long, is no part of it.
    pub const fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// After how long the saga is turned back, if it has not passed its pivot.
    pub const fn deadline(&self) -> Option<Duration> {
        self.deadline
    }

    /// The position of a step.
    pub fn position(&self, step: &str) -> Option<usize> {
        self.nodes.iter().position(|node| *node.name == *step)
    }

    /// The position of the pivot, if there is one.
    pub fn pivot(&self) -> Option<usize> {
        self.nodes.iter().position(|node| node.kind == Kind::Pivot)
    }

    /// The position of the step whose output is that of the saga; without it, the input is.
    pub const fn result(&self) -> Option<usize> {
        self.result
    }

    /// Who cannot do without the output of this step: the names of the steps that read it.
    pub(crate) fn readers(&self, step: usize) -> impl Iterator<Item = &str> {
        self.nodes[step].read_by.iter().map(|&reader| &*self.nodes[reader].name)
    }
}

/// One step of the graph.
///
/// # Defaults
///
/// | | |
/// | --- | --- |
/// | attempts of a step | 5, after waits of 200 ms, doubled each time, up to 30 s, all of it left to chance |
/// | one attempt | 30 s |
/// | attempts of an undo | 10, after the same waits up to 60 s |
/// | one attempt of an undo | 30 s |
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub struct Node {
    pub(crate) name: Arc<str>,
    pub(crate) kind: Kind,
    /// What has to be done before, by position; sorted, without repetition. Both what is read and what is only waited for.
    pub(crate) needs: Vec<usize>,
    /// What of it is read.
    pub(crate) reads: Vec<usize>,
    /// Who needs this one: the other direction of `needs`.
    pub(crate) needed_by: Vec<usize>,
    /// Who reads the output of this one, so that nobody can do without it.
    pub(crate) read_by: Vec<usize>,
    /// The step whose output, a JSON `true`, has to be met. Also among `needs` and `reads`.
    pub(crate) condition: Option<usize>,
    /// After the pivot: it is tried until it succeeds, and nothing turns back.
    pub(crate) committed: bool,
    pub(crate) retry: Retry,
    pub(crate) attempt_timeout: Option<Duration>,
    pub(crate) undo_retry: Retry,
    pub(crate) undo_timeout: Option<Duration>,
}

impl Node {
    /// The name of the step.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it does.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// What has to be done before, by position.
    pub fn needed(&self) -> &[usize] {
        &self.needs
    }

    /// What of it is read, by position.
    pub fn read(&self) -> &[usize] {
        &self.reads
    }

    /// The step whose output has to be `true` for this one not to be left out.
    pub const fn condition(&self) -> Option<usize> {
        self.condition
    }

    /// Whether it comes after the pivot.
    pub const fn is_committed(&self) -> bool {
        self.committed
    }
}

/// What a step does, and so what becomes of it when the saga is turned back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// It has an effect, and an undo.
    Compensatable,
    /// It changes nothing.
    ReadOnly,
    /// The point of no return.
    Pivot,
    /// After the pivot; tried until it succeeds.
    Retriable,
    /// Waits for a message from outside, at most for so long.
    Signal {
        /// Without it, for ever.
        at_most: Option<Duration>,
    },
    /// Waits for a time.
    Timer {
        /// Counted from the moment at which what it needs is done.
        wait: Duration,
    },
}

impl Kind {
    /// Whether somebody runs it, as opposed to something that is only waited for.
    pub(crate) const fn is_run(self) -> bool {
        !matches!(self, Self::Signal { .. } | Self::Timer { .. })
    }
}

/// How often, and how far apart, something is tried.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Retry {
    /// `None`: without end.
    pub attempts: Option<NonZeroU32>,
    /// How long to wait between them.
    pub backoff: Backoff,
}

impl Retry {
    /// Whether so many attempts are all there are.
    pub(crate) fn is_spent(&self, attempts: u32) -> bool {
        self.attempts.is_some_and(|most| attempts >= most.get())
    }
}
