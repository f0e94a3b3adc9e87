//! Sagas beside another crate: the same three steps, the same answers, each with its records in memory.
//!
//! Each step takes what the one before gave, and gives one more; where the third says no, two are undone. One thread runs all.

mod steno;

use mainstay_benches::{Case, saga};

/// Ours and the peer's. Where a thousand are in flight, one call is all of them.
pub fn cases() -> Vec<Case> {
    saga::cases().into_iter().chain(steno::cases()).collect()
}
