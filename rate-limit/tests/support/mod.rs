//! A slow and obvious limiter: the whole history, in exact rationals.

pub(crate) mod run;
pub(crate) mod script;

use mainstay_rate_limit::{Algorithm, Rule};
use std::time::Duration;

/// What was taken: when, and how much.
pub(crate) type Entry = (u64, u64);

/// All rules of one key.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    memories: Vec<Memory>,
    /// What was taken and not given back, in the order in which it was taken.
    pub(crate) history: Vec<Entry>,
    /// From then on the bounds are not those of one set of rules.
    is_changed: bool,
}

/// What one rule remembers.
#[derive(Clone, Debug)]
struct Memory {
    rule: Rule,
    /// What was taken, as far as the rule has not been changed since.
    taken: Vec<Entry>,
    /// What was in the bucket before that.
    filled: Filled,
}

/// The content of a bucket at a moment: in parts of the time that fills it, of which so many are a nanosecond.
#[derive(Clone, Copy, Debug)]
struct Filled {
    at: u64,
    parts: i128,
    per_nano: i128,
}

impl Model {
    pub(crate) fn new(rules: &[Rule]) -> Self {
        Self { memories: rules.iter().copied().map(Memory::new).collect(), history: Vec::new(), is_changed: false }
    }

    /// The most that can be taken at once.
    pub(crate) fn capacity(&self) -> u64 {
        self.memories.iter().map(Memory::capacity).min().unwrap()
    }

    pub(crate) fn has_bucket(&self) -> bool {
        self.memories.iter().any(Memory::is_bucket)
    }

    /// When the last one has or had his turn.
    pub(crate) fn last(&self) -> Option<u64> {
        self.history.last().map(|last| last.0)
    }

    /// The earliest moment at which all rules admit `cost`, not before the last one that waits.
    pub(crate) fn earliest(&self, cost: u64, now: u64) -> u64 {
        let from = self.last().map_or(now, |last| last.max(now));
        self.memories.iter().map(|memory| memory.earliest(cost, from)).max().unwrap()
    }

    /// The most that a rule admits now; of no rule, the most that all do.
    pub(crate) fn remaining(&self, rule: Option<usize>, now: u64) -> u64 {
        let memories = rule.map_or(&self.memories[..], |rule| &self.memories[rule..=rule]);
        let admit = |cost: &u64| memories.iter().all(|memory| memory.admits(*cost, now));
        (0..=memories.iter().map(Memory::capacity).min().unwrap()).take_while(admit).last().unwrap_or(0)
    }

    /// The most that a rule ever admits at once, and when it does.
    pub(crate) fn reset(&self, rule: usize, now: u64) -> (u64, u64) {
        let memory = &self.memories[rule];
        (memory.capacity(), memory.earliest(memory.capacity(), now))
    }

    /// Whether everything has come back.
    pub(crate) fn is_fresh(&self, now: u64) -> bool {
        self.last().is_none_or(|last| last <= now)
            && self.memories.iter().all(|memory| memory.admits(memory.capacity(), now))
    }

    pub(crate) fn take(&mut self, entry: Entry) {
        self.history.push(entry);
        self.memories.iter_mut().for_each(|memory| memory.taken.push(entry));
    }

    /// Takes it out of the history; of equal ones it may be any. Answers whether it was the last one.
    pub(crate) fn give_back(&mut self, entry: Entry) -> bool {
        self.memories.iter_mut().for_each(|memory| _ = take_out(&mut memory.taken, entry));
        take_out(&mut self.history, entry) == Some(self.history.len())
    }

    /// Forgets those who still wait, so that they can be placed anew.
    pub(crate) fn forget_places(&mut self, now: u64) {
        let has_come = |entry: &Entry| entry.0 <= now;
        self.history.retain(has_come);
        self.memories.iter_mut().for_each(|memory| memory.taken.retain(has_come));
    }

    /// Forgets the units that were taken last, while nobody waits.
    pub(crate) fn refund(&mut self, units: u64) {
        forget_newest(&mut self.history, units);
        self.memories.iter_mut().for_each(|memory| memory.refund(units));
    }

    /// Takes other rules, while nobody waits. Answers whether a limiter may admit less from now on.
    pub(crate) fn change(&mut self, rules: &[Rule], now: u64) -> bool {
        self.check_bounds();
        self.is_changed = true;
        // Nothing of it can be given back any more.
        self.history.clear();
        self.memories.truncate(rules.len());
        let known = self.memories.len();
        let mut may_lag = false;
        for (memory, rule) in self.memories.iter_mut().zip(rules) {
            may_lag |= memory.change(*rule, now);
        }
        self.memories.extend(rules[known..].iter().copied().map(Memory::new));
        may_lag
    }

    /// Panics if what was used is more than the bound of a rule in any time.
    pub(crate) fn check_bounds(&self) {
        if self.is_changed {
            return;
        }
        for Memory { rule, .. } in &self.memories {
            for first in 0..self.history.len() {
                check_bound(rule, &self.history[first..]);
            }
        }
    }
}

impl Memory {
    fn new(rule: Rule) -> Self {
        Self { rule, taken: Vec::new(), filled: Filled { at: 0, parts: full(&rule), per_nano: 1 } }
    }

    fn is_bucket(&self) -> bool {
        self.rule.algorithm() == Algorithm::TokenBucket
    }

    fn capacity(&self) -> u64 {
        self.rule.quota().capacity()
    }

    /// The first moment that admits `cost`. It is looked for by halves: whatever is admitted at one is admitted later as well.
    fn earliest(&self, cost: u64, from: u64) -> u64 {
        if self.admits(cost, from) {
            return from;
        }
        let mut steps = (0..48).map(|power| 1_u64 << power);
        let step = steps.find(|step| self.admits(cost, from + step)).expect("it is admitted at some time");
        let (mut no, mut yes) = (from + step / 2, from + step);
        while yes - no > 1 {
            let middle = no + (yes - no) / 2;
            *(if self.admits(cost, middle) { &mut yes } else { &mut no }) = middle;
        }
        yes
    }

    fn admits(&self, cost: u64, at: u64) -> bool {
        let (limit, period) = (self.rule.quota().limit(), nanos(self.rule.quota().period()));
        if cost > self.capacity() {
            return self.admits_too_much(cost, at);
        }
        let taken = |counts: &dyn Fn(u64) -> bool| taken(&self.taken, counts);
        let window = at / period;
        match self.rule.algorithm() {
            Algorithm::TokenBucket => {
                let cost = i128::from(interval(&self.rule)) * i128::from(cost) * self.filled.per_nano;
                self.parts(at) >= cost
            }
            Algorithm::SlidingLog => taken(&|then| then + period > at) + cost <= limit,
            Algorithm::SlidingCounter => {
                let previous = taken(&|then| then / period + 1 == window);
                let current = taken(&|then| then / period == window);
                let weighed = u128::from(previous) * u128::from(period - at % period);
                weighed + u128::from(current + cost) * u128::from(period) <= u128::from(limit) * u128::from(period)
            }
            Algorithm::FixedWindow => taken(&|then| then / period == window) + cost <= limit,
            _ => unreachable!("a new algorithm needs a model"),
        }
    }

    /// One who has a place may cost more than a limit that was lowered since: he comes when all has come back, and of a bucket
    /// what is too much as well.
    fn admits_too_much(&self, cost: u64, at: u64) -> bool {
        let too_much = if self.is_bucket() { interval(&self.rule) * (cost - self.capacity()) } else { 0 };
        let last = self.taken.last().map_or(self.filled.at, |last| last.0);
        at >= last + too_much && self.admits(self.capacity(), at - too_much)
    }

    /// What is in the bucket.
    fn parts(&self, at: u64) -> i128 {
        let Filled { at: mut last, mut parts, per_nano } = self.filled;
        let full = full(&self.rule) * per_nano;
        for (then, cost) in &self.taken {
            parts = full.min(parts + i128::from(then - last) * per_nano);
            parts -= i128::from(interval(&self.rule)) * i128::from(*cost) * per_nano;
            last = *then;
        }
        full.min(parts + (i128::from(at) - i128::from(last)) * per_nano)
    }

    fn refund(&mut self, units: u64) {
        let rest = forget_newest(&mut self.taken, units);
        let Filled { parts, per_nano, .. } = &mut self.filled;
        let full = full(&self.rule) * *per_nano;
        *parts = full.min(*parts + i128::from(interval(&self.rule)) * i128::from(rest) * *per_nano);
    }

    fn change(&mut self, rule: Rule, now: u64) -> bool {
        let old = self.rule;
        if old.algorithm() != rule.algorithm() {
            *self = Self::new(rule);
            return false;
        }
        let period = nanos(old.quota().period());
        let longer = nanos(rule.quota().period()).cmp(&period);
        let mut may_lag = false;
        match rule.algorithm() {
            Algorithm::TokenBucket => may_lag = self.change_bucket(&rule, now),
            // One that has left may still be in a limiter's log, and come back when the period becomes longer.
            Algorithm::SlidingLog => {
                self.taken.retain(|entry| entry.0 + period > now);
                may_lag = longer.is_gt();
            }
            _ if longer.is_eq() => {}
            // All that counts is counted as taken now.
            _ => self.taken = vec![(now, self.used(now))],
        }
        self.rule = rule;
        may_lag
    }

    /// The units stay, as many as fit in.
    fn change_bucket(&mut self, rule: &Rule, now: u64) -> bool {
        let (old, new) = (i128::from(interval(&self.rule)), i128::from(interval(rule)));
        if old == new && self.capacity() == rule.quota().capacity() {
            return false;
        }
        let (mut parts, mut per_nano) = (self.parts(now) * new, self.filled.per_nano * old);
        let common = common_divisor(parts.abs(), per_nano);
        (parts, per_nano) = (parts / common, per_nano / common);
        // After many changes a part would be too small to count in; then the model has more than there is.
        if per_nano > 1 << 32 {
            (parts, per_nano) = (parts.div_euclid(per_nano) + 1, 1);
        }
        self.filled = Filled { at: now, parts: parts.min(full(rule) * per_nano), per_nano };
        self.taken.clear();
        true
    }

    /// What counts now, a part of a unit as a whole.
    fn used(&self, now: u64) -> u64 {
        let period = nanos(self.rule.quota().period());
        let current = taken(&self.taken, &|then| then / period == now / period);
        let previous = taken(&self.taken, &|then| then / period + 1 == now / period);
        let weighed = (u128::from(previous) * u128::from(period - now % period)).div_ceil(u128::from(period));
        match self.rule.algorithm() {
            Algorithm::FixedWindow => current,
            _ => current + u64::try_from(weighed).unwrap(),
        }
    }
}

/// What the whole history has in it, from its first entry on.
fn check_bound(rule: &Rule, history: &[Entry]) {
    let (limit, period) = (rule.quota().limit(), nanos(rule.quota().period()));
    let from = history[0].0;
    let mut sum = 0;
    for (to, cost) in history {
        sum += cost;
        let time = to - from;
        let bound = match rule.algorithm() {
            Algorithm::TokenBucket => rule.quota().capacity() + time / interval(rule),
            _ if time >= period => continue,
            Algorithm::SlidingLog => limit,
            Algorithm::SlidingCounter => 2 * limit - 1,
            _ if from / period == to / period => limit,
            _ => 2 * limit,
        };
        assert!(sum <= bound, "{sum} units in {time} ns by {rule:?}: {history:?}");
    }
}

fn taken(entries: &[Entry], counts: &dyn Fn(u64) -> bool) -> u64 {
    entries.iter().filter(|(at, _)| counts(*at)).map(|(_, cost)| cost).sum()
}

/// Takes one of these entries out, and answers where it was.
fn take_out(entries: &mut Vec<Entry>, entry: Entry) -> Option<usize> {
    let position = entries.iter().position(|other| *other == entry)?;
    entries.remove(position);
    Some(position)
}

/// Takes the last units out, and answers how many there were not.
fn forget_newest(entries: &mut Vec<Entry>, units: u64) -> u64 {
    let mut rest = units;
    while let Some((_, cost)) = entries.last_mut().filter(|_| rest > 0) {
        let some = rest.min(*cost);
        (*cost, rest) = (*cost - some, rest - some);
        entries.pop_if(|(_, cost)| *cost == 0);
    }
    rest
}

pub(crate) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap()
}

/// The nanoseconds per unit.
fn interval(rule: &Rule) -> u64 {
    nanos(rule.quota().period()).div_ceil(rule.quota().limit())
}

/// The nanoseconds that fill the bucket.
fn full(rule: &Rule) -> i128 {
    i128::from(interval(rule)) * i128::from(rule.quota().capacity())
}

fn common_divisor(mut one: i128, mut other: i128) -> i128 {
    while other != 0 {
        (one, other) = (other, one % other);
    }
    one
}
