//! A part of the keys, under one lock.

use super::{
    id::Id,
    table::{Kept, Table},
};
use crate::{
    algorithms::{Bucket, Gcra},
    decision::Decision,
    machine::{Machine, Taken},
    queue::{Moved, Ticket},
    quota::Quota,
    rule::{Algorithm, Rule},
};
use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// A part of the keys, under one lock.
#[derive(Debug)]
#[repr(align(128))] // Two lines: some processors fetch them in pairs.
pub(super) struct Shard(Mutex<Keys>);

/// The keys of a shard.
#[derive(Debug)]
pub(super) struct Keys {
    table: Table,
    rules: Vec<Rule>,
    /// If there is one rule, and it is a token bucket. Then, and only then, keys may have buckets instead of machines.
    gcra: Option<Gcra>,
    /// The latest moment that was seen here.
    seen: u64,
    /// For machines and changes of them, one each.
    epoch: u64,
    /// Those who are to be woken when the lock is not held any more.
    moved: Moved,
}

impl Shard {
    pub(super) fn new(rules: &[Rule], max_keys: usize) -> Self {
        let (table, rules, gcra) = (Table::new(max_keys), rules.to_vec(), gcra_of(rules));
        Self(Mutex::new(Keys { table, rules, gcra, seen: 0, epoch: 0, moved: Moved::default() }))
    }

    #[inline]
    pub(super) fn lock(&self) -> MutexGuard<'_, Keys> {
        // Nothing foreign runs under the lock, so a panic there would be a bug of ours; other calls go on all the same.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Keys {
    pub(super) const fn table(&self) -> &Table {
        &self.table
    }

    /// The time, which does not go back.
    #[inline]
    pub(super) fn see(&mut self, now: u64) -> u64 {
        self.seen = self.seen.max(now);
        self.seen
    }

    /// The same, without a trace.
    pub(super) fn latest(&self, now: u64) -> u64 {
        self.seen.max(now)
    }

    /// Takes `cost` of a key, which is made if there is room; with this quota in its first rule, if there is one for the key.
    #[inline]
    pub(super) fn check(&mut self, id: Id, quota: Option<Quota>, cost: u64, now: u64) -> Option<Decision> {
        let slot = self.slot(id, quota, now)?;
        if let Some(gcra) = self.gcra_for(quota)
            && let Some(Kept::Bucket(full_at)) = self.table.at(slot)
        {
            let (decision, after) = gcra.check(*full_at, cost, now);
            *full_at = after;
            return Some(decision);
        }
        Some(self.check_machine(slot, quota, cost, now))
    }

    /// Apart, so that the way of one token bucket stays short.
    #[inline(never)]
    fn check_machine(&mut self, slot: usize, quota: Option<Quota>, cost: u64, now: u64) -> Decision {
        self.machine_at(slot, quota, now).check(cost, now).decision()
    }

    /// Those who may come sooner, to be woken when the lock is not held any more.
    #[inline]
    pub(super) fn moved(&mut self) -> Option<Moved> {
        (!self.moved.is_empty()).then(|| mem::take(&mut self.moved))
    }

    /// What [`check`](Self::check) would answer for one unit. It moves nothing, whatever the moment.
    pub(super) fn peek(&self, id: Id, quota: Option<Quota>, now: u64) -> Option<Decision> {
        let first = self.first(quota);
        let as_first = |machine: &Machine| match first.filter(|first| !machine.begins_with(*first)) {
            Some(first) => machine.aside_with(first, now).peek(now).0,
            None => machine.peek(now).0,
        };
        match (self.table.search(id), self.gcra) {
            (Ok(slot), Some(gcra)) if let Some(full_at) = self.table.full_at(slot) => {
                Some(as_first(&Machine::of_bucket(Bucket::at(gcra, full_at), 0)))
            }
            (Ok(slot), _) => self.table.machine(slot).map(as_first),
            (Err(_), _) => self.table.has_room(now).then(|| new(first, &self.rules, 0).peek(now).0),
        }
    }

    /// When the owner of this ticket has his turn, if it is still to come.
    pub(super) fn watch(&mut self, id: Id, ticket: &Arc<Ticket>, now: u64) -> Option<u64> {
        // If the machine is not there any more, everything has come back by itself.
        match self.table.find(id) {
            Some(Kept::Machine(machine)) => machine.watch(ticket, now),
            _ => None,
        }
    }

    /// The machine of a key, as [`check`](Self::check) would find it.
    pub(super) fn machine(&mut self, id: Id, quota: Option<Quota>, now: u64) -> Option<&mut Machine> {
        let slot = self.slot(id, quota, now)?;
        Some(self.machine_at(slot, quota, now))
    }

    /// Gives back what was taken from the machine of a key.
    pub(super) fn give_back(&mut self, id: Id, taken: &Taken, now: u64) {
        // If the machine is not there any more, everything has come back by itself.
        if let Some(Kept::Machine(machine)) = self.table.find(id) {
            self.moved.append(machine.give_back(taken, now));
        }
    }

    /// Gives back the units of a key that were taken last.
    pub(super) fn refund(&mut self, id: Id, units: u64, now: u64) {
        let gcra = self.gcra;
        match self.table.find(id) {
            Some(Kept::Machine(machine)) => self.moved.append(machine.refund(units, now)),
            Some(Kept::Bucket(full_at)) => *full_at = gcra.map_or(*full_at, |gcra| gcra.refund(*full_at, units)),
            None => {}
        }
    }

    /// Takes other rules, for all keys; if each has a quota of its own, it keeps that as long as the algorithm stays.
    /// Answers who may come sooner.
    pub(super) fn change(&mut self, rules: &[Rule], own_quotas: bool, now: u64) -> Moved {
        self.rules = rules.to_vec();
        self.epoch += 1;
        let epoch = self.epoch;
        if let Some(old) = mem::replace(&mut self.gcra, gcra_of(rules)) {
            match rules {
                [rule] if self.gcra.is_some() && !own_quotas => {
                    self.table.buckets_mut().for_each(|full_at| *full_at = old.change(*full_at, rule.quota(), now).1);
                }
                _ => self.table.make_machines(|full_at| Machine::of_bucket(Bucket::at(old, full_at), epoch)),
            }
        }
        let mut moved = mem::take(&mut self.moved);
        self.table.machines_mut().for_each(|machine| moved.append(machine.change(rules, own_quotas, epoch, now)));
        moved
    }

    /// Where a key is, made if there is room.
    #[inline]
    fn slot(&mut self, id: Id, quota: Option<Quota>, now: u64) -> Option<usize> {
        match self.table.search(id) {
            Ok(slot) => {
                self.table.mark(slot);
                Some(slot)
            }
            Err(_) => self.insert(id, quota, now),
        }
    }

    #[inline(never)]
    fn insert(&mut self, id: Id, quota: Option<Quota>, now: u64) -> Option<usize> {
        let slot = self.table.insert(id, now)?;
        if self.gcra_for(quota).is_none() {
            self.epoch += 1;
            let new = new(self.first(quota), &self.rules, self.epoch);
            self.table.machine_at(slot, |_| new);
        }
        Some(slot)
    }

    /// The machine of a key, in place of its bucket if it had one; with this quota in its first rule.
    fn machine_at(&mut self, slot: usize, quota: Option<Quota>, now: u64) -> &mut Machine {
        let first = self.first(quota);
        self.epoch += 1;
        let (gcra, epoch) = (self.gcra, self.epoch);
        let machine = self.table.machine_at(slot, |full_at| match gcra {
            Some(gcra) => Machine::of_bucket(Bucket::at(gcra, full_at), epoch),
            None => unreachable!("where there are buckets there is one token bucket"),
        });
        if let Some(first) = first.filter(|first| !machine.begins_with(*first)) {
            self.moved.append(machine.change_first(first, epoch, now));
        }
        machine
    }

    /// The numbers of the bucket of a key with this quota; `None` if it needs a machine.
    #[inline]
    fn gcra_for(&self, quota: Option<Quota>) -> Option<Gcra> {
        self.gcra.filter(|gcra| quota.is_none_or(|quota| *gcra == Gcra::new(quota)))
    }

    /// The first rule of a key, if it has one of its own.
    fn first(&self, quota: Option<Quota>) -> Option<Rule> {
        quota.map(|quota| self.rules[0].with_quota(quota))
    }
}

fn gcra_of(rules: &[Rule]) -> Option<Gcra> {
    match rules {
        [rule] if rule.algorithm() == Algorithm::TokenBucket => Some(Gcra::new(rule.quota())),
        _ => None,
    }
}

fn new(first: Option<Rule>, rules: &[Rule], epoch: u64) -> Machine {
    match first {
        Some(first) => Machine::beginning_with(first, rules, epoch),
        None => Machine::new(rules, epoch),
    }
}
