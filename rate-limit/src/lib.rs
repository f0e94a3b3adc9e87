#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![doc(test(attr(deny(warnings))))]

mod algorithms;
mod cell;
mod clock;
mod config;
mod decision;
#[cfg(feature = "governor")]
mod governor;
mod keyed;
mod limit;
mod limiter;
#[cfg(all(test, mainstay_loom))]
mod loom_tests;
mod machine;
mod observe;
mod quota;
mod reserved;
mod rule;
#[cfg(feature = "serde")]
mod serde;
mod shell;
mod sync;
mod tally;

#[cfg(feature = "governor")]
#[cfg_attr(docsrs, doc(cfg(feature = "governor")))]
pub use self::governor::{Governed, GovernedKeys};
pub use self::{
    clock::Clock,
    config::Config,
    decision::{CostTooLarge, Decision, ReserveError},
    keyed::{KeyedConfig, KeyedLimiter, KeyedReserved, KeyedSnapshot},
    limit::Limit,
    limiter::{Limiter, Snapshot},
    quota::Quota,
    reserved::Reserved,
    rule::{Algorithm, Rule},
};
