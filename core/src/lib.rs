#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![doc(test(attr(deny(warnings))))]

mod boundary;
mod check;
mod classify;
pub mod config;
mod error;
mod lift;
mod meta;
mod most_uncertain;
mod name;
mod refused;
mod timed_out;
pub mod window;

pub use self::{
    boundary::{Boundary, BoundaryFuture, BoundaryLayer, FromBelow},
    check::check,
    classify::{AnyError, Class, Classify, ClassifyFn, Failure, classify_fn},
    config::InvalidConfig,
    error::{Error, Refusable, Verdict},
    lift::{Lift, lift},
    meta::{Attempt, Deadline, Idempotent, Meta, Priority},
    most_uncertain::MostUncertain,
    name::intern,
    refused::{Reason, Refused},
    timed_out::TimedOut,
};

/// A boxed error, as tower has it.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
