//! The fixed window: a count that starts anew with each period.

use super::Own;
use crate::quota::Quota;

#[derive(Clone, Debug)]
pub(crate) struct Fixed {
    limit: u64,
    period: u64,
    /// The number of the current window.
    index: u64,
    count: u64,
}

impl Fixed {
    pub(crate) fn new(quota: Quota) -> Self {
        Self { limit: quota.limit(), period: quota.period_nanos(), index: 0, count: 0 }
    }

    pub(crate) const fn limit(&self) -> u64 {
        self.limit
    }

    pub(crate) fn earliest(&self, cost: u64) -> u64 {
        self.start(u64::from(self.count.saturating_add(cost) > self.limit))
    }

    pub(crate) fn take(&mut self, cost: u64, at: u64) {
        self.turn_to(at);
        self.count = self.count.saturating_add(cost);
    }

    pub(crate) const fn remaining(&self, now: u64) -> u64 {
        self.limit.saturating_sub(self.count_at(now))
    }

    /// When the next window begins, if there is something in this one.
    pub(crate) const fn fresh_at(&self) -> u64 {
        if self.count == 0 { 0 } else { self.start(1) }
    }

    pub(crate) fn give_back(&mut self, own: &Own) {
        if own.at / self.period == self.index {
            self.count = self.count.saturating_sub(own.cost);
        }
    }

    pub(crate) fn refund(&mut self, units: u64, now: u64) {
        self.turn_to(now);
        self.count = self.count.saturating_sub(units);
    }

    /// Takes another quota. What is in the window of now is counted as taken now.
    pub(crate) fn change(&mut self, quota: Quota, now: u64) {
        if self.period != quota.period_nanos() {
            let index = now / quota.period_nanos();
            *self = Self { index, count: self.count_at(now), ..Self::new(quota) };
        }
        self.limit = quota.limit();
    }

    pub(crate) const fn keeps(&self, quota: Quota) -> bool {
        self.limit == quota.limit() && self.period == quota.period_nanos()
    }

    /// A division is slow, so only when a window begins.
    const fn turn_to(&mut self, at: u64) {
        if at >= self.start(1) {
            (self.index, self.count) = (at / self.period, 0);
        }
    }

    /// The start of the window that comes so many after the current one.
    const fn start(&self, later: u64) -> u64 {
        self.index.saturating_add(later).saturating_mul(self.period)
    }

    const fn count_at(&self, now: u64) -> u64 {
        if now >= self.start(1) { 0 } else { self.count }
    }
}
