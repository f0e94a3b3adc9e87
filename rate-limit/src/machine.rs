//! One decision over all rules, and the queue of those who wait. No lock and no clock.

use crate::{
    algorithms::{Bucket, Own, State, States},
    decision::{Decision, NEVER},
    queue::{Moved, Past, Queue, Ticket},
    rule::Rule,
};
use std::{sync::Arc, time::Duration};

/// The rules of one key.
///
/// Who waits has a *place*: the moment at which it is his turn. Places are given in order, and nothing is admitted before
/// the last of them. So the order of reservations is the order of service. When somebody leaves, those behind him come sooner,
/// in the same order.
#[derive(Debug)]
pub(crate) struct Machine {
    /// With all that was taken, places included, unless the queue is stale.
    states: States,
    /// `None` if nobody waits.
    waiting: Option<Box<Queue>>,
    /// The units that were ever given back while something was taken after them: by at most these, the ends of what was taken
    /// before that have moved. At its largest it says nothing any more.
    given: u64,
    /// Raised when the rules change; another one for each machine of a table.
    epoch: u64,
}

/// What was taken, so that it can be given back.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) cost: u64,
    pub(crate) when: When,
}

#[derive(Debug)]
pub(crate) enum When {
    /// It was taken at once.
    Past(Past),
    /// It has or had a place in the queue.
    Place(Arc<Ticket>),
}

/// How long something has to wait, and for which rule; nothing if it was taken. It fits in two registers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wait {
    pub(crate) nanos: u64,
    pub(crate) rule: usize,
}

/// A [`Decision`] in words.
///
/// It is made where it is given away: a copy of one that was just written part by part waits for the memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    allowed: bool,
    rule: usize,
    limit: u64,
    remaining: u64,
    /// From which moment on it is yes; at its largest never.
    pub(crate) at: u64,
    now: u64,
    fresh_at: u64,
}

impl Wait {
    pub(crate) const NONE: Self = Self { nanos: 0, rule: 0 };

    /// There never is as much; no time is as long.
    pub(crate) const NEVER: u64 = u64::MAX;

    #[inline]
    pub(crate) const fn time(self) -> Duration {
        if self.nanos == Self::NEVER { NEVER } else { Duration::from_nanos(self.nanos) }
    }
}

impl Answer {
    #[inline]
    pub(crate) const fn decision(&self) -> Decision {
        Decision {
            allowed: self.allowed,
            shadow: false,
            rule: self.rule,
            limit: self.limit,
            remaining: self.remaining,
            retry_after: self.retry_after(),
            reset_after: Duration::from_nanos(self.fresh_at.saturating_sub(self.now)),
        }
    }

    #[inline]
    const fn retry_after(&self) -> Duration {
        if self.allowed {
            Duration::ZERO
        } else if self.at == u64::MAX {
            NEVER
        } else {
            Duration::from_nanos(self.at.saturating_sub(self.now))
        }
    }
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
    pub(crate) fn reserve(&mut self) {
        self.states.all_mut().iter_mut().for_each(State::reserve);
    }

    /// The most units that can be taken at once.
    pub(crate) fn limit(&self) -> u64 {
        self.states.limit()
    }

    /// Takes `cost` if that is possible now; a cost of nothing always is.
    #[inline]
    pub(crate) fn check(&mut self, cost: u64, now: u64) -> Answer {
        if cost > self.limit() {
            return self.never(now);
        }
        let at = self.take_now(cost, now);
        self.answer(cost, at, now, at <= now)
    }

    /// The same, but it says only how long the wait is.
    #[inline]
    pub(crate) fn admit(&mut self, cost: u64, now: u64) -> Wait {
        if cost > self.limit() {
            let Answer { rule, .. } = self.never(now);
            return Wait { nanos: Wait::NEVER, rule };
        }
        let at = self.take_now(cost, now);
        if at <= now {
            return Wait::NONE;
        }
        let (rule, _) = self.binding(cost, now, false);
        Wait { nanos: at - now, rule }
    }

    /// Takes `cost`, which is not above the limit, if that is possible now. Answers from which moment on it is.
    #[inline]
    fn take_now(&mut self, cost: u64, now: u64) -> u64 {
        let at = self.earliest(cost, now);
        if at <= now && cost > 0 {
            self.states.take(cost, now);
        }
        at
    }

    /// What [`check`](Self::check) would answer for one unit, and how many wait. It moves nothing, whatever the moment.
    pub(crate) fn peek(&self, now: u64) -> (Decision, usize) {
        if self.waiting.is_none() {
            let at = self.states.earliest(1);
            return (self.answer(1, at, now, at <= now).decision(), 0);
        }
        let mut aside = self.aside();
        let at = aside.earliest(1, now);
        (aside.answer(1, at, now, at <= now).decision(), aside.waiting(now))
    }

    /// A copy that tells nobody of anything.
    fn aside(&self) -> Self {
        let waiting = self.waiting.as_ref().map(|waiting| Box::new(waiting.aside()));
        Self { states: self.states.clone(), waiting, given: self.given, epoch: self.epoch }
    }

    /// A copy with another first rule.
    pub(crate) fn aside_with(&self, first: Rule, now: u64) -> Self {
        let mut aside = self.aside();
        let _nobody = aside.change_first(first, self.epoch, now);
        aside
    }

    /// The answer to a cost above the limit, which never is possible.
    #[cold]
    fn never(&self, now: u64) -> Answer {
        let limits = self.states.all().iter().map(State::limit).enumerate();
        let (rule, limit) = limits.min_by_key(|(_, limit)| *limit).unwrap_or_default();
        let state = &self.states.all()[rule];
        let remaining = if self.waiting.is_some() { 0 } else { state.remaining(now) };
        Answer { allowed: false, rule, limit, remaining, at: u64::MAX, now, fresh_at: state.fresh_at() }
    }

    /// Takes `cost` at the earliest moment, if that is not after `latest`.
    pub(crate) fn reserve_until(&mut self, cost: u64, now: u64, latest: u64) -> (Answer, Option<Taken>) {
        if cost > self.limit() {
            return (self.never(now), None);
        }
        let at = self.earliest(cost, now);
        let taken = (at <= latest && cost > 0).then(|| self.take(cost, at, now));
        (self.answer(cost, at, now, at <= latest), taken)
    }

    /// Gives back what was not used: a place in the queue, or what has not come back by itself meanwhile.
    pub(crate) fn give_back(&mut self, taken: &Taken, now: u64) -> Moved {
        self.settle(now);
        match &taken.when {
            When::Past(past) => self.give_back_past(taken.cost, past, now),
            When::Place(ticket) => match ticket.past() {
                Some(past) => self.give_back_past(taken.cost, &past, now),
                None => self.leave(taken.cost, ticket, now),
            },
        }
    }

    /// Takes a place out of the queue.
    fn leave(&mut self, cost: u64, ticket: &Arc<Ticket>, now: u64) -> Moved {
        let Some((is_last, moved)) = self.waiting.as_mut().and_then(|waiting| waiting.leave(ticket, now)) else {
            return Moved::default();
        };
        if !is_last {
            self.given = self.given.saturating_add(cost);
        }
        self.end_queue();
        moved
    }

    /// Takes it out of the past.
    fn give_back_past(&mut self, cost: u64, past: &Past, now: u64) -> Moved {
        if past.epoch != self.epoch {
            return Moved::default();
        }
        // Of too many nothing is known.
        let given_since = if self.given == u64::MAX { u64::MAX } else { self.given.saturating_sub(past.given) };
        let is_newest = self.waiting.is_none() && given_since == 0 && self.states.ends() == past.ends;
        for (state, end) in self.settled().iter_mut().zip(past.ends) {
            state.give_back(&Own { cost, at: past.at, end, given_since }, now);
        }
        if !is_newest {
            self.given = self.given.saturating_add(cost);
        }
        self.move_all(now)
    }

    /// Gives back the units that were taken last.
    pub(crate) fn refund(&mut self, units: u64, now: u64) -> Moved {
        self.settle(now);
        // More than is missing moves nothing.
        let missing = self.settled().iter().map(|state| state.missing(now)).max().unwrap_or(0);
        self.given = self.given.saturating_add(units.min(missing));
        self.settled().iter_mut().for_each(|state| state.refund(units, now));
        self.move_all(now)
    }

    /// Takes other rules; with a quota of its own, the first one keeps that as long as the algorithm stays. What was taken
    /// stays taken, and who waits comes no later than he was told.
    pub(crate) fn change(&mut self, rules: &[Rule], own_quota: bool, epoch: u64, now: u64) -> Moved {
        self.settle(now);
        self.epoch = epoch;
        self.waiting.as_mut().map_or(&mut self.states, |waiting| waiting.settled()).change(rules, own_quota, now);
        let moved = self.move_all(now);
        // Their limit is asked for before anything else.
        self.refresh();
        moved
    }

    /// Takes another first rule.
    pub(crate) fn change_first(&mut self, rule: Rule, epoch: u64, now: u64) -> Moved {
        self.settle(now);
        self.epoch = epoch;
        if let Some(first) = self.settled().first_mut() {
            first.change(rule, now);
        }
        let moved = self.move_all(now);
        self.refresh();
        moved
    }

    /// When the owner of this ticket has his turn, if it is still to come; he wants to be told when that comes nearer.
    pub(crate) fn watch(&mut self, ticket: &Arc<Ticket>, now: u64) -> Option<u64> {
        self.settle(now);
        self.refresh();
        self.waiting.as_mut()?.watch(ticket)
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
    fn waiting(&mut self, now: u64) -> usize {
        self.settle(now);
        self.waiting.as_ref().map_or(0, |waiting| waiting.len())
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
        self.refresh();
        if cost == 0 {
            return now;
        }
        let last = self.waiting.as_ref().and_then(|waiting| waiting.last());
        self.states.earliest(cost).max(last.unwrap_or(now))
    }

    fn take(&mut self, cost: u64, at: u64, now: u64) -> Taken {
        let ticket = (at > now).then(|| {
            let settled = &self.states;
            self.waiting.get_or_insert_with(|| Box::new(Queue::new(settled.clone()))).push(at, cost)
        });
        self.states.take(cost, at);
        let past = || Past { at, ends: self.states.ends(), given: self.given, epoch: self.epoch };
        Taken { cost, when: ticket.map_or_else(|| When::Past(past()), When::Place) }
    }

    /// The states without the places that are still to come.
    fn settled(&mut self) -> &mut [State] {
        self.waiting.as_mut().map_or(&mut self.states, |waiting| waiting.settled()).all_mut()
    }

    /// Moves the places whose moment has come to the past.
    #[inline]
    fn settle(&mut self, now: u64) {
        if let Some(waiting) = &mut self.waiting {
            waiting.settle(self.given, self.epoch, now);
            self.end_queue();
        }
    }

    /// Computes what has changed before those who wait.
    #[inline]
    fn refresh(&mut self) {
        if let Some(states) = self.waiting.as_mut().and_then(|waiting| waiting.refresh()) {
            self.states = states;
        }
    }

    /// Something before all who wait has changed.
    fn move_all(&mut self, now: u64) -> Moved {
        self.waiting.as_mut().map(|waiting| waiting.moved(0, now)).unwrap_or_default()
    }

    fn end_queue(&mut self) {
        if let Some(queue) = self.waiting.take_if(|waiting| waiting.len() == 0)
            && let Some(states) = queue.end()
        {
            self.states = states;
        }
    }

    #[inline]
    fn answer(&self, cost: u64, at: u64, now: u64, allowed: bool) -> Answer {
        let (rule, state) = self.binding(cost, now, allowed);
        // Nothing is given before the last one who waits.
        let remaining = if self.waiting.is_some() { 0 } else { state.remaining(now) };
        Answer { allowed, rule, limit: state.limit(), remaining, at, now, fresh_at: state.fresh_at() }
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
