//! One token bucket without a lock.

use crate::{
    algorithms::Gcra,
    decision::Decision,
    machine::Wait,
    quota::HORIZON,
    sync::{AtomicU64, Ordering},
};

/// A token bucket as one atomic word.
///
/// While somebody waits, and after the quota was changed, the cell is *closed*: its word is in the hands of the machine under
/// the lock. It is closed and opened under that lock only.
///
/// A refusal writes nothing, so threads that are refused do not disturb each other.
#[derive(Debug)]
#[repr(align(128))] // Two lines: some processors fetch them in pairs.
pub(crate) struct Cell {
    gcra: Gcra,
    full_at: AtomicU64,
    /// The units that were ever given back.
    given: AtomicU64,
}

/// What was taken from the cell.
#[derive(Debug)]
pub(crate) struct FromCell {
    /// When the bucket is full again.
    pub(crate) full_at: u64,
    /// What had been given back before.
    pub(crate) given: u64,
}

/// The word of a closed cell; no time is as late.
const CLOSED: u64 = u64::MAX;
const _: () = assert!(2 * HORIZON < CLOSED);

impl Cell {
    pub(crate) fn new(gcra: Gcra) -> Self {
        Self { gcra, full_at: AtomicU64::new(0), given: AtomicU64::new(0) }
    }

    /// The most units that can be taken at once while the cell is open.
    #[inline]
    pub(crate) const fn limit(&self) -> u64 {
        self.gcra.burst()
    }

    pub(crate) const fn gcra(&self) -> Gcra {
        self.gcra
    }

    /// Takes `cost` if that is possible now; `None` if the cell is closed.
    #[inline]
    pub(crate) fn check(&self, cost: u64, now: u64) -> Option<Decision> {
        Some(match self.take(cost, now)? {
            Ok(full_at) => self.gcra.allowed(full_at, now),
            Err(full_at) => self.gcra.refused(full_at, cost, now),
        })
    }

    /// The same, but it says only how long the wait is.
    #[inline]
    pub(crate) fn admit(&self, cost: u64, now: u64) -> Option<Wait> {
        Some(match self.take(cost, now)? {
            Ok(_) => Wait::NONE,
            Err(full_at) => Wait { nanos: self.gcra.earliest(full_at, cost).saturating_sub(now), rule: 0 },
        })
    }

    /// What [`check`](Self::check) would answer.
    pub(crate) fn peek(&self, cost: u64, now: u64) -> Option<Decision> {
        self.load().map(|full_at| self.gcra.peek(full_at, cost, now))
    }

    /// Takes `cost` if that is possible now, so that it can be given back; `None` if it is not, or the cell is closed.
    pub(crate) fn reserve(&self, cost: u64, now: u64) -> Option<(Decision, FromCell)> {
        // Acquire, and before the word is read: whoever sees a unit counted as given back sees the word without it. To miss
        // one is safe, since then too many count as given back since.
        let given = self.given.load(Ordering::Acquire);
        let full_at = self.take(cost, now)?.ok()?;
        Some((self.gcra.allowed(full_at, now), FromCell { full_at, given }))
    }

    /// Takes the word out, under the lock; `None` if it is out already.
    pub(crate) fn close(&self) -> Option<u64> {
        // Acquire: whoever closes the cell and reads the clock then reads no earlier moment than those who took before.
        let full_at = self.full_at.swap(CLOSED, Ordering::Acquire);
        (full_at != CLOSED).then_some(full_at)
    }

    /// Puts the word back, under the lock.
    pub(crate) fn open(&self, full_at: u64, given: u64) {
        // Relaxed: ordered by the store below for those who care.
        self.full_at.store(full_at, Ordering::Relaxed);
        // Release: see `reserve`.
        self.given.store(given, Ordering::Release);
    }

    #[inline]
    fn load(&self) -> Option<u64> {
        // Relaxed: one word, and a decision by a word that is a moment old is a decision of that moment.
        let full_at = self.full_at.load(Ordering::Relaxed);
        (full_at != CLOSED).then_some(full_at)
    }

    /// When the bucket is full after `cost` was taken, or when it is full if it cannot be.
    #[inline]
    fn take(&self, cost: u64, now: u64) -> Option<Result<u64, u64>> {
        let mut full_at = self.load()?;
        loop {
            if cost == 0 {
                return Some(Ok(full_at));
            }
            if self.gcra.earliest(full_at, cost) > now {
                return Some(Err(full_at));
            }
            let after = self.gcra.after(full_at, cost, now);
            // Release: see `close`. Relaxed if it failed: it is tried again. Weak, since it is a loop anyway.
            match self.full_at.compare_exchange_weak(full_at, after, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return Some(Ok(after)),
                Err(CLOSED) => return None,
                Err(present) => full_at = present,
            }
        }
    }
}
