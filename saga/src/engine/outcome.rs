//! How sagas end, and what is answered to those who ask.

use crate::{ByOperator, Cause, ParkReason, Payload, journal::JournalError, state::IllegalRecord};
use mainstay_core::{InvalidConfig, Refused};
use std::{
    error,
    fmt::{self, Display, Formatter},
    sync::Arc,
};

/// How a saga ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome<O> {
    /// All steps succeeded, and gave this.
    Completed(O),
    /// What had happened was undone.
    Compensated(Cause),
    /// An operator gave it up as it was.
    Abandoned(ByOperator),
}

impl<O> Outcome<O> {
    /// What the saga gave, if it completed.
    pub fn completed(self) -> Option<O> {
        match self {
            Self::Completed(output) => Some(output),
            Self::Compensated(_) | Self::Abandoned(_) => None,
        }
    }
}

impl Outcome<Payload> {
    pub(crate) fn decode<O: crate::Data>(self) -> Result<Outcome<O>, WaitError> {
        Ok(match self {
            Self::Completed(payload) => Outcome::Completed(payload.decode().map_err(WaitError::Unreadable)?),
            Self::Compensated(cause) => Outcome::Compensated(cause),
            Self::Abandoned(by) => Outcome::Abandoned(by),
        })
    }
}

/// Why an engine did not start.
#[derive(Debug)]
#[non_exhaustive]
pub enum EngineError {
    /// A setting is out of range.
    Config(InvalidConfig),
    /// Two definitions have this name and version: other graphs, or the same one with other code.
    SameVersion {
        /// The name of the definitions.
        saga: Arc<str>,
        /// The version of the definitions.
        version: u32,
    },
    /// The journal does not answer.
    Journal(JournalError),
}

/// Why a saga was not started.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// There is no room: as many sagas as allowed are in memory. Nothing was started.
    Refused(Refused),
    /// The engine was shut down. Nothing was started.
    Stopped,
    /// The engine was not given this definition. Nothing was started.
    NotRegistered {
        /// The name of the definition.
        saga: Arc<str>,
        /// The version of the definition.
        version: u32,
    },
    /// The key is empty, or longer than 256 bytes. Nothing was started.
    InvalidKey,
    /// The input has no JSON. Nothing was started.
    Unwritable(serde_json::Error),
    /// The journal did not keep it. [`Ambiguous`](JournalError::Ambiguous) means that it may be there all the same.
    Journal(JournalError),
}

/// Why a saga's outcome is not known.
#[derive(Debug)]
#[non_exhaustive]
pub enum WaitError {
    /// It waits for an operator. Asked again after that, there is an outcome.
    Parked(ParkReason),
    /// The engine was shut down, and the saga goes on when one starts again.
    Stopped,
    /// The journal knows no such saga, or no longer.
    NotFound,
    /// The engine was not given the definition of this saga.
    NotRegistered {
        /// The name of the definition.
        saga: Arc<str>,
        /// The version of the definition.
        version: u32,
    },
    /// What the saga gave is not the JSON of the type that is asked for.
    Unreadable(serde_json::Error),
    /// The saga's records cannot be read.
    Corrupt(String),
    /// The journal does not answer.
    Journal(JournalError),
}

/// Why something that was asked of a saga was not done.
#[derive(Debug)]
#[non_exhaustive]
pub enum AskError {
    /// The journal knows no such saga.
    NotFound,
    /// The saga has ended.
    Ended,
    /// It cannot be done with the saga as it is, and why: what is wrong with a step names the step.
    Illegal(String),
    /// The engine was not given the definition of this saga.
    NotRegistered {
        /// The name of the definition.
        saga: Arc<str>,
        /// The version of the definition.
        version: u32,
    },
    /// The id of the signal is empty, or longer than 256 bytes.
    InvalidSignalId,
    /// What was sent has no JSON.
    Unwritable(serde_json::Error),
    /// What was sent is not of the type that the step waits for.
    Unreadable(serde_json::Error),
    /// The saga's records cannot be read.
    Corrupt(String),
    /// The engine was shut down, or the runtime that the saga ran in. If that was in the middle of it, the journal may have kept it.
    Stopped,
    /// The journal did not keep it, or nobody knows whether it did. It may be asked again.
    Journal(JournalError),
}

/// What became of a wish to cancel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CancelAck {
    /// It is in the journal. The saga is undone; if its pivot is under way, and succeeds, it goes on all the same.
    Accepted,
    /// The pivot has happened: the saga goes on.
    TooLate,
    /// The saga has ended.
    AlreadyEnded,
}

/// What became of a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SignalAck {
    /// It is in the journal, and the step gets it.
    Accepted,
    /// The step has had this signal, by its id, before: what it carried then counts.
    AlreadyReceived,
    /// The step has had another signal, with another id, before: that one counts, and this one is dropped.
    OtherReceived,
    /// The saga is being undone, or has ended, and this signal is dropped if it had not come before.
    TooLate,
}

impl From<IllegalRecord> for AskError {
    fn from(illegal: IllegalRecord) -> Self {
        Self::Illegal(illegal.why().to_owned())
    }
}

impl Display for EngineError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(_) => f.write_str("the configuration of the engine is invalid"),
            Self::SameVersion { saga, version } => {
                write!(f, "two different definitions are called version {version} of `{saga}`")
            }
            Self::Journal(_) => f.write_str("the journal does not answer"),
        }
    }
}

impl error::Error for EngineError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Config(error) => Some(error),
            Self::SameVersion { .. } => None,
            Self::Journal(error) => Some(error),
        }
    }
}

impl Display for StartError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refused) => Display::fmt(refused, f),
            Self::Stopped => f.write_str("the engine was shut down"),
            Self::NotRegistered { saga, version } => write!(f, "version {version} of `{saga}` is not registered"),
            Self::InvalidKey => f.write_str("the key of a saga has 1 to 256 bytes"),
            Self::Unwritable(_) => f.write_str("the input of the saga has no JSON"),
            Self::Journal(_) => f.write_str("the journal did not keep the saga"),
        }
    }
}

impl error::Error for StartError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Unwritable(error) => Some(error),
            Self::Journal(error) => Some(error),
            Self::Refused(_) | Self::Stopped | Self::NotRegistered { .. } | Self::InvalidKey => None,
        }
    }
}

impl Display for WaitError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Parked(_) => f.write_str("the saga waits for an operator"),
            Self::Stopped => f.write_str("the engine was shut down before the saga ended"),
            Self::NotFound => f.write_str("there is no such saga"),
            Self::NotRegistered { saga, version } => write!(f, "version {version} of `{saga}` is not registered"),
            Self::Unreadable(_) => f.write_str("the output of the saga is of another type"),
            Self::Corrupt(why) => write!(f, "the records of the saga cannot be read: {why}"),
            Self::Journal(_) => f.write_str("the journal does not answer"),
        }
    }
}

impl error::Error for WaitError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Unreadable(error) => Some(error),
            Self::Journal(error) => Some(error),
            Self::Parked(_) | Self::Stopped | Self::NotFound | Self::NotRegistered { .. } | Self::Corrupt(_) => None,
        }
    }
}

impl Display for AskError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("there is no such saga"),
            Self::Ended => f.write_str("the saga has ended"),
            Self::Illegal(why) => write!(f, "this cannot be done with the saga as it is: {why}"),
            Self::NotRegistered { saga, version } => write!(f, "version {version} of `{saga}` is not registered"),
            Self::InvalidSignalId => f.write_str("the id of a signal has 1 to 256 bytes"),
            Self::Unwritable(_) => f.write_str("the payload of the signal has no JSON"),
            Self::Unreadable(_) => f.write_str("the step waits for a signal of another type"),
            Self::Corrupt(why) => write!(f, "the records of the saga cannot be read: {why}"),
            Self::Stopped => f.write_str("the engine was shut down"),
            Self::Journal(_) => f.write_str("the journal did not keep it"),
        }
    }
}

impl error::Error for AskError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Unwritable(error) | Self::Unreadable(error) => Some(error),
            Self::Journal(error) => Some(error),
            Self::NotFound
            | Self::Ended
            | Self::Illegal(_)
            | Self::InvalidSignalId
            | Self::Stopped
            | Self::NotRegistered { .. }
            | Self::Corrupt(_) => None,
        }
    }
}
