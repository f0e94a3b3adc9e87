//! The balance: one atomic number.

use crate::sync::{AtomicU64, Ordering};

/// One token in the unit of the balance.
pub(super) const TOKEN: u64 = 1_000_000;

/// A capped number of units; a token is taken whole or not at all.
///
/// Everything is one number, so each change is one exchange: no two threads take the same token, and nothing that is added
/// is seen by two. The cap comes with each change, since it may be reconfigured; what lies above it does not count.
#[derive(Debug)]
pub(super) struct Bucket(AtomicU64);

impl Bucket {
    pub(super) fn new(units: u64) -> Self {
        Self(AtomicU64::new(units))
    }

    /// Adds units, up to the cap.
    #[inline]
    pub(super) fn add(&self, units: u64, cap: u64) {
        self.change(|present| Some(present.saturating_add(units).min(cap)));
    }

    /// Takes one token, if there is a whole one.
    pub(super) fn take(&self, cap: u64) -> bool {
        self.change(|present| present.min(cap).checked_sub(TOKEN))
    }

    pub(super) fn units(&self, cap: u64) -> u64 {
        // Relaxed: nothing else is read by what it says.
        self.0.load(Ordering::Relaxed).min(cap)
    }

    /// Puts another number in place of the present one, and says whether there was one.
    #[inline]
    fn change(&self, next: impl Fn(u64) -> Option<u64>) -> bool {
        // Relaxed, as the exchange below: the number stands for itself, no other memory is published by it.
        let mut present = self.0.load(Ordering::Relaxed);
        loop {
            let Some(next) = next(present) else { return false };
            // A full bucket, which is that of a healthy service, is not written to.
            if next == present {
                return true;
            }
            // Relaxed: see above. Weak: a needless failure is one more round.
            match self.0.compare_exchange_weak(present, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(other) => present = other,
            }
        }
    }
}
