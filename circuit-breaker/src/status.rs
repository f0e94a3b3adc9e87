//! What can be seen of a circuit from outside.

use mainstay_core::window::Counts;
use std::{fmt, time::Duration};

/// The state of a circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum State {
    /// Calls pass, and are counted.
    Closed,
    /// Calls are refused until the open time is over.
    Open,
    /// A few probes pass; the rest is refused until they have decided.
    HalfOpen,
    /// The probes succeeded, and a share of the calls passes that grows by stages; with [`Config::gradual`](crate::Config::gradual).
    Recovering,
    /// Everything is refused until an operator resets the circuit.
    Isolated,
    /// Everything passes and nothing is counted until an operator resets the circuit.
    Disabled,
}

/// The latest state, as a watcher sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// The state.
    pub state: State,
    /// The number of transitions so far; each stage of a recovering circuit is one.
    pub generation: u64,
}

/// A circuit at one moment.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Snapshot {
    /// The configured name.
    pub name: &'static str,
    /// The state.
    pub state: State,
    /// The number of transitions so far, each stage of a recovering circuit being one; results of calls admitted under an earlier one change nothing.
    pub generation: u64,
    /// The votes in the window; of the probes, while half-open; of the stage, while recovering. While open, those that opened the circuit, as far as they
    /// are still in the window. With [`Window::Consecutive`](crate::Window::Consecutive), the failures in a row.
    pub votes: Counts,
    /// Calls that were cancelled before they ended: in the time of [`Window::Within`](crate::Window::Within), in a row
    /// since the last vote otherwise. As `votes`, those of the closed circuit; abandoned probes are not counted.
    pub abandoned: u64,
    /// Probes that are out.
    pub probes: u32,
    /// The stage of a recovering circuit: the place of its share in [`Gradual::shares`](crate::Gradual::shares), from 0.
    pub stage: Option<u32>,
    /// Calls in flight, if [`Config::slow_in_flight`](crate::Config::slow_in_flight) counts them: those of this generation
    /// that are not probes. A permit that was dropped unsettled is in flight until the next transition.
    pub in_flight: u64,
    /// Those of the calls in flight that are overdue: they have voted as slow, or will with the next call.
    pub overdue: u64,
    /// How often the circuit opened again since it was last closed.
    pub reopenings: u32,
    /// How long until asking again can help, as a refusal says now, or in shadow mode would say; `None` if the machine
    /// admits calls (a recovering one admits some), or if only an operator can help.
    pub retry_after: Option<Duration>,
    /// Calls refused since the circuit was made. In shadow mode, those that would have been.
    pub refused: u64,
}

/// Why a transition happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    ConsecutiveFailures,
    FailureRate,
    SlowRate,
    AllAbandoned,
    Overload,
    OpenTimeOver,
    ProbesSucceeded,
    StageSucceeded,
    Operator,
}

/// One transition, to be told to those outside once the lock is released.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) from: State,
    pub(crate) to: Status,
    pub(crate) cause: Cause,
}

/// The transitions of one operation: at most three, as when a probe's deadline re-opened a circuit whose open time is over
/// too, and the next probe failed at once.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    made: [Option<Change>; 3],
}

impl Changes {
    pub(crate) fn push(&mut self, change: Change) {
        let free = self.made.iter_mut().find(|made| made.is_none());
        debug_assert!(free.is_some(), "an operation makes at most three transitions");
        if let Some(free) = free {
            *free = Some(change);
        }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.made[0].is_none()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Change> {
        self.made.iter().flatten()
    }
}

impl State {
    #[cfg_attr(not(any(feature = "metrics", test)), expect(dead_code, reason = "labels are for metrics"))]
    pub(crate) const ALL: [Self; 6] =
        [Self::Closed, Self::Open, Self::HalfOpen, Self::Recovering, Self::Isolated, Self::Disabled];

    /// The state in lower case, as in logs and labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
            Self::Recovering => "recovering",
            Self::Isolated => "isolated",
            Self::Disabled => "disabled",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ConsecutiveFailures => "failures in a row",
            Self::FailureRate => "failure rate",
            Self::SlowRate => "slow-call rate",
            Self::AllAbandoned => "every call was abandoned",
            Self::Overload => "the service is overloaded",
            Self::OpenTimeOver => "the open time is over",
            Self::ProbesSucceeded => "probes succeeded",
            Self::StageSucceeded => "calls of the stage succeeded",
            Self::Operator => "an operator",
        })
    }
}
