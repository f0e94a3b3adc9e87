//! The right to make one call, and how the call ended.

use crate::{in_flight::BucketId, probes::ProbeId, word::Word};
use mainstay_core::{Class, Failure};
use std::time::{Duration, Instant};

/// The right to make one call; a plain token.
///
/// It belongs to the circuit that gave it; another one would believe it too. Whoever holds it settles it, by [`Circuit::settle`](crate::Circuit::settle) there. A permit that
/// is dropped unsettled is a call without a vote; if it was a probe, its slot stays taken until the probe's deadline. A
/// [`Guard`](crate::Guard) settles by itself.
#[derive(Debug)]
#[must_use = "an admitted call has to be settled"]
pub struct Permit {
    pub(crate) generation: u64,
    pub(crate) probe: Option<ProbeId>,
    /// Where the call is counted while it is in flight.
    pub(crate) bucket: Option<BucketId>,
    pub(crate) started: Option<Instant>,
}

/// How an admitted call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The service works.
    Success,
    /// The service does not work.
    Failure,
    /// The service has too much to do, and may have said how long it wants to be left alone.
    ///
    /// A failure, and with [`Config::overload`](crate::Config::overload) and a time above zero more than that.
    Overloaded(Option<Duration>),
    /// The end says nothing about the service.
    Ignored,
    /// Nobody waited for the end.
    Abandoned,
}

impl Permit {
    /// No generation has this number, so what is settled with it changes nothing.
    const VOID: u64 = Word::MAX_GENERATION + 1;

    /// A permit whose call does not vote.
    pub(crate) const fn void() -> Self {
        Self { generation: Self::VOID, probe: None, bucket: None, started: None }
    }

    /// Whether the call is a probe: of a half-open circuit, or one that a stage of a recovering circuit waits for.
    pub const fn is_probe(&self) -> bool {
        self.probe.is_some()
    }
}

impl From<Class> for Outcome {
    fn from(class: Class) -> Self {
        match class {
            Class::Success => Self::Success,
            Class::Failure(Failure::Overloaded { retry_after }) => Self::Overloaded(retry_after),
            Class::Failure(_) => Self::Failure,
            Class::Ignored => Self::Ignored,
        }
    }
}
