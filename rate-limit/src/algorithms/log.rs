//! The sliding log: the moments of the units that still count.

use super::Own;
use crate::quota::Quota;
use std::collections::VecDeque;

#[derive(Clone, Debug)]
pub(crate) struct Log {
    limit: u64,
    period: u64,
    /// The moment of each unit, the oldest first. What was taken at `t` counts until just before `t + period`.
    taken: VecDeque<u64>,
}

impl Log {
    pub(crate) fn new(limit: u64, quota: Quota) -> Self {
        Self { limit, period: quota.period_nanos(), taken: VecDeque::new() }
    }

    pub(crate) const fn limit(&self) -> u64 {
        self.limit
    }

    /// Makes room for all that it can ever hold, so that nothing is allocated later.
    pub(crate) fn reserve(&mut self) {
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        self.taken.reserve_exact(limit.saturating_sub(self.taken.len()));
    }

    /// The moment at which so many of the oldest units have left that `cost` fits in; all of them, if it never does.
    pub(crate) fn earliest(&self, cost: u64) -> u64 {
        let too_many = (self.taken.len() as u64).saturating_add(cost).saturating_sub(self.limit);
        // One who has a place may cost more than a limit that was lowered since.
        let too_many = too_many.min(self.taken.len() as u64);
        let last = too_many.checked_sub(1).and_then(|last| self.taken.get(usize::try_from(last).ok()?));
        last.map_or(0, |at| at.saturating_add(self.period))
    }

    pub(crate) fn take(&mut self, cost: u64, at: u64) {
        while self.taken.pop_front_if(|taken| has_left(*taken, self.period, at)).is_some() {}
        // It may be above the limit, if that was lowered since it was reserved.
        for _ in 0..cost {
            self.taken.push_back(at);
        }
    }

    pub(crate) fn remaining(&self, now: u64) -> u64 {
        let has_left = |taken: &u64| has_left(*taken, self.period, now);
        // Most often none has left.
        let gone = if self.taken.front().is_some_and(has_left) { self.taken.partition_point(has_left) } else { 0 };
        self.limit.saturating_sub((self.taken.len() - gone) as u64)
    }

    /// When the last unit leaves.
    pub(crate) fn fresh_at(&self) -> u64 {
        self.taken.back().map_or(0, |newest| newest.saturating_add(self.period))
    }

    pub(crate) fn give_back(&mut self, own: &Own) {
        let from = self.taken.partition_point(|taken| *taken < own.at);
        let to = self.taken.partition_point(|taken| *taken <= own.at);
        let cost = usize::try_from(own.cost).unwrap_or(usize::MAX);
        self.taken.drain(from..to.min(from.saturating_add(cost)));
    }

    /// Forgets the newest units.
    pub(crate) fn refund(&mut self, units: u64) {
        let units = usize::try_from(units).unwrap_or(usize::MAX);
        self.taken.truncate(self.taken.len().saturating_sub(units));
    }

    pub(crate) fn change(&mut self, limit: u64, quota: Quota) {
        (self.limit, self.period) = (limit, quota.period_nanos());
    }

    pub(crate) const fn keeps(&self, limit: u64, quota: Quota) -> bool {
        self.limit == limit && self.period == quota.period_nanos()
    }
}

const fn has_left(taken: u64, period: u64, now: u64) -> bool {
    taken.saturating_add(period) <= now
}
