//! The state machine: no lock, no clock, no output.

use crate::{
    config::{Config, SlowRate},
    permit::{Outcome, Permit},
    probes::{ProbeId, Probes},
    recent::{self, Recent},
    status::{Cause, Change, Changes, State, Status},
    word::{Flag, Word},
};
use mainstay_core::{
    InvalidConfig,
    window::{Counts, Vote},
};
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use std::{
    hash::{BuildHasher, RandomState},
    time::{Duration, Instant},
};

/// States and transitions of a circuit.
///
/// # Invariants
///
/// 1. Each transition raises `generation`; a result admitted under an earlier one changes nothing.
/// 2. While half-open, votes and probes that are out are together at most `config.probes`, so at most that many calls are
///    unsettled; a probe whose deadline has passed is settled. (After a live change to fewer, none is sent until this
///    holds again.)
/// 3. While half-open, the votes so far neither re-open nor close: a vote that decides also makes the transition.
/// 4. The circuit opens only when a failure, a slow call or an abandoned call is recorded, or a probe's deadline passes.
#[derive(Debug)]
pub(crate) struct Machine {
    config: Config,
    phase: Phase,
    generation: u64,
    recent: Recent,
    probes: Probes,
    reopenings: u32,
    rng: SmallRng,
}

/// How long to stay away; `None` if nobody knows.
pub(crate) type Wait = Option<Duration>;

#[derive(Clone, Copy, Debug)]
enum Phase {
    Closed,
    Open(Opening),
    HalfOpen,
    Isolated,
    Disabled,
}

#[derive(Clone, Copy, Debug)]
struct Opening {
    since: Instant,
    /// Drawn once per opening, so that a live change of the open time does not draw again.
    draw: f64,
    /// How long the service asked to be left alone, if that is why the circuit opened.
    asked: Option<Duration>,
    /// `None` if no clock counts that far.
    until: Option<Instant>,
}

impl Machine {
    /// A closed circuit of a checked configuration.
    pub(crate) fn new(config: Config, now: Instant) -> Result<Self, InvalidConfig> {
        Ok(Self {
            phase: Phase::Closed,
            generation: 0,
            recent: Recent::new(config.window, now)?,
            probes: Probes::with_room(config.probes),
            reopenings: 0,
            rng: SmallRng::seed_from_u64(config.seed.unwrap_or_else(random_seed)),
            config,
        })
    }

    pub(crate) const fn config(&self) -> &Config {
        &self.config
    }

    /// The configuration for a circuit like this one; a given seed becomes another one, or the two would jitter alike.
    pub(crate) fn config_for_another(&mut self) -> Config {
        Config { seed: self.config.seed.map(|_| self.rng.random()), ..self.config.clone() }
    }

    // ===== seen from outside =====

    pub(crate) const fn state(&self) -> State {
        match self.phase {
            Phase::Closed => State::Closed,
            Phase::Open(_) => State::Open,
            Phase::HalfOpen => State::HalfOpen,
            Phase::Isolated => State::Isolated,
            Phase::Disabled => State::Disabled,
        }
    }

    pub(crate) const fn word(&self) -> Word {
        let timed = self.config.slow.is_some();
        let counted = self.recent.counts_successes();
        Word::new(self.state(), self.generation)
            .with(Flag::TIMED, timed)
            .with(Flag::DATED, timed || self.recent.needs_time())
            .with(Flag::COUNTED, counted)
            .with(Flag::STREAK, !counted && !self.recent.is_spotless())
            .with(Flag::SHADOW, self.config.shadow)
    }

    /// When the current opening is over; `None` if never, or if there is none.
    pub(crate) const fn open_until(&self) -> Option<Instant> {
        match self.phase {
            Phase::Open(opening) => opening.until,
            _ => None,
        }
    }

    pub(crate) const fn generation(&self) -> u64 {
        self.generation
    }

    pub(crate) const fn reopenings(&self) -> u32 {
        self.reopenings
    }

    pub(crate) fn probes_out(&self) -> u32 {
        if matches!(self.phase, Phase::HalfOpen) { self.probes.out() } else { 0 }
    }

    pub(crate) fn votes(&mut self, now: Instant) -> Counts {
        if matches!(self.phase, Phase::HalfOpen) { self.probes.votes() } else { self.recent.votes(now) }
    }

    pub(crate) fn abandoned(&mut self, now: Instant) -> u64 {
        self.recent.abandoned(now)
    }

    // ===== calls =====

    /// Admits a call, or says when to come back.
    pub(crate) fn admit(&mut self, now: Instant, changes: &mut Changes) -> Result<Permit, Wait> {
        self.check(now, changes)?;
        Ok(match self.phase {
            // ## Closed => Closed
            Phase::Closed => self.permit(None, now),
            // ## Open => HalfOpen: the open time is over, and this call is the first probe.
            Phase::Open(_) => {
                self.half_open(changes);
                self.send_probe(now)
            }
            // ## HalfOpen => HalfOpen
            Phase::HalfOpen => self.send_probe(now),
            Phase::Isolated | Phase::Disabled => Permit::void(),
        })
    }

    /// Whether a call would be admitted now; takes nothing.
    pub(crate) fn check(&mut self, now: Instant, changes: &mut Changes) -> Result<(), Wait> {
        self.expire_probes(now, changes);
        match self.phase {
            Phase::Closed | Phase::Disabled => Ok(()),
            Phase::Open(Opening { until, .. }) => match until {
                Some(until) if now >= until => Ok(()),
                until => Err(until.map(|until| until.saturating_duration_since(now))),
            },
            Phase::HalfOpen if self.probes.have_room(self.config.probes) => Ok(()),
            // A slot may be free at any moment. Or a probe is silent, and at its deadline the circuit opens.
            Phase::HalfOpen | Phase::Isolated => Err(None),
        }
    }

    /// Records how an admitted call ended.
    pub(crate) fn settle(&mut self, permit: &Permit, outcome: Outcome, now: Instant, changes: &mut Changes) {
        self.expire_probes(now, changes);
        if permit.generation != self.generation {
            return;
        }
        let vote = self.vote(permit, outcome, now);
        match self.phase {
            Phase::Closed => self.settle_call(vote, outcome, now, changes),
            Phase::HalfOpen => self.settle_probe(permit.probe, vote, self.asked(outcome), now, changes),
            Phase::Open(_) | Phase::Isolated | Phase::Disabled => {}
        }
    }

    /// Records a success of the current generation while closed, unless it was slow; `now` as the word asks for it.
    #[inline]
    pub(crate) fn settle_success(&mut self, permit: &Permit, now: Option<Instant>) -> bool {
        if now.is_some_and(|now| self.is_slow(permit.started, now)) {
            return false;
        }
        self.recent.success(now);
        true
    }

    // ## Closed => (Closed | Open)
    fn settle_call(&mut self, vote: Option<Vote>, outcome: Outcome, now: Instant, changes: &mut Changes) {
        let cause = match vote {
            Some(vote) => {
                self.recent.vote(vote, now);
                if vote == Vote::default() { None } else { self.recent.trips(&self.config, now) }
            }
            None if outcome == Outcome::Abandoned => {
                self.recent.abandon(now);
                self.recent.all_abandoned(&self.config, now).then_some(Cause::AllAbandoned)
            }
            None => None,
        };
        let asked = self.asked(outcome);
        if let Some(cause) = asked.map(|_| Cause::Overload).or(cause) {
            self.open(cause, asked, now, changes);
        }
    }

    // ## HalfOpen => (HalfOpen | Open | Closed)
    fn settle_probe(
        &mut self,
        probe: Option<ProbeId>,
        vote: Option<Vote>,
        asked: Option<Duration>,
        now: Instant,
        changes: &mut Changes,
    ) {
        // A probe that is not out any more has voted by its deadline.
        let taken_back = probe.is_some_and(|probe| self.probes.take_back(probe));
        if let (true, Some(vote)) = (taken_back, vote) {
            self.count_probe(vote, asked, now, changes);
        }
    }

    /// A probe that is still out and not silent: its deadline starts anew.
    pub(crate) fn renew(&mut self, permit: &Permit, now: Instant, changes: &mut Changes) {
        self.expire_probes(now, changes);
        if permit.generation == self.generation
            && let Some(probe) = permit.probe
        {
            self.probes.renew(probe, self.probe_deadline(now));
        }
    }

    // ## HalfOpen => (HalfOpen | Open)
    fn expire_probes(&mut self, now: Instant, changes: &mut Changes) {
        while let Phase::HalfOpen = self.phase
            && let Some((started, deadline)) = self.probes.expire(now)
        {
            let vote = Vote { failed: true, slow: self.is_slow(started, deadline) };
            self.count_probe(vote, None, deadline, changes);
        }
    }

    fn count_probe(&mut self, vote: Vote, asked: Option<Duration>, at: Instant, changes: &mut Changes) {
        self.probes.vote(vote);
        let votes = self.probes.votes();
        let probes = self.config.probes.into();
        // Against all probes, not only the settled ones: so it is reached as soon as no later success can change it.
        let cause = recent::exceeded(Counts { calls: probes, ..votes }, &self.config);
        if let Some(cause) = asked.map(|_| Cause::Overload).or(cause) {
            self.open_again(cause, asked, at, changes);
        } else if votes.calls >= probes {
            self.close(Cause::ProbesSucceeded, changes);
        }
    }

    fn vote(&self, permit: &Permit, outcome: Outcome, now: Instant) -> Option<Vote> {
        let failed = match outcome {
            Outcome::Success => false,
            Outcome::Failure | Outcome::Overloaded(_) => true,
            Outcome::Ignored | Outcome::Abandoned => return None,
        };
        let slow = self.is_slow(permit.started, now);
        Some(Vote { failed: failed || (slow && self.slow_is_failure()), slow })
    }

    fn slow_is_failure(&self) -> bool {
        self.config.slow.is_some_and(|slow| slow.rate == SlowRate::WithFailures)
    }

    /// How long the service asks to be left alone, if it is to be heard.
    fn asked(&self, outcome: Outcome) -> Option<Duration> {
        match outcome {
            Outcome::Overloaded(asked) if self.config.overload.is_some() => asked.filter(|asked| !asked.is_zero()),
            _ => None,
        }
    }

    fn is_slow(&self, started: Option<Instant>, now: Instant) -> bool {
        let slow = self.config.slow.zip(started);
        slow.is_some_and(|(slow, started)| now.saturating_duration_since(started) > slow.longer_than)
    }

    fn send_probe(&mut self, now: Instant) -> Permit {
        let started = self.config.slow.map(|_| now);
        let probe = self.probes.send(started, self.probe_deadline(now));
        self.permit(Some(probe), now)
    }

    fn probe_deadline(&self, now: Instant) -> Option<Instant> {
        now.checked_add(self.config.probe_deadline)
    }

    fn permit(&self, probe: Option<ProbeId>, now: Instant) -> Permit {
        Permit { generation: self.generation, probe, started: self.config.slow.map(|_| now) }
    }

    // ===== transitions =====

    fn open_again(&mut self, cause: Cause, asked: Option<Duration>, at: Instant, changes: &mut Changes) {
        self.reopenings = self.reopenings.saturating_add(1);
        self.open(cause, asked, at, changes);
    }

    fn open(&mut self, cause: Cause, asked: Option<Duration>, at: Instant, changes: &mut Changes) {
        let draw = self.rng.random();
        let opening = Opening { since: at, draw, asked, until: None };
        self.enter(Phase::Open(Opening { until: self.end_of(opening), ..opening }), cause, changes);
    }

    fn half_open(&mut self, changes: &mut Changes) {
        self.probes.clear();
        self.enter(Phase::HalfOpen, Cause::OpenTimeOver, changes);
    }

    fn close(&mut self, cause: Cause, changes: &mut Changes) {
        self.recent.clear();
        self.reopenings = 0;
        self.enter(Phase::Closed, cause, changes);
    }

    fn enter(&mut self, phase: Phase, cause: Cause, changes: &mut Changes) {
        let from = self.state();
        self.phase = phase;
        self.generation = self.generation.saturating_add(1).min(Word::MAX_GENERATION);
        changes.push(Change { from, to: Status { state: self.state(), generation: self.generation }, cause });
    }

    fn end_of(&self, opening: Opening) -> Option<Instant> {
        let time = match (opening.asked, self.config.overload) {
            (Some(asked), Some(cap)) => asked.min(cap),
            _ => shortened(self.config.open_for.after(self.reopenings), self.config.jitter * opening.draw),
        };
        opening.since.checked_add(time)
    }

    // ===== operators =====

    /// Refuses everything until reset.
    pub(crate) fn isolate(&mut self, changes: &mut Changes) {
        if !matches!(self.phase, Phase::Isolated) {
            self.enter(Phase::Isolated, Cause::Operator, changes);
        }
    }

    /// Admits everything and counts nothing until reset.
    pub(crate) fn disable(&mut self, changes: &mut Changes) {
        if !matches!(self.phase, Phase::Disabled) {
            self.enter(Phase::Disabled, Cause::Operator, changes);
        }
    }

    /// Closes the circuit and forgets the past, also if it is closed already.
    pub(crate) fn reset(&mut self, changes: &mut Changes) {
        self.close(Cause::Operator, changes);
    }

    /// Takes another configuration; phase, generation and the probes that are out stay.
    ///
    /// `recent` is empty and has the shape of the new window. It is made outside, and whichever of the two is not needed
    /// is dropped there: a large window takes its time.
    pub(crate) fn reconfigure(&mut self, config: Config, recent: &mut Recent) -> Result<(), InvalidConfig> {
        if config.name != self.config.name {
            return Err(InvalidConfig::new("name", &config.name, format!("`{}`, which it had", self.config.name)));
        }
        if !self.config.window.has_shape_of(config.window) {
            std::mem::swap(&mut self.recent, recent);
        }
        if let Some(seed) = config.seed.filter(|_| config.seed != self.config.seed) {
            self.rng = SmallRng::seed_from_u64(seed);
        }
        self.probes.make_room(config.probes);
        // The votes were cast under other rules. Invariant 3 holds again, and so no vote is decisive by itself.
        let same_rules = (config.probes, config.failure_rate, config.slow)
            == (self.config.probes, self.config.failure_rate, self.config.slow);
        if !same_rules {
            self.probes.clear_votes();
        }
        self.config = config;
        if let Phase::Open(opening) = self.phase {
            self.phase = Phase::Open(Opening { until: self.end_of(opening), ..opening });
        }
        Ok(())
    }
}

/// `time` without this share of it. With no share to lose it stays exact, and nothing overflows.
fn shortened(time: Duration, share: f64) -> Duration {
    if share <= 0.0 {
        return time;
    }
    Duration::try_from_secs_f64(time.as_secs_f64() * (1.0 - share)).map_or(time, |shorter| shorter.min(time))
}

/// Jitter needs a different number in each process, not a secret one.
pub(crate) fn random_seed() -> u64 {
    RandomState::new().hash_one(0)
}
