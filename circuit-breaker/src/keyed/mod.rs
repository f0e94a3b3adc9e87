//! A circuit per key, in bounded memory.

mod circuits;
mod config;
mod future;
mod handle;
mod key;
mod layer;
mod past;
mod service;
mod shell;
mod table;

#[cfg(feature = "http")]
pub use self::key::ByAuthority;
pub use self::{
    circuits::{Circuits, KeyedSnapshot},
    config::KeyedConfig,
    future::KeyedResponseFuture,
    handle::{Handles, KeyedCircuit},
    key::{ByRef, ByValue, KeyOf},
    layer::KeyedCircuitBreakerLayer,
    service::KeyedCircuitBreaker,
};
