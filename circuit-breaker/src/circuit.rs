//! The circuit: the machine under a lock, and the word that most calls need instead of it.

use crate::{
    config::Config,
    machine::{Machine, Wait},
    observe::Observers,
    permit::{Outcome, Permit},
    recent::Recent,
    status::{Changes, Snapshot, State, Status},
    sync::{AtomicU64, Mutex, MutexGuard, Ordering},
    waiters::{Answer, Place, Room, Waiters, Woken},
    word::{Flag, Word},
};
use mainstay_core::{InvalidConfig, Now, Reason, Refused, intern};
use std::{
    fmt, mem,
    sync::PoisonError,
    task::Waker,
    time::{Duration, Instant},
};
use tokio::sync::watch;

/// A circuit breaker without tower and without a runtime: permits are taken and settled by hand, and the time is told.
///
/// This is the core that the layer, [`call`](Circuit::call) and [`Guard`](crate::Guard) drive. It can be shared behind an
/// [`Arc`](std::sync::Arc) or, at no cost per call, behind `&'static`. The [front page](crate) describes its behaviour.
///
/// # Invariants
///
/// 1. `word` and `open_until` are written only while `locked` is locked, and agree with its machine whenever it is unlocked.
/// 2. The generation in `word` never falls.
/// 3. Nothing foreign (a clock, a waker, a subscriber, a recorder) runs while `locked` is locked.
///
/// # Examples
///
/// ```
/// use mainstay_circuit_breaker::{Circuit, Config, Outcome, State, Window};
/// use std::time::Duration;
///
/// let start = tokio::time::Instant::now().into_std();
/// let circuit = Circuit::new_at(Config::default().window(Window::Consecutive(2)).probes(1), start)?;
///
/// for _ in 0..2 {
///     let permit = circuit.admit(start).expect("the circuit is closed");
///     circuit.settle(permit, Outcome::Failure, start);
/// }
/// let refused = circuit.admit(start).unwrap_err();
/// assert_eq!(refused.retry_after(), Some(Duration::from_secs(30)));
///
/// let later = start + Duration::from_secs(30);
/// let probe = circuit.admit(later).expect("the open time is over");
/// circuit.settle(probe, Outcome::Success, later);
/// assert_eq!(circuit.state(), State::Closed);
/// # Ok::<(), mainstay_core::InvalidConfig>(())
/// ```
pub struct Circuit {
    word: AtomicU64,
    /// In nanoseconds since `epoch`.
    open_until: AtomicU64,
    refused: AtomicU64,
    locked: Mutex<Locked>,
    name: &'static str,
    epoch: Instant,
    observers: Observers,
}

struct Locked {
    machine: Machine,
    waiters: Waiters<Waker>,
}

/// An opening that no clock reaches the end of.
const NEVER: u64 = u64::MAX;

/// An opening whose end only the machine can say: before `epoch`, or centuries after it.
const ASK: u64 = 0;

impl Circuit {
    /// A closed circuit whose first moment is `now`.
    ///
    /// [`Circuit::new`] takes the moment from tokio's clock.
    ///
    /// # Errors
    ///
    /// If a setting is out of its range; the error names both.
    pub fn new_at(config: Config, now: impl Now) -> Result<Self, InvalidConfig> {
        config.check()?;
        let (now, name) = (now.now(), intern(&config.name));
        let machine = Machine::new(config, now)?;
        Ok(Self {
            word: AtomicU64::new(machine.word().0),
            open_until: AtomicU64::new(NEVER),
            refused: AtomicU64::new(0),
            locked: Mutex::new(Locked { machine, waiters: Waiters::new() }),
            name,
            epoch: now,
            observers: Observers::new(name),
        })
    }

    /// A circuit of its own with the present configuration of this one, first moment `now`. Its seed, if one was
    /// configured, is drawn from the jitter of this one, so that the two do not jitter alike.
    ///
    /// # Panics
    ///
    /// Never: the configuration was checked.
    #[must_use]
    pub fn fresh_at(&self, now: impl Now) -> Self {
        let config = self.lock().machine.config_for_another();
        Self::new_at(config, now).unwrap_or_else(|error| unreachable!("a checked configuration was refused: {error}"))
    }

    /// Admits a call, or says when to come back.
    ///
    /// # Errors
    ///
    /// The refusal, unless the circuit is in shadow mode.
    #[inline]
    pub fn admit(&self, now: impl Now) -> Result<Permit, Refused> {
        match self.admit_by_word() {
            Ok(permit) => Ok(permit),
            // The refusal is made of its wait here, on the rare path: one that came back whole would go through memory, and
            // the permit of the common path with it (4 ns).
            Err(word) => match self.admit_by_state(word, now) {
                Ok(permit) => Ok(permit),
                Err(wait) => Err(self.refusal(wait)),
            },
        }
    }

    /// Whether a call would be admitted now; takes nothing and counts nothing.
    ///
    /// # Errors
    ///
    /// The refusal, unless the circuit is in shadow mode.
    #[inline]
    pub fn check(&self, now: impl Now) -> Result<(), Refused> {
        self.would_admit(now).map_err(|wait| self.refusal(wait))
    }

    /// Reports how an admitted call ended. A permit of an earlier generation changes nothing.
    #[inline]
    #[expect(clippy::needless_pass_by_value, reason = "a permit is settled once")]
    pub fn settle(&self, permit: Permit, outcome: Outcome, now: impl Now) {
        if let Err(word) = self.settle_by_word(&permit, outcome) {
            self.settle_by_state(word, &permit, outcome, now);
        }
    }

    /// The circuit as it is now.
    pub fn snapshot_at(&self, now: impl Now) -> Snapshot {
        let now = now.now();
        // Relaxed: a counter that nobody decides by.
        let refused = self.refused.load(Ordering::Relaxed);
        self.change(Some(now), |machine, changes| {
            let wait = machine.check(now, changes).err();
            Snapshot {
                name: self.name,
                state: machine.state(),
                generation: machine.generation(),
                votes: machine.votes(now),
                abandoned: machine.abandoned(now),
                probes: machine.probes_out(),
                stage: machine.stage(),
                in_flight: machine.in_flight(),
                overdue: machine.overdue(now),
                reopenings: machine.reopenings(),
                retry_after: wait.flatten(),
                refused,
            }
        })
    }

    /// The state after the last call or command. Time alone changes no state: an open circuit becomes half-open when the
    /// first call after the open time is admitted, and a silent probe and the end of a stage are found out by the next call
    /// or snapshot.
    pub fn state(&self) -> State {
        self.word().state()
    }

    /// The configured name.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The present configuration.
    pub fn config(&self) -> Config {
        self.lock().machine.config().clone()
    }

    /// Watches the state. The receiver sees the latest state, by generation; it may miss one that did not last.
    ///
    /// A task that waits for a change is woken by the thread whose call made it. A waker that panics panics there;
    /// if that call is itself unwinding from a panic, the process aborts.
    pub fn watch(&self) -> watch::Receiver<Status> {
        self.observers.watch()
    }

    /// Refuses every call until [`reset`](Circuit::reset), whatever happens. In shadow mode nothing is refused.
    pub fn isolate(&self) {
        self.change(None, Machine::isolate);
    }

    /// Admits every call and counts none until [`reset`](Circuit::reset).
    pub fn disable(&self) {
        self.change(None, Machine::disable);
    }

    /// Closes the circuit and forgets what was counted, also if it is closed already.
    pub fn reset(&self) {
        self.change(None, Machine::reset);
    }

    /// Takes another configuration and keeps the state.
    ///
    /// Phase, generation and probes that are out stay. An `open_for` applies to the current opening, counted from its
    /// start, a `gradual` to the current stage from its start; without one, the circuit closes after the current stage. A
    /// window of another shape starts empty. If `probes`, `failure_rate` or `slow` change while half-open or recovering, the
    /// votes of the probes or of the stage are counted anew. No transition happens by this itself.
    ///
    /// # Errors
    ///
    /// If a setting is out of its range, or the name is another one; then nothing is changed.
    pub fn reconfigure_at(&self, config: Config, now: impl Now) -> Result<(), InvalidConfig> {
        config.check()?;
        // Made, and dropped, without the lock.
        let now = now.now();
        let mut recent = Recent::new(config.window, now)?;
        self.with_waiters(self.lock(), Some(now), |Locked { machine, waiters }, _, woken| {
            machine.reconfigure(config, &mut recent)?;
            waiters.tell_all(woken);
            Ok(())
        })
        .0
    }

    /// Takes the metrics recorder that is installed now, if the circuit has met another one before.
    #[cfg(feature = "metrics")]
    #[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
    pub fn rebind_metrics(&self) {
        self.observers.rebind_metrics();
    }

    /// [`check`](Self::check) for those who do not make a refusal of it yet.
    #[inline]
    pub(crate) fn would_admit(&self, now: impl Now) -> Result<(), Wait> {
        self.would_admit_by(self.word(), now)
    }

    /// [`would_admit`](Self::would_admit) for those who keep the word.
    #[inline]
    pub(crate) fn would_admit_by(&self, word: Word, now: impl Now) -> Result<(), Wait> {
        if word.is_closed_without(Flag::NONE) {
            return Ok(());
        }
        self.check_by_state(word, now)
    }

    /// The closed circuit that asks for nothing; otherwise the word to look at.
    #[inline]
    pub(crate) fn admit_by_word(&self) -> Result<Permit, Word> {
        let word = self.word();
        if word.is_closed_without(Flag::TIMED) {
            return Ok(Permit { generation: word.generation(), probe: None, bucket: None, started: None });
        }
        Err(word)
    }

    /// Everything that changes nothing; otherwise the word to look at.
    #[inline]
    pub(crate) fn settle_by_word(&self, permit: &Permit, outcome: Outcome) -> Result<(), Word> {
        let word = self.word();
        // By invariant 2 a generation that differs has passed for good.
        let changes_nothing = permit.generation != word.generation()
            || (matches!(outcome, Outcome::Success) && word.is_closed_without(Flag::COUNTED_OR_STREAK));
        if changes_nothing { Ok(()) } else { Err(word) }
    }

    /// An open circuit refuses without the lock until its time is over.
    #[inline(never)]
    pub(crate) fn admit_by_state(&self, word: Word, now: impl Now) -> Result<Permit, Wait> {
        let now = match word.state() {
            State::Closed if word.has(Flag::TRACKED) => {
                let now = now.now();
                match self.admit_tracked(word, now) {
                    Some(permit) => return Ok(permit),
                    None => now,
                }
            }
            State::Closed => {
                return Ok(Permit {
                    generation: word.generation(),
                    probe: None,
                    bucket: None,
                    started: Some(now.now()),
                });
            }
            State::Disabled => return Ok(Permit::void()),
            State::Open | State::HalfOpen | State::Recovering | State::Isolated => now.now(),
        };
        let admitted = match self.refused_by_word(word, now) {
            Ok(()) => self.admit_in_machine(now),
            Err(wait) => Err(wait),
        };
        admitted.or_else(|wait| {
            self.count_refusal(word, wait);
            if word.has(Flag::SHADOW) { Ok(Permit::void()) } else { Err(wait) }
        })
    }

    /// Admits a call that is counted while it is in flight, unless others are overdue or the circuit is no longer what
    /// `word` says.
    fn admit_tracked(&self, word: Word, now: Instant) -> Option<Permit> {
        let mut locked = self.lock();
        // The word is written under the lock only, so it is the machine's.
        if self.word() == word { locked.machine.admit_tracked(now) } else { None }
    }

    /// Admits one who waited and was let through, unless another call was faster; that is no refused call.
    ///
    /// # Errors
    ///
    /// What is left of the stage, if it is a recovering circuit that lets this call wait for the next one; `None` if it is
    /// to ask again.
    pub(crate) fn admit_waiter(&self, now: impl Now) -> Result<Permit, Wait> {
        const A_WHILE: Duration = Duration::from_secs(1);
        let word = self.word();
        match word.state() {
            State::Open | State::HalfOpen | State::Isolated if !word.has(Flag::SHADOW) => {
                self.admit_in_machine(now.now()).map_err(|_| None)
            }
            State::Recovering if !word.has(Flag::SHADOW) => {
                self.admit_in_machine(now.now()).map_err(|rest| Some(rest.unwrap_or(A_WHILE)))
            }
            _ => self.admit(now).map_err(|_| None),
        }
    }

    fn admit_in_machine(&self, now: Instant) -> Result<Permit, Wait> {
        let (admitted, changes) = self.locked(Some(now), |machine, changes| machine.admit(now, changes));
        let scope = GiveBack { circuit: self, permit: admitted.as_ref().ok(), now };
        self.tell(&changes);
        mem::forget(scope);
        admitted
    }

    #[inline(never)]
    fn check_by_state(&self, word: Word, now: impl Now) -> Result<(), Wait> {
        if word.state() == State::Disabled || word.has(Flag::SHADOW) {
            return Ok(());
        }
        let now = now.now();
        self.refused_by_word(word, now)?;
        self.change(Some(now), |machine, changes| machine.check(now, changes))
    }

    /// The common success takes the lock for a moment; everything else goes the long way.
    #[inline(never)]
    pub(crate) fn settle_by_state(&self, word: Word, permit: &Permit, outcome: Outcome, now: impl Now) {
        let plain = matches!(outcome, Outcome::Success) && word.state() == State::Closed;
        if plain && !word.has(Flag::DATED) {
            if !self.settle_success(word, permit, None) {
                self.settle_in_machine(permit, outcome, now.now());
            }
            return;
        }
        let now = now.now();
        if !(plain && self.settle_success(word, permit, Some(now))) {
            self.settle_in_machine(permit, outcome, now);
        }
    }

    /// Says that an admitted call is not silent: if it is a probe that is still out, its deadline starts anew.
    pub fn renew(&self, permit: &Permit, now: impl Now) {
        if permit.is_probe() {
            let now = now.now();
            self.change(Some(now), |machine, changes| machine.renew(permit, now, changes));
        }
    }

    /// Counts a service that failed before it could be called, if a call would have been admitted.
    pub(crate) fn fail_unready(&self, outcome: Outcome, now: impl Now) {
        let now = now.now();
        self.change(Some(now), |machine, changes| {
            if let Ok(permit) = machine.admit(now, changes) {
                machine.settle(&permit, outcome, now, changes);
            }
        });
    }

    #[inline(never)]
    fn settle_in_machine(&self, permit: &Permit, outcome: Outcome, now: Instant) {
        self.change(Some(now), |machine, changes| machine.settle(permit, outcome, now, changes));
    }

    /// Someone who waits asks to be let through, and is woken by `waker` when asking again can help.
    pub(crate) fn ask(&self, place: &mut Option<Place>, waker: &Waker, now: impl Now) -> Answer {
        // Both are foreign, and come before the lock.
        let (waker, now) = (waker.clone(), now.now());
        let (answer, changes) = self.with_waiters(self.lock(), Some(now), |locked, changes, woken| {
            // For the silent probes: while all wait, no call comes that would find them out.
            let _ = locked.machine.check(now, changes);
            locked.waiters.ask(place, waker, locked.machine.room(Some(now)), now, woken)
        });
        self.tell(&changes);
        answer
    }

    /// Someone does not wait any more.
    pub(crate) fn leave(&self, place: Place, now: impl Now) {
        let now = now.now();
        self.with_waiters(self.lock(), Some(now), |locked, _, woken| locked.waiters.leave(place, woken));
    }

    /// Someone who was let through is woken by `waker` if the circuit begins to refuse; `false` if it does so by now.
    pub(crate) fn stand_by(&self, place: &mut Option<Place>, waker: &Waker, now: impl Now) -> bool {
        let (waker, word) = (waker.clone(), self.word());
        let now = if word.is_closed_without(Flag::NONE) { None } else { Some(now.now()) };
        let mut locked = self.lock();
        if let Room::Nothing(_) = locked.machine.room(now) {
            drop(locked);
            return false;
        }
        let before = locked.waiters.pass(place, waker);
        drop(locked);
        drop(before);
        true
    }

    /// Refuses while the word alone says so.
    fn refused_by_word(&self, word: Word, now: Instant) -> Result<(), Wait> {
        match word.state() {
            State::Open => {
                // Relaxed: whoever saw the word (Acquire) sees the end of its opening, or of a later one: refusing by that
                // is right too.
                let until = self.open_until.load(Ordering::Relaxed);
                match until.saturating_sub(self.nanos(now)) {
                    0 => Ok(()),
                    _ if until == NEVER => Err(None),
                    left => Err(Some(Duration::from_nanos(left))),
                }
            }
            State::Isolated => Err(None),
            State::Closed | State::HalfOpen | State::Recovering | State::Disabled => Ok(()),
        }
    }

    /// Refuses a call that [`would_admit`](Self::would_admit) said no to, while the word was `told`.
    pub(crate) fn refuse(&self, told: Word, wait: Wait, now: impl Now) -> Refused {
        let word = self.word();
        let wait = if word == told { wait } else { self.would_admit(now).err().unwrap_or(Some(Duration::ZERO)) };
        self.count_refusal(word, wait);
        self.refusal(wait)
    }

    fn count_refusal(&self, word: Word, wait: Wait) {
        // Relaxed: a counter that nobody decides by.
        self.refused.fetch_add(1, Ordering::Relaxed);
        crate::trace::refused(self.name, wait, word.has(Flag::SHADOW));
    }

    pub(crate) fn refusal(&self, wait: Wait) -> Refused {
        let refused = Refused::new(Reason::CircuitOpen, self.name);
        wait.map_or(refused, |wait| refused.with_retry_after(wait))
    }

    /// Records a success of a closed circuit, unless it was slow or the circuit is no longer what `word` says.
    fn settle_success(&self, word: Word, permit: &Permit, now: Option<Instant>) -> bool {
        let Locked { machine, .. } = &mut *self.lock();
        // The word is written under the lock only, so it is the machine's.
        if self.word() != word || !machine.settle_success(permit, now) {
            return false;
        }
        if word.has(Flag::STREAK) {
            self.publish(machine);
        }
        true
    }

    /// Looks at the machine; changes nothing, and tells nobody.
    pub(crate) fn look<R>(&self, look: impl FnOnce(&mut Machine) -> R) -> R {
        look(&mut self.lock().machine)
    }

    /// Does something under the lock, and tells the observers after it.
    fn change<R>(&self, now: Option<Instant>, act: impl FnOnce(&mut Machine, &mut Changes) -> R) -> R {
        let (result, changes) = self.locked(now, act);
        self.tell(&changes);
        result
    }

    /// Does something under the lock; whoever waits and can go on is woken, the observers are still to be told.
    fn locked<R>(&self, now: Option<Instant>, act: impl FnOnce(&mut Machine, &mut Changes) -> R) -> (R, Changes) {
        let mut locked = self.lock();
        if !locked.waiters.is_empty() {
            return self.with_waiters(locked, now, |locked, changes, _| act(&mut locked.machine, changes));
        }
        let mut changes = Changes::default();
        let result = act(&mut locked.machine, &mut changes);
        self.publish(&locked.machine);
        drop(locked);
        (result, changes)
    }

    /// [`locked`](Self::locked) while there may be waiters.
    #[inline(never)]
    fn with_waiters<R>(
        &self,
        mut locked: MutexGuard<'_, Locked>,
        now: Option<Instant>,
        act: impl FnOnce(&mut Locked, &mut Changes, &mut Woken<Waker>) -> R,
    ) -> (R, Changes) {
        let (mut changes, mut woken) = (Changes::default(), Woken::nobody());
        let result = act(&mut locked, &mut changes, &mut woken);
        self.publish(&locked.machine);
        let Locked { machine, waiters } = &mut *locked;
        let room = machine.room(now);
        waiters.update(room, machine.config().probes as usize, now, &mut woken);
        drop(locked);
        woken.wake();
        (result, changes)
    }

    fn tell(&self, changes: &Changes) {
        if !changes.is_empty() {
            // Relaxed: a counter that nobody decides by.
            self.observers.tell(changes, self.refused.load(Ordering::Relaxed));
        }
    }

    /// Makes the word and the end of the opening those of the locked machine.
    fn publish(&self, machine: &Machine) {
        let word = machine.word();
        if word.state() == State::Open {
            let until = machine.open_until().map_or(NEVER, |until| match self.nanos(until) {
                NEVER => ASK,
                nanos => nanos,
            });
            // Relaxed: the store of the word below publishes it, or the opening is the same and its end was moved.
            self.open_until.store(until, Ordering::Relaxed);
        }
        // An unchanged word is not written, so that those who only read it keep it in their caches.
        if word != self.word() {
            // Release: pairs with the Acquire in `word`; whoever sees an open circuit sees when it ends.
            self.word.store(word.0, Ordering::Release);
        }
    }

    #[inline]
    pub(crate) fn word(&self) -> Word {
        // Acquire: pairs with the Release in `publish`. A stale word is a call that came before the transition.
        Word(self.word.load(Ordering::Acquire))
    }

    /// Since `epoch`; `NEVER` if a word cannot say it, so that the machine is asked.
    fn nanos(&self, moment: Instant) -> u64 {
        moment.checked_duration_since(self.epoch).map_or(NEVER, |since| {
            since.as_secs().saturating_mul(1_000_000_000).saturating_add(since.subsec_nanos().into())
        })
    }

    fn lock(&self) -> MutexGuard<'_, Locked> {
        // Nothing foreign runs under the lock, so a panic there would be a bug of ours; other calls go on all the same.
        self.locked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Circuit {
    fn drop(&mut self) {
        // Relaxed: nobody else has the circuit any more.
        self.observers.tell_last(self.refused.load(Ordering::Relaxed));
    }
}

/// Takes a permit back if an observer panics before anyone has it.
struct GiveBack<'a> {
    circuit: &'a Circuit,
    permit: Option<&'a Permit>,
    now: Instant,
}

impl Drop for GiveBack<'_> {
    fn drop(&mut self) {
        if let Some(permit) = self.permit {
            // What this changes is not told: those who would be told have just panicked.
            let now = self.now;
            self.circuit.locked(Some(now), |machine, changes| machine.settle(permit, Outcome::Ignored, now, changes));
        }
    }
}

impl fmt::Debug for Circuit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Circuit").field("name", &self.name).field("state", &self.state()).finish_non_exhaustive()
    }
}
