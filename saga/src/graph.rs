//! The shape of a saga, without its code.

use mainstay_retry::Backoff;
use std::{num::NonZeroU32, sync::Arc, time::Duration};

/// The steps of a saga and what each waits for.
///
/// A step only waits for steps before it in the list, so there is no cycle.
#[derive(Debug, Clone, PartialEq)]
pub struct Graph {
    pub(crate) name: Arc<str>,
    pub(crate) version: u32,
    pub(crate) nodes: Vec<Node>,
    pub(crate) fingerprint: u64,
    /// When the saga is turned back, counted from its start.
    pub(crate) deadline: Option<Duration>,
}

/// One step of the graph.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    pub(crate) name: Arc<str>,
    pub(crate) kind: Kind,
    /// What has to be done before, by position; sorted, without repetition. Both what is read and what is only waited for.
    pub(crate) needs: Vec<usize>,
    /// Who needs this one: the other direction of `needs`.
    pub(crate) needed_by: Vec<usize>,
    /// Who reads the output of this one, so that nobody can do without it.
    pub(crate) read_by: Vec<usize>,
    /// The step whose output, a JSON `true`, has to be met. Also among `needs`.
    pub(crate) condition: Option<usize>,
    /// After the pivot: it is tried until it succeeds, and nothing turns back.
    pub(crate) committed: bool,
    pub(crate) retry: Retry,
    pub(crate) attempt_timeout: Option<Duration>,
    pub(crate) undo_retry: Retry,
    pub(crate) undo_timeout: Option<Duration>,
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

/// How often, and how far apart, something is tried.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Retry {
    /// `None`: without end.
    pub(crate) attempts: Option<NonZeroU32>,
    pub(crate) backoff: Backoff,
}
