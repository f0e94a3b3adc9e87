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
        let slot = match self.table.search(id) {
            Ok(slot) => slot,
            Err(_) => {
                self.epoch += 1;
                let (rules, epoch) = (&self.rules, self.epoch);
                self.table.insert(id, || Machine::new(rules, epoch), now)?
            }
        };
        let machine = self.table.at(slot)?;
        if let Some(quota) = quota {
            let first = self.rules[0].with_quota(quota);
            if !machine.begins_with(first) {
                self.epoch += 1;
                machine.change_first(first, self.epoch, now);
            }
        }
        Some(machine)
    }

    /// A machine as a new key would get.
    pub(super) fn fresh(&self, quota: Option<Quota>) -> Machine {
        let mut machine = Machine::new(&self.rules, 0);
        if let Some(quota) = quota {
            machine.change_first(self.rules[0].with_quota(quota), 0, 0);
        }
        machine
    }

    pub(super) fn change(&mut self, rules: &[Rule], now: u64) {
        self.rules = rules.to_vec();
        self.epoch += 1;
        let epoch = self.epoch;
        self.table.machines_mut().for_each(|machine| machine.change(rules, epoch, now));
    }
}
