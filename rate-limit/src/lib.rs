#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![doc(test(attr(deny(warnings))))]

mod acquire;
mod algorithms;
mod cell;
mod clock;
mod config;
mod cost;
mod decision;
mod future;
#[cfg(feature = "governor")]
mod governor;
#[cfg(feature = "http")]
#[cfg_attr(docsrs, doc(cfg(feature = "http")))]
pub mod http;
mod keyed;
mod layer;
mod limit;
mod limit_by;
mod limiter;
#[cfg(all(test, mainstay_loom))]
mod loom_tests;
mod machine;
mod observe;
mod per_key;
mod queue;
mod quota;
mod reservation;
mod reserved;
mod rule;
#[cfg(feature = "serde")]
mod serde;
mod service;
mod shell;
mod sync;
mod tally;
mod waiting;

#[cfg(feature = "governor")]
#[cfg_attr(docsrs, doc(cfg(feature = "governor")))]
pub use self::governor::{Governed, GovernedKeys};
pub use self::{
    clock::Clock,
    config::Config,
    cost::{Cost, One},
    decision::{CostTooLarge, Decision, ReserveError},
    future::ResponseFuture,
    keyed::{KeyedConfig, KeyedLimiter, KeyedReserved, KeyedSnapshot},
    layer::RateLimitLayer,
    limit::Limit,
    limit_by::{LimitFuture, LimitLayer, LimitService},
    limiter::{Limiter, Snapshot},
    per_key::{
        ByRef, ByValue, KeyOf, KeyedRateLimit, KeyedRateLimitLayer, KeyedWaitingRateLimit, KeyedWaitingRateLimitLayer,
        WaitingResponseFuture,
    },
    quota::Quota,
    reservation::{Lender, Reservation},
    reserved::Reserved,
    rule::{Algorithm, Rule},
    service::RateLimit,
    waiting::{WaitingRateLimit, WaitingRateLimitLayer},
};
