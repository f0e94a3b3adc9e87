#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![doc(test(attr(deny(warnings))))]

#[cfg(feature = "http")]
mod body;
mod circuit;
mod clock;
mod config;
mod future;
mod gradual;
mod guard;
mod in_flight;
mod keyed;
mod layer;
#[cfg(all(test, mainstay_loom))]
mod loom_tests;
mod machine;
mod observe;
mod permit;
mod probes;
mod recent;
#[cfg(feature = "serde")]
mod serde;
mod service;
mod shell;
mod status;
mod sync;
mod throttle;
mod trace;
mod wait;
mod waiters;
mod word;

#[cfg(feature = "http")]
#[cfg_attr(docsrs, doc(cfg(feature = "http")))]
pub use self::body::{BodyCircuitBreaker, BodyCircuitBreakerLayer, BodyResponseFuture, SettleAtEnd};
#[cfg(feature = "http")]
#[cfg_attr(docsrs, doc(cfg(feature = "http")))]
pub use self::keyed::ByAuthority;
#[cfg(feature = "http")]
#[cfg_attr(docsrs, doc(cfg(feature = "http")))]
pub use self::throttle::{BodyThrottleFuture, BodyThrottleLayer, BodyThrottleService, SettleThrottleAtEnd};
pub use self::{
    circuit::Circuit,
    clock::Clock,
    config::{Config, Gradual, OnOpen, OpenFor, Slow, SlowRate, Window},
    future::ResponseFuture,
    guard::Guard,
    keyed::{
        ByRef, ByValue, Circuits, Handles, KeyOf, KeyedCircuit, KeyedCircuitBreaker, KeyedCircuitBreakerLayer,
        KeyedConfig, KeyedResponseFuture, KeyedSnapshot,
    },
    layer::CircuitBreakerLayer,
    permit::{Outcome, Permit},
    service::CircuitBreaker,
    status::{Snapshot, State, Status},
    throttle::{
        Throttle, ThrottleConfig, ThrottleFuture, ThrottleGuard, ThrottleLayer, ThrottlePermit, ThrottleService,
        ThrottleSnapshot,
    },
};
