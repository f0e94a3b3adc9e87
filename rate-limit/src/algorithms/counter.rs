//! The sliding counter: this window, and the part of the last one that is still within the period.

use super::Own;
use crate::quota::Quota;

#[derive(Clone, Debug)]
pub(crate) struct Counter {
    limit: u64,
    period: u64,
    /// The number of the current window.
    index: u64,
    previous: u64,
    current: u64,
}

impl Counter {
    pub(crate) fn new(quota: Quota) -> Self {
        Self { limit: quota.limit(), period: quota.period_nanos(), index: 0, previous: 0, current: 0 }
    }

    pub(crate) const fn limit(&self) -> u64 {
        self.limit
    }

    /// The smallest moment with `previous · (period - elapsed) + (current + cost) · period <= limit · period`.
    pub(crate) fn earliest(&self, cost: u64) -> u64 {
        if let Some(room) = self.room(self.current.saturating_add(cost)) {
            return self.start(0).saturating_add(self.elapsed_until(self.previous, room));
        }
        // Then this window is the older one.
        let room = self.room(cost).unwrap_or(0);
        self.start(1).saturating_add(self.elapsed_until(self.current, room))
    }

    pub(crate) fn take(&mut self, cost: u64, at: u64) {
        self.turn_to(at);
        self.current = self.current.saturating_add(cost);
    }

    pub(crate) fn remaining(&self, now: u64) -> u64 {
        let (_, _, current) = self.counts_at(now);
        self.limit.saturating_sub(current).saturating_sub(self.older_at(now))
    }

    /// What still counts of the older window, rounded up.
    fn older_at(&self, now: u64) -> u64 {
        let (start, previous, _) = self.counts_at(now);
        // A division is slow, and that of a large number very slow.
        if previous == 0 {
            0
        } else {
            let part = self.period.saturating_sub(now.saturating_sub(start));
            match previous.checked_mul(part) {
                Some(older) => older.div_ceil(self.period),
                // At most `previous`, since the part is at most the period.
                None => (u128::from(previous) * u128::from(part))
                    .div_ceil(u128::from(self.period))
                    .try_into()
                    .unwrap_or(previous),
            }
        }
    }

    /// When both windows are empty.
    pub(crate) const fn fresh_at(&self) -> u64 {
        match (self.previous, self.current) {
            (0, 0) => 0,
            (_, 0) => self.start(1),
            _ => self.start(2),
        }
    }

    pub(crate) fn give_back(&mut self, own: &Own) {
        let window = own.at / self.period;
        if window == self.index {
            self.current = self.current.saturating_sub(own.cost);
        } else if window + 1 == self.index {
            self.previous = self.previous.saturating_sub(own.cost);
        }
    }

    pub(crate) fn refund(&mut self, units: u64, now: u64) {
        self.turn_to(now);
        let older = units.saturating_sub(self.current);
        self.current = self.current.saturating_sub(units);
        self.previous = self.previous.saturating_sub(older);
    }

    /// Takes another quota. If the period is another one, what counts now is counted as taken now.
    pub(crate) fn change(&mut self, quota: Quota, now: u64) {
        if self.period != quota.period_nanos() {
            // All of it, even if that is above the limit: it may be raised again.
            let (_, _, current) = self.counts_at(now);
            let used = current.saturating_add(self.older_at(now));
            let index = now / quota.period_nanos();
            *self = Self { index, current: used, ..Self::new(quota) };
        }
        self.limit = quota.limit();
    }

    pub(crate) const fn keeps(&self, quota: Quota) -> bool {
        self.limit == quota.limit() && self.period == quota.period_nanos()
    }

    /// What is left of the limit for the older window, if these are in the current one.
    const fn room(&self, units: u64) -> Option<u64> {
        self.limit.checked_sub(units)
    }

    /// The smallest elapsed time of a window with `older · (period - elapsed) <= room · period`.
    fn elapsed_until(&self, older: u64, room: u64) -> u64 {
        if older <= room {
            return 0;
        }
        let part = match room.checked_mul(self.period) {
            Some(product) => product / older,
            // Less than the period, since the room is less than what is older.
            None => (u128::from(room) * u128::from(self.period) / u128::from(older)).try_into().unwrap_or(self.period),
        };
        self.period.saturating_sub(part)
    }

    /// The start of the window that comes so many after the current one.
    const fn start(&self, later: u64) -> u64 {
        self.index.saturating_add(later).saturating_mul(self.period)
    }

    /// The start of the window of this moment, its count and that of the one before. Of an earlier one than the current nothing
    /// is known.
    const fn counts_at(&self, now: u64) -> (u64, u64, u64) {
        if now < self.start(1) {
            (self.start(0), self.previous, self.current)
        } else if now < self.start(2) {
            (self.start(1), self.current, 0)
        } else {
            // Windows were skipped, so the last one is empty.
            (now - now % self.period, 0, 0)
        }
    }

    const fn turn_to(&mut self, at: u64) {
        if at >= self.start(1) {
            (_, self.previous, self.current) = self.counts_at(at);
            self.index = at / self.period;
        }
    }
}
