//! A window of the last *n* calls.

use super::{Counts, Vote};
use crate::config::InvalidConfig;

/// The last *n* calls: one byte each, constant time per record, no allocation after [`new`](LastCalls::new).
///
/// # Invariants
///
/// 1. `counts` is the sum of the slots in `ring`; an empty slot adds nothing.
/// 2. `next` is the slot of the oldest call once the ring is full, and the first empty one before.
///
/// ```
/// use mainstay_core::window::{LastCalls, Vote};
///
/// let mut window = LastCalls::new(2)?;
/// window.record(Vote { failed: true, slow: false });
/// window.record(Vote::default());
/// assert_eq!(window.counts().failed, 1);
///
/// window.record(Vote::default());
/// assert_eq!(window.counts().failed, 0, "the failed call is no longer among the last two");
/// # Ok::<(), mainstay_core::config::InvalidConfig>(())
/// ```
#[derive(Clone, Debug)]
pub struct LastCalls {
    ring: Box<[Slot]>,
    next: usize,
    counts: Counts,
}

/// Present, failed and slow as bits, so that an empty slot is zero in all three counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Slot(u8);

impl LastCalls {
    /// The largest window.
    pub const MAX: u32 = 1_000_000;

    /// An empty window of the last `calls` calls.
    ///
    /// # Errors
    ///
    /// Unless `calls` is between 1 and [`MAX`](Self::MAX).
    pub fn new(calls: u32) -> Result<Self, InvalidConfig> {
        InvalidConfig::check("calls", calls, 1..=Self::MAX)?;
        Ok(Self { ring: vec![Slot::default(); calls as usize].into(), next: 0, counts: Counts::default() })
    }

    /// Takes one more call, and forgets the oldest if the window is full.
    pub fn record(&mut self, vote: Vote) {
        let slot = Slot::from(vote);
        let oldest = std::mem::replace(&mut self.ring[self.next], slot);
        // Once the ring is full and all is well, the oldest call says the same as the newest.
        if slot != oldest {
            self.counts += slot.into();
            self.counts -= oldest.into();
        }
        self.next += 1;
        if self.next == self.ring.len() {
            self.next = 0;
        }
    }

    /// What the calls in the window say.
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// How many calls fit.
    pub const fn capacity(&self) -> usize {
        self.ring.len()
    }

    /// Forgets all calls.
    pub fn clear(&mut self) {
        self.ring.fill(Slot::default());
        self.next = 0;
        self.counts = Counts::default();
    }
}

impl From<Vote> for Slot {
    fn from(vote: Vote) -> Self {
        Self(1 | u8::from(vote.failed) << 1 | u8::from(vote.slow) << 2)
    }
}

impl From<Slot> for Counts {
    fn from(Slot(bits): Slot) -> Self {
        Self { calls: (bits & 1).into(), failed: (bits >> 1 & 1).into(), slow: (bits >> 2 & 1).into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn equals_the_tail_of_a_list(
            calls in 1_u32..20,
            votes in prop::collection::vec((any::<bool>(), any::<bool>()), 0..80),
            clear_at in 0_usize..80,
        ) {
            let mut window = LastCalls::new(calls).unwrap();
            let mut all = Vec::new();
            for (i, &(failed, slow)) in votes.iter().enumerate() {
                if i == clear_at {
                    window.clear();
                    all.clear();
                }
                let vote = Vote { failed, slow };
                window.record(vote);
                all.push(vote);
                let mut expected = Counts::default();
                for &vote in all.iter().rev().take(calls as usize) {
                    expected += vote.into();
                }
                prop_assert_eq!(window.counts(), expected);
            }
        }
    }

    #[test]
    fn sizes_out_of_range_are_refused() {
        for calls in [0, LastCalls::MAX + 1, u32::MAX] {
            assert_eq!(LastCalls::new(calls).unwrap_err().field(), "calls");
        }
        assert_eq!(LastCalls::new(LastCalls::MAX).unwrap().capacity(), 1_000_000);
    }
}
