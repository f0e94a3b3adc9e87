//! One decision over all rules, and the queue of those who wait. No lock and no clock.

use crate::{
    algorithms::{Bucket, Own, State, States},
    config::MAX_RULES,
    decision::Decision,
    rule::Rule,
};
use std::{collections::VecDeque, time::Duration};

/// The rules of one key.
///
/// Who waits has a *place*: the moment at which it is his turn. Places are given in order, and nothing is admitted before
/// the last of them. So the order of reservations is the order of service.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    /// With all that was taken, places included.
    states: States,
    /// `None` if nobody waits.
    waiting: Option<Box<Waiting>>,
    /// The units that were ever given back while something was taken after them: by at most these, the ends of what was taken
    /// before that have moved.
    given: u64,
    /// Raised when the rules change; another one for each machine of a table.
    epoch: u64,
}

#[derive(Clone, Debug)]
struct Waiting {
    /// Without the places that are still to come.
    settled: States,
    /// In the order of their moments. Never empty.
    places: VecDeque<Place>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    at: u64,
    cost: u64,
}

/// What was taken, so that it can be given back.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) cost: u64,
    pub(crate) at: u64,
    /// When each rule would be fresh again.
    pub(crate) ends: [u64; MAX_RULES],
    pub(crate) given: u64,
    pub(crate) epoch: u64,
}

/// An answer, with the moment from which on it is yes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    pub(crate) decision: Decision,
    pub(crate) at: u64,
}

impl Machine {
    pub(crate) fn new(rules: &[Rule], epoch: u64) -> Self {
        Self { states: States::new(rules), waiting: None, given: 0, epoch }
    }

    /// The same, with another first rule.
    pub(crate) fn beginning_with(first: Rule, rules: &[Rule], epoch: u64) -> Self {
        let mut machine = Self::new(rules, epoch);
        if let Some(state) = machine.states.all_mut().first_mut() {
            *state = State::new(first);
        }
        machine
    }

    /// One whose only rule is this bucket.
    pub(crate) const fn of_bucket(bucket: Bucket, epoch: u64) -> Self {
        Self { states: States::One(State::Bucket(bucket)), waiting: None, given: 0, epoch }
    }

    /// Makes room for all that the rules can ever hold, so that nothing is allocated later.
    pub(crate) fn reserve(mut self) -> Self {
        self.states.all_mut().iter_mut().for_each(State::reserve);
        self
    }

    /// The most units that can be taken at once.
    pub(crate) fn limit(&self) -> u64 {
        self.states.limit()
    }

    /// Takes `cost`, not above the limit, if that is possible now; a cost of nothing always is.
    #[inline]
    pub(crate) fn check(&mut self, cost: u64, now: u64) -> Decision {
        let at = self.earliest(cost, now);
        if at <= now && cost > 0 {
            self.states.take(cost, now);
        }
        self.answer(cost, at, now, at <= now)
    }

    /// What [`check`](Self::check) would answer.
    pub(crate) fn peek(&mut self, cost: u64, now: u64) -> Decision {
        let at = self.earliest(cost, now);
        self.answer(cost, at, now, at <= now)
    }

    /// Takes `cost` at the earliest moment, if that is not after `latest`.
    pub(crate) fn reserve_until(&mut self, cost: u64, now: u64, latest: u64) -> (Answer, Option<Taken>) {
        let at = self.earliest(cost, now);
        let taken = (at <= latest && cost > 0).then(|| self.take(cost, at, now));
        (Answer { decision: self.answer(cost, at, now, at <= latest), at }, taken)
    }

    /// Gives back what was not used: a place in the queue, or what has not come back by itself meanwhile.
    pub(crate) fn give_back(&mut self, taken: &Taken, now: u64) {
        self.settle(now);
        let given_since = self.given.saturating_sub(taken.given);
        let is_newest = if taken.at > now {
            self.leave(Place { at: taken.at, cost: taken.cost })
        } else {
            self.give_back_past(taken, given_since, now)
        };
        if !is_newest {
            self.given = self.given.saturating_add(taken.cost);
        }
        self.replay();
    }

    /// Takes it out of the past; says whether nothing was taken after it.
    fn give_back_past(&mut self, taken: &Taken, given_since: u64, now: u64) -> bool {
        if taken.epoch != self.epoch {
            return false;
        }
        let is_newest = self.waiting.is_none() && given_since == 0 && self.ends() == taken.ends;
        for (state, end) in self.settled().iter_mut().zip(taken.ends) {
            state.give_back(&Own { cost: taken.cost, at: taken.at, end, given_since }, now);
        }
        is_newest
    }

    /// Gives back the units that were taken last.
    pub(crate) fn refund(&mut self, units: u64, now: u64) {
        self.settle(now);
        self.given = self.given.saturating_add(units);
        self.settled().iter_mut().for_each(|state| state.refund(units, now));
        self.replay();
    }

    /// Takes other rules. What was taken stays taken, and who waits keeps his place.
    pub(crate) fn change(&mut self, rules: &[Rule], epoch: u64, now: u64) {
        self.settle(now);
        self.epoch = epoch;
        let settled = self.waiting.as_mut().map_or(&mut self.states, |waiting| &mut waiting.settled);
        settled.change(rules, now);
        self.replay();
    }

    /// Takes another first rule.
    pub(crate) fn change_first(&mut self, rule: Rule, epoch: u64, now: u64) {
        self.settle(now);
        self.epoch = epoch;
        if let Some(first) = self.settled().first_mut() {
            first.change(rule, now);
        }
        self.replay();
    }

    /// Whether its first rule is this one.
    pub(crate) fn begins_with(&self, rule: Rule) -> bool {
        self.states.all().first().is_some_and(|state| state.keeps(rule))
    }

    /// From when on it is as if nothing had been taken.
    pub(crate) fn fresh_at(&self) -> u64 {
        self.states.fresh_at()
    }

    /// How many wait.
    pub(crate) fn waiting(&mut self, now: u64) -> usize {
        self.settle(now);
        self.waiting.as_ref().map_or(0, |waiting| waiting.places.len())
    }

    pub(crate) const fn given(&self) -> u64 {
        self.given
    }

    /// The states, to hand them over; `None` while somebody waits, or if the rules were changed.
    pub(crate) fn idle_states(&mut self, now: u64) -> Option<&mut States> {
        self.settle(now);
        (self.waiting.is_none() && self.epoch == 0).then_some(&mut self.states)
    }

    /// The earliest moment from now on at which `cost` could be taken.
    #[inline]
    fn earliest(&mut self, cost: u64, now: u64) -> u64 {
        self.settle(now);
        if cost == 0 {
            return now;
        }
        let last = self.waiting.as_ref().and_then(|waiting| waiting.places.back());
        let from = last.map_or(now, |place| place.at);
        self.states.earliest(cost).max(from)
    }

    fn take(&mut self, cost: u64, at: u64, now: u64) -> Taken {
        if at > now {
            let settled = &self.states;
            let waiting = self
                .waiting
                .get_or_insert_with(|| Box::new(Waiting { settled: settled.clone(), places: VecDeque::new() }));
            waiting.places.push_back(Place { at, cost });
        }
        self.states.take(cost, at);
        Taken { cost, at, ends: self.ends(), given: self.given, epoch: self.epoch }
    }

    fn ends(&self) -> [u64; MAX_RULES] {
        let mut ends = [0; MAX_RULES];
        for (end, state) in ends.iter_mut().zip(self.states.all()) {
            *end = state.fresh_at();
        }
        ends
    }

    /// The states without the places that are still to come.
    fn settled(&mut self) -> &mut [State] {
        self.waiting.as_mut().map_or(&mut self.states, |waiting| &mut waiting.settled).all_mut()
    }

    /// Moves the places whose moment has come to the past.
    #[inline]
    fn settle(&mut self, now: u64) {
        if self.waiting.is_some() {
            self.settle_places(now);
        }
    }

    fn settle_places(&mut self, now: u64) {
        let Some(waiting) = &mut self.waiting else { return };
        while let Some(place) = waiting.places.pop_front_if(|place| place.at <= now) {
            waiting.settled.take(place.cost, place.at);
        }
        if waiting.places.is_empty() {
            self.waiting = None;
        }
    }

    /// Takes a place out of the queue; says whether it was the last one.
    fn leave(&mut self, place: Place) -> bool {
        let Some(waiting) = &mut self.waiting else { return false };
        let first = waiting.places.partition_point(|other| other.at < place.at);
        // Places of equal moment and cost are the same.
        let position = waiting.places.iter().skip(first).position(|other| *other == place);
        let Some(position) = position.map(|position| first + position) else { return false };
        waiting.places.remove(position);
        position == waiting.places.len()
    }

    /// Takes the places once more, after something before them has changed.
    fn replay(&mut self) {
        let Some(waiting) = &self.waiting else { return };
        self.states = waiting.settled.clone();
        for place in &waiting.places {
            self.states.take(place.cost, place.at);
        }
        if waiting.places.is_empty() {
            self.waiting = None;
        }
    }

    #[inline]
    fn answer(&self, cost: u64, at: u64, now: u64, allowed: bool) -> Decision {
        let (rule, state) = self.binding(cost, now, allowed);
        Decision {
            allowed,
            shadow: false,
            rule,
            limit: state.limit(),
            remaining: state.remaining(now),
            retry_after: if allowed { Duration::ZERO } else { Duration::from_nanos(at.saturating_sub(now)) },
            reset_after: Duration::from_nanos(state.fresh_at().saturating_sub(now)),
        }
    }
    /// The rule that will be the last to allow, or else the one with the least left; of equals the first one.
    #[inline]
    fn binding(&self, cost: u64, now: u64, allowed: bool) -> (usize, &State) {
        let states = match &self.states {
            States::One(state) => return (0, state),
            States::Many(states) => states.iter().enumerate(),
        };
        let binding = if allowed {
            states.min_by_key(|(_, state)| state.remaining(now))
        } else {
            states.rev().max_by_key(|(_, state)| state.earliest(cost))
        };
        binding.unwrap_or_else(|| unreachable!("there is a rule"))
    }
}
