//! What is known of a key: its hash.

use std::hash::{BuildHasher, Hash, RandomState};

/// A key as 64 bits.
///
/// The key itself is not kept, so two keys of one hash would share a limit. Among a million keys that happens by chance in one
/// of 40 million limiters, and on purpose not at all, since nobody outside knows the secret. A second hash would make it less
/// likely still, and cost a third of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Id(u64);

impl Id {
    /// For a slot in which no key is.
    pub(super) const NONE: Self = Self(0);

    #[inline]
    pub(super) fn new<K: Hash + ?Sized>(hasher: &RandomState, key: &K) -> Self {
        Self(hasher.hash_one(key))
    }

    /// A place among so many, evenly spread; says nothing about the shard.
    #[inline]
    pub(super) fn place(self, of: usize) -> usize {
        scale(self.0.rotate_left(32), of)
    }

    /// A shard among so many.
    #[inline]
    pub(super) fn shard(self, of: usize) -> usize {
        scale(self.0, of)
    }
}

/// The number as a fraction of its range, scaled to so many.
#[inline]
fn scale(number: u64, of: usize) -> usize {
    let scaled = (u128::from(number) * of as u128) >> 64;
    usize::try_from(scaled).unwrap_or(0)
}
