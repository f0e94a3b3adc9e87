//! A slow and obvious limiter: the whole history, and every nanosecond tried in turn.

use mainstay_rate_limit::{Algorithm, Rule};
use std::time::Duration;

/// What was taken: when, and how much.
pub(crate) type Entry = (u64, u64);

#[derive(Clone, Debug)]
pub(crate) struct Model {
    pub(crate) rules: Vec<Rule>,
    /// What was taken and not given back, in the order in which it was taken.
    pub(crate) history: Vec<Entry>,
}

impl Model {
    pub(crate) fn new(rules: &[Rule]) -> Self {
        Self { rules: rules.to_vec(), history: Vec::new() }
    }

    /// The earliest moment at which all rules admit `cost`, not before the last one that waits.
    pub(crate) fn earliest(&self, cost: u64, now: u64) -> u64 {
        let from = self.history.last().map_or(now, |last| last.0.max(now));
        (from..=from + 1_000_000).find(|at| self.rules.iter().all(|rule| self.admits(rule, cost, *at))).unwrap()
    }

    /// The most that one of the rules admits now.
    pub(crate) fn remaining(&self, rule: &Rule, now: u64) -> u64 {
        (0..=rule.quota().capacity()).take_while(|cost| self.admits(rule, *cost, now)).last().unwrap_or(0)
    }

    pub(crate) fn admits(&self, rule: &Rule, cost: u64, at: u64) -> bool {
        let (limit, period) = (rule.quota().limit(), nanos(rule.quota().period()));
        let taken = |counts: &dyn Fn(u64) -> bool| -> u64 {
            self.history.iter().filter(|(at, _)| counts(*at)).map(|(_, cost)| cost).sum()
        };
        let window = at / period;
        match rule.algorithm() {
            Algorithm::TokenBucket => self.tokens(rule, at) >= i128::from(cost) * i128::from(interval(rule)),
            Algorithm::SlidingLog => taken(&|then| then + period > at) + cost <= limit,
            Algorithm::SlidingCounter => {
                let previous = taken(&|then| then / period + 1 == window);
                let current = taken(&|then| then / period == window);
                previous * (period - at % period) + (current + cost) * period <= limit * period
            }
            Algorithm::FixedWindow => taken(&|then| then / period == window) + cost <= limit,
            _ => unreachable!("a new algorithm needs a model"),
        }
    }

    /// What is in the bucket, in nanoseconds of filling.
    fn tokens(&self, rule: &Rule, at: u64) -> i128 {
        let full = i128::from(interval(rule)) * i128::from(rule.quota().capacity());
        let (mut tokens, mut last) = (full, 0);
        for (then, cost) in &self.history {
            tokens = full.min(tokens + i128::from(then - last)) - i128::from(interval(rule)) * i128::from(*cost);
            last = *then;
        }
        full.min(tokens + i128::from(at) - i128::from(last))
    }

    /// Panics if what was used is more than the bound of a rule in any time.
    pub(crate) fn check_bounds(&self) {
        for rule in &self.rules {
            let (limit, period) = (rule.quota().limit(), nanos(rule.quota().period()));
            for (first, (from, _)) in self.history.iter().enumerate() {
                let mut sum = 0;
                for (to, cost) in &self.history[first..] {
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
                    assert!(sum <= bound, "{sum} units in {time} ns by {rule:?}: {:?}", self.history);
                }
            }
        }
    }
}

pub(crate) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap()
}

fn interval(rule: &Rule) -> u64 {
    nanos(rule.quota().period()).div_ceil(rule.quota().limit())
}
