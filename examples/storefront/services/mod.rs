//! The shop, one file per service. Each file has what the service does; what its clients go through is in `stacks.rs`.

pub(crate) mod catalog;
pub(crate) mod gateway;
pub(crate) mod inventory;
pub(crate) mod notifications;
pub(crate) mod orders;
pub(crate) mod payment;
pub(crate) mod provider;
pub(crate) mod users;
