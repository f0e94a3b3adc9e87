#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![doc(test(attr(deny(warnings))))]

mod attempts;
mod backoff;
mod budget;
mod clock;
mod config;
mod course;
mod future;
mod hedge;
mod layer;
#[cfg(all(test, mainstay_loom))]
mod loom_tests;
mod observe;
mod only_if;
mod repeat;
mod retries;
mod seeds;
#[cfg(feature = "serde")]
mod serde;
mod service;
mod sync;
mod trace;

#[cfg(feature = "http")]
#[cfg_attr(docsrs, doc(cfg(feature = "http")))]
pub use self::repeat::{HttpRepeat, KeptRequest, ReplayBody};
pub use self::{
    backoff::{Backoff, Delays, Jitter, Shape},
    budget::{Budget, BudgetConfig, BudgetSnapshot, Charge, NoBudget, Pay, SpendOnly, Token},
    clock::Clock,
    config::Config,
    course::{Course, Policy},
    future::ResponseFuture,
    hedge::{
        Hedge, HedgeConfig, HedgeDelay, HedgeFuture, HedgeLayer, HedgeSnapshot, Hedging, Latencies, LatencySnapshot,
        Percentile,
    },
    layer::RetryLayer,
    only_if::{Always, OnlyIf},
    repeat::{Cloned, Mark, Markable, Marked, MarkedIf, Repeat, RepeatFn, Tagged, Unmarked, repeat_fn},
    retries::{ResultOnly, Retries},
    service::Retry,
};
