//! What is known of a key: its hash.

use std::hash::{BuildHasher, Hash, RandomState};

/// A key as 128 bits.
///
/// The key itself is not kept, so two keys of one hash would share a limit. With a million keys that happens by chance once in
/// 10²⁶ times, and on purpose not at all, since nobody outside knows the secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Id {
    high: u64,
    low: u64,
}

/// The secrets by which keys are hashed.
#[derive(Debug, Default)]
pub(super) struct Hasher {
    high: RandomState,
    low: RandomState,
}

impl Hasher {
    #[inline]
    pub(super) fn id<K: Hash + ?Sized>(&self, key: &K) -> Id {
        Id { high: self.high.hash_one(key), low: self.low.hash_one(key) }
    }
}

impl Id {
    /// A place among so many, evenly spread.
    #[inline]
    pub(super) fn place(self, of: usize) -> usize {
        scale(self.low, of)
    }

    /// A shard among so many; says nothing about the place in it.
    #[inline]
    pub(super) fn shard(self, of: usize) -> usize {
        scale(self.high, of)
    }
}

/// The number as a fraction of its range, scaled to so many.
fn scale(number: u64, of: usize) -> usize {
    let scaled = (u128::from(number) * of as u128) >> 64;
    usize::try_from(scaled).unwrap_or(0)
}
