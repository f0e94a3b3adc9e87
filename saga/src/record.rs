//! What a saga's journal says: one record for each thing that happened to it.

use crate::{Payload, Timestamp};
use serde::{Deserialize, Serialize, de::IgnoredAny};
use std::{
    fmt::{self, Display, Formatter},
    sync::Arc,
};

/// One thing that happened to a saga.
///
/// The state of a saga is the fold of its records and of nothing else. A record names steps by their names, so that one added
/// to a later version moves no other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Record {
    /// The saga exists. Always the first.
    Created {
        /// The name of the definition.
        saga: Arc<str>,
        /// The version of the definition.
        version: u32,
        /// The [fingerprint](crate::Saga::fingerprint) of the definition.
        fingerprint: u64,
        /// The key that tells a repeated start from a new one.
        key: Arc<str>,
        /// What the saga was started with.
        input: Payload,
        /// When the saga is turned back, if it has not passed its pivot.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        deadline: Option<Timestamp>,
    },
    /// An attempt of a step is about to be made. Durable before the step runs.
    StepStarted {
        /// The step.
        step: Arc<str>,
        /// Counts from one, also over crashes.
        attempt: u32,
    },
    /// A step has succeeded, a signal has been taken, a timer has fired.
    StepSucceeded {
        /// The step.
        step: Arc<str>,
        /// What it gave.
        output: Payload,
    },
    /// An attempt of a step has ended without success.
    StepFailed {
        /// The step.
        step: Arc<str>,
        /// What is known of the attempt.
        outcome: FailedAs,
        /// What the step said.
        error: Arc<str>,
        /// When the next attempt may start; `None` if there will be none.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        retry_at: Option<Timestamp>,
    },
    /// A step was left out, since its condition is not met.
    StepLeftOut {
        /// The step.
        step: Arc<str>,
    },
    /// A signal is waited for until this moment, or a timer fires then.
    WaitStarted {
        /// The step.
        step: Arc<str>,
        /// The moment; `None` if the signal is waited for without end.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        until: Option<Timestamp>,
    },
    /// A signal has arrived; the step that waits for it may come later.
    SignalReceived {
        /// The step that waits for it.
        step: Arc<str>,
        /// What tells a repeated delivery from another signal.
        id: Arc<str>,
        /// What it carries.
        payload: Payload,
    },
    /// Somebody wants the saga to be undone.
    CancelRequested {
        /// Why.
        reason: Arc<str>,
    },
    /// From here on the saga is undone: no step starts, what has happened is compensated.
    Turned {
        /// Why.
        cause: Cause,
    },
    /// An attempt to undo a step is about to be made. Durable before the undo runs.
    UndoStarted {
        /// The step.
        step: Arc<str>,
        /// Counts from one, also over crashes.
        attempt: u32,
    },
    /// A step has been undone.
    UndoSucceeded {
        /// The step.
        step: Arc<str>,
    },
    /// An attempt to undo a step has ended without success.
    UndoFailed {
        /// The step.
        step: Arc<str>,
        /// What the undo said.
        error: Arc<str>,
        /// When the next attempt may start; `None` if a person has to help.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        retry_at: Option<Timestamp>,
    },
    /// The saga stops until an operator acts. Other sagas go on.
    Parked {
        /// Why.
        reason: ParkReason,
    },
    /// An operator lets a parked saga try again what it was parked for.
    Resumed(ByOperator),
    /// An operator vouches that a step has had no effect, or that this has been undone.
    MarkedCompensated {
        /// The step.
        step: Arc<str>,
        /// Who, and why.
        #[serde(flatten)]
        by: ByOperator,
    },
    /// An operator leaves the effect of a step as it is, or does without a step.
    Skipped {
        /// The step.
        step: Arc<str>,
        /// Who, and why.
        #[serde(flatten)]
        by: ByOperator,
    },
    /// All steps have succeeded. Nothing follows.
    Completed,
    /// All that had happened has been undone. Nothing follows.
    Compensated,
    /// An operator gives the saga up as it is. Nothing follows.
    Abandoned(ByOperator),
}

/// What is known of an attempt that has not succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FailedAs {
    /// It did nothing, and neither would another.
    Rejected,
    /// Neither it nor any attempt before has done anything, and neither would another.
    RejectedForKey,
    /// It did nothing; another may.
    NotExecuted,
    /// It may have happened.
    Unknown,
}

impl FailedAs {
    /// Whether another attempt cannot help.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Rejected | Self::RejectedForKey)
    }
}

/// Why a saga was turned back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Cause {
    /// A step has failed for good.
    StepFailed {
        /// The step.
        step: Arc<str>,
        /// What is known of its *last* attempt. One before may have happened all the same, and is then undone as what perhaps has.
        /// A signal that did not come in time is [`Rejected`](FailedAs::Rejected).
        outcome: FailedAs,
        /// What it said last.
        error: Arc<str>,
    },
    /// Somebody cancelled it.
    Cancelled {
        /// Why.
        reason: Arc<str>,
    },
    /// Its deadline passed.
    DeadlinePassed,
    /// An operator vouched that the pivot has no effect.
    Operator(ByOperator),
}

/// Why a saga was parked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ParkReason {
    /// Nobody knows whether the pivot has happened, and its attempts are spent.
    PivotUnknown {
        /// The pivot.
        step: Arc<str>,
    },
    /// A step after the pivot, which cannot be turned back, was rejected.
    StepRejected {
        /// The step.
        step: Arc<str>,
    },
    /// An undo has failed for good.
    UndoFailed {
        /// The step.
        step: Arc<str>,
    },
    /// A step was started many times and never ended: it may be what stops the process.
    NeverEnds {
        /// The step.
        step: Arc<str>,
    },
    /// A value in the journal is not one of the type that the definition reads there.
    Unreadable {
        /// The step that could not read it.
        step: Arc<str>,
        /// What the decoder said.
        error: Arc<str>,
    },
    /// The records cannot be read, or do not fit each other or the definition. Their bytes are kept.
    Corrupt {
        /// The number of the first such record.
        seq: u64,
        /// What is wrong with it.
        error: Arc<str>,
    },
    /// The definition has another graph than the one the saga was started with, under the same version.
    DefinitionChanged,
    /// The saga has as many records as one may have.
    TooLong,
}

impl ParkReason {
    /// The step that it is about, if it is about one.
    pub const fn step(&self) -> Option<&Arc<str>> {
        match self {
            Self::PivotUnknown { step }
            | Self::StepRejected { step }
            | Self::UndoFailed { step }
            | Self::NeverEnds { step }
            | Self::Unreadable { step, .. } => Some(step),
            Self::Corrupt { .. } | Self::DefinitionChanged | Self::TooLong => None,
        }
    }
}

/// Who, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ByOperator {
    /// Who acts.
    pub by: Arc<str>,
    /// Why.
    pub reason: Arc<str>,
}

/// The version of the form in which records are written.
const FORMAT: u32 = 1;

/// How each record begins: what is the same in all of them is not encoded anew. It is read as an [`Envelope`].
const HEAD: &[u8] = br#"{"format":1,"record":"#;

/// Room for most records.
const USUAL: usize = 128;

#[derive(Deserialize)]
struct Envelope<R> {
    format: u32,
    record: R,
}

impl Record {
    /// The record as it is kept: JSON with the number of its form.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(USUAL);
        bytes.extend_from_slice(HEAD);
        // Strings, numbers and JSON that was encoded before: nothing in it can fail.
        let _ = serde_json::to_writer(&mut bytes, self);
        bytes.push(b'}');
        bytes
    }

    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    ///
    /// If this is no record, or one of a form or a kind that this version does not know.
    pub fn decode(bytes: &[u8]) -> Result<Self, UnreadableRecord> {
        match serde_json::from_slice::<Envelope<Self>>(bytes) {
            Ok(Envelope { format: FORMAT, record }) => Ok(record),
            Ok(Envelope { format, .. }) => Err(UnreadableRecord::of_format(format)),
            // A later form may have records that look different; its number says more than what they lack.
            Err(error) => Err(match serde_json::from_slice::<Envelope<IgnoredAny>>(bytes) {
                Ok(Envelope { format, .. }) if format != FORMAT => UnreadableRecord::of_format(format),
                _ => UnreadableRecord(error.to_string()),
            }),
        }
    }

    /// Whether nothing can follow.
    pub const fn is_last(&self) -> bool {
        matches!(self, Self::Completed | Self::Compensated | Self::Abandoned(_))
    }
}

/// A record that this version cannot read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadableRecord(String);

impl UnreadableRecord {
    fn of_format(format: u32) -> Self {
        Self(format!("its form is {format}, and this version reads {FORMAT}"))
    }
}

impl Display for UnreadableRecord {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "the record cannot be read: {}", self.0)
    }
}

impl std::error::Error for UnreadableRecord {}
