//! The token bucket, kept as the moment at which it is full again: GCRA.

use super::Own;
use crate::{
    decision::{Decision, NEVER},
    quota::{HORIZON, Quota},
};
use std::time::Duration;

/// The numbers of a token bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gcra {
    /// The time that gives one unit.
    interval: u64,
    /// The time that fills the bucket.
    tolerance: u64,
    /// The units in a full bucket.
    burst: u64,
}

/// A token bucket under somebody's lock.
#[derive(Clone, Debug)]
pub(crate) struct Bucket {
    gcra: Gcra,
    /// When the bucket is full again: the theoretical arrival time of the literature.
    full_at: u64,
}

impl Gcra {
    pub(crate) fn new(quota: Quota) -> Self {
        let (interval, burst) = (quota.interval(), quota.capacity());
        Self { interval, tolerance: interval.saturating_mul(burst), burst }
    }

    pub(crate) const fn burst(&self) -> u64 {
        self.burst
    }

    /// The earliest moment at which the bucket holds `cost`.
    #[inline]
    pub(crate) const fn earliest(&self, full_at: u64, cost: u64) -> u64 {
        full_at.saturating_add(self.interval.saturating_mul(cost)).saturating_sub(self.tolerance)
    }

    /// When the bucket is full again after `cost` was taken at `at`.
    #[inline]
    pub(crate) const fn after(&self, full_at: u64, cost: u64, at: u64) -> u64 {
        let from = if full_at > at { full_at } else { at };
        let after = from.saturating_add(self.interval.saturating_mul(cost));
        // Never the mark of a closed cell.
        if after > 2 * HORIZON { 2 * HORIZON } else { after }
    }

    /// The whole units in the bucket.
    #[inline]
    pub(crate) const fn remaining(&self, full_at: u64, now: u64) -> u64 {
        let held = self.tolerance.saturating_sub(full_at.saturating_sub(now));
        // A division is slow, and most refusals need none.
        if held < self.interval { 0 } else { held / self.interval }
    }

    /// Takes `cost` if that is possible now: the answer, and when the bucket is full then.
    #[inline]
    pub(crate) const fn check(&self, full_at: u64, cost: u64, now: u64) -> (Decision, u64) {
        if cost == 0 {
            return (self.allowed(full_at, now), full_at);
        }
        if cost > self.burst {
            return (self.decision_never(full_at, now), full_at);
        }
        if self.earliest(full_at, cost) > now {
            return (self.refused(full_at, cost, now), full_at);
        }
        let after = self.after(full_at, cost, now);
        (self.allowed(after, now), after)
    }

    /// What [`check`](Self::check) would answer.
    pub(crate) const fn peek(&self, full_at: u64, cost: u64, now: u64) -> Decision {
        if cost == 0 || self.earliest(full_at, cost) <= now {
            self.allowed(full_at, now)
        } else {
            self.refused(full_at, cost, now)
        }
    }

    /// The answer to a cost above the burst.
    #[cold]
    const fn decision_never(&self, full_at: u64, now: u64) -> Decision {
        let mut decision = self.decision(false, full_at, now, 0);
        decision.retry_after = NEVER;
        decision
    }

    #[inline]
    pub(crate) const fn allowed(&self, full_at: u64, now: u64) -> Decision {
        self.decision(true, full_at, now, 0)
    }

    #[inline]
    pub(crate) const fn refused(&self, full_at: u64, cost: u64, now: u64) -> Decision {
        self.decision(false, full_at, now, self.earliest(full_at, cost).saturating_sub(now))
    }

    #[inline]
    const fn decision(&self, allowed: bool, full_at: u64, now: u64, retry_after: u64) -> Decision {
        Decision {
            allowed,
            shadow: false,
            rule: 0,
            limit: self.burst,
            remaining: self.remaining(full_at, now),
            retry_after: Duration::from_nanos(retry_after),
            reset_after: Duration::from_nanos(full_at.saturating_sub(now)),
        }
    }

    /// When the bucket is full after units were put back; it does not get fuller than full.
    pub(crate) const fn refund(&self, full_at: u64, units: u64) -> u64 {
        full_at.saturating_sub(self.interval.saturating_mul(units))
    }

    /// The numbers of another quota, and when the bucket is full then; the units in the bucket stay, as many as fit in.
    pub(crate) fn change(self, full_at: u64, quota: Quota, now: u64) -> (Self, u64) {
        let new = Self::new(quota);
        if self == new {
            return (new, full_at);
        }
        let scale = |time: u64| u128::from(time) * u128::from(new.interval);
        let missing = full_at.saturating_sub(now);
        // Rounded so that there are never more.
        let missing = match self.tolerance.checked_sub(missing) {
            Some(held) => u128::from(new.tolerance).saturating_sub(scale(held) / u128::from(self.interval)),
            // Less than nothing: reserved for those who wait.
            None => u128::from(new.tolerance) + scale(missing - self.tolerance).div_ceil(u128::from(self.interval)),
        };
        let full_at = u64::try_from(missing).unwrap_or(2 * HORIZON).saturating_add(now).min(2 * HORIZON);
        (new, full_at)
    }

    /// How much earlier the bucket is full if `own` is taken out of its past.
    ///
    /// What has been refilled meanwhile is not given back: the bucket would have been full without it.
    const fn credit(&self, own: &Own, now: u64) -> u64 {
        // Refunds since then may have moved its end, by no more than they gave, and not to before what it took by itself.
        let taken = self.interval.saturating_mul(own.cost);
        let least = own.at.saturating_add(taken);
        let end = own.end.saturating_sub(self.interval.saturating_mul(own.given_since));
        let end = if end > least { end } else { least };
        let left = end.saturating_sub(now);
        if left < taken { left } else { taken }
    }
}

impl Bucket {
    pub(crate) fn new(quota: Quota) -> Self {
        Self::at(Gcra::new(quota), 0)
    }

    pub(crate) const fn at(gcra: Gcra, full_at: u64) -> Self {
        Self { gcra, full_at }
    }

    pub(crate) const fn gcra(&self) -> Gcra {
        self.gcra
    }

    pub(crate) const fn full_at(&self) -> u64 {
        self.full_at
    }

    pub(crate) const fn earliest(&self, cost: u64) -> u64 {
        self.gcra.earliest(self.full_at, cost)
    }

    pub(crate) fn take(&mut self, cost: u64, at: u64) {
        self.full_at = self.gcra.after(self.full_at, cost, at);
    }

    pub(crate) const fn remaining(&self, now: u64) -> u64 {
        self.gcra.remaining(self.full_at, now)
    }

    pub(crate) fn give_back(&mut self, own: &Own, now: u64) {
        self.full_at = self.full_at.saturating_sub(self.gcra.credit(own, now));
    }

    /// The units that are not in it, a part of one as a whole.
    pub(crate) const fn missing(&self, now: u64) -> u64 {
        self.full_at.saturating_sub(now).div_ceil(self.gcra.interval)
    }

    /// Makes it full so much earlier; a bucket does not get fuller than full.
    pub(crate) const fn refund(&mut self, units: u64) {
        self.full_at = self.gcra.refund(self.full_at, units);
    }

    pub(crate) fn change(&mut self, quota: Quota, now: u64) {
        (self.gcra, self.full_at) = self.gcra.change(self.full_at, quota, now);
    }
}
