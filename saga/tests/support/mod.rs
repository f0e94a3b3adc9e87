//! What several tests of journals need.

#![allow(dead_code, reason = "each test uses a part of it")]

pub(crate) mod directory;
#[cfg(feature = "redb")]
pub(crate) mod in_file;
pub(crate) mod in_memory;
