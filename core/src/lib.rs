#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![doc(test(attr(deny(warnings))))]

mod boundary;
mod check;
mod classify;
pub mod config;
mod error;
#[cfg(feature = "http")]
#[cfg_attr(docsrs, doc(cfg(feature = "http")))]
pub mod http;
mod lift;
mod meta;
mod most_uncertain;
mod name;
mod now;
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
    most_uncertain::{MostUncertain, Uncertainty},
    name::intern,
    now::Now,
    refused::{Reason, Refused},
    timed_out::TimedOut,
};

#[cfg(feature = "http")]
#[cfg_attr(docsrs, doc(cfg(feature = "http")))]
pub use self::http::{HttpStatus, http_class};

#[cfg(feature = "grpc")]
#[cfg_attr(docsrs, doc(cfg(feature = "grpc")))]
pub use self::http::{GrpcStatus, grpc_class};

/// A boxed error, as tower has it.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
