//! The shop, one file per service. Each file has what the service does; what its clients go through is in `stacks.rs`.

pub(crate) mod catalog;
pub(crate) mod gateway;
pub(crate) mod payment;
pub(crate) mod provider;
