#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![doc(test(attr(deny(warnings))))]

mod backoff;
mod budget;
mod clock;
mod config;
mod course;
#[cfg(all(test, mainstay_loom))]
mod loom_tests;
mod repeat;
#[cfg(feature = "serde")]
mod serde;
mod sync;

pub use self::{
    backoff::{Backoff, Delays, Jitter, Shape},
    budget::{Budget, BudgetConfig, BudgetSnapshot, Charge, NoBudget, Pay, Token},
    clock::Clock,
    config::Config,
    course::{Course, Policy},
    repeat::{Cloned, Mark, Marked, MarkedIf, Repeat, RepeatFn, Tagged, Unmarked, repeat_fn},
};
#[cfg(feature = "http")]
#[cfg_attr(docsrs, doc(cfg(feature = "http")))]
pub use self::repeat::{HttpRepeat, KeptRequest, ReplayBody};
