//! A limit per key, in bounded memory.

mod config;
mod id;
mod limiter;
mod overflow;
mod reserved;
mod shard;
mod shell;
mod table;

pub use self::{
    config::KeyedConfig,
    limiter::{KeyedLimiter, KeyedSnapshot},
    reserved::KeyedReserved,
};
