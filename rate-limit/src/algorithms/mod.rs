//! The four algorithms. Each answers one question: from which moment on could this cost be admitted?
//!
//! Times are nanoseconds since the limiter was made. Whatever is admitted at a moment would also be admitted later, if nothing
//! is taken meanwhile; so the earliest moment of several rules is the largest of theirs.

mod counter;
mod fixed;
mod gcra;
mod log;

use crate::{
    config::MAX_RULES,
    rule::{Algorithm, Rule},
};
use counter::Counter;
use fixed::Fixed;
pub(crate) use gcra::{Bucket, Gcra};
use log::Log;
use std::{mem, slice};

/// What one rule remembers.
#[derive(Clone, Debug)]
pub(crate) enum State {
    Bucket(Bucket),
    /// Boxed: it is rare, and the others are smaller.
    Log(Box<Log>),
    Counter(Counter),
    Fixed(Fixed),
}

/// What all rules remember; that of one rule needs no allocation.
#[derive(Clone, Debug)]
pub(crate) enum States {
    One(State),
    Many(Box<[State]>),
}

/// What was taken from one rule, by one who gives it back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Own {
    pub(crate) cost: u64,
    pub(crate) at: u64,
    /// When a bucket was full again just after it was taken.
    pub(crate) end: u64,
    /// The units that others have given back since then.
    pub(crate) given_since: u64,
}

impl State {
    pub(crate) fn new(rule: Rule) -> Self {
        let quota = rule.quota();
        match rule.algorithm() {
            Algorithm::TokenBucket => Self::Bucket(Bucket::new(quota)),
            Algorithm::SlidingLog => Self::Log(Box::new(Log::new(rule.capacity(), quota))),
            Algorithm::SlidingCounter => Self::Counter(Counter::new(quota)),
            Algorithm::FixedWindow => Self::Fixed(Fixed::new(quota)),
        }
    }

    /// The most units that can be taken at once.
    #[inline]
    pub(crate) fn limit(&self) -> u64 {
        match self {
            Self::Bucket(bucket) => bucket.gcra().burst(),
            Self::Log(log) => log.limit(),
            Self::Counter(counter) => counter.limit(),
            Self::Fixed(fixed) => fixed.limit(),
        }
    }

    /// The earliest moment at which `cost`, which is not above the limit, could be taken.
    #[inline]
    pub(crate) fn earliest(&self, cost: u64) -> u64 {
        match self {
            Self::Bucket(bucket) => bucket.earliest(cost),
            Self::Log(log) => log.earliest(cost),
            Self::Counter(counter) => counter.earliest(cost),
            Self::Fixed(fixed) => fixed.earliest(cost),
        }
    }

    /// Takes it at a moment that is not before the earliest.
    #[inline]
    pub(crate) fn take(&mut self, cost: u64, at: u64) {
        match self {
            Self::Bucket(bucket) => bucket.take(cost, at),
            Self::Log(log) => log.take(cost, at),
            Self::Counter(counter) => counter.take(cost, at),
            Self::Fixed(fixed) => fixed.take(cost, at),
        }
    }

    /// The units that could be taken at once now.
    #[inline]
    pub(crate) fn remaining(&self, now: u64) -> u64 {
        match self {
            Self::Bucket(bucket) => bucket.remaining(now),
            Self::Log(log) => log.remaining(now),
            Self::Counter(counter) => counter.remaining(now),
            Self::Fixed(fixed) => fixed.remaining(now),
        }
    }

    /// From when on it is as if nothing had been taken.
    #[inline]
    pub(crate) fn fresh_at(&self) -> u64 {
        match self {
            Self::Bucket(bucket) => bucket.full_at(),
            Self::Log(log) => log.fresh_at(),
            Self::Counter(counter) => counter.fresh_at(),
            Self::Fixed(fixed) => fixed.fresh_at(),
        }
    }

    /// Gives back what was taken and not used, without what has come back by itself.
    pub(crate) fn give_back(&mut self, own: &Own, now: u64) {
        match self {
            Self::Bucket(bucket) => bucket.give_back(own, now),
            Self::Log(log) => log.give_back(own),
            Self::Counter(counter) => counter.give_back(own),
            Self::Fixed(fixed) => fixed.give_back(own),
        }
    }

    /// The units by whose return a bucket would be full; nothing of a window, which has no end that could move.
    pub(crate) fn missing(&self, now: u64) -> u64 {
        if let Self::Bucket(bucket) = self { bucket.missing(now) } else { 0 }
    }

    /// Gives back the units that were taken last.
    pub(crate) fn refund(&mut self, units: u64, now: u64) {
        match self {
            Self::Bucket(bucket) => bucket.refund(units),
            Self::Log(log) => log.refund(units),
            Self::Counter(counter) => counter.refund(units, now),
            Self::Fixed(fixed) => fixed.refund(units, now),
        }
    }

    /// Takes another rule; what was taken stays taken, unless it is kept by another algorithm.
    pub(crate) fn change(&mut self, rule: Rule, now: u64) {
        let quota = rule.quota();
        match (self, rule.algorithm()) {
            (Self::Bucket(bucket), Algorithm::TokenBucket) => bucket.change(quota, now),
            (Self::Log(log), Algorithm::SlidingLog) => log.change(rule.capacity(), quota),
            (Self::Counter(counter), Algorithm::SlidingCounter) => counter.change(quota, now),
            (Self::Fixed(fixed), Algorithm::FixedWindow) => fixed.change(quota, now),
            (state, _) => *state = Self::new(rule),
        }
    }

    const fn algorithm(&self) -> Algorithm {
        match self {
            Self::Bucket(_) => Algorithm::TokenBucket,
            Self::Log(_) => Algorithm::SlidingLog,
            Self::Counter(_) => Algorithm::SlidingCounter,
            Self::Fixed(_) => Algorithm::FixedWindow,
        }
    }

    /// Whether it keeps this rule.
    pub(crate) fn keeps(&self, rule: Rule) -> bool {
        let quota = rule.quota();
        match (self, rule.algorithm()) {
            (Self::Bucket(bucket), Algorithm::TokenBucket) => bucket.gcra() == Gcra::new(quota),
            (Self::Log(log), Algorithm::SlidingLog) => log.keeps(rule.capacity(), quota),
            (Self::Counter(counter), Algorithm::SlidingCounter) => counter.keeps(quota),
            (Self::Fixed(fixed), Algorithm::FixedWindow) => fixed.keeps(quota),
            _ => false,
        }
    }

    /// Makes room for all that it can ever hold.
    pub(crate) fn reserve(&mut self) {
        if let Self::Log(log) = self {
            log.reserve();
        }
    }
}

impl States {
    pub(crate) fn new(rules: &[Rule]) -> Self {
        match rules {
            [rule] => Self::One(State::new(*rule)),
            rules => Self::Many(rules.iter().copied().map(State::new).collect()),
        }
    }

    pub(crate) fn all(&self) -> &[State] {
        match self {
            Self::One(state) => slice::from_ref(state),
            Self::Many(states) => states,
        }
    }

    pub(crate) fn all_mut(&mut self) -> &mut [State] {
        match self {
            Self::One(state) => slice::from_mut(state),
            Self::Many(states) => states,
        }
    }

    /// The most units that can be taken at once.
    #[inline]
    pub(crate) fn limit(&self) -> u64 {
        match self {
            Self::One(state) => state.limit(),
            Self::Many(states) => states.iter().map(State::limit).min().unwrap_or(0),
        }
    }

    /// The earliest moment at which all could give `cost`.
    #[inline]
    pub(crate) fn earliest(&self, cost: u64) -> u64 {
        match self {
            Self::One(state) => state.earliest(cost),
            Self::Many(states) => states.iter().map(|state| state.earliest(cost)).max().unwrap_or(0),
        }
    }

    #[inline]
    pub(crate) fn take(&mut self, cost: u64, at: u64) {
        match self {
            Self::One(state) => state.take(cost, at),
            Self::Many(states) => states.iter_mut().for_each(|state| state.take(cost, at)),
        }
    }

    pub(crate) fn fresh_at(&self) -> u64 {
        self.all().iter().map(State::fresh_at).max().unwrap_or(0)
    }

    /// When each of them is as if nothing had been taken.
    pub(crate) fn ends(&self) -> [u64; MAX_RULES] {
        let mut ends = [0; MAX_RULES];
        for (end, state) in ends.iter_mut().zip(self.all()) {
            *end = state.fresh_at();
        }
        ends
    }

    pub(crate) fn change(&mut self, rules: &[Rule], own_quota: bool, now: u64) {
        let mut old = mem::replace(self, Self::new(rules));
        for (place, ((new, old), rule)) in self.all_mut().iter_mut().zip(old.all_mut()).zip(rules).enumerate() {
            mem::swap(new, old);
            if !(own_quota && place == 0 && new.algorithm() == rule.algorithm()) {
                new.change(*rule, now);
            }
        }
    }
}
