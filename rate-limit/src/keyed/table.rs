//! What is kept of many keys: a hash table of bounded size. No lock, no clock, and no code of the key.

use super::id::Id;
use crate::{machine::Machine, quota::HORIZON};

/// At how many keys the hand looks for one new key.
const LOOKS: usize = 8;

/// What is kept of many keys.
///
/// Most keys have one token bucket and nobody who has reserved: of those a slot holds all there is. The machines of the others
/// are apart, so that the slots stay small and a search meets few lines of memory.
///
/// # Invariants
///
/// 1. Between the place of an id and the slot where it is, no slot is empty.
/// 2. A quarter of the slots is empty, so every search ends soon.
/// 3. Each machine has one slot that leads to it, and knows the id of that.
#[derive(Debug)]
pub(super) struct Table {
    slots: Vec<Slot>,
    machines: Vec<(Id, Machine)>,
    keys: usize,
    max_keys: usize,
    /// The slot that is looked at next.
    hand: usize,
    evicted: u64,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    id: Id,
    word: Word,
}

/// A key in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Word(u64);

/// What is kept of a key.
#[derive(Debug)]
pub(super) enum Kept<'a> {
    /// When its token bucket is full again.
    Bucket(&'a mut u64),
    Machine(&'a mut Machine),
}

impl Word {
    const EMPTY: Self = Self(u64::MAX);
    /// A word up to this one is the moment at which a bucket is full, and no moment is later.
    const LAST: u64 = 2 * HORIZON;

    const fn machine(index: usize) -> Self {
        Self(Self::LAST + 1 + index as u64)
    }

    const fn is_bucket(self) -> bool {
        self.0 <= Self::LAST
    }

    /// Which machine it leads to. Above all indices if it is that of a bucket, or empty.
    #[inline]
    fn index(self) -> usize {
        usize::try_from(self.0.wrapping_sub(Self::LAST + 1)).unwrap_or(usize::MAX)
    }
}

impl Table {
    pub(super) const fn new(max_keys: usize) -> Self {
        Self { slots: Vec::new(), machines: Vec::new(), keys: 0, max_keys, hand: 0, evicted: 0 }
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
    pub(super) fn find(&mut self, id: Id) -> Option<Kept<'_>> {
        let slot = self.search(id).ok()?;
        self.at(slot)
    }

    #[inline]
    pub(super) fn at(&mut self, slot: usize) -> Option<Kept<'_>> {
        let word = &mut self.slots[slot].word;
        if word.is_bucket() {
            return Some(Kept::Bucket(&mut word.0));
        }
        self.machines.get_mut(word.index()).map(|(_, machine)| Kept::Machine(machine))
    }

    /// When the bucket there is full again, if it is one.
    pub(super) fn full_at(&self, slot: usize) -> Option<u64> {
        let word = self.slots[slot].word;
        word.is_bucket().then_some(word.0)
    }

    /// The machine there, if it is one.
    pub(super) fn machine(&self, slot: usize) -> Option<&Machine> {
        self.machines.get(self.slots[slot].word.index()).map(|(_, machine)| machine)
    }

    /// Lets the hand pass this key once more.
    #[inline]
    pub(super) fn mark(&mut self, slot: usize) {
        self.slots[slot].id.mark();
    }

    /// Whether a new key would find room.
    pub(super) fn has_room(&self, now: u64) -> bool {
        if !self.is_full() {
            return true;
        }
        let mut hand = self.hand;
        // As the hand moves until it takes out the first one; where there are few keys it comes back to those it has passed.
        (0..LOOKS.min(self.slots.len())).any(|look| {
            hand = (0..LOOKS)
                .fold(hand, |hand, _| if self.slots[hand].word == Word::EMPTY { self.next(hand) } else { hand });
            let Slot { id, word } = self.slots[hand];
            hand = self.next(hand);
            (!id.is_marked() || look >= self.keys) && self.is_fresh(word, now)
        })
    }

    /// Adds a key that is not there, with a full bucket, if there is room for it or can be made. Answers where it is.
    pub(super) fn insert(&mut self, id: Id, now: u64) -> Option<usize> {
        // Not before it is needed: a key that is evicted and comes back has to be made again.
        if self.is_full() || self.is_tight() {
            self.move_hand(now);
        }
        if self.is_full() {
            return None;
        }
        if self.is_tight() {
            self.grow();
        }
        let slot = self.search(id).err()?;
        self.keys += 1;
        self.slots[slot] = Slot { id, word: Word(0) };
        Some(slot)
    }

    /// Puts a machine in the place of the bucket of a key, which is made of when that is full; there may be a machine already.
    pub(super) fn machine_at(&mut self, slot: usize, make: impl FnOnce(u64) -> Machine) -> &mut Machine {
        let Slot { id, word } = &mut self.slots[slot];
        let index = if word.is_bucket() {
            let index = self.machines.len();
            self.machines.push((*id, make(word.0)));
            *word = Word::machine(index);
            index
        } else {
            word.index()
        };
        &mut self.machines[index].1
    }

    /// Puts machines in the places of all buckets.
    pub(super) fn make_machines(&mut self, mut make: impl FnMut(u64) -> Machine) {
        for slot in 0..self.slots.len() {
            if self.slots[slot].word.is_bucket() {
                self.machine_at(slot, &mut make);
            }
        }
    }

    /// When each of the buckets is full again.
    pub(super) fn buckets_mut(&mut self) -> impl Iterator<Item = &mut u64> {
        self.slots.iter_mut().filter(|slot| slot.word.is_bucket()).map(|slot| &mut slot.word.0)
    }

    pub(super) fn machines_mut(&mut self) -> impl Iterator<Item = &mut Machine> {
        self.machines.iter_mut().map(|(_, machine)| machine)
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
            let found = self.slots[slot];
            if found.word == Word::EMPTY {
                return Err(slot);
            }
            if found.id == id {
                return Ok(slot);
            }
            slot = self.next(slot);
        }
    }

    #[inline]
    const fn next(&self, slot: usize) -> usize {
        if slot + 1 == self.slots.len() { 0 } else { slot + 1 }
    }

    /// Looks at the next few keys, and takes out those of which nothing is remembered that matters.
    fn move_hand(&mut self, now: u64) {
        for _ in 0..LOOKS.min(self.slots.len()) {
            self.pass_empty();
            let Slot { id, word } = self.slots[self.hand];
            if !self.is_fresh(word, now) {
                self.hand = self.next(self.hand);
            } else if id.is_marked() {
                // It has asked since the hand was here, and is likely to ask again.
                self.slots[self.hand].id = id.unmarked();
                self.hand = self.next(self.hand);
            } else {
                // Another one may move to this slot, so the hand stays.
                self.remove(self.hand);
                self.evicted += 1;
            }
        }
    }

    /// Moves the hand to the next key, if it is near.
    fn pass_empty(&mut self) {
        for _ in 0..LOOKS {
            if self.slots[self.hand].word != Word::EMPTY {
                return;
            }
            self.hand = self.next(self.hand);
        }
    }

    /// Whether there is a key of which everything has come back.
    fn is_fresh(&self, word: Word, now: u64) -> bool {
        if word.is_bucket() {
            return word.0 <= now;
        }
        self.machines.get(word.index()).is_some_and(|(_, machine)| machine.fresh_at() <= now)
    }

    /// Empties a slot, and moves those behind it which would not be found any more.
    fn remove(&mut self, mut empty: usize) {
        let removed = self.slots[empty].word;
        self.slots[empty].word = Word::EMPTY;
        self.keys -= 1;
        let mut slot = self.next(empty);
        while self.slots[slot].word != Word::EMPTY {
            let place = self.slots[slot].id.place(self.slots.len());
            // On the way from its place to where it is, does it pass the empty slot?
            if self.distance(place, slot) >= self.distance(empty, slot) {
                self.slots.swap(empty, slot);
                empty = slot;
            }
            slot = self.next(slot);
        }
        self.forget(removed);
    }

    /// Takes out the machine of a key that was removed, and moves the last one to its place.
    fn forget(&mut self, removed: Word) {
        let index = removed.index();
        if index >= self.machines.len() {
            return;
        }
        self.machines.swap_remove(index);
        if let Some(&(moved, _)) = self.machines.get(index)
            && let Ok(slot) = self.search(moved)
        {
            self.slots[slot].word = Word::machine(index);
        }
    }

    /// The steps from one slot to another.
    const fn distance(&self, from: usize, to: usize) -> usize {
        if to >= from { to - from } else { to + self.slots.len() - from }
    }

    /// Whether one more key needs more slots.
    const fn is_tight(&self) -> bool {
        (self.keys + 1) * 4 > self.slots.len() * 3
    }

    /// Makes room for more keys.
    fn grow(&mut self) {
        let most = (self.max_keys * 4).div_ceil(3) + 1;
        let size = (self.slots.len() * 2).clamp(LOOKS, most.max(LOOKS));
        let empty = Slot { id: Id::NONE, word: Word::EMPTY };
        let old = std::mem::replace(&mut self.slots, vec![empty; size]);
        self.hand = 0;
        for slot in old.into_iter().filter(|slot| slot.word != Word::EMPTY) {
            if let Err(empty) = self.search(slot.id) {
                self.slots[empty] = slot;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Quota, Rule};
    use std::{collections::HashMap, hash::RandomState};

    /// One unit per second.
    fn machine() -> Machine {
        Machine::new(&[Rule::token_bucket(Quota::per_second(1).unwrap())], 0)
    }

    /// Adds a key whose limit is full again then, kept in the one way or the other.
    fn add(table: &mut Table, id: Id, until: u64, in_machine: bool, now: u64) -> bool {
        let Some(slot) = table.insert(id, now) else { return false };
        if in_machine {
            let _ = table.machine_at(slot, |_| machine()).reserve_until(1, until.saturating_sub(SECOND), u64::MAX);
        } else if let Some(Kept::Bucket(full_at)) = table.at(slot) {
            *full_at = until;
        }
        true
    }

    const SECOND: u64 = 1_000_000_000;

    fn is_sound(table: &Table) {
        let kept = || table.slots.iter().enumerate().filter(|(_, slot)| slot.word != Word::EMPTY);
        assert_eq!(kept().count(), table.keys);
        assert!(table.keys <= table.max_keys);
        for (position, slot) in kept() {
            assert_eq!(table.search(slot.id.unmarked()), Ok(position), "each key is found where it is");
        }
        let led_to = kept().filter(|(_, slot)| !slot.word.is_bucket());
        let ids: HashMap<usize, Id> = led_to.map(|(_, slot)| (slot.word.index(), slot.id)).collect();
        assert_eq!(ids.len(), table.machines.len());
        for (index, (id, _)) in table.machines.iter().enumerate() {
            assert_eq!(ids[&index], *id, "each machine is that of the key which leads to it");
        }
    }

    fn fresh_at(table: &mut Table, id: Id) -> Option<u64> {
        table.find(id).map(|kept| match kept {
            Kept::Bucket(full_at) => *full_at,
            Kept::Machine(machine) => machine.fresh_at(),
        })
    }

    #[test]
    fn keys_are_found_until_they_are_evicted() {
        let hasher = RandomState::new();
        for max_keys in [1, 2, 7, 100] {
            let mut table = Table::new(max_keys);
            // When each key is full again.
            let mut model: HashMap<u32, u64> = HashMap::new();
            for now in SECOND..SECOND + 2_000 {
                let key = u32::try_from(now * 7_919 % 251).unwrap();
                let id = Id::new(&hasher, &key);
                let until = now + 1 + u64::from(key % 50);
                if table.find(id).is_none() && add(&mut table, id, until, key % 3 == 0, now) {
                    model.insert(key, until);
                }
                is_sound(&table);
                for (key, until) in model.iter().filter(|(_, until)| **until > now) {
                    let found = fresh_at(&mut table, Id::new(&hasher, key));
                    assert_eq!(found, Some(*until), "what matters is not evicted");
                }
            }
            assert!(table.keys() >= 1);
        }
    }

    #[test]
    fn hand_evicts_what_is_fresh_again_and_nothing_else() {
        let hasher = RandomState::new();
        let id = |key: u32| Id::new(&hasher, &key);
        let mut table = Table::new(64);
        for key in 0..64 {
            // Even ones are full again after a second, odd ones after two.
            assert!(add(&mut table, id(key), SECOND * u64::from(1 + key % 2), key % 3 == 0, 0));
        }
        assert!(table.insert(id(64), SECOND - 1).is_none(), "there is no room");
        let mut added = 0;
        for key in 64..1_000 {
            added += u32::from(add(&mut table, id(key), 2 * SECOND, key % 3 == 0, SECOND));
            is_sound(&table);
        }
        assert_eq!((added, table.evicted()), (32, 32));
        assert!((0..64).filter(|key| key % 2 == 1).all(|key| table.find(id(key)).is_some()));
    }
}
