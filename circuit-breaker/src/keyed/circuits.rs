//! The circuits of all keys: the table under a lock.

use super::{
    KeyedCircuit, KeyedConfig,
    handle::Handles,
    table::{Entry, LOOKS, Table},
};
use crate::{
    circuit::Circuit,
    config::Config,
    status::Snapshot,
    sync::{AtomicU64, Ordering},
};
use mainstay_core::{InvalidConfig, Now, intern};
use std::{
    borrow::Borrow,
    fmt,
    hash::{BuildHasher, Hash, RandomState},
    sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::Instant,
};

/// A circuit per key (per host, per tenant), all with the same settings, in bounded memory.
///
/// # Bound
///
/// There are never more than [`max_keys`](KeyedConfig::max_keys) circuits. When there is no room for a new key, another one
/// has to go: a hand goes round the circuits and looks at no more than eight of them for one new key. It takes one that
///
/// - has no call in flight and no other handle, and was not used since the hand last passed it,
/// - and is closed without a failed, slow or abandoned call in its window, so that with it no bad news is lost; or was not
///   used for [`idle`](KeyedConfig::idle), and is not refusing calls: it is closed, or its open time is over.
///
/// So keys that somebody makes up can neither reset a circuit that is open, nor one that has failures counted and is in
/// use. What an operator has isolated or disabled stays. The good calls of a spotless circuit are forgotten with it, so
/// under such pressure a rate may be judged from fewer of them.
///
/// If nothing that the hand meets may go, the call is *unguarded*: it is admitted without a circuit, and counted in the
/// [`snapshot`](Self::snapshot). To refuse it would let whoever makes up keys shut out honest new ones, and one circuit for
/// all who find no room would let him open it for them.
///
/// # Keys
///
/// Keys are found by a hash with a secret of its own for each value (`RandomState`), so collisions cannot be made on
/// purpose. No code of the key runs under a lock: it is hashed before, compared after, and dropped after. A key that is
/// known costs no allocation: it is looked up in borrowed form, as in a map. A key is as large as it is made; cut long ones.
///
/// # Metrics and logs
///
/// The configured name is that of all circuits. So no key becomes a label, and the gauges count the circuits of all keys:
/// those that have made a transition, as always. Transitions of two keys cannot be told apart in logs, as keys may be secret.
///
/// # Examples
///
/// ```
/// use mainstay_circuit_breaker::{Circuits, Config, Outcome, State, Window};
///
/// let now = tokio::time::Instant::now().into_std();
/// let circuits = Circuits::<String>::new(Config::default().name("hosts").window(Window::Consecutive(1)))?;
///
/// let host = circuits.get_at("a.example", now).expect("there is room");
/// let permit = host.admit(now).expect("it is closed");
/// host.settle(permit, Outcome::Failure, now);
///
/// assert_eq!(host.state(), State::Open);
/// assert_eq!(circuits.get_at("b.example", now).expect("there is room").state(), State::Closed);
/// assert_eq!(circuits.len(), 2);
/// # Ok::<(), mainstay_core::InvalidConfig>(())
/// ```
pub struct Circuits<K = String> {
    table: RwLock<Table<K>>,
    hasher: RandomState,
    name: &'static str,
    unguarded: AtomicU64,
    /// One live change at a time, or two could leave some circuits with the one and some with the other.
    changing: Mutex<()>,
}

/// All circuits at one moment, without the single ones.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyedSnapshot {
    /// The configured name.
    pub name: &'static str,
    /// How many circuits there are.
    pub keys: usize,
    /// Circuits that were forgotten to make room, since the beginning.
    pub evicted: u64,
    /// Calls that were admitted without a circuit, since the beginning.
    pub unguarded: u64,
}

impl<K> Circuits<K> {
    /// No circuits yet.
    ///
    /// # Errors
    ///
    /// If a setting is out of its range; the error names both.
    pub fn new(config: impl Into<KeyedConfig>) -> Result<Self, InvalidConfig> {
        let config = config.into();
        config.check()?;
        Ok(Self {
            name: intern(&config.circuit.name),
            table: RwLock::new(Table::new(config)),
            hasher: RandomState::new(),
            unguarded: AtomicU64::new(0),
            changing: Mutex::new(()),
        })
    }

    /// Circuits of their own with the present configuration of these. A seed, if one was configured, becomes another one.
    ///
    /// # Panics
    ///
    /// Never: the configuration was checked.
    #[must_use]
    pub fn fresh(&self) -> Self {
        let mut table = self.write();
        let (mut config, seed) = (table.config().clone(), table.next_seed());
        drop(table);
        config.circuit.seed = seed;
        Self::new(config).unwrap_or_else(was_checked)
    }

    /// The circuit of a key, made if it is not there; `None` if there is no room for it, and the call is unguarded.
    #[inline]
    pub fn get_at<Q>(&self, key: &Q, now: impl Now) -> Option<KeyedCircuit<K>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        self.get_or_make(key, || key.to_owned(), now)
    }

    /// The circuit of a key, if it is there. This is no use of it: the hand may still take it next.
    pub fn peek<Q>(&self, key: &Q) -> Option<KeyedCircuit<K>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.find(self.hasher.hash_one(key), key).ok().map(KeyedCircuit::new)
    }

    /// The circuits of all keys, one after another, for operators and dashboards.
    ///
    /// It takes the lock for one circuit at a time, and ends after as many as there were at its beginning. A key that stays
    /// is not missed; one that moves meanwhile may be seen twice, and one that comes meanwhile is not seen.
    pub fn handles(&self) -> Handles<'_, K> {
        Handles::new(self)
    }

    /// The [`handles`](Self::handles), each with its circuit as it is now.
    pub fn snapshots_at(&self, now: impl Now) -> impl Iterator<Item = (KeyedCircuit<K>, Snapshot)> {
        let now = now.now();
        self.handles().map(move |circuit| {
            let snapshot = circuit.snapshot_at(now);
            (circuit, snapshot)
        })
    }

    /// How many circuits there are, and what became of those that found no room.
    pub fn snapshot(&self) -> KeyedSnapshot {
        let table = self.read();
        let (keys, evicted) = (table.len(), table.evicted());
        drop(table);
        // Relaxed: a counter that nobody decides by.
        KeyedSnapshot { name: self.name, keys, evicted, unguarded: self.unguarded.load(Ordering::Relaxed) }
    }

    /// How many circuits there are.
    pub fn len(&self) -> usize {
        self.read().len()
    }

    /// Whether there is no circuit yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The configured name.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The present configuration.
    pub fn config(&self) -> KeyedConfig {
        self.read().config().clone()
    }

    /// Takes another configuration, and has all circuits take it as
    /// [`Circuit::reconfigure_at`](crate::Circuit::reconfigure_at) says; each keeps its state.
    ///
    /// With fewer `max_keys` than there are circuits, those go that may, now or later; until there are fewer, new keys find
    /// no room.
    ///
    /// # Errors
    ///
    /// If a setting is out of its range, or the name is another one; then nothing is changed.
    pub fn reconfigure_at(&self, config: impl Into<KeyedConfig>, now: impl Now) -> Result<(), InvalidConfig> {
        let config = config.into();
        config.check()?;
        if config.circuit.name != self.name {
            return Err(InvalidConfig::new("name", &config.circuit.name, format!("`{}`, which it had", self.name)));
        }
        let now = now.now();
        let alone = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        // From here on new circuits have the new settings.
        let old = self.write().reconfigure(config.clone());
        let reseed = old.circuit.seed != config.circuit.seed;
        for circuit in self.handles() {
            // Each keeps its own seed, unless all are drawn anew.
            let seed = if reseed { self.write().next_seed() } else { circuit.config().seed };
            let config = Config { seed, ..config.circuit.clone() };
            circuit.reconfigure_at(config, now).unwrap_or_else(was_checked);
        }
        // Dropped without any lock: the code of a key may come back here.
        let mut evicted = Vec::new();
        // Once round.
        for _ in 0..self.len().div_ceil(LOOKS) {
            evicted.push(self.write().shrink(now));
            if self.len() <= config.max_keys as usize {
                break;
            }
        }
        drop(alone);
        drop(evicted);
        Ok(())
    }

    /// Takes the metrics recorder that is installed now, if a circuit has met another one before.
    #[cfg(feature = "metrics")]
    #[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
    pub fn rebind_metrics(&self) {
        self.handles().for_each(|circuit| circuit.rebind_metrics());
    }

    /// The circuit of a key; `make` makes the key that is kept.
    #[inline]
    pub(super) fn get_or_make<Q>(&self, key: &Q, make: impl FnOnce() -> K, now: impl Now) -> Option<KeyedCircuit<K>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let hash = self.hasher.hash_one(key);
        let entry = match self.find(hash, key) {
            Ok(entry) => {
                entry.mark_used();
                entry
            }
            Err(version) => self.admit_key(hash, key, version, make, now.now())?,
        };
        Some(KeyedCircuit::new(entry))
    }

    /// Counts a call without a circuit.
    pub(super) fn count_unguarded(&self) {
        // Relaxed: a counter that nobody decides by.
        self.unguarded.fetch_add(1, Ordering::Relaxed);
    }

    /// The last circuit in a slot before this one, and its slot.
    pub(super) fn last_before(&self, slot: usize) -> Option<(usize, Arc<Entry<K>>)> {
        let table = self.read();
        let slot = slot.min(table.len()).checked_sub(1)?;
        table.at(slot).map(|entry| (slot, Arc::clone(entry)))
    }

    /// The entry of a key; if it is not there, the version of the table that it is not in.
    #[inline]
    fn find<Q>(&self, hash: u64, key: &Q) -> Result<Arc<Entry<K>>, u64>
    where
        K: Borrow<Q>,
        Q: Eq + ?Sized,
    {
        let (mut twin, mut since) = (0, None);
        loop {
            let table = self.read();
            let version = table.version();
            let Some(entry) = table.find(hash, twin).cloned() else {
                // Had twins been looked at, and has the table changed meanwhile, the key may have taken another number.
                if twin == 0 || since == Some(version) {
                    return Err(version);
                }
                drop(table);
                (twin, since) = (0, None);
                continue;
            };
            drop(table);
            // Foreign code, without the lock.
            if entry.key.borrow() == key {
                return Ok(entry);
            }
            since.get_or_insert(version);
            twin += 1;
        }
    }

    /// Makes the circuit of a key that was not in the table when it had this version.
    #[cold]
    fn admit_key<Q>(
        &self,
        hash: u64,
        key: &Q,
        mut version: u64,
        make: impl FnOnce() -> K,
        now: Instant,
    ) -> Option<Arc<Entry<K>>>
    where
        K: Borrow<Q>,
        Q: Eq + ?Sized,
    {
        // An unguarded call should not make a circuit only to drop it.
        let (config, mut config_version) = self.room(now)?;
        let circuit = Circuit::new_at(config, now).unwrap_or_else(was_checked);
        let entry = Arc::new(Entry::new(make(), circuit));
        loop {
            let mut table = self.write();
            if table.version() != version && table.find(hash, 0).is_some() {
                drop(table);
                // Somebody else may have been faster.
                match self.find(hash, key) {
                    Ok(entry) => return Some(entry),
                    Err(later) => version = later,
                }
                continue;
            }
            if table.config_version() != config_version {
                config_version = table.config_version();
                let config = table.config_of_new();
                drop(table);
                entry.circuit.reconfigure_at(config, now).unwrap_or_else(was_checked);
                continue;
            }
            let evicted = table.make_room(now);
            let full = table.is_full();
            if !full {
                table.insert(hash, Arc::clone(&entry), now);
            }
            drop(table);
            drop(evicted);
            if full {
                self.count_unguarded();
                return None;
            }
            return Some(entry);
        }
    }

    /// Makes room for one more, and says how its circuit is to be made; counts an unguarded call if there is none.
    fn room(&self, now: Instant) -> Option<(Config, u64)> {
        let mut table = self.write();
        let evicted = table.make_room(now);
        let room = (!table.is_full()).then(|| (table.config_of_new(), table.config_version()));
        drop(table);
        drop(evicted);
        if room.is_none() {
            self.count_unguarded();
        }
        room
    }

    fn read(&self) -> RwLockReadGuard<'_, Table<K>> {
        // Nothing foreign runs under the lock, so a panic there would be a bug of ours; other calls go on all the same.
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Table<K>> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is what `unwrap_or_else` passes")]
fn was_checked<T>(error: InvalidConfig) -> T {
    unreachable!("a checked configuration was refused: {error}")
}

impl<K> fmt::Debug for Circuits<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Circuits").field("name", &self.name).field("keys", &self.len()).finish_non_exhaustive()
    }
}
