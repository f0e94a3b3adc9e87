//! The layers over limits per key.

mod future;
mod key_of;
mod layer;
mod service;
mod waiting;
mod waiting_layer;

pub use self::{
    future::WaitingResponseFuture,
    key_of::{ByRef, ByValue, KeyOf},
    layer::KeyedRateLimitLayer,
    service::KeyedRateLimit,
    waiting::KeyedWaitingRateLimit,
    waiting_layer::KeyedWaitingRateLimitLayer,
};
