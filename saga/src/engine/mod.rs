//! What runs sagas: tasks, time, and the journal's answers around the [machine](crate::state) of one saga.

mod ask;
mod attempt;
mod builder;
mod clock;
mod config;
mod dispatch;
mod draws;
#[expect(clippy::module_inception, reason = "the engine itself, among its parts")]
mod engine;
mod handle;
mod inputs;
mod life;
mod observe;
#[cfg(feature = "metrics")]
mod oldest;
#[cfg(not(feature = "metrics"))]
#[path = "oldest_off.rs"]
mod oldest;
mod operator;
mod outcome;
mod read;
mod registry;
mod run;
mod seat;
#[cfg(feature = "serde")]
mod serde;
mod service;
mod shared;
mod trace;

pub use self::{
    builder::EngineBuilder,
    config::Config,
    engine::{Engine, Stopped},
    handle::Handle,
    operator::{Inspection, Operator},
    outcome::{AskError, CancelAck, EngineError, Outcome, SignalAck, StartError, WaitError},
    service::{OutcomeFuture, RunError, SagaService, Start},
};
