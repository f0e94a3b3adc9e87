//! The circuit beside a slow and obvious model of it, in whatever order results, time and operators come.

mod support;

use mainstay_circuit_breaker::{Circuit, Config, OpenFor, Outcome, Permit, SlowRate, State, Window};
use mainstay_core::window::{BUCKETS, Counts, Vote};
use proptest::prelude::*;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};
use std::time::{Duration, Instant};
use support::{Driver, ms, start};

const NAME: &str = "model";

/// A circuit by definition: it remembers everything, and counts it anew each time it is asked.
///
/// Times are since the construction of the circuit.
#[derive(Clone, Debug)]
struct Model {
    config: Config,
    now: Duration,
    state: State,
    generation: u64,
    /// The ends of calls that a closed circuit was told since it last forgot them.
    records: Vec<Record>,
    window_starts: Duration,
    /// The latest time that the window was told.
    window_seen: Duration,
    opened: Duration,
    /// How long the service asked for, when that opened the circuit.
    asked: Option<Duration>,
    reopenings: u32,
    probes_out: Vec<Probe>,
    probe_votes: Vec<Vote>,
    calls_so_far: u64,
    refused: u64,
    /// The permits that the world holds.
    held: Vec<Held>,
    /// What the calls of the last transition were answered.
    answers: Vec<Answer>,
    looks_always: bool,
    /// Whether the circuit was looked at after the last transition.
    looked: bool,
}

#[derive(Clone, Copy, Debug)]
struct Record {
    at: Duration,
    /// `None` is an abandoned call.
    vote: Option<Vote>,
}

#[derive(Clone, Copy, Debug)]
struct Probe {
    call: u64,
    started: Option<Duration>,
    deadline: Option<Duration>,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    call: u64,
    /// `None` if the call does not vote.
    generation: Option<u64>,
    started: Option<Duration>,
    is_probe: bool,
}

/// Whether the admitted call is a probe, or how long to wait.
type Answer = Result<bool, Option<Duration>>;

/// What can happen to a circuit.
#[derive(Clone, Debug)]
enum Event {
    Admit,
    Check,
    /// Calls one after the other that take no time.
    Calls(usize, Outcome),
    /// One of the held permits is settled.
    Settle(usize, Outcome),
    /// One of the held permits is renewed.
    Renew(usize),
    /// One of the held permits is dropped.
    Drop(usize),
    Wait(Duration),
    /// Waits for the next moment at which time alone can matter, or for the nanosecond before.
    WaitForNext {
        just_before: bool,
    },
    GoBack(Duration),
    Look,
    Isolate,
    Disable,
    Reset,
    Reconfigure(Config),
    Misconfigure(Config),
}

impl Model {
    fn new(config: Config, looks_always: bool) -> Self {
        Self {
            config,
            now: Duration::ZERO,
            state: State::Closed,
            generation: 0,
            records: Vec::new(),
            window_starts: Duration::ZERO,
            window_seen: Duration::ZERO,
            opened: Duration::ZERO,
            asked: None,
            reopenings: 0,
            probes_out: Vec::new(),
            probe_votes: Vec::new(),
            calls_so_far: 0,
            refused: 0,
            held: Vec::new(),
            answers: Vec::new(),
            looks_always,
            looked: false,
        }
    }

    fn happen(&mut self, event: &Event) {
        self.answers.clear();
        match event {
            Event::Admit => self.admit(),
            Event::Check => self.check(),
            Event::Calls(calls, outcome) => {
                for _ in 0..*calls {
                    self.admit();
                    if self.answers.last().is_some_and(Result::is_ok) {
                        let held = self.held.pop().expect("it was just admitted");
                        self.settle(held, *outcome);
                    }
                }
            }
            Event::Settle(which, outcome) => {
                if let Some(which) = which.checked_rem(self.held.len()) {
                    let held = self.held.remove(which);
                    self.settle(held, *outcome);
                }
            }
            Event::Renew(which) => {
                // Of a call that is no probe it changes nothing, and looks at nothing.
                if let Some(which) = which.checked_rem(self.held.len())
                    && self.held[which].is_probe
                {
                    self.renew(self.held[which]);
                }
            }
            Event::Drop(which) => {
                if let Some(which) = which.checked_rem(self.held.len()) {
                    self.held.remove(which);
                }
            }
            Event::Wait(time) => self.now += *time,
            Event::WaitForNext { just_before } => {
                if let Some(next) = self.next_moment() {
                    self.now = next.saturating_sub(Duration::from_nanos((*just_before).into()));
                }
            }
            Event::GoBack(time) => self.now = self.now.saturating_sub(*time),
            Event::Look | Event::Misconfigure(_) => {}
            Event::Isolate => self.command(State::Isolated),
            Event::Disable => self.command(State::Disabled),
            Event::Reset => self.close(),
            Event::Reconfigure(config) => self.reconfigure(config),
        }
        self.looked = self.looks_always || matches!(event, Event::Look);
        if self.looked {
            self.expire_probes();
            self.window_seen = self.window_seen.max(self.now);
        }
    }

    // ===== calls =====

    fn admit(&mut self) {
        self.expire_probes();
        let call = self.calls_so_far;
        let mut held = Held { call, generation: None, started: None, is_probe: false };
        let refusal = self.refusal();
        if let Err(wait) = refusal {
            self.refused += 1;
            if !self.config.shadow {
                return self.answers.push(Err(wait));
            }
        } else {
            if self.state == State::Open {
                self.probes_out.clear();
                self.probe_votes.clear();
                self.enter(State::HalfOpen);
            }
            if self.state == State::HalfOpen {
                self.send_probe(call);
            }
            if self.state != State::Disabled {
                held.generation = Some(self.generation);
                held.started = self.config.slow.map(|_| self.now);
                held.is_probe = self.state == State::HalfOpen;
            }
        }
        self.calls_so_far += 1;
        self.held.push(held);
        self.answers.push(Ok(refusal.is_ok() && self.state == State::HalfOpen));
    }

    fn check(&mut self) {
        if self.config.shadow {
            return self.answers.push(Ok(false));
        }
        self.expire_probes();
        self.answers.push(self.refusal().map(|()| false));
    }

    /// How long to wait, if a call would be refused now.
    fn refusal(&self) -> Result<(), Option<Duration>> {
        let until = match self.state {
            State::Open if self.open_until().is_none_or(|until| self.now < until) => self.open_until(),
            State::HalfOpen if self.probes_out.len() + self.probe_votes.len() >= self.config.probes as usize => None,
            State::Isolated => None,
            _ => return Ok(()),
        };
        Err(until.map(|until| until.saturating_sub(self.now)))
    }

    fn settle(&mut self, held: Held, outcome: Outcome) {
        if held.generation != Some(self.generation) {
            return;
        }
        self.expire_probes();
        if held.generation != Some(self.generation) {
            return;
        }
        let slow = self.is_slow(held.started, self.now);
        let vote = match outcome {
            Outcome::Success => Some(Vote { failed: false, slow }),
            Outcome::Failure | Outcome::Overloaded(_) => Some(Vote { failed: true, slow }),
            _ => None,
        };
        let vote = vote.map(|vote| Vote { failed: vote.failed || (slow && self.slow_is_failure()), ..vote });
        let asked = match outcome {
            Outcome::Overloaded(Some(asked)) if self.config.overload.is_some() && asked > Duration::ZERO => Some(asked),
            _ => None,
        };
        match self.state {
            State::Closed if vote.is_some() || outcome == Outcome::Abandoned => self.record(vote, asked),
            State::HalfOpen => {
                let out = self.probes_out.len();
                self.probes_out.retain(|probe| probe.call != held.call);
                match vote {
                    _ if self.probes_out.len() == out => {}
                    Some(vote) => self.count_probe(vote, asked, self.now),
                    None => {}
                }
            }
            _ => {}
        }
    }

    fn is_slow(&self, started: Option<Duration>, ended: Duration) -> bool {
        let took = started.map(|started| ended.saturating_sub(started));
        self.config.slow.zip(took).is_some_and(|(slow, took)| took > slow.longer_than)
    }

    fn slow_is_failure(&self) -> bool {
        self.config.slow.is_some_and(|slow| slow.rate == SlowRate::WithFailures)
    }

    fn record(&mut self, vote: Option<Vote>, asked: Option<Duration>) {
        self.window_seen = self.window_seen.max(self.now);
        self.records.push(Record { at: self.window_seen, vote });
        let opens = match vote {
            _ if asked.is_some() => true,
            Some(Vote { failed: false, slow: false }) => false,
            Some(_) => self.votes_open(),
            None => self.abandoned_open(),
        };
        if opens {
            self.open(asked, self.now);
        }
    }

    // ===== the window =====

    fn votes(&self) -> impl DoubleEndedIterator<Item = Vote> {
        self.records.iter().filter_map(|record| record.vote)
    }

    fn votes_in_window(&self) -> Counts {
        match self.config.window {
            Window::Consecutive(_) => sum(self.votes().rev().take_while(|vote| vote.failed)),
            Window::Last(calls) => sum(self.votes().rev().take(calls as usize)),
            Window::Within(_) => sum(self.records_in_span().filter_map(|record| record.vote)),
        }
    }

    fn abandoned_in_window(&self) -> u64 {
        let abandoned = match self.config.window {
            Window::Consecutive(_) | Window::Last(_) => {
                self.records.iter().rev().take_while(|record| record.vote.is_none()).count()
            }
            Window::Within(_) => self.records_in_span().filter(|record| record.vote.is_none()).count(),
        };
        abandoned as u64
    }

    fn records_in_span(&self) -> impl Iterator<Item = &Record> {
        let Window::Within(span) = self.config.window else { panic!("only asked of a time window") };
        let bucket = move |at: Duration| at.saturating_sub(self.window_starts).as_nanos() / (span / 10).as_nanos();
        let current = bucket(self.window_seen);
        self.records.iter().filter(move |record| current - bucket(record.at) < BUCKETS as u128)
    }

    fn votes_open(&self) -> bool {
        let votes = self.votes_in_window();
        let minimum = match self.config.window {
            Window::Consecutive(failures) => return votes.failed >= failures.into(),
            Window::Last(calls) => self.config.minimum_calls.min(calls),
            Window::Within(_) => self.config.minimum_calls,
        };
        votes.calls >= minimum.into() && self.rates_reached(votes, votes.calls)
    }

    fn abandoned_open(&self) -> bool {
        let none_voted = self.votes_in_window().calls == 0;
        let minimum = self.config.minimum_calls;
        let enough = match self.config.window {
            Window::Last(calls) if none_voted => minimum.min(calls),
            Window::Consecutive(calls) | Window::Last(calls) => calls,
            Window::Within(_) if none_voted => minimum,
            Window::Within(_) => return false,
        };
        self.abandoned_in_window() >= enough.into()
    }

    #[expect(clippy::cast_precision_loss, reason = "a few calls")]
    fn rates_reached(&self, votes: Counts, of: u64) -> bool {
        let slow = match self.config.slow.map(|slow| slow.rate) {
            Some(SlowRate::Own(rate)) => votes.slow as f64 / of as f64 >= rate,
            Some(SlowRate::WithFailures) | None => false,
        };
        slow || votes.failed as f64 / of as f64 >= self.config.failure_rate
    }

    // ===== probes =====

    fn send_probe(&mut self, call: u64) {
        let deadline = end(self.now, self.config.probe_deadline);
        let started = self.config.slow.map(|_| self.now);
        self.probes_out.push(Probe { call, started, deadline });
    }

    /// A probe that is silent to its deadline is one that failed at its deadline.
    fn expire_probes(&mut self) {
        while self.state == State::HalfOpen {
            let late =
                self.probes_out.iter().filter(|probe| probe.deadline.is_some_and(|deadline| deadline <= self.now));
            let Some(&Probe { call, started, deadline: Some(deadline) }) = late.min_by_key(|probe| probe.deadline)
            else {
                return;
            };
            self.probes_out.retain(|probe| probe.call != call);
            self.count_probe(Vote { failed: true, slow: self.is_slow(started, deadline) }, None, deadline);
        }
    }

    fn renew(&mut self, held: Held) {
        self.expire_probes();
        if held.generation == Some(self.generation) {
            let deadline = end(self.now, self.config.probe_deadline);
            for probe in self.probes_out.iter_mut().filter(|probe| probe.call == held.call) {
                probe.deadline = deadline;
            }
        }
    }

    fn count_probe(&mut self, vote: Vote, asked: Option<Duration>, at: Duration) {
        self.probe_votes.push(vote);
        let votes = sum(self.probe_votes.iter().copied());
        if asked.is_some() || self.rates_reached(votes, self.config.probes.into()) {
            self.reopenings += 1;
            self.open(asked, at);
        } else if votes.calls >= self.config.probes.into() {
            self.close();
        }
    }

    // ===== transitions =====

    fn enter(&mut self, state: State) {
        self.state = state;
        self.generation += 1;
    }

    fn open(&mut self, asked: Option<Duration>, at: Duration) {
        self.asked = asked;
        self.opened = at;
        self.enter(State::Open);
    }

    fn open_until(&self) -> Option<Duration> {
        if let Some((asked, cap)) = self.asked.zip(self.config.overload) {
            return end(self.opened, asked.min(cap));
        }
        let time = match self.config.open_for {
            OpenFor::Fixed(time) => time,
            OpenFor::Growing { first, factor, max } => {
                (0..self.reopenings).fold(first, |time, _| time.mul_f64(factor).min(max))
            }
        };
        end(self.opened, time)
    }

    fn close(&mut self) {
        self.records.clear();
        self.reopenings = 0;
        self.enter(State::Closed);
    }

    fn command(&mut self, state: State) {
        if self.state != state {
            self.enter(state);
        }
    }

    fn reconfigure(&mut self, config: &Config) {
        let same_shape = match (self.config.window, config.window) {
            (Window::Consecutive(_), Window::Consecutive(_)) => true,
            (old, new) => old == new,
        };
        if !same_shape {
            self.records.clear();
            (self.window_starts, self.window_seen) = (self.now, self.now);
        }
        let same_rules = self.config.probes == config.probes
            && self.config.slow == config.slow
            && self.config.failure_rate.total_cmp(&config.failure_rate).is_eq();
        if !same_rules {
            self.probe_votes.clear();
        }
        self.config = config.clone();
    }

    /// The next moment at which time alone changes an answer.
    fn next_moment(&self) -> Option<Duration> {
        let open_until = if self.state == State::Open { self.open_until() } else { None };
        let deadlines = self.probes_out.iter().filter_map(|probe| probe.deadline);
        let bucket = if let Window::Within(span) = self.config.window {
            let width = span / 10;
            let mut edge = self.window_starts;
            if self.now.saturating_sub(edge) < span * 100 {
                while edge <= self.now {
                    edge += width;
                }
            }
            Some(edge)
        } else {
            None
        };
        deadlines.chain(open_until).chain(bucket).filter(|&moment| moment > self.now).min()
    }
}

/// What no clock counts to is never.
fn end(from: Duration, time: Duration) -> Option<Duration> {
    from.checked_add(time).filter(|end| end.as_secs() < u64::MAX / 4)
}

fn sum(votes: impl Iterator<Item = Vote>) -> Counts {
    let mut counts = Counts::default();
    for vote in votes {
        counts += vote.into();
    }
    counts
}

// ===== what is tried =====

fn configs() -> impl Strategy<Value = Config> {
    let windows = prop_oneof![
        (1..=5_u32).prop_map(Window::Consecutive),
        (1..=8_u32).prop_map(Window::Last),
        (10..=120_u64).prop_map(|millis| Window::Within(ms(millis))),
    ];
    let rates = || prop::sample::select(vec![0.1, 0.25, 0.5, 0.75, 1.0]);
    let slow = prop::option::of((1..=8_u64, prop::option::weighted(0.7, rates())));
    let caps = prop::option::of((1..=30_u64).prop_map(ms));
    let times = || prop_oneof![30 => (1..=40_u64).prop_map(ms), 1 => Just(Duration::MAX)];
    let growing = (1..=10_u64, 1..=3_u8, 0..=100_u64).prop_map(|(first, factor, more)| OpenFor::Growing {
        first: ms(first),
        factor: factor.into(),
        max: ms(first + more),
    });
    let open_for = prop_oneof![times().prop_map(OpenFor::Fixed), growing];
    let deadlines = prop_oneof![30 => (1..=40_u64).prop_map(ms), 1 => Just(Duration::from_hours(24))];
    let rest = (1..=4_u32, deadlines, prop::bool::weighted(0.15), caps);
    (windows, rates(), 1..=6_u32, slow, open_for, rest).prop_map(|(window, rate, minimum, slow, open_for, rest)| {
        let (probes, deadline, shadow, cap) = rest;
        let mut config = Config::default().name(NAME).window(window).failure_rate(rate).minimum_calls(minimum);
        config = config.open_for(open_for).probes(probes).probe_deadline(deadline).shadow(shadow);
        config.overload = cap;
        match slow.filter(|_| !matches!(window, Window::Consecutive(_))) {
            Some((longer_than, Some(rate))) => config.slow(ms(longer_than), rate),
            Some((longer_than, None)) => config.slow_is_failure(ms(longer_than)),
            None => config,
        }
    })
}

/// Other settings for a circuit, in half of the cases with the window it has.
fn changed(present: &Config) -> impl Strategy<Value = Config> + use<> {
    let present = present.clone();
    (configs(), any::<bool>()).prop_map(move |(mut config, keeps_window)| {
        if keeps_window {
            config.window = present.window;
            config.slow = config.slow.filter(|_| !matches!(present.window, Window::Consecutive(_)));
        }
        config
    })
}

fn outcomes() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        5 => Just(Outcome::Success),
        5 => Just(Outcome::Failure),
        1 => (0..=40_u64).prop_map(|millis| Outcome::Overloaded(Some(ms(millis)))),
        1 => prop::sample::select(vec![Outcome::Overloaded(None), Outcome::Overloaded(Some(Duration::MAX))]),
        1 => Just(Outcome::Ignored),
        3 => Just(Outcome::Abandoned),
    ]
}

fn waits() -> impl Strategy<Value = Duration> {
    prop_oneof![
        2 => Just(Duration::ZERO),
        2 => (1..=3_u64).prop_map(Duration::from_nanos),
        20 => (0..=10_u64).prop_map(ms),
        6 => (0..=200_u64).prop_map(ms),
        // Weeks to a year, where nothing remembered matters any more.
        1 => (1..=365_u64).prop_map(|days| Duration::from_hours(days * 24)),
    ]
}

impl ReferenceStateMachine for Model {
    type State = Self;
    type Transition = Event;

    fn init_state() -> BoxedStrategy<Self> {
        (configs(), any::<bool>()).prop_map(|(config, looks_always)| Self::new(config, looks_always)).boxed()
    }

    fn transitions(model: &Self) -> BoxedStrategy<Event> {
        let which = || any::<usize>();
        prop_oneof![
            30 => Just(Event::Admit),
            3 => Just(Event::Check),
            20 => (1..=6_usize, outcomes()).prop_map(|(calls, outcome)| Event::Calls(calls, outcome)),
            40 => (which(), outcomes()).prop_map(|(which, outcome)| Event::Settle(which, outcome)),
            3 => which().prop_map(Event::Renew),
            3 => which().prop_map(Event::Drop),
            20 => waits().prop_map(Event::Wait),
            10 => any::<bool>().prop_map(|just_before| Event::WaitForNext { just_before }),
            1 => (0..=50_u64).prop_map(|millis| Event::GoBack(ms(millis))),
            4 => Just(Event::Look),
            1 => Just(Event::Isolate),
            1 => Just(Event::Disable),
            2 => Just(Event::Reset),
            4 => changed(&model.config).prop_map(Event::Reconfigure),
            1 => configs().prop_map(|config| Event::Misconfigure(config.probes(0))),
            1 => configs().prop_map(|config| Event::Misconfigure(config.name("another"))),
        ]
        .boxed()
    }

    fn apply(mut model: Self, event: &Event) -> Self {
        model.happen(event);
        model
    }
}

// ===== the circuit itself =====

/// The circuit, and the permits that the world holds in the order of the model's.
struct Real {
    circuit: Circuit,
    start: Instant,
    held: Vec<Permit>,
}

impl Real {
    fn admit(&mut self, now: Instant) -> Answer {
        let permit = self.circuit.admit(now).map_err(|refused| refused.retry_after())?;
        let is_probe = permit.is_probe();
        self.held.push(permit);
        Ok(is_probe)
    }

    fn happen(&mut self, event: Event, now: Instant) -> Vec<Answer> {
        match event {
            Event::Admit => return vec![self.admit(now)],
            Event::Check => {
                return vec![self.circuit.check(now).map(|()| false).map_err(|refused| refused.retry_after())];
            }
            Event::Calls(calls, outcome) => {
                let mut call = || {
                    let answer = self.admit(now)?;
                    let permit = self.held.pop().expect("it was just admitted");
                    self.circuit.settle(permit, outcome, now);
                    Ok(answer)
                };
                return (0..calls).map(|_| call()).collect();
            }
            Event::Settle(which, outcome) => {
                if let Some(which) = which.checked_rem(self.held.len()) {
                    self.circuit.settle(self.held.remove(which), outcome, now);
                }
            }
            Event::Renew(which) => {
                if let Some(which) = which.checked_rem(self.held.len()) {
                    self.circuit.renew(&self.held[which], now);
                }
            }
            Event::Drop(which) => {
                if let Some(which) = which.checked_rem(self.held.len()) {
                    drop(self.held.remove(which));
                }
            }
            Event::Wait(_) | Event::WaitForNext { .. } | Event::GoBack(_) | Event::Look => {}
            Event::Isolate => self.circuit.isolate(),
            Event::Disable => self.circuit.disable(),
            Event::Reset => self.circuit.reset(),
            Event::Reconfigure(config) => self.circuit.reconfigure_at(config, now).expect("it is valid"),
            Event::Misconfigure(config) => assert!(self.circuit.reconfigure_at(config, now).is_err()),
        }
        Vec::new()
    }
}

impl StateMachineTest for Real {
    type SystemUnderTest = Self;
    type Reference = Model;

    fn init_test(model: &Model) -> Self {
        let start = start();
        let circuit = Circuit::new_at(model.config.clone(), start).expect("it is valid");
        Self { circuit, start, held: Vec::new() }
    }

    fn apply(mut real: Self, model: &Model, event: Event) -> Self {
        let answers = real.happen(event, real.start + model.now);
        assert_eq!(answers, model.answers, "answers: the circuit's, the model's");
        real
    }

    fn check_invariants(real: &Self, model: &Model) {
        if !model.looked {
            return assert_eq!(real.circuit.state(), model.state);
        }
        let seen = real.circuit.snapshot_at(real.start + model.now);
        assert_eq!((seen.state, seen.generation), (model.state, model.generation));
        assert_eq!(real.circuit.state(), model.state, "the word says what the machine says");
        let half_open = model.state == State::HalfOpen;
        let votes = if half_open { sum(model.probe_votes.iter().copied()) } else { model.votes_in_window() };
        assert_eq!(seen.votes, votes, "votes");
        assert_eq!(seen.abandoned, model.abandoned_in_window(), "abandoned");
        assert_eq!(seen.probes as usize, if half_open { model.probes_out.len() } else { 0 }, "probes");
        assert_eq!(seen.reopenings, model.reopenings, "reopenings");
        assert_eq!(seen.refused, model.refused, "refused");
        assert_eq!(seen.retry_after, model.refusal().err().flatten(), "retry_after");
        assert_eq!(real.circuit.config(), model.config);
    }
}

/// A few hundred cases, or as many as `PROPTEST_CASES` says.
fn cases() -> ProptestConfig {
    let config = ProptestConfig::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { config.cases } else { 500 };
    ProptestConfig { cases, ..config }
}

prop_state_machine! {
    #![proptest_config(cases())]
    #[test]
    fn does_what_the_model_does(sequential 50..150 => Real);
}

// ===== jitter, which the model leaves out =====

/// The lengths of a row of openings.
fn open_times(config: Config, openings: usize) -> Vec<Duration> {
    let mut driver = Driver::new(config.window(Window::Consecutive(1)).probes(1));
    let next = |_| {
        driver.call(Outcome::Failure);
        let time = driver.retry_after().expect("the circuit is open");
        driver.wait(time);
        time
    };
    (0..openings).map(next).collect()
}

proptest! {
    #[test]
    fn jitter_shortens_an_open_time_by_at_most_its_share(
        (share, millis, seed) in (0.0..=1.0_f64, 1..=100_000_u64, any::<u64>()),
    ) {
        let config = Config::default().open_for(ms(millis)).jitter(share).seed(seed);
        let times = open_times(config.clone(), 5);
        // A nanosecond for the rounding.
        let shortest = ms(millis).mul_f64(1.0 - share).saturating_sub(Duration::from_nanos(1));
        for &time in &times {
            prop_assert!((shortest..=ms(millis)).contains(&time), "{shortest:?} to {:?}: {time:?}", ms(millis));
        }
        prop_assert_eq!(times, open_times(config, 5), "the same seed gives the same times");
    }

    #[test]
    fn jitter_differs_between_openings_and_between_seeds(seed in any::<u64>()) {
        let config = Config::default().jitter(0.5);
        let times = open_times(config.clone().seed(seed), 5);
        prop_assert!(times.iter().any(|&time| time != times[0]), "{times:?}");
        prop_assert_ne!(times, open_times(config.seed(seed.wrapping_add(1)), 5));
    }
}
