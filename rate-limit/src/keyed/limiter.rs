//! The limits of all keys.

use super::{
    KeyedConfig, KeyedReserved,
    id::Id,
    overflow::Overflow,
    shard::{Keys, Shard},
};
use crate::{
    clock::Start,
    decision::{CostTooLarge, Decision, ReserveError},
    machine::Machine,
    observe::Observers,
    queue::Moved,
    quota::{HORIZON, Quota, nanos},
    reserved::Reserved,
    rule::Rule,
};
use mainstay_core::{InvalidConfig, Now, intern};
use std::{
    fmt,
    hash::{Hash, RandomState},
    marker::PhantomData,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// A limit per key (per client, per tenant), in bounded memory.
///
/// # Keys
///
/// A key is hashed by a secret of this limiter (`RandomState`) to 63 bits, and not kept. So a long key costs no more memory than a
/// short one, and keys that share a limit cannot be made up. By chance, two of a million keys do in one of 18 million limiters.
/// It is hashed before any lock is taken.
///
/// # Bound
///
/// There are never more than [`max_keys`](KeyedConfig::max_keys) keys. When a new key finds no room, or would need more memory, a
/// hand looks at eight keys, and takes out those of which nothing matters any more: from which all that was taken has come
/// back. No decision changes by that. It passes once the keys that have asked since it was there. When there is no room all the
/// same, the new key shares *one* limit with all others that find none, as if they were one key.
///
/// So those who make up keys reset no limit, their own included, and do not shut out a key that is there and asks once in each
/// round of the hand. New honest keys, and those that have been away for longer, share with them until there is room. A round
/// takes an eighth as many new keys as a shard has keys.
///
/// Keys are spread over shards, each with its part of `max_keys`, and some shards are full a little earlier than others.
///
/// A key with one token bucket takes 22 bytes, and up to twice that while there is room for more. One that has reserved, has a
/// quota of its own or other rules takes some 100, and up to twice that in the same way. Further rules take 48 each, and a
/// sliding log up to 16 for each unit.
///
/// # Examples
///
/// ```
/// use mainstay_rate_limit::{KeyedLimiter, Quota};
///
/// let now = tokio::time::Instant::now().into_std();
/// let limiter = KeyedLimiter::<str>::new_at(Quota::per_minute(1)?, now)?;
///
/// assert!(limiter.check_at("alice", now).allowed);
/// assert!(!limiter.check_at("alice", now).allowed);
/// assert!(limiter.check_at("bob", now).allowed);
/// # Ok::<(), mainstay_core::InvalidConfig>(())
/// ```
pub struct KeyedLimiter<K: ?Sized> {
    start: Start,
    hasher: RandomState,
    shards: Box<[Shard]>,
    /// For keys that find no room.
    overflow: Overflow,
    /// How often the rules were changed.
    version: AtomicU64,
    observers: Observers,
    config: Mutex<KeyedConfig>,
    quota_of: Option<Arc<QuotaOf<K>>>,
    key: PhantomData<fn(&K)>,
}

type QuotaOf<K> = dyn Fn(&K) -> Quota + Send + Sync;

/// All limits at one moment, without the single ones.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyedSnapshot {
    /// The configured name.
    pub name: &'static str,
    /// How many keys there are.
    pub keys: usize,
    /// Keys that were taken out because nothing of them mattered any more, since the beginning.
    pub evicted: u64,
    /// Decisions for keys that found no room, since the beginning.
    pub overflowed: u64,
    /// Calls refused since the beginning. In shadow mode, those that would have been.
    pub refused: u64,
}

impl<K: Hash + ?Sized> KeyedLimiter<K> {
    /// Limits from which nothing has been taken, and whose first moment is `now`.
    ///
    /// [`KeyedLimiter::new`] takes the moment from tokio's clock.
    ///
    /// # Errors
    ///
    /// If a setting is out of its range; the error names both.
    pub fn new_at(config: impl Into<KeyedConfig>, now: impl Now) -> Result<Self, InvalidConfig> {
        Self::make(config.into(), None, now)
    }

    /// The same, with the quota of each key by a function; it takes the place of that of the first rule.
    ///
    /// The function is asked for each decision. When it gives another quota than before, the units of the key are carried over
    /// as by [`Limiter::reconfigure_at`](crate::Limiter::reconfigure_at). A burst counts in a token bucket only, and of the
    /// limit of a sliding log no more than 10,000. Keys without room share the quota of the configuration.
    ///
    /// # Errors
    ///
    /// If a setting is out of its range; the error names both.
    ///
    /// # Examples
    ///
    /// ```
    /// use mainstay_rate_limit::{KeyedLimiter, Quota};
    ///
    /// let (free, paid) = (Quota::per_minute(1)?, Quota::per_minute(1_000)?);
    /// let limiter = KeyedLimiter::with_quotas(free, move |key: &str| if key.starts_with("paid-") { paid } else { free })?;
    ///
    /// assert_eq!(limiter.check("alice").remaining, 0);
    /// assert_eq!(limiter.check("paid-bob").remaining, 999);
    /// # Ok::<(), mainstay_core::InvalidConfig>(())
    /// ```
    pub fn with_quotas_at(
        config: impl Into<KeyedConfig>,
        quota_of: impl Fn(&K) -> Quota + Send + Sync + 'static,
        now: impl Now,
    ) -> Result<Self, InvalidConfig> {
        Self::make(config.into(), Some(Arc::new(quota_of)), now)
    }

    /// Limits of their own with the present configuration of these, first moment `now`.
    #[must_use]
    pub fn fresh_at(&self, now: impl Now) -> Self {
        Self::make(self.config(), self.quota_of.clone(), now)
            .unwrap_or_else(|error| unreachable!("a checked configuration: {error}"))
    }

    /// Takes one unit of the key, if it is there.
    #[inline]
    pub fn check_at(&self, key: &K, now: impl Now) -> Decision {
        // One unit is never too large.
        self.decide(key, 1, now)
    }

    /// Takes `cost` units of the key, if they are there; all or nothing. A cost of zero takes nothing and is always allowed.
    ///
    /// # Errors
    ///
    /// If it is more than can ever be taken at once.
    #[inline]
    pub fn check_cost_at(&self, key: &K, cost: u64, now: impl Now) -> Result<Decision, CostTooLarge> {
        self.decide(key, cost, now).unless_never(cost)
    }

    /// The same; of a cost above the limit, it says [`NEVER`](crate::decision::NEVER).
    #[inline]
    pub(crate) fn decide(&self, key: &K, cost: u64, now: impl Now) -> Decision {
        let (id, quota, now) = (Id::new(&self.hasher, key), self.quota_of(key), self.start.nanos(now));
        let mut keys = self.shard(id).lock();
        let now = keys.see(now);
        let decision = keys.check(id, quota, cost, now);
        leave(keys);
        self.observers.tell(decision.unwrap_or_else(|| self.overflow.check(cost, now)))
    }

    /// What [`check_at`](Self::check_at) would answer. It takes nothing, does not count as a refusal, and a key that is not
    /// there does not come to be.
    pub fn peek_at(&self, key: &K, now: impl Now) -> Decision {
        let (id, quota, now) = (Id::new(&self.hasher, key), self.quota_of(key), self.start.nanos(now));
        let keys = self.shard(id).lock();
        let now = keys.latest(now);
        let decision = keys.peek(id, quota, now);
        drop(keys);
        self.observers.unless_shadow(decision.unwrap_or_else(|| self.overflow.peek(now)))
    }

    /// Takes `cost` units of the key at the earliest moment, if that is at most `wait_at_most` away, as
    /// [`Limiter::reserve_at`](crate::Limiter::reserve_at) does.
    ///
    /// # Errors
    ///
    /// If that moment is too far away, or if it never comes.
    pub fn reserve_at(
        &self,
        key: &K,
        cost: u64,
        wait_at_most: Duration,
        now: impl Now,
    ) -> Result<KeyedReserved, ReserveError> {
        // In shadow mode nobody waits either.
        let wait = if self.observers.is_shadow() { 0 } else { nanos(wait_at_most) };
        let (id, (answer, taken, now)) = self.machine(key, now, |machine, now| {
            let (answer, taken) = machine.reserve_until(cost, now, now.saturating_add(wait).min(HORIZON));
            (answer, taken, now)
        });
        let decision = self.observers.tell(answer.decision()).unless_never(cost)?;
        if !decision.allowed {
            return Err(ReserveError::TooLate(decision));
        }
        let wait = if decision.shadow { 0 } else { answer.at.saturating_sub(now) };
        Ok(KeyedReserved { reserved: Reserved::new(taken, decision, wait), id })
    }

    /// How long to wait before the units may be used, as [`Limiter::wait_at`](crate::Limiter::wait_at) says.
    pub fn wait_at(&self, reserved: &KeyedReserved, now: impl Now) -> Duration {
        let now = now.now();
        self.turn_at(reserved, now).map_or(Duration::ZERO, |at| at.saturating_duration_since(now))
    }

    /// When the units may be used, if that is still to come.
    pub(crate) fn turn_at(&self, reserved: &KeyedReserved, now: impl Now) -> Option<Instant> {
        let ticket = reserved.reserved.ticket()?;
        let now = self.start.nanos(now);
        let at = if let Some(id) = reserved.id {
            let mut keys = self.shard(id).lock();
            let now = keys.see(now);
            keys.watch(id, ticket, now)
        } else {
            self.overflow.act(now, |machine, now| machine.watch(ticket, now))
        }?;
        Some(self.start.moment(at))
    }

    /// Gives back a reservation that was not used, as [`Limiter::give_back_at`](crate::Limiter::give_back_at) does.
    #[expect(clippy::needless_pass_by_value, reason = "a reservation is given back once")]
    pub fn give_back_at(&self, reserved: KeyedReserved, now: impl Now) {
        let Some(taken) = reserved.reserved.taken() else { return };
        // First: the clock is foreign, and if it panics, no waker must stay with the place.
        reserved.reserved.watch_by(None);
        // If the key is not there any more, everything has come back by itself.
        let now = self.start.nanos(now);
        let Some(id) = reserved.id else {
            return self.overflow.act(now, |machine, now| machine.give_back(taken, now)).wake();
        };
        let mut keys = self.shard(id).lock();
        let now = keys.see(now);
        keys.give_back(id, taken, now);
        leave(keys);
    }

    /// Gives back the `units` of the key that were taken last, as [`Limiter::refund_at`](crate::Limiter::refund_at) does; those
    /// of a key without room are lost.
    pub fn refund_at(&self, key: &K, units: u64, now: impl Now) {
        let (id, now) = (Id::new(&self.hasher, key), self.start.nanos(now));
        let mut keys = self.shard(id).lock();
        let now = keys.see(now);
        keys.refund(id, units, now);
        leave(keys);
    }

    fn make(config: KeyedConfig, quota_of: Option<Arc<QuotaOf<K>>>, now: impl Now) -> Result<Self, InvalidConfig> {
        config.check()?;
        let rules = &config.limit.rules;
        let max_keys = config.max_keys as usize;
        let shards = (max_keys / KEYS_PER_SHARD).clamp(1, MAX_SHARDS);
        // The first ones take what does not divide.
        let keys_of = |shard| max_keys / shards + usize::from(shard < max_keys % shards);
        Ok(Self {
            start: Start::new(now),
            hasher: RandomState::new(),
            shards: (0..shards).map(|shard| Shard::new(rules, keys_of(shard))).collect(),
            overflow: Overflow::new(rules),
            version: AtomicU64::new(0),
            observers: Observers::new(intern(&config.limit.name), config.limit.shadow),
            config: Mutex::new(config),
            quota_of,
            key: PhantomData,
        })
    }

    #[inline]
    fn quota_of(&self, key: &K) -> Option<Quota> {
        self.quota_of.as_ref().map(|quota_of| quota_of(key))
    }

    /// Acts on the machine of a key, or on that of those without room. No foreign code runs under the lock.
    fn machine<R>(&self, key: &K, now: impl Now, act: impl FnOnce(&mut Machine, u64) -> R) -> (Option<Id>, R) {
        let (id, quota, now) = (Id::new(&self.hasher, key), self.quota_of(key), self.start.nanos(now));
        let mut keys = self.shard(id).lock();
        let now = keys.see(now);
        if let Some(machine) = keys.machine(id, quota, now) {
            let result = act(machine, now);
            leave(keys);
            return (Some(id), result);
        }
        drop(keys);
        self.overflow.count();
        (None, self.overflow.act(now, act))
    }
}

impl<K: ?Sized> KeyedLimiter<K> {
    /// Takes another configuration, and keeps what was taken, as
    /// [`Limiter::reconfigure_at`](crate::Limiter::reconfigure_at) does. It goes over all keys, a shard at a time. With quotas by a
    /// function, keys keep their own as long as the algorithm of the first rule stays.
    ///
    /// # Errors
    ///
    /// If a setting is out of its range, or the name or `max_keys` is another one; then nothing is changed.
    pub fn reconfigure_at(&self, config: impl Into<KeyedConfig>, now: impl Now) -> Result<(), InvalidConfig> {
        let config = config.into();
        config.check()?;
        let name = self.name();
        if config.limit.name != name {
            return Err(InvalidConfig::new("name", &config.limit.name, format!("`{name}`, which it had")));
        }
        let now = self.start.nanos(now);
        let mut present = self.lock_config();
        if config.max_keys != present.max_keys {
            let allowed = format!("{}, which it had", present.max_keys);
            return Err(InvalidConfig::new("max_keys", config.max_keys, allowed));
        }
        self.observers.set_shadow(config.limit.shadow);
        let is_changed = present.limit.rules != config.limit.rules;
        let moved = if is_changed { self.change(&config.limit.rules, now) } else { Moved::default() };
        *present = config;
        drop(present);
        moved.wake();
        Ok(())
    }

    /// How many keys there are, and what became of those that found no room.
    pub fn snapshot(&self) -> KeyedSnapshot {
        let tables = self.shards.iter().map(|shard| {
            let keys = shard.lock();
            (keys.table().keys(), keys.table().evicted())
        });
        let (keys, evicted) = tables.fold((0, 0), |sum, table| (sum.0 + table.0, sum.1 + table.1));
        let (overflowed, refused) = (self.overflow.decisions(), self.observers.refused());
        KeyedSnapshot { name: self.name(), keys, evicted, overflowed, refused }
    }

    /// The configured name.
    pub const fn name(&self) -> &'static str {
        self.observers.name()
    }

    /// The present configuration.
    pub fn config(&self) -> KeyedConfig {
        self.lock_config().clone()
    }

    /// Takes the metrics recorder that is installed now, if the limiter has met another one before.
    #[cfg(feature = "metrics")]
    #[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
    pub fn rebind_metrics(&self) {
        self.observers.rebind_metrics();
    }

    /// Another one after each change of the rules; `None` if keys have quotas of their own.
    #[cfg(feature = "http")]
    pub(crate) fn rules_version(&self) -> Option<u64> {
        // Relaxed: see `change`.
        self.quota_of.is_none().then(|| self.version.load(Ordering::Relaxed))
    }

    /// Takes other rules, for all keys. Answers who may come sooner.
    fn change(&self, rules: &[Rule], now: u64) -> Moved {
        // Relaxed: who is answered by the new rules has had a lock after us, and sees it.
        self.version.fetch_add(1, Ordering::Relaxed);
        let mut moved = self.overflow.change(rules, now);
        for shard in &self.shards {
            let mut keys = shard.lock();
            let now = keys.see(now);
            moved.append(keys.change(rules, self.quota_of.is_some(), now));
        }
        moved
    }

    #[inline]
    fn shard(&self, id: Id) -> &Shard {
        &self.shards[id.shard(self.shards.len())]
    }

    fn lock_config(&self) -> MutexGuard<'_, KeyedConfig> {
        self.config.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets the shard go, then wakes those who may come sooner.
#[inline]
fn leave(mut keys: MutexGuard<'_, Keys>) {
    if let Some(moved) = keys.moved() {
        drop(keys);
        moved.wake();
    }
}

/// With fewer, the shards would be too uneven.
const KEYS_PER_SHARD: usize = 1_024;

/// More would not help, with any number of threads that a machine has today.
const MAX_SHARDS: usize = 64;

impl<K: ?Sized> fmt::Debug for KeyedLimiter<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedLimiter").field("name", &self.name()).finish_non_exhaustive()
    }
}
