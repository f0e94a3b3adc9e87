#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![doc(test(attr(deny(warnings))))]

mod answer;
mod call;
mod choose;
mod future;
mod layer;
mod observe;
mod other;
mod other_future;
mod service;

pub use self::{
    answer::{Answer, Function, OnError, Synchronous, Value},
    call::{FallbackFuture, FallbackToFuture, fallback, fallback_to},
    choose::{Failed, OnlyIf},
    future::ResponseFuture,
    layer::FallbackLayer,
    observe::Nobody,
    other::{Cloned, Other},
    other_future::OtherFuture,
    service::Fallback,
};
