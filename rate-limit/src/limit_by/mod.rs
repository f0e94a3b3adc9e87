//! The layer over anything that decides, here or elsewhere.

mod future;
mod layer;
mod service;

pub use self::{future::LimitFuture, layer::LimitLayer, service::LimitService};
