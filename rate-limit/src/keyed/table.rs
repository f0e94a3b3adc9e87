//! The machines of many keys: a hash table of bounded size. No lock, no clock, and no code of the key.

use super::id::Id;
use crate::machine::Machine;

/// How many slots the hand passes for one new key.
const LOOKS: usize = 8;

/// The machines of many keys.
///
/// # Invariants
///
/// 1. Between the place of an id and the slot where it is, no slot is empty.
/// 2. A quarter of the slots is empty, so every search ends soon.
#[derive(Debug)]
pub(super) struct Table {
    slots: Vec<Option<Slot>>,
    keys: usize,
    max_keys: usize,
    /// The slot that is looked at next.
    hand: usize,
    evicted: u64,
}

#[derive(Debug)]
struct Slot {
    id: Id,
    machine: Machine,
}

impl Table {
    pub(super) const fn new(max_keys: usize) -> Self {
        Self { slots: Vec::new(), keys: 0, max_keys, hand: 0, evicted: 0 }
    }

    pub(super) const fn keys(&self) -> usize {
        self.keys
    }

    pub(super) const fn evicted(&self) -> u64 {
        self.evicted
    }

    pub(super) const fn is_full(&self) -> bool {
        self.keys >= self.max_keys
    }

    #[inline]
    pub(super) fn find(&mut self, id: Id) -> Option<&mut Machine> {
        let slot = self.search(id).ok()?;
        self.at(slot)
    }

    #[inline]
    pub(super) fn at(&mut self, slot: usize) -> Option<&mut Machine> {
        self.slots[slot].as_mut().map(|slot| &mut slot.machine)
    }

    /// Adds a key that is not there, if there is room for it or can be made. Answers where it is.
    pub(super) fn insert(&mut self, id: Id, machine: impl FnOnce() -> Machine, now: u64) -> Option<usize> {
        self.move_hand(now);
        if self.is_full() {
            return None;
        }
        self.grow();
        let slot = self.search(id).err()?;
        self.keys += 1;
        self.slots[slot] = Some(Slot { id, machine: machine() });
        Some(slot)
    }

    pub(super) fn machines_mut(&mut self) -> impl Iterator<Item = &mut Machine> {
        self.slots.iter_mut().flatten().map(|slot| &mut slot.machine)
    }

    /// Where the id is, or the empty slot where it would be.
    #[inline]
    pub(super) fn search(&self, id: Id) -> Result<usize, usize> {
        let size = self.slots.len();
        if size == 0 {
            return Err(0);
        }
        let mut slot = id.place(size);
        loop {
            match &self.slots[slot] {
                None => return Err(slot),
                Some(found) if found.id == id => return Ok(slot),
                Some(_) => slot = self.next(slot),
            }
        }
    }

    const fn next(&self, slot: usize) -> usize {
        if slot + 1 == self.slots.len() { 0 } else { slot + 1 }
    }

    /// Looks at the next few slots, and takes out the keys of which nothing is remembered that matters.
    fn move_hand(&mut self, now: u64) {
        for _ in 0..LOOKS.min(self.slots.len()) {
            if self.slots[self.hand].as_ref().is_some_and(|slot| slot.machine.fresh_at() <= now) {
                // Another one may move to this slot, so the hand stays.
                self.remove(self.hand);
                self.evicted += 1;
            } else {
                self.hand = self.next(self.hand);
            }
        }
    }

    /// Empties a slot, and moves those behind it which would not be found any more.
    fn remove(&mut self, mut empty: usize) {
        self.slots[empty] = None;
        self.keys -= 1;
        let mut slot = self.next(empty);
        while let Some(found) = &self.slots[slot] {
            let place = found.id.place(self.slots.len());
            // On the way from its place to where it is, does it pass the empty slot?
            if self.distance(place, slot) >= self.distance(empty, slot) {
                self.slots.swap(empty, slot);
                empty = slot;
            }
            slot = self.next(slot);
        }
    }

    /// The steps from one slot to another.
    const fn distance(&self, from: usize, to: usize) -> usize {
        if to >= from { to - from } else { to + self.slots.len() - from }
    }

    /// Makes room for one more key.
    fn grow(&mut self) {
        if (self.keys + 1) * 4 <= self.slots.len() * 3 {
            return;
        }
        let most = (self.max_keys * 4).div_ceil(3) + 1;
        let size = (self.slots.len() * 2).clamp(LOOKS, most.max(LOOKS));
        let mut slots = Vec::new();
        slots.resize_with(size, || None);
        let old = std::mem::replace(&mut self.slots, slots);
        self.hand = 0;
        for slot in old.into_iter().flatten() {
            if let Err(empty) = self.search(slot.id) {
                self.slots[empty] = Some(slot);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Quota, Rule};
    use std::{collections::HashMap, hash::RandomState};

    fn machine(epoch: u64) -> Machine {
        Machine::new(&[Rule::token_bucket(Quota::per_second(1).unwrap())], epoch)
    }

    fn is_sound(table: &Table) {
        assert_eq!(table.slots.iter().flatten().count(), table.keys);
        assert!(table.keys <= table.max_keys);
        for (position, slot) in table.slots.iter().enumerate() {
            if let Some(slot) = slot {
                assert_eq!(table.search(slot.id), Ok(position), "each key is found where it is");
            }
        }
    }

    #[test]
    fn keys_are_found_until_they_are_evicted() {
        let hasher = RandomState::new();
        for max_keys in [1, 2, 7, 100] {
            let mut table = Table::new(max_keys);
            // When each key is full again.
            let mut model: HashMap<u32, u64> = HashMap::new();
            for now in 0_u64..2_000 {
                let key = u32::try_from(now * 7_919 % 251).unwrap();
                let id = Id::new(&hasher, &key);
                if table.find(id).is_none() {
                    let Some(slot) = table.insert(id, || machine(0), now) else { continue };
                    let new = table.at(slot).unwrap();
                    let until = now + 1 + u64::from(key % 50);
                    // One unit takes a second, so it was taken that long ago.
                    let _ = new.reserve_until(1, until.saturating_sub(1_000_000_000), u64::MAX);
                    let until = new.fresh_at();
                    model.insert(key, until);
                }
                is_sound(&table);
                for (key, until) in &model {
                    if *until > now {
                        assert!(table.find(Id::new(&hasher, key)).is_some(), "what matters is not evicted");
                    }
                }
            }
            assert!(table.keys() >= 1);
        }
    }

    #[test]
    fn hand_evicts_what_is_fresh_again_and_nothing_else() {
        let hasher = RandomState::new();
        let mut table = Table::new(64);
        for key in 0_u32..64 {
            let slot = table.insert(Id::new(&hasher, &key), || machine(0), 0).unwrap();
            let new = table.at(slot).unwrap();
            // Even ones are full again after a second, odd ones after two.
            for _ in 0..=key % 2 {
                let _ = new.reserve_until(1, 0, u64::MAX);
            }
        }
        assert!(table.insert(Id::new(&hasher, &64_u32), || machine(0), 999_999_999).is_none(), "there is no room");
        let mut added = 0;
        for key in 64_u32..1_000 {
            let Some(slot) = table.insert(Id::new(&hasher, &key), || machine(0), 1_000_000_000) else { continue };
            let _ = table.at(slot).unwrap().reserve_until(1, 1_000_000_000, u64::MAX);
            added += 1;
            is_sound(&table);
        }
        assert_eq!((added, table.evicted()), (32, 32));
        assert!((0..64).filter(|key| key % 2 == 1).all(|key: u32| table.find(Id::new(&hasher, &key)).is_some()));
    }
}
