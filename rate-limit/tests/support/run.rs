//! A limiter and its model side by side.

use super::{Entry, Model, nanos};
use mainstay_rate_limit::{
    Algorithm, CostTooLarge, Decision, KeyedConfig, KeyedLimiter, KeyedReserved, Limiter, ReserveError, Reserved, Rule,
};
use std::time::{Duration, Instant};

/// A limiter beside the model of each of its keys.
pub(crate) struct Run {
    limiter: Real,
    /// One for each key. Behind them one for the keys that find no room, if that can happen.
    lanes: Vec<Lane>,
    keys: usize,
    start: Instant,
    now: u64,
    /// The latest moment that there was.
    seen: u64,
    /// One bucket and no key: it decides without a lock, as of the moment it is asked for, even if that is an earlier one.
    is_cell: bool,
    rules: Vec<Rule>,
}

enum Real {
    One(Box<Limiter>),
    Keyed(Box<KeyedLimiter<usize>>),
}

/// A key.
struct Lane {
    model: Model,
    reserved: Vec<(Token, Entry)>,
    /// From then on it may admit less than the model.
    may_lag: bool,
    /// By a refund, or by one who left before others: then a bucket knows less of those who give back later.
    was_moved: bool,
}

enum Token {
    One(Reserved),
    Keyed(KeyedReserved),
}

impl Run {
    pub(crate) fn new(rules: &[Rule]) -> Self {
        let start = tokio::time::Instant::now().into_std();
        let limiter = Real::One(Limiter::new_at(rules.to_vec(), start).unwrap().into());
        let is_cell = matches!(rules, [rule] if rule.algorithm() == Algorithm::TokenBucket);
        let lanes = vec![Lane::new(rules)];
        Self { limiter, lanes, keys: 1, start, now: 0, seen: 0, is_cell, rules: rules.to_vec() }
    }

    /// With so many keys, and room for so many.
    pub(crate) fn keyed(rules: &[Rule], keys: usize, max_keys: u32) -> Self {
        let one = Self::new(rules);
        let config = KeyedConfig::new(rules.to_vec()).max_keys(max_keys);
        let limiter = Real::Keyed(KeyedLimiter::new_at(config, one.start).unwrap().into());
        Self { limiter, lanes: (0..=keys).map(|_| Lane::new(rules)).collect(), keys, is_cell: false, ..one }
    }

    pub(crate) fn end(&self) {
        self.lanes.iter().for_each(|lane| lane.model.check_bounds());
    }

    pub(crate) fn pass(&mut self, time: u64) {
        self.now += time;
    }

    /// The clock goes back.
    pub(crate) fn step_back(&mut self, time: u64) {
        self.now = self.now.saturating_sub(time);
    }

    /// Until just when the last one who waits for this key has his turn.
    pub(crate) fn pass_to_last(&mut self, key: usize) {
        self.now = self.lane(key).model.last().unwrap_or(0).max(self.now);
    }

    pub(crate) fn check(&mut self, key: usize, cost: u64) -> Duration {
        let before = self.overflowed();
        let decision = self.limiter.check(key % self.keys, cost, self.at(self.now));
        let lane = self.lane_since(key, before);
        let steady = !self.is_cell || self.now >= self.seen;
        self.seen = self.seen.max(self.now);
        let capacity = self.lanes[lane].model.capacity();
        match decision {
            Err(error) => assert!((error.cost, error.limit) == (cost, capacity) && cost > capacity, "{error}"),
            Ok(decision) if cost == 0 => assert!(decision.allowed),
            Ok(decision) if steady => self.lanes[lane].checked(cost, self.seen, decision),
            Ok(decision) if decision.allowed => self.lanes[lane].admitted_unsteadily(cost, self.now, self.seen, None),
            Ok(_) => {}
        }
        decision.map_or(Duration::ZERO, |decision| decision.retry_after)
    }

    pub(crate) fn peek(&mut self, key: usize) {
        let peek = self.limiter.peek(key % self.keys, self.at(self.now));
        if let Real::Keyed(_) = self.limiter {
            // Where it is decided, only a check can tell.
            let retry_after = self.check(key, 1);
            assert_eq!(peek.retry_after, retry_after);
            return;
        }
        if !self.is_cell || self.now >= self.seen {
            let now = self.seen.max(self.now);
            self.lanes[0].compare(now + nanos(peek.retry_after), self.lanes[0].model.earliest(1, now));
        }
    }

    pub(crate) fn reserve(&mut self, key: usize, cost: u64, wait: u64) {
        let before = self.overflowed();
        let answer = self.limiter.reserve(key % self.keys, cost, Duration::from_nanos(wait), self.at(self.now));
        let lane = self.lane_since(key, before);
        let steady = !self.is_cell || self.now >= self.seen;
        self.seen = self.seen.max(self.now);
        let at = |wait| self.seen + nanos(wait);
        let lane = &mut self.lanes[lane];
        match answer {
            Ok(_) if cost == 0 => {}
            Ok(token) if steady => lane.reserved(token.0, (at(token.1), cost), self.seen, wait),
            Ok(token) => {
                let at = nanos(self.limiter.wait(&token.0, self.start));
                lane.admitted_unsteadily(cost, self.now, self.seen, Some((token.0, at)));
            }
            Err(ReserveError::TooLate(decision)) if steady => {
                assert!(nanos(decision.retry_after) > wait);
                lane.compare(at(decision.retry_after), lane.model.earliest(cost, self.seen));
            }
            Err(ReserveError::TooLate(_)) => {}
            Err(error) => assert!(cost > lane.model.capacity(), "{error}"),
        }
    }

    /// Gives back the reservation of this number, from the newest on. Whoever does has a clock that does not go back.
    pub(crate) fn give_back(&mut self, key: usize, number: usize) {
        let lane = key % self.lanes.len();
        let Some(index) = self.lanes[lane].reserved.len().checked_sub(number + 1) else { return };
        self.catch_up();
        let (token, entry) = self.lanes[lane].reserved.remove(index);
        self.lanes[lane].given_back(entry, self.seen);
        // Those without room do not tell the others how late it is.
        self.limiter.refund(0, 0, self.at(self.seen));
        self.limiter.give_back(token, self.at(self.seen));
        self.bring_forward(lane);
    }

    /// Those without room get nothing back.
    pub(crate) fn refund(&mut self, key: usize, units: u64) {
        self.catch_up();
        let lane = key % self.keys;
        self.limiter.refund(lane, units, self.at(self.seen));
        self.lanes[lane].refunded(units, self.seen);
        self.bring_forward(lane);
    }

    pub(crate) fn reconfigure(&mut self, rules: &[Rule]) {
        self.now = self.now.max(self.seen);
        self.limiter.reconfigure(rules, self.at(self.now));
        if self.rules == rules {
            return;
        }
        self.catch_up();
        self.rules = rules.to_vec();
        self.is_cell = false;
        for lane in 0..self.lanes.len() {
            let may_be_forgotten = matches!(self.limiter, Real::Keyed(_)) && lane < self.keys;
            self.lanes[lane].changed(rules, may_be_forgotten, self.seen);
            self.bring_forward(lane);
        }
    }

    fn at(&self, time: u64) -> Instant {
        self.start + Duration::from_nanos(time)
    }

    fn catch_up(&mut self) {
        self.now = self.now.max(self.seen);
        self.seen = self.now;
    }

    fn lane(&self, key: usize) -> &Lane {
        &self.lanes[key % self.keys]
    }

    fn overflowed(&self) -> u64 {
        match &self.limiter {
            Real::One(_) => 0,
            Real::Keyed(limiter) => limiter.snapshot().overflowed,
        }
    }

    /// Where the decision for this key was made.
    fn lane_since(&self, key: usize, overflowed: u64) -> usize {
        if self.overflowed() == overflowed { key % self.keys } else { self.keys }
    }

    /// Those who wait come as soon as they can, in their order, and no later than they were told.
    fn bring_forward(&mut self, lane: usize) {
        let (now, at) = (self.seen, self.at(self.seen));
        let lane = &mut self.lanes[lane];
        lane.model.forget_places(now);
        for (token, entry) in lane.reserved.iter_mut().filter(|(_, entry)| entry.0 > now) {
            let (told, cost) = *entry;
            entry.0 = now + nanos(self.limiter.wait(token, at));
            assert!(entry.0 <= told);
            // A refund may say of a bucket that it has been full for long, and then it gives more than fits in.
            let is_too_much = cost > lane.model.capacity() && lane.was_moved && lane.model.has_bucket();
            if !is_too_much {
                compare(&lane.model, entry.0, lane.model.earliest(cost, now).min(told), lane.may_lag);
            }
            lane.model.take(*entry);
        }
    }
}

impl Lane {
    fn new(rules: &[Rule]) -> Self {
        Self { model: Model::new(rules), reserved: Vec::new(), may_lag: false, was_moved: false }
    }

    fn compare(&self, real: u64, model: u64) {
        compare(&self.model, real, model, self.may_lag);
    }

    fn checked(&mut self, cost: u64, now: u64, decision: Decision) {
        self.compare(now + nanos(decision.retry_after), self.model.earliest(cost, now));
        assert_eq!(decision.allowed, decision.retry_after.is_zero());
        let nobody_waits = self.model.last().is_none_or(|last| last <= now);
        if decision.allowed {
            self.model.take((now, cost));
        }
        if nobody_waits && !self.may_lag {
            let left = self.model.remaining(Some(decision.rule), now);
            assert_eq!(decision.remaining, left, "{:?}", self.model);
            if decision.allowed {
                assert_eq!(left, self.model.remaining(None, now), "{:?}", self.model);
            }
            let reset = (decision.limit, now + nanos(decision.reset_after));
            assert_eq!(reset, self.model.reset(decision.rule, now), "{:?}", self.model);
        }
    }

    fn reserved(&mut self, token: Token, entry: Entry, now: u64, wait: u64) {
        assert!(entry.0 <= now + wait);
        self.compare(entry.0, self.model.earliest(entry.1, now));
        self.model.take(entry);
        self.reserved.push((token, entry));
    }

    /// As of a moment that is earlier than another one was: it may admit less, and never more.
    fn admitted_unsteadily(&mut self, cost: u64, now: u64, seen: u64, token: Option<(Token, u64)>) {
        let at = token.as_ref().map_or(now, |(_, at)| now.max(*at));
        let entry = (self.model.earliest(cost, at), cost);
        assert!(entry.0 <= at.max(seen), "{:?}", self.model);
        self.model.take(entry);
        self.may_lag = true;
        self.reserved.extend(token.map(|(token, _)| (token, entry)));
    }

    fn given_back(&mut self, entry: Entry, now: u64) {
        let (is_last, has_come) = (self.model.give_back(entry), entry.0 <= now);
        // A place that is still to come leaves without a trace, and so does what was taken last.
        self.may_lag |= self.model.has_bucket() && has_come && (!is_last || self.was_moved);
        self.was_moved |= !has_come && !is_last;
    }

    fn refunded(&mut self, units: u64, now: u64) {
        self.was_moved |= units > 0;
        self.model.forget_places(now);
        self.model.refund(units);
        // What is gone from the history cannot be given back as well.
        let mut left = self.model.history.clone();
        self.reserved.retain(|(_, entry)| {
            let found = left.iter().position(|other| other == entry);
            found.inspect(|index| _ = left.remove(*index)).is_some() || entry.0 > now
        });
    }

    fn changed(&mut self, rules: &[Rule], may_be_forgotten: bool, now: u64) {
        let may_be_forgotten = may_be_forgotten && self.model.is_fresh(now);
        self.model.forget_places(now);
        self.may_lag |= self.model.change(rules, now);
        // A key from which everything has come back is one that has never been there, if it was forgotten.
        if may_be_forgotten {
            self.model = Model::new(rules);
        }
        // Those whose moment had come give nothing back any more.
        self.reserved.retain(|(_, entry)| entry.0 > now);
        // Who waits for more than there is now at most may come later than the model has it.
        self.may_lag |= self.reserved.iter().any(|(_, entry)| entry.1 > self.model.capacity());
    }
}

/// The limiter may be behind the model, never before it.
fn compare(model: &Model, real: u64, expected: u64, may_lag: bool) {
    assert!(real >= expected, "admitted at {real}, but the model only at {expected}: {model:?}");
    assert!(real == expected || may_lag, "admitted at {real}, the model at {expected}: {model:?}");
}

impl Real {
    fn check(&self, key: usize, cost: u64, now: Instant) -> Result<Decision, CostTooLarge> {
        match self {
            Self::One(limiter) => limiter.check_cost_at(cost, now),
            Self::Keyed(limiter) => limiter.check_cost_at(&key, cost, now),
        }
    }

    fn peek(&self, key: usize, now: Instant) -> Decision {
        match self {
            Self::One(limiter) => limiter.peek_at(now),
            Self::Keyed(limiter) => limiter.peek_at(&key, now),
        }
    }

    fn reserve(&self, key: usize, cost: u64, wait: Duration, now: Instant) -> Result<(Token, Duration), ReserveError> {
        Ok(match self {
            Self::One(limiter) => {
                let reserved = limiter.reserve_at(cost, wait, now)?;
                let wait = reserved.wait();
                (Token::One(reserved), wait)
            }
            Self::Keyed(limiter) => {
                let reserved = limiter.reserve_at(&key, cost, wait, now)?;
                let wait = reserved.wait();
                (Token::Keyed(reserved), wait)
            }
        })
    }

    fn wait(&self, token: &Token, now: Instant) -> Duration {
        match (self, token) {
            (Self::One(limiter), Token::One(reserved)) => limiter.wait_at(reserved, now),
            (Self::Keyed(limiter), Token::Keyed(reserved)) => limiter.wait_at(reserved, now),
            _ => unreachable!("a reservation is of its limiter"),
        }
    }

    fn give_back(&self, token: Token, now: Instant) {
        match (self, token) {
            (Self::One(limiter), Token::One(reserved)) => limiter.give_back_at(reserved, now),
            (Self::Keyed(limiter), Token::Keyed(reserved)) => limiter.give_back_at(reserved, now),
            _ => unreachable!("a reservation is of its limiter"),
        }
    }

    fn refund(&self, key: usize, units: u64, now: Instant) {
        match self {
            Self::One(limiter) => limiter.refund_at(units, now),
            Self::Keyed(limiter) => limiter.refund_at(&key, units, now),
        }
    }

    fn reconfigure(&self, rules: &[Rule], now: Instant) {
        match self {
            Self::One(limiter) => limiter.reconfigure_at(rules.to_vec(), now).unwrap(),
            Self::Keyed(limiter) => {
                let config = KeyedConfig::new(rules.to_vec()).max_keys(limiter.config().max_keys);
                limiter.reconfigure_at(config, now).unwrap();
            }
        }
    }
}
