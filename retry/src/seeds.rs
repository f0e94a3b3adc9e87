//! A seed for each call, where the policy has one.

use std::sync::atomic::{AtomicU64, Ordering};

/// Gives each call a seed of its own, and each clone a stream of its own.
///
/// What they are follows from the seed of the policy and from the order of calls and clones.
#[derive(Debug)]
pub(crate) struct Seeds {
    /// `None` leaves it to chance.
    seed: Option<u64>,
    given: AtomicU64,
}

impl Seeds {
    pub(crate) const fn new(seed: Option<u64>) -> Self {
        Self { seed, given: AtomicU64::new(0) }
    }

    #[inline]
    pub(crate) fn next(&self) -> Option<u64> {
        self.seed.map(|seed| self.after(seed))
    }

    fn after(&self, seed: u64) -> u64 {
        // Relaxed: each number is given once, and nothing is read that another thread wrote.
        let turn = self.given.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        // The output function of SplitMix64 (Steele, Lea and Flood, 2014).
        let mut z = seed.wrapping_add(turn.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

impl Clone for Seeds {
    fn clone(&self) -> Self {
        Self::new(self.next())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_call_and_no_clone_repeats_another_and_all_can_be_repeated() {
        let draw = || {
            let seeds = Seeds::new(Some(7));
            let mut all = Vec::new();
            for _ in 0..10 {
                let clone = seeds.clone();
                all.extend([seeds.next(), clone.next(), clone.next(), clone.clone().next()]);
            }
            all
        };
        assert_eq!(draw().iter().collect::<BTreeSet<_>>().len(), 40);
        assert_eq!(draw(), draw());
    }

    #[test]
    fn without_a_seed_there_is_none() {
        assert_eq!(Seeds::new(None).clone().next(), None);
    }
}
