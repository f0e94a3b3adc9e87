//! A part of the keys, under one lock.

use super::{id::Id, table::Table};
use crate::{machine::Machine, quota::Quota, rule::Rule};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A part of the keys, under one lock.
#[derive(Debug)]
#[repr(align(128))] // Two lines: some processors fetch them in pairs.
pub(super) struct Shard(Mutex<Keys>);

/// The keys of a shard, and the one machine of those for which there is no room.
#[derive(Debug)]
pub(super) struct Keys {
    table: Table,
    rules: Vec<Rule>,
    /// The latest moment that was seen here.
    seen: u64,
    /// For machines and changes of them, one each.
    epoch: u64,
}

impl Shard {
    pub(super) fn new(rules: &[Rule], max_keys: usize) -> Self {
        Self(Mutex::new(Keys { table: Table::new(max_keys), rules: rules.to_vec(), seen: 0, epoch: 0 }))
    }

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
    pub(super) fn see(&mut self, now: u64) -> u64 {
        self.seen = self.seen.max(now);
        self.seen
    }

    /// The machine of a key, if it is there.
    pub(super) fn find(&mut self, id: Id) -> Option<&mut Machine> {
        self.table.find(id)
    }

    /// The machine of a key, made if there is room; with this quota in its first rule, if there is one for the key.
    #[inline]
    pub(super) fn get(&mut self, id: Id, quota: Option<Quota>, now: u64) -> Option<&mut Machine> {
        let first = quota.map(|quota| self.rules[0].with_quota(quota));
        let Ok(slot) = self.table.search(id) else {
            self.epoch += 1;
            let (rules, epoch) = (&self.rules, self.epoch);
            let slot = self.table.insert(id, || new(first, rules, epoch), now)?;
            return self.table.at(slot);
        };
        let machine = self.table.at(slot)?;
        if let Some(first) = first.filter(|first| !machine.begins_with(*first)) {
            self.epoch += 1;
            machine.change_first(first, self.epoch, now);
        }
        Some(machine)
    }

    /// A machine as a new key would get.
    pub(super) fn fresh(&self, quota: Option<Quota>) -> Machine {
        new(quota.map(|quota| self.rules[0].with_quota(quota)), &self.rules, 0)
    }

    pub(super) fn change(&mut self, rules: &[Rule], now: u64) {
        self.rules = rules.to_vec();
        self.epoch += 1;
        let epoch = self.epoch;
        self.table.machines_mut().for_each(|machine| machine.change(rules, epoch, now));
    }
}

fn new(first: Option<Rule>, rules: &[Rule], epoch: u64) -> Machine {
    match first {
        Some(first) => Machine::beginning_with(first, rules, epoch),
        None => Machine::new(rules, epoch),
    }
}
