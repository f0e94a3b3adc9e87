//! What several tests of journals need.

#![allow(dead_code, reason = "each test uses a part of it")]

pub(crate) mod directory;
#[cfg(all(feature = "redb", feature = "testkit"))]
pub(crate) mod in_file;
#[cfg(feature = "testkit")]
pub(crate) mod in_memory;
