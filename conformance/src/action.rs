//! What the driver can do.

use crate::ledger::Letter;
use std::fmt;

/// One action of the driver. Services and outer calls are numbered as they come, so are inner calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    /// Polls a service for readiness.
    Ready(usize),
    /// Polls it again, from another task.
    ReadyElsewhere(usize),
    Call(usize),
    /// Polls a response future.
    Poll(usize),
    /// Polls it again, from another task.
    PollElsewhere(usize),
    DropService(usize),
    DropCall(usize),
    Clone(usize),
    /// The inner service has room for one call more.
    Give,
    /// The inner service answers one of its calls.
    Answer(usize, Answer),
    /// The inner service wakes everybody who waits for it, for nothing.
    Nudge,
    /// The inner service's next `poll_ready` fails.
    FailReadiness,
    /// Time passes.
    Advance,
}

/// How the inner service answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Answer {
    Ok,
    Err,
    /// It worked, and then a call of its own was refused.
    RefusedBelow,
}

impl Action {
    /// The service it is about.
    const fn service_mut(&mut self) -> Option<&mut usize> {
        match self {
            Self::Ready(at) | Self::ReadyElsewhere(at) | Self::Call(at) | Self::DropService(at) | Self::Clone(at) => {
                Some(at)
            }
            _ => None,
        }
    }

    pub(crate) fn rename_service(&mut self, from: usize, to: usize) {
        if let Some(at) = self.service_mut().filter(|at| **at == from) {
            *at = to;
        }
    }

    /// One service before this one is not made any more.
    pub(crate) fn move_up_after(&mut self, gone: usize) {
        if let Some(at) = self.service_mut().filter(|at| **at > gone) {
            *at -= 1;
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Ready(service) => write!(f, "poll_ready on {}", Letter(service)),
            Self::ReadyElsewhere(service) => write!(f, "poll_ready on {}, from another task", Letter(service)),
            Self::Call(service) => write!(f, "call on {}", Letter(service)),
            Self::Poll(call) => write!(f, "poll the future of call {call}"),
            Self::PollElsewhere(call) => write!(f, "poll the future of call {call}, from another task"),
            Self::DropService(service) => write!(f, "drop {}", Letter(service)),
            Self::DropCall(call) => write!(f, "drop the future of call {call}"),
            Self::Clone(service) => write!(f, "make another of {}", Letter(service)),
            Self::Give => f.write_str("the inner service gets one token more"),
            Self::Answer(call, Answer::Ok) => write!(f, "inner future {call} gets its reply"),
            Self::Answer(call, Answer::Err) => write!(f, "inner future {call} gets an error"),
            Self::Answer(call, Answer::RefusedBelow) => {
                write!(f, "inner future {call} gets an error: it worked, and then was itself refused further in")
            }
            Self::Nudge => f.write_str("the inner service wakes whoever waits for it, for nothing"),
            Self::FailReadiness => f.write_str("the inner service will fail its next poll_ready"),
            Self::Advance => f.write_str("time passes"),
        }
    }
}
