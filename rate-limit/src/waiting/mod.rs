//! Callers wait in `poll_ready`.

mod layer;
mod service;

pub use self::{layer::WaitingRateLimitLayer, service::WaitingRateLimit};
