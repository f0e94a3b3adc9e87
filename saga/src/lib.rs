#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![doc(test(attr(deny(warnings))))]

mod define;
mod engine;
mod graph;
mod id;
pub mod journal;
mod panics;
mod payload;
mod record;
pub mod state;
#[cfg(feature = "testkit")]
pub mod testkit;
mod text;
mod timestamp;

pub use self::{
    define::{
        Committed, Conditional, Draft, Effect, ErrorText, Inputs, Out, Participant, Saga, Step, StepCx, StepError,
        UndoCx, UndoError, When,
    },
    engine::{
        AskError, CancelAck, Config, Engine, EngineBuilder, EngineError, Handle, Inspection, Operator, Outcome,
        OutcomeFuture, RunError, SagaService, SignalAck, Start, StartError, Stopped, WaitError,
    },
    graph::{BuildError, Graph, Kind, Node, Retry},
    id::{InvalidSagaId, SagaId},
    payload::{Data, Payload},
    record::{ByOperator, Cause, FailedAs, ParkReason, Record, UnreadableRecord},
    timestamp::Timestamp,
};
