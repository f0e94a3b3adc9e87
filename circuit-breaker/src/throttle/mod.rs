//! The client throttle: the circuit breaker without states.

#[cfg(feature = "http")]
mod body;
mod config;
mod core;
mod future;
mod guard;
mod layer;
mod machine;
mod observe;
mod service;
mod shell;

#[cfg(feature = "http")]
pub use self::body::{BodyThrottleFuture, BodyThrottleLayer, BodyThrottleService, SettleThrottleAtEnd};
pub use self::{
    config::ThrottleConfig,
    core::{Throttle, ThrottlePermit, ThrottleSnapshot},
    future::ThrottleFuture,
    guard::ThrottleGuard,
    layer::ThrottleLayer,
    service::ThrottleService,
};
