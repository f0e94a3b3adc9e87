//! What is asked of a running saga from outside, and how it is answered.

use super::outcome::{AskError, CancelAck, SignalAck};
use crate::{Payload, Record};
use std::sync::Arc;
use tokio::sync::oneshot;

pub(crate) type Reply<T> = oneshot::Sender<Result<T, AskError>>;

/// Something that is asked of a saga. Whoever asked may be gone: then nobody hears the answer.
#[derive(Debug)]
pub(crate) enum Ask {
    Cancel { reason: Arc<str>, reply: Reply<CancelAck> },
    Signal { step: Arc<str>, id: Arc<str>, payload: Payload, reply: Reply<SignalAck> },
    Operator { record: Record, reply: Reply<()> },
}

/// An answer that is given once the records that it speaks of are durable.
#[derive(Debug)]
pub(crate) enum Answer {
    Cancel(Reply<CancelAck>, CancelAck),
    Signal(Reply<SignalAck>, SignalAck),
    Operator(Reply<()>),
}

impl Ask {
    /// The answer to what is asked of a saga that has ended.
    pub(crate) fn answer_ended(self) {
        match self {
            Self::Cancel { reply, .. } => tell(reply, Ok(CancelAck::AlreadyEnded)),
            Self::Signal { reply, .. } => tell(reply, Ok(SignalAck::TooLate)),
            Self::Operator { reply, .. } => tell(reply, Err(AskError::Ended)),
        }
    }

    pub(crate) fn refuse(self, error: AskError) {
        match self {
            Self::Cancel { reply, .. } => tell(reply, Err(error)),
            Self::Signal { reply, .. } => tell(reply, Err(error)),
            Self::Operator { reply, .. } => tell(reply, Err(error)),
        }
    }
}

impl Answer {
    pub(crate) fn give(self) {
        match self {
            Self::Cancel(reply, ack) => tell(reply, Ok(ack)),
            Self::Signal(reply, ack) => tell(reply, Ok(ack)),
            Self::Operator(reply) => tell(reply, Ok(())),
        }
    }

    /// What it speaks of was not kept.
    pub(crate) fn refuse(self, error: AskError) {
        match self {
            Self::Cancel(reply, _) => tell(reply, Err(error)),
            Self::Signal(reply, _) => tell(reply, Err(error)),
            Self::Operator(reply) => tell(reply, Err(error)),
        }
    }
}

pub(super) fn tell<T>(reply: Reply<T>, answer: Result<T, AskError>) {
    // An error means that nobody waits any more.
    let _ = reply.send(answer);
}
