//! What is known of a key: its hash.

use std::hash::{BuildHasher, Hash, RandomState};

/// A key as 63 bits.
///
/// The key itself is not kept, so two keys of one hash would share a limit. Among a million keys that happens by chance in one
/// of 18 million limiters, and on purpose not at all, since nobody outside knows the secret. A second hash would make it less
/// likely still, and cost a third of a decision.
#[derive(Clone, Copy, Debug)]
pub(super) struct Id(u64);

impl Id {
    /// For a slot in which no key is.
    pub(super) const NONE: Self = Self(0);

    #[inline]
    pub(super) fn new<K: Hash + ?Sized>(hasher: &RandomState, key: &K) -> Self {
        Self(hasher.hash_one(key)).unmarked()
    }

    /// Marks it in its lowest bit, in which ids do not differ.
    #[inline]
    pub(super) fn mark(&mut self) {
        if !self.is_marked() {
            self.0 |= MARK;
        }
    }

    #[inline]
    pub(super) const fn is_marked(self) -> bool {
        self.0 & MARK != 0
    }

    #[inline]
    pub(super) const fn unmarked(self) -> Self {
        Self(self.0 & !MARK)
    }

    /// A place among so many, evenly spread; says nothing about the shard.
    #[inline]
    pub(super) fn place(self, of: usize) -> usize {
        // The mark must not decide, since it comes and goes.
        scale(self.unmarked().0.rotate_left(32), of)
    }

    /// A shard among so many.
    #[inline]
    pub(super) fn shard(self, of: usize) -> usize {
        scale(self.0, of)
    }
}

const MARK: u64 = 1;

impl PartialEq for Id {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        (self.0 ^ other.0) & !MARK == 0
    }
}

/// The number as a fraction of its range, scaled to so many.
#[inline]
fn scale(number: u64, of: usize) -> usize {
    let scaled = (u128::from(number) * of as u128) >> 64;
    usize::try_from(scaled).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mark_does_not_move_an_id() {
        let hasher = RandomState::new();
        for key in 0..1_000 {
            let id = Id::new(&hasher, &key);
            let mut marked = id;
            marked.mark();
            assert_eq!(marked, id);
            // Among so many, each bit of the number decides.
            for of in [1 << 32, 1 << 40] {
                assert_eq!(marked.place(of), id.place(of));
            }
        }
    }
}
