//! The state machine: no lock, no clock, no output.

use crate::{
    config::{Config, OnOpen, SlowRate},
    gradual::Stage,
    in_flight::{BucketId, InFlight},
    permit::{Outcome, Permit},
    probes::{ProbeId, Probes},
    recent::{self, Recent},
    status::{Cause, Change, Changes, State, Status},
    waiters::{LEASE, Room},
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
/// 4. The circuit opens only when a failure, a slow call or an abandoned call is recorded, or a probe's deadline passes. A
///    call in flight is recorded as slow when it is found overdue, by an admission or a settlement.
/// 5. A recovering circuit is in one stage; see [`Stage`]. `probes` holds the votes of that stage, and its probe.
/// 6. `in_flight` holds the unsettled calls of this generation that are not probes, if `config.slow_in_flight` was on when
///    they were admitted; see [`InFlight`].
#[derive(Debug)]
pub(crate) struct Machine {
    config: Config,
    phase: Phase,
    generation: u64,
    recent: Recent,
    probes: Probes,
    in_flight: InFlight,
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
    Recovering(Stage),
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
        let mut in_flight = InFlight::default();
        if config.slow_in_flight {
            in_flight.make_room();
        }
        Ok(Self {
            phase: Phase::Closed,
            generation: 0,
            recent: Recent::new(config.window, now)?,
            probes: Probes::with_room(config.probes),
            in_flight,
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
            Phase::Recovering(_) => State::Recovering,
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
            .with(Flag::TRACKED, self.config.slow_in_flight)
            .with(Flag::WAIT, matches!(self.config.on_open, OnOpen::Wait))
    }

    /// What there is room for, once the probes whose deadline has passed are gone. Without the time, an open circuit has
    /// none.
    pub(crate) fn room(&self, now: Option<Instant>) -> Room {
        if self.config.shadow {
            return Room::All;
        }
        match self.phase {
            // Which calls a recovering circuit admits is drawn when they come.
            Phase::Closed | Phase::Recovering(_) | Phase::Disabled => Room::All,
            Phase::Open(Opening { until, .. }) => match (until, now) {
                (Some(until), Some(now)) if now >= until => Room::Slots(self.config.probes as usize),
                (until, _) => Room::Nothing(until),
            },
            Phase::HalfOpen => match self.probes.room(self.config.probes) {
                0 => Room::Nothing(self.next_look(now)),
                free => Room::Slots(free),
            },
            Phase::Isolated => Room::Nothing(None),
        }
    }

    /// When those who wait for a half-open circuit ask again by themselves: at the deadline of a probe, and no later than an
    /// opening that begins now could end, nor than a lease; not more than ten times a second. So they are in time even if
    /// those who were woken before them are never polled.
    fn next_look(&self, now: Option<Instant>) -> Option<Instant> {
        const OFTEN: Duration = Duration::from_millis(100);
        let shortest = shortened(self.config.open_for.after(self.reopenings), self.config.jitter);
        let shortest = shortest.clamp(OFTEN, LEASE);
        let look = now.and_then(|now| now.checked_add(shortest));
        self.probes.next_deadline().into_iter().chain(look).min()
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
        if self.has_probes() { self.probes.out() } else { 0 }
    }

    pub(crate) fn votes(&mut self, now: Instant) -> Counts {
        if self.has_probes() { self.probes.votes() } else { self.recent.votes(now) }
    }

    pub(crate) const fn stage(&self) -> Option<u32> {
        match self.phase {
            Phase::Recovering(stage) => Some(stage.number),
            _ => None,
        }
    }

    pub(crate) fn in_flight(&self) -> u64 {
        self.tracks().map_or(0, |_| self.in_flight.calls())
    }

    pub(crate) fn overdue(&self, now: Instant) -> u64 {
        self.tracks().map_or(0, |longer_than| self.in_flight.overdue(longer_than, now))
    }

    /// After which time a call in flight is overdue, if such calls are counted.
    fn tracks(&self) -> Option<Duration> {
        self.config.slow.filter(|_| self.config.slow_in_flight).map(|slow| slow.longer_than)
    }

    const fn has_probes(&self) -> bool {
        matches!(self.phase, Phase::HalfOpen | Phase::Recovering(_))
    }

    pub(crate) fn abandoned(&mut self, now: Instant) -> u64 {
        self.recent.abandoned(now)
    }

    // ===== calls =====

    /// Admits a call, or says when to come back.
    pub(crate) fn admit(&mut self, now: Instant, changes: &mut Changes) -> Result<Permit, Wait> {
        self.count_overdue(now, changes);
        self.check(now, changes)?;
        Ok(match self.phase {
            // ## Closed => Closed
            Phase::Closed => self.plain_permit(now),
            // ## Open => HalfOpen: the open time is over, and this call is the first probe.
            Phase::Open(_) => {
                self.half_open(changes);
                self.send_probe(now)
            }
            // ## HalfOpen => HalfOpen
            Phase::HalfOpen => self.send_probe(now),
            // ## Recovering => Recovering
            Phase::Recovering(stage) => self.admit_to_stage(stage, now)?,
            Phase::Isolated | Phase::Disabled => Permit::void(),
        })
    }

    /// Admits a call of a closed circuit that counts the calls in flight, unless some of them are overdue.
    #[inline]
    pub(crate) fn admit_tracked(&mut self, now: Instant) -> Option<Permit> {
        let longer_than = self.tracks()?;
        if self.in_flight.has_overdue(longer_than, now) {
            return None;
        }
        let bucket = self.in_flight.enter(longer_than, now);
        Some(Permit { generation: self.generation, probe: None, bucket: Some(bucket), started: Some(now) })
    }

    fn admit_to_stage(&mut self, stage: Stage, now: Instant) -> Result<Permit, Wait> {
        if self.probes.out() == 0 && stage.needs_a_call(self.probes.votes(), now) {
            return Ok(self.send_probe(now));
        }
        if self.rng.random::<f64>() < stage.share { Ok(self.plain_permit(now)) } else { Err(stage.rest(now)) }
    }

    /// Whether a call would be admitted now; takes nothing.
    pub(crate) fn check(&mut self, now: Instant, changes: &mut Changes) -> Result<(), Wait> {
        self.expire_probes(now, changes);
        self.leave_stage(now, changes);
        match self.phase {
            // Which calls a recovering circuit admits is drawn when they come.
            Phase::Closed | Phase::Recovering(_) | Phase::Disabled => Ok(()),
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
        // It has ended, so it is not among those that are overdue now.
        let has_voted = permit.bucket.is_some_and(|bucket| !self.in_flight.leave(bucket));
        self.count_overdue(now, changes);
        if has_voted || permit.generation != self.generation {
            return;
        }
        let vote = self.vote(permit, outcome, now);
        match self.phase {
            Phase::Closed => self.settle_call(vote, outcome, now, changes),
            Phase::HalfOpen | Phase::Recovering(_) => {
                self.settle_probe(permit.probe, vote, self.asked(outcome), now, changes);
            }
            Phase::Open(_) | Phase::Isolated | Phase::Disabled => {}
        }
    }

    /// Records a success of the current generation while closed, unless it was slow; `now` as the word asks for it.
    #[inline]
    pub(crate) fn settle_success(&mut self, permit: &Permit, now: Option<Instant>) -> bool {
        if now.is_some_and(|now| self.is_slow(permit.started, now)) {
            return false;
        }
        if let Some(bucket) = permit.bucket
            && !self.leave_in_time(bucket, now)
        {
            return false;
        }
        self.recent.success(now);
        true
    }

    /// Lets go of a call in flight, unless it has voted, or others are overdue and have to vote first.
    fn leave_in_time(&mut self, bucket: BucketId, now: Option<Instant>) -> bool {
        let are_overdue =
            self.tracks().zip(now).is_some_and(|(longer_than, now)| self.in_flight.has_overdue(longer_than, now));
        !are_overdue && self.in_flight.leave_bucket(bucket)
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

    // ## HalfOpen => (HalfOpen | Open | Closed | Recovering), Recovering => (Recovering | Open)
    fn settle_probe(
        &mut self,
        probe: Option<ProbeId>,
        vote: Option<Vote>,
        asked: Option<Duration>,
        now: Instant,
        changes: &mut Changes,
    ) {
        // A probe that is not out any more has voted by its deadline.
        let is_out = probe.is_none_or(|probe| self.probes.take_back(probe));
        if let (true, Some(vote)) = (is_out, vote) {
            self.count_probes(vote.into(), asked, now, changes);
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

    // ## HalfOpen => (HalfOpen | Open | Closed | Recovering), Recovering => (Recovering | Open)
    fn expire_probes(&mut self, now: Instant, changes: &mut Changes) {
        while self.has_probes()
            && let Some((started, deadline)) = self.probes.expire(now)
        {
            let vote = Vote { failed: true, slow: self.is_slow(started, deadline) };
            self.count_probes(vote.into(), None, deadline, changes);
        }
    }

    // ## Closed => (Closed | Open), Recovering => (Recovering | Open): calls in flight that have become slow.
    fn count_overdue(&mut self, now: Instant, changes: &mut Changes) {
        let Some(longer_than) = self.tracks() else { return };
        let calls = self.in_flight.take_overdue(longer_than, now);
        if calls == 0 {
            return;
        }
        let vote = Vote { failed: self.slow_is_failure(), slow: true };
        // By invariant 6 there are none in other phases.
        if let Phase::Closed = self.phase {
            self.recent.vote_alike(vote, calls, now);
            if let Some(cause) = self.recent.trips(&self.config, now) {
                self.open(cause, None, now, changes);
            }
        } else {
            self.count_probes(recent::alike(vote, calls), None, now, changes);
        }
    }

    /// Counts votes of probes, or of other calls of a stage.
    fn count_probes(&mut self, new: Counts, asked: Option<Duration>, at: Instant, changes: &mut Changes) {
        self.probes.count(new);
        let votes = self.probes.votes();
        let probes = self.config.probes.into();
        let cause = match &mut self.phase {
            Phase::Recovering(stage) => {
                stage.count(new);
                if new.failed + new.slow == 0 { None } else { stage.trips(votes, &self.config) }
            }
            // Against all probes, not only the settled ones: so it is reached as soon as no later success can change it.
            _ => recent::exceeded(Counts { calls: probes, ..votes }, &self.config),
        };
        if let Some(cause) = asked.map(|_| Cause::Overload).or(cause) {
            self.open_again(cause, asked, at, changes);
        } else if matches!(self.phase, Phase::HalfOpen) && votes.calls >= probes {
            self.enter_stage(0, Cause::ProbesSucceeded, at, changes);
        } else if matches!(self.phase, Phase::Recovering(_)) && Stage::judged_in_vain(votes, &self.config) {
            self.probes.clear_votes();
        }
    }

    // ## Recovering => (Recovering | Closed)
    fn leave_stage(&mut self, now: Instant, changes: &mut Changes) {
        if let Phase::Recovering(stage) = self.phase
            && stage.is_over(self.probes.votes(), &self.config, now)
        {
            self.enter_stage(stage.number + 1, Cause::StageSucceeded, now, changes);
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
        Permit { generation: self.generation, probe: Some(probe), bucket: None, started }
    }

    fn probe_deadline(&self, now: Instant) -> Option<Instant> {
        now.checked_add(self.config.probe_deadline)
    }

    /// For a call that is not a probe.
    fn plain_permit(&mut self, now: Instant) -> Permit {
        let bucket = self.tracks().map(|longer_than| self.in_flight.enter(longer_than, now));
        Permit { generation: self.generation, probe: None, bucket, started: self.config.slow.map(|_| now) }
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

    /// Begins this stage, or closes after the last one; without [`Config::gradual`] there are none.
    fn enter_stage(&mut self, number: u32, cause: Cause, at: Instant, changes: &mut Changes) {
        match self.config.gradual.as_ref().and_then(|gradual| Stage::new(gradual, number, at)) {
            Some(stage) => {
                self.probes.clear();
                self.enter(Phase::Recovering(stage), cause, changes);
            }
            None => self.close(cause, changes),
        }
    }

    fn close(&mut self, cause: Cause, changes: &mut Changes) {
        self.recent.clear();
        self.reopenings = 0;
        self.enter(Phase::Closed, cause, changes);
    }

    fn enter(&mut self, phase: Phase, cause: Cause, changes: &mut Changes) {
        let from = self.state();
        self.phase = phase;
        self.in_flight.clear();
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
        if config.slow_in_flight {
            self.in_flight.make_room();
        }
        // The votes were cast under other rules. Invariant 3 holds again, and so no vote is decisive by itself.
        let same_rules = (config.probes, config.failure_rate, config.slow)
            == (self.config.probes, self.config.failure_rate, self.config.slow);
        if !same_rules {
            self.probes.clear_votes();
        }
        self.config = config;
        match self.phase {
            Phase::Open(opening) => {
                self.phase = Phase::Open(Opening { until: self.end_of(opening), ..opening });
            }
            Phase::Recovering(mut stage) => {
                stage = if same_rules { stage } else { stage.without_votes() };
                stage = self.config.gradual.as_ref().map_or(stage, |gradual| stage.under(gradual));
                self.phase = Phase::Recovering(stage);
            }
            Phase::Closed | Phase::HalfOpen | Phase::Isolated | Phase::Disabled => {}
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
