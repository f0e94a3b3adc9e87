//! The table of the circuits: where a key is, and who may be forgotten. No lock, no clock, and no code of the key.

use super::{config::KeyedConfig, past::Past};
use crate::{circuit::Circuit, config::Config};
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hash, Hasher},
    mem,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// How many slots the hand passes for one new key.
pub(super) const LOOKS: usize = 8;

/// The circuits of all keys, found by the hash of the key; whether it is the key itself is asked without the lock.
///
/// # Invariants
///
/// 1. `index` leads from each slot's id to the slot, and nowhere else.
/// 2. The twins of one hash are numbered from zero without gaps.
/// 3. `version` rises whenever a key comes or goes.
#[derive(Debug)]
pub(super) struct Table<K> {
    config: KeyedConfig,
    /// How often the configuration was changed.
    config_version: u64,
    /// Draws the seeds of the circuits, if a seed is configured.
    seeds: Option<SmallRng>,
    slots: Vec<Slot<K>>,
    index: HashMap<Id, usize, BuildHasherDefault<Passed>>,
    /// The slot that is looked at next.
    hand: usize,
    version: u64,
    evicted: u64,
}

/// One key and its circuit.
#[derive(Debug)]
pub(super) struct Entry<K> {
    pub(super) key: K,
    pub(super) circuit: Circuit,
    /// Since the hand has passed.
    used: AtomicBool,
}

/// Those that were evicted; dropped without the lock, since a key may do anything then.
pub(super) type Evicted<K> = [Option<Arc<Entry<K>>>; LOOKS];

#[derive(Debug)]
struct Slot<K> {
    id: Id,
    entry: Arc<Entry<K>>,
    /// When the hand last found it used.
    seen_used: Instant,
}

/// The hash of a key, and which of the keys of this hash it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Id {
    hash: u64,
    twin: u32,
}

/// A hash that is one already.
#[derive(Debug, Default)]
struct Passed(u64);

impl<K> Entry<K> {
    pub(super) const fn new(key: K, circuit: Circuit) -> Self {
        Self { key, circuit, used: AtomicBool::new(false) }
    }

    /// Keeps the hand off for one round.
    pub(super) fn mark_used(&self) {
        // Relaxed: a hint, which nobody orders anything by. Not written when it is set, to leave the cache line alone.
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
    }
}

impl<K> Table<K> {
    /// An empty table of a checked configuration.
    pub(super) fn new(config: KeyedConfig) -> Self {
        Self {
            seeds: config.circuit.seed.map(SmallRng::seed_from_u64),
            config,
            config_version: 0,
            slots: Vec::new(),
            index: HashMap::default(),
            hand: 0,
            version: 0,
            evicted: 0,
        }
    }

    pub(super) const fn config(&self) -> &KeyedConfig {
        &self.config
    }

    pub(super) const fn version(&self) -> u64 {
        self.version
    }

    pub(super) const fn config_version(&self) -> u64 {
        self.config_version
    }

    pub(super) const fn evicted(&self) -> u64 {
        self.evicted
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn is_full(&self) -> bool {
        self.slots.len() >= self.config.max_keys as usize
    }

    /// The entry of this hash with this number, if there are so many.
    #[inline]
    pub(super) fn find(&self, hash: u64, twin: u32) -> Option<&Arc<Entry<K>>> {
        let slot = *self.index.get(&Id { hash, twin })?;
        Some(&self.slots[slot].entry)
    }

    /// The entry in a slot.
    pub(super) fn at(&self, slot: usize) -> Option<&Arc<Entry<K>>> {
        self.slots.get(slot).map(|slot| &slot.entry)
    }

    /// The settings of the circuit of a new key.
    pub(super) fn config_of_new(&mut self) -> Config {
        let seed = self.next_seed();
        Config { seed, ..self.config.circuit.clone() }
    }

    /// The seed of one more circuit.
    pub(super) fn next_seed(&mut self) -> Option<u64> {
        self.seeds.as_mut().map(RngExt::random)
    }

    /// Adds a key that is not there; the caller has seen that the table is not full.
    pub(super) fn insert(&mut self, hash: u64, entry: Arc<Entry<K>>, now: Instant) {
        let id = self.first_free(Id { hash, twin: 0 });
        self.index.insert(id, self.slots.len());
        self.slots.push(Slot { id, entry, seen_used: now });
        self.version += 1;
    }

    /// Moves the hand on, past at most [`LOOKS`] slots, until a key more would fit.
    pub(super) fn make_room(&mut self, now: Instant) -> Evicted<K> {
        self.sweep((self.config.max_keys - 1) as usize, now)
    }

    /// Moves the hand on, past at most [`LOOKS`] slots, while there are more than allowed.
    pub(super) fn shrink(&mut self, now: Instant) -> Evicted<K> {
        self.sweep(self.config.max_keys as usize, now)
    }

    /// Takes another configuration, and gives back the old one. The circuits are the caller's to change.
    pub(super) fn reconfigure(&mut self, config: KeyedConfig) -> KeyedConfig {
        if config.circuit.seed != self.config.circuit.seed {
            self.seeds = config.circuit.seed.map(SmallRng::seed_from_u64);
        }
        self.config_version += 1;
        mem::replace(&mut self.config, config)
    }

    fn sweep(&mut self, enough: usize, now: Instant) -> Evicted<K> {
        let mut evicted = [const { None }; LOOKS];
        // No slot twice, or a small table would give no second chance.
        let looks = self.slots.len().min(LOOKS);
        for place in &mut evicted[..looks] {
            if self.slots.len() <= enough {
                break;
            }
            *place = self.look(now);
        }
        evicted
    }

    /// Evicts what the hand is at, or moves it on.
    fn look(&mut self, now: Instant) -> Option<Arc<Entry<K>>> {
        if self.hand >= self.slots.len() {
            self.hand = 0;
        }
        if self.slots.get_mut(self.hand)?.may_go(self.config.idle, now) {
            // The last slot comes here, and is looked at next.
            return Some(self.remove(self.hand));
        }
        self.hand += 1;
        None
    }

    fn remove(&mut self, at: usize) -> Arc<Entry<K>> {
        let Slot { id, entry, .. } = self.slots.swap_remove(at);
        self.index.remove(&id);
        if let Some(moved) = self.slots.get(at) {
            self.index.insert(moved.id, at);
        }
        self.close_gap(id);
        self.version += 1;
        self.evicted += 1;
        entry
    }

    /// Gives the number that is free to the last twin.
    fn close_gap(&mut self, free: Id) {
        let last = self.first_free(free.next());
        if last == free.next() {
            return;
        }
        let last = Id { twin: last.twin - 1, ..last };
        if let Some(slot) = self.index.remove(&last) {
            self.slots[slot].id = free;
            self.index.insert(free, slot);
        }
    }

    fn first_free(&self, mut id: Id) -> Id {
        while self.index.contains_key(&id) {
            id = id.next();
        }
        id
    }
}

impl<K> Slot<K> {
    /// Whether the circuit may be forgotten: nobody else has it, so no call is in flight; it was not used since the hand
    /// was here; and it has nothing to lose, or has not been used for long.
    fn may_go(&mut self, idle: Duration, now: Instant) -> bool {
        // `get_mut` says no as long as there is another handle.
        let unused = |entry: &mut Entry<K>| !mem::take(entry.used.get_mut());
        let Some(entry) = Arc::get_mut(&mut self.entry).and_then(|entry| unused(entry).then_some(entry)) else {
            self.seen_used = now;
            return false;
        };
        match entry.circuit.look(|machine| Past::of(machine, now)) {
            Past::Spotless => true,
            Past::Marked => now.saturating_duration_since(self.seen_used) >= idle,
            Past::Standing => false,
        }
    }
}

impl Id {
    const fn next(self) -> Self {
        Self { twin: self.twin + 1, ..self }
    }
}

impl Hash for Id {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash.wrapping_add(self.twin.into()));
    }
}

impl Hasher for Passed {
    fn write(&mut self, _: &[u8]) {
        unreachable!("an id is written as a number");
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
