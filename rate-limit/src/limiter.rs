//! The limiter: the machine under a lock, and before it the cell without one.

use crate::{
    algorithms::{Bucket, Gcra, State, States},
    cell::{Cell, FromCell},
    clock::Start,
    config::{Config, MAX_RULES},
    decision::{CostTooLarge, Decision, ReserveError, refused},
    machine::{Machine, Taken, Wait, When},
    observe::Observers,
    queue::Past,
    quota::{HORIZON, nanos},
    reserved::Reserved,
    rule::Algorithm,
    sync::{Mutex, MutexGuard},
};
use mainstay_core::{InvalidConfig, Now, Refused, intern};
use std::{
    fmt, mem,
    sync::{
        PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// A limit on how much happens in which time.
///
/// It has one to eight [`Rule`](crate::Rule)s, which are one decision: a call takes its units from all of them or from none.
/// Whoever waits does so in order, see [`reserve_at`](Self::reserve_at).
///
/// # Threads
///
/// A limiter with one token bucket decides without a lock, and a refusal writes no more than a count, which is in eight parts so
/// that as many threads have one each, and the counter of the feature `metrics`. It takes a lock to give back, for a cost above
/// the limit, as long as somebody waits, and from the first change of its quota on. All other limiters decide under a short lock.
///
/// # Time
///
/// A check as of a moment before the last one never admits more than the bound, but it may admit less. Whoever gives back uses
/// a clock that does not go back, such as tokio's: what came back by itself is told by the moment. Time ends 146 years after
/// the limiter was made.
///
/// # Examples
///
/// ```
/// use mainstay_rate_limit::{Limiter, Quota};
/// use std::time::Duration;
///
/// let now = tokio::time::Instant::now().into_std();
/// let limiter = Limiter::new_at(Quota::per_second(2)?, now)?;
///
/// assert!(limiter.check_at(now).allowed);
/// assert!(limiter.check_at(now).allowed);
/// let refused = limiter.check_at(now);
/// assert!(!refused.allowed);
/// assert_eq!(refused.retry_after, Duration::from_millis(500));
/// assert!(limiter.check_at(now + refused.retry_after).allowed);
/// # Ok::<(), mainstay_core::InvalidConfig>(())
/// ```
pub struct Limiter {
    start: Start,
    /// If there is one rule, and it is a token bucket.
    cell: Option<Cell>,
    locked: Mutex<Locked>,
    /// How often the rules were changed, which is done under the lock.
    version: AtomicU64,
    observers: Observers,
}

/// What is under the lock.
#[derive(Debug)]
struct Locked {
    /// The machine; while the cell is open, the numbers of its bucket are there.
    machine: Machine,
    /// The latest moment that was seen here.
    seen: u64,
    /// How many have closed the cell and will come back.
    closers: u32,
    config: Config,
}

/// One who has closed the cell and will come back. Dropped, as when a clock panics, he will not.
struct Closer<'a>(&'a Limiter);

/// A limiter at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot {
    /// The configured name.
    pub name: &'static str,
    /// What [`peek_at`](Limiter::peek_at) answers.
    pub decision: Decision,
    /// Reservations whose moment is still to come.
    pub waiting: usize,
    /// Calls refused since the limiter was made. In shadow mode, those that would have been.
    pub refused: u64,
}

impl Limiter {
    /// A limiter from which nothing has been taken, and whose first moment is `now`.
    ///
    /// [`Limiter::new`] takes the moment from tokio's clock.
    ///
    /// # Errors
    ///
    /// If a setting is out of its range; the error names both.
    pub fn new_at(config: impl Into<Config>, now: impl Now) -> Result<Self, InvalidConfig> {
        let config = config.into();
        config.check()?;
        let cell = match &*config.rules {
            [rule] if rule.algorithm() == Algorithm::TokenBucket => Some(Cell::new(Gcra::new(rule.quota()))),
            _ => None,
        };
        let mut machine = Machine::new(&config.rules, 0);
        machine.reserve();
        Ok(Self {
            start: Start::new(now),
            cell,
            version: AtomicU64::new(0),
            observers: Observers::new(intern(&config.name), config.shadow),
            locked: Mutex::new(Locked { machine, seen: 0, closers: 0, config }),
        })
    }

    /// A limiter of its own with the present configuration of this one, first moment `now`.
    #[must_use]
    pub fn fresh_at(&self, now: impl Now) -> Self {
        Self::new_at(self.config(), now).unwrap_or_else(|error| unreachable!("a checked configuration: {error}"))
    }

    /// Takes one unit, if it is there.
    #[inline]
    pub fn check_at(&self, now: impl Now) -> Decision {
        // One unit is never too large.
        self.decide(1, now)
    }

    /// Takes `cost` units, if they are there; all or nothing. A cost of zero takes nothing and is always allowed.
    ///
    /// # Errors
    ///
    /// If it is more than can ever be taken at once. It counts as a refusal; in shadow mode it is allowed instead.
    #[inline]
    pub fn check_cost_at(&self, cost: u64, now: impl Now) -> Result<Decision, CostTooLarge> {
        self.decide(cost, now).unless_never(cost)
    }

    /// As [`check_cost_at`](Self::check_cost_at); of a cost above the limit, it says [`NEVER`](crate::decision::NEVER).
    #[inline]
    pub(crate) fn decide(&self, cost: u64, now: impl Now) -> Decision {
        let now = self.start.nanos(now);
        let cell = self.cell.as_ref().filter(|cell| cost <= cell.limit());
        if let Some(decision) = cell.and_then(|cell| cell.check(cost, now)) {
            return self.observers.tell(decision);
        }
        self.check_locked(cost, now)
    }

    /// As [`check_cost_at`](Self::check_cost_at), for a layer: it needs to know no more than how long the wait is.
    #[inline]
    pub(crate) fn admit_at(&self, cost: u64, now: impl Now) -> Result<(), Refused> {
        let now = self.start.nanos(now);
        let cell = self.cell.as_ref().filter(|cell| cost <= cell.limit());
        let wait = cell.and_then(|cell| cell.admit(cost, now)).unwrap_or_else(|| self.admit_locked(cost, now));
        if wait.nanos == 0 { Ok(()) } else { self.refuse(wait) }
    }

    /// What [`check_at`](Self::check_at) would answer. It takes nothing, moves nothing, whatever the moment, and does not count as
    /// a refusal. While somebody waits it takes time for each who does.
    pub fn peek_at(&self, now: impl Now) -> Decision {
        self.look(self.start.nanos(now)).0
    }

    /// What a check would answer, and how many wait.
    fn look(&self, now: u64) -> (Decision, usize) {
        let from_cell = || self.cell.as_ref().and_then(|cell| cell.peek(1, now)).map(|decision| (decision, 0));
        let (decision, waiting) = from_cell().unwrap_or_else(|| {
            let locked = self.lock();
            // It may have been opened meanwhile; under the lock it stays open.
            from_cell().unwrap_or_else(|| locked.machine.peek(locked.seen.max(now)))
        });
        (self.observers.unless_shadow(decision), waiting)
    }

    /// Takes `cost` units at the earliest moment, if that is at most `wait_at_most` away.
    ///
    /// The caller has to wait for [`Reserved::wait`] before he uses them. What he does not use he
    /// [gives back](Self::give_back_at).
    ///
    /// Reservations are served in the order in which they were made: nothing is admitted before the moment of the last one, be
    /// it reserved or checked. So nobody is overtaken, not even one who asks for much by many who ask for little.
    ///
    /// # Errors
    ///
    /// If that moment is too far away, or if it never comes.
    pub fn reserve_at(&self, cost: u64, wait_at_most: Duration, now: impl Now) -> Result<Reserved, ReserveError> {
        self.reserve_untold(cost, wait_at_most, now).or_else(|decision| {
            let decision = self.observers.tell(decision).unless_never(cost)?;
            if decision.allowed { Ok(Reserved::new(None, decision, 0)) } else { Err(ReserveError::TooLate(decision)) }
        })
    }

    /// The same, but it does not count as a refusal if there is none, in shadow mode either.
    pub(crate) fn reserve_untold(
        &self,
        cost: u64,
        wait_at_most: Duration,
        now: impl Now,
    ) -> Result<Reserved, Decision> {
        let now = self.start.nanos(now);
        if let Some(cell) = self.cell.as_ref().filter(|cell| cost <= cell.limit())
            && let Some((decision, from)) = cell.reserve(cost, now)
        {
            return Ok(Reserved::new(Some(Taken::from_cell(cost, now, &from)), decision, 0));
        }
        // In shadow mode nobody waits either.
        let wait = if self.observers.is_shadow() { 0 } else { nanos(wait_at_most) };
        let (answer, taken, now) = self.machine(now, |machine, now| {
            let (answer, taken) = machine.reserve_until(cost, now, now.saturating_add(wait).min(HORIZON));
            (answer, taken, now)
        });
        let decision = answer.decision();
        if decision.allowed { Ok(Reserved::new(taken, decision, answer.at.saturating_sub(now))) } else { Err(decision) }
    }

    /// How long to wait before the units may be used, as of `now`.
    ///
    /// It is at most what is left of [`Reserved::wait`], and less after somebody before has [left](Self::give_back_at).
    pub fn wait_at(&self, reserved: &Reserved, now: impl Now) -> Duration {
        let now = now.now();
        self.turn_at(reserved, now).map_or(Duration::ZERO, |at| at.saturating_duration_since(now))
    }

    /// When the units may be used, if that is still to come.
    pub(crate) fn turn_at(&self, reserved: &Reserved, now: impl Now) -> Option<Instant> {
        let ticket = reserved.ticket()?;
        let now = self.start.nanos(now);
        let at = self.machine(now, |machine, now| machine.watch(ticket, now))?;
        Some(self.start.moment(at))
    }

    /// Gives back a reservation that was not used.
    ///
    /// One that is still to come leaves the queue, and those behind it come sooner. Of one whose moment has come, only that is
    /// given back which would still be missing: what the bucket has been refilled with meanwhile, or has left the window, is
    /// not given back a second time. If its moment was before a [change](Self::reconfigure_at) of the rules, nothing of it is.
    #[expect(clippy::needless_pass_by_value, reason = "a reservation is given back once")]
    pub fn give_back_at(&self, reserved: Reserved, now: impl Now) {
        let Some(taken) = reserved.taken() else { return };
        // First: the clock is foreign, and if it panics, no waker must stay with the place.
        reserved.watch_by(None);
        let closer = self.cell.is_some().then(|| Closer::new(self));
        // Read when nobody can take from the cell any more: to give back as of an earlier moment than that of a later caller
        // would be too much.
        let now = self.start.nanos(now);
        let locked = closer.map_or_else(|| self.lock(), Closer::come_back);
        self.act(locked, now, |machine, now| machine.give_back(taken, now)).wake();
    }

    /// Gives back the `units` that were taken last, for calls that turned out not to count. Never more than was taken.
    ///
    /// The limiter does not know when they were taken. If they have come back by themselves meanwhile, units of others are
    /// given back in their place, and the bound is not kept; [`reserve_at`](Self::reserve_at) knows better.
    pub fn refund_at(&self, units: u64, now: impl Now) {
        let now = self.start.nanos(now);
        self.machine(now, |machine, now| machine.refund(units, now)).wake();
    }

    /// Takes another configuration, and keeps what was taken.
    ///
    /// The rules are compared one by one. A token bucket keeps the units that are in it, as many as fit in. A window keeps what
    /// counts in it; with another period all of it counts as taken now, but for the log, which is exact. It keeps all of it
    /// even above a lowered limit. A rule that is new, or kept by another algorithm than the one in its place, starts fresh. Who
    /// waits comes sooner if the new rules allow it, and never later than he was told.
    ///
    /// # Errors
    ///
    /// If a setting is out of its range, or the name is another one; then nothing is changed.
    pub fn reconfigure_at(&self, config: impl Into<Config>, now: impl Now) -> Result<(), InvalidConfig> {
        let config = config.into();
        config.check()?;
        let name = self.name();
        if config.name != name {
            return Err(InvalidConfig::new("name", &config.name, format!("`{name}`, which it had")));
        }
        let now = self.start.nanos(now);
        let mut locked = self.lock();
        self.observers.set_shadow(config.shadow);
        if locked.config.rules == config.rules {
            locked.config = config;
            return Ok(());
        }
        locked.config = config.clone();
        // Relaxed: who is answered by the new rules has had the lock after us, and sees it.
        let epoch = self.version.fetch_add(1, Ordering::Relaxed) + 1;
        self.act(locked, now, |machine, now| {
            let moved = machine.change(&config.rules, false, epoch, now);
            machine.reserve();
            moved
        })
        .wake();
        Ok(())
    }

    /// Another one after each change of the rules.
    #[cfg(feature = "http")]
    pub(crate) fn rules_version(&self) -> u64 {
        // Relaxed: see `reconfigure_at`.
        self.version.load(Ordering::Relaxed)
    }

    /// The limiter as it is now.
    pub fn snapshot_at(&self, now: impl Now) -> Snapshot {
        let (decision, waiting) = self.look(self.start.nanos(now));
        Snapshot { name: self.name(), decision, waiting, refused: self.observers.refused() }
    }

    /// The configured name.
    pub const fn name(&self) -> &'static str {
        self.observers.name()
    }

    /// The present configuration.
    pub fn config(&self) -> Config {
        self.lock().config.clone()
    }

    /// Takes the metrics recorder that is installed now, if the limiter has met another one before.
    #[cfg(feature = "metrics")]
    #[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
    pub fn rebind_metrics(&self) {
        self.observers.rebind_metrics();
    }

    /// Apart, so that the way without a lock stays short.
    #[inline(never)]
    fn check_locked(&self, cost: u64, now: u64) -> Decision {
        self.observers.tell(self.machine(now, |machine, now| machine.check(cost, now)).decision())
    }

    /// Apart, so that the way without a lock stays short.
    #[inline(never)]
    fn admit_locked(&self, cost: u64, now: u64) -> Wait {
        self.machine(now, |machine, now| machine.admit(cost, now))
    }

    /// Tells of a refusal; in shadow mode, it is none.
    fn refuse(&self, wait: Wait) -> Result<(), Refused> {
        let (retry_after, shadow) = (wait.time(), self.observers.is_shadow());
        self.observers.tell_refused(wait.rule, retry_after, shadow);
        if shadow { Ok(()) } else { Err(refused(self.name(), retry_after)) }
    }

    /// Acts on the machine, with the cell closed.
    fn machine<R>(&self, now: u64, act: impl FnOnce(&mut Machine, u64) -> R) -> R {
        self.act(self.lock(), now, act)
    }

    fn act<R>(&self, mut locked: MutexGuard<'_, Locked>, now: u64, act: impl FnOnce(&mut Machine, u64) -> R) -> R {
        self.close(&mut locked);
        locked.seen = locked.seen.max(now);
        let now = locked.seen;
        let result = act(&mut locked.machine, now);
        self.open(&mut locked, now);
        result
    }

    /// Moves the word of the cell into the machine, if it is not there already.
    fn close(&self, locked: &mut Locked) {
        if let Some(cell) = &self.cell
            && let Some(full_at) = cell.close()
            && let Some(states) = locked.machine.idle_states(locked.seen)
        {
            *states = States::One(State::Bucket(Bucket::at(cell.gcra(), full_at)));
        }
    }

    /// Moves it back, unless somebody waits, is about to come back, or the bucket is not that of the cell any more.
    fn open(&self, locked: &mut Locked, now: u64) {
        let Some(cell) = self.cell.as_ref().filter(|_| locked.closers == 0) else { return };
        let given = locked.machine.given();
        if let Some(States::One(State::Bucket(bucket))) = locked.machine.idle_states(now) {
            cell.open(bucket.full_at(), given);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Locked> {
        // Nothing foreign runs under the lock, so a panic there would be a bug of ours; other calls go on all the same.
        self.locked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'a> Closer<'a> {
    fn new(limiter: &'a Limiter) -> Self {
        let mut locked = limiter.lock();
        limiter.close(&mut locked);
        locked.closers += 1;
        Self(limiter)
    }

    /// Nobody can take from the cell before the lock is let go.
    fn come_back(self) -> MutexGuard<'a, Locked> {
        let limiter = self.0;
        mem::forget(self);
        let mut locked = limiter.lock();
        locked.closers -= 1;
        locked
    }
}

impl Drop for Closer<'_> {
    fn drop(&mut self) {
        let mut locked = self.0.lock();
        locked.closers -= 1;
        // Opens the cell, unless somebody else keeps it closed.
        self.0.act(locked, 0, |_, _| ());
    }
}

impl Taken {
    fn from_cell(cost: u64, at: u64, from: &FromCell) -> Self {
        let mut ends = [0; MAX_RULES];
        ends[0] = from.full_at;
        Self { cost, when: When::Past(Past { at, ends, given: from.given, epoch: 0 }) }
    }
}

impl fmt::Debug for Limiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limiter").field("name", &self.name()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Quota;
    use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};

    /// A clock that panics.
    struct Broken;

    impl Now for Broken {
        fn now(self) -> Instant {
            panic_any("planted")
        }
    }

    #[test]
    fn clock_that_panics_while_something_is_given_back_does_not_keep_the_cell_closed() {
        let now = tokio::time::Instant::now().into_std();
        let limiter = Limiter::new_at(Quota::per_second(10).unwrap(), now).unwrap();
        let [broken, whole] = [(); 2].map(|()| limiter.reserve_at(1, Duration::ZERO, now).unwrap());
        let is_open = || limiter.cell.as_ref().is_some_and(|cell| cell.peek(1, 0).is_some());
        assert!(is_open());

        assert!(catch_unwind(AssertUnwindSafe(|| limiter.give_back_at(broken, Broken))).is_err());
        assert!(is_open());
        assert_eq!(limiter.lock().closers, 0);
        assert_eq!(limiter.peek_at(now).remaining, 8, "it counts as used");
        limiter.give_back_at(whole, now);
        assert!(is_open());
        assert_eq!(limiter.peek_at(now).remaining, 9);
    }
}
