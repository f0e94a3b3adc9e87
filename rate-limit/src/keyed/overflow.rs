//! The one limit of all keys that find no room.

use crate::{decision::Decision, machine::Machine, queue::Moved, rule::Rule};
use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering},
};

/// The one limit of all keys that find no room.
#[derive(Debug)]
pub(super) struct Overflow {
    shared: Mutex<Shared>,
    decisions: AtomicU64,
}

#[derive(Debug)]
struct Shared {
    machine: Machine,
    /// The latest moment that was seen here.
    seen: u64,
    /// How often the rules were changed.
    changes: u64,
}

impl Overflow {
    pub(super) fn new(rules: &[Rule]) -> Self {
        let shared = Shared { machine: Machine::new(rules, 0), seen: 0, changes: 0 };
        Self { shared: Mutex::new(shared), decisions: AtomicU64::new(0) }
    }

    /// Apart, so that the way of keys that are there stays short.
    #[inline(never)]
    pub(super) fn check(&self, cost: u64, now: u64) -> Decision {
        self.count();
        self.act(now, |machine, now| machine.check(cost, now)).decision()
    }

    /// What [`check`](Self::check) would answer for one unit. It moves nothing.
    pub(super) fn peek(&self, now: u64) -> Decision {
        let shared = self.lock();
        shared.machine.peek(shared.seen.max(now)).0
    }

    /// Acts on the machine. No foreign code runs under the lock.
    pub(super) fn act<R>(&self, now: u64, act: impl FnOnce(&mut Machine, u64) -> R) -> R {
        let mut shared = self.lock();
        shared.seen = shared.seen.max(now);
        let now = shared.seen;
        act(&mut shared.machine, now)
    }

    /// Takes other rules. Answers who may come sooner.
    pub(super) fn change(&self, rules: &[Rule], now: u64) -> Moved {
        let mut shared = self.lock();
        shared.changes += 1;
        let (epoch, now) = (shared.changes, shared.seen.max(now));
        shared.machine.change(rules, false, epoch, now)
    }

    pub(super) fn count(&self) {
        // Relaxed: a count that nobody decides by.
        self.decisions.fetch_add(1, Ordering::Relaxed);
    }

    /// The decisions for keys that found no room.
    pub(super) fn decisions(&self) -> u64 {
        // Relaxed: see above.
        self.decisions.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        // Nothing foreign runs under the lock, so a panic there would be a bug of ours; other calls go on all the same.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
