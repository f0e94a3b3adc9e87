//! Random graphs in a random world, beside the model, and the invariants after every record.

use super::{
    graphs::{self, Choices},
    model::Model,
    saga::{Saga, error, json, words},
};
use mainstay_saga::{
    ByOperator, Effect, FailedAs, Kind, ParkReason, Record, Timestamp, UndoError,
    journal::Phase,
    state::{State, Status},
    testkit,
};
use proptest::prelude::*;
use std::time::Duration;

/// A saga, the model beside it, and the world's choices.
struct Pair {
    saga: Saga,
    model: Model,
    choices: Choices,
    /// Records that were applied, but are not in the journal yet.
    pending: Vec<Record>,
}

impl Pair {
    fn new(numbers: Vec<u16>) -> Self {
        let mut choices = Choices::new(numbers);
        let graph = graphs::graph(&mut choices);
        let mut model = Model::new(&graph);
        let saga = Saga::of(graph);
        model.apply(&saga.log[0].1);
        Self { saga, model, choices, pending: Vec::new() }
    }

    /// Takes in a record, and looks at both.
    fn apply(&mut self, record: Record) {
        if let Err(error) = self.saga.state.apply(&self.saga.graph, &record) {
            panic!("{error}: {} after {:?}", words(&record), self.saga.words());
        }
        self.model.apply(&record);
        self.pending.push(record);
        self.compare();
    }

    fn compare(&self) {
        let Saga { state, graph, now, .. } = &self.saga;
        assert_eq!(state.phase(), self.model.phase());
        let next = state.plan(graph, *now);
        assert_eq!(next, self.model.next(*now), "after {:?} and {:?}", self.saga.words(), self.pending);
        assert_eq!(state.next_wake(), self.model.next_wake());
        for (position, node) in graph.nodes().iter().enumerate() {
            let step = state.step(position);
            assert_eq!(step.is_live(), self.model.here.contains(node.name()));
            let output = step.output().map(|output| output.decode::<serde_json::Value>().unwrap());
            assert_eq!(output, self.model.output(node.name()), "{}", node.name());
            if node.kind() == Kind::Compensatable {
                let effect = step.effect().map(|effect| matches!(effect, Effect::Known(_)));
                assert_eq!(effect, self.model.effect(node.name()), "{}", node.name());
            }
        }
        if next.is_none() {
            self.check_rest();
        }
    }

    /// Nothing comes of itself: then something else has to be on its way, or it would never go on.
    fn check_rest(&self) {
        let Saga { state, graph, now, .. } = &self.saga;
        let wakes = state.next_wake();
        assert!(wakes.is_none_or(|at| at > *now), "it would be woken again and again");
        let waits = graph.nodes().iter().enumerate().any(|(position, node)| {
            let is_signal = matches!(node.kind(), Kind::Signal { .. });
            is_signal && matches!(state.step(position).status(), Status::Waiting { .. })
        });
        let goes_on = state.has_live() || wakes.is_some() || waits;
        assert!(goes_on || !state.phase().is_running(), "it never goes on: {:?}", self.saga.words());
    }

    /// Applies what comes of itself.
    fn plan(&mut self) {
        let mut many = 0;
        while let Some(record) = self.saga.state.plan(&self.saga.graph, self.saga.now) {
            self.apply(record);
            many += 1;
            assert!(many < 100, "it never comes to rest");
        }
    }

    /// The journal acknowledges: what was applied has happened, and every prefix can be read.
    fn commit(&mut self) {
        for record in std::mem::take(&mut self.pending) {
            self.saga.log.push((self.saga.epoch, record));
        }
    }

    /// Every record keeps the invariants, and every prefix can be read.
    fn check_log(&self) {
        let Saga { graph, log, .. } = &self.saga;
        assert_eq!(testkit::check(graph, log), Ok(()), "{:?}", self.saga.words());
        for many in 0..=log.len() {
            State::load(graph, log[..many].iter().map(|(_, record)| record)).unwrap();
        }
    }

    /// The process dies; what the journal has not acknowledged is lost.
    fn crash(&mut self) {
        self.pending.clear();
        self.saga.reload();
        let mut model = Model::new(&self.saga.graph);
        self.saga.log.iter().for_each(|(_, record)| model.apply(record));
        model.crash();
        self.model = model;
        self.compare();
    }

    /// Everything from here to the next rest, with the journal, and perhaps a crash before or after it has written.
    fn go(&mut self) {
        self.plan();
        let when = self.choices.of(12);
        if when == 11 {
            self.crash();
            self.plan();
        }
        self.commit();
        if when == 10 {
            self.crash();
            self.plan();
            self.commit();
        }
    }

    fn live(&self) -> Vec<usize> {
        let steps = 0..self.saga.graph.nodes().len();
        steps.filter(|&position| self.saga.state.step(position).is_live()).collect()
    }

    /// What may happen next to a saga that is at rest.
    fn event(&mut self) {
        match self.choices.of(10) {
            0..=4 => self.end_one(),
            5 => self.time_passes(),
            6 => self.signal(),
            7 => self.ask(Record::CancelRequested { reason: "enough".into() }),
            _ => self.operate(),
        }
        self.go();
    }

    fn end_one(&mut self) {
        let live = self.live();
        if live.is_empty() {
            return self.time_passes();
        }
        let position = live[self.choices.of(live.len())];
        let outcome = self.choices.of(8);
        if outcome == 7 && self.choices.one_in(4) {
            let step = self.saga.graph.nodes()[position].name().into();
            return self
                .apply_if_open(Record::Parked { reason: ParkReason::Unreadable { step, error: "what?".into() } });
        }
        let record = self.end_of(position, outcome);
        self.apply(record);
    }

    fn apply_if_open(&mut self, record: Record) {
        if self.saga.state.phase().is_running() {
            self.apply(record);
        }
    }

    fn end_of(&self, position: usize, outcome: usize) -> Record {
        let Saga { state, graph, now, .. } = &self.saga;
        let draw = u64::MAX;
        if state.step(position).status() == Status::Undoing {
            let end = match outcome {
                5 => Err(UndoError::try_again("no")),
                6 => Err(UndoError::needs_help("no")),
                _ => Ok(()),
            };
            return state.settle_undo(graph, position, end, *now, draw);
        }
        let end = match outcome {
            0 | 1 => Ok(json("true")),
            2 => Ok(json("false")),
            3 => Ok(json("7")),
            4 => Err(error(FailedAs::Rejected)),
            5 => Err(error(FailedAs::NotExecuted)),
            6 => Err(error(FailedAs::Unknown)),
            _ => Err(error(FailedAs::RejectedForKey)),
        };
        state.settle(graph, position, end, *now, draw)
    }

    fn time_passes(&mut self) {
        let wake = self.saga.state.next_wake().unwrap_or(self.saga.now);
        let later = self.saga.now.after(Duration::from_millis(700));
        self.saga.now = if self.choices.one_in(3) { later } else { wake.max(self.saga.now) };
        self.compare_next();
    }

    /// Time alone has passed.
    fn compare_next(&self) {
        let Saga { state, graph, now, .. } = &self.saga;
        assert_eq!(state.plan(graph, *now), self.model.next(*now), "after {:?}", self.saga.words());
    }

    fn any_step(&mut self) -> std::sync::Arc<str> {
        let nodes = self.saga.graph.nodes();
        nodes[self.choices.of(nodes.len())].name().into()
    }

    fn signal(&mut self) {
        let step = self.any_step();
        let payload = json(["true", "3"][self.choices.of(2)]);
        self.ask(Record::SignalReceived { step, id: "mail".into(), payload });
    }

    fn operate(&mut self) {
        if self.saga.state.phase() != Phase::Parked && !self.choices.one_in(6) {
            return self.end_one();
        }
        let by = ByOperator { by: "ann".into(), reason: "I looked".into() };
        let parked = self.saga.state.park_reason().and_then(ParkReason::step).cloned();
        let step = parked.filter(|_| !self.choices.one_in(3)).unwrap_or_else(|| self.any_step());
        let record = match self.choices.of(8) {
            0..=3 => Record::Resumed(by),
            4 | 5 => Record::MarkedCompensated { step, by },
            6 => Record::Skipped { step, by },
            _ if self.choices.one_in(4) => Record::Abandoned(by),
            _ => Record::Resumed(by),
        };
        self.ask(record);
    }

    /// Somebody from outside asks for something that may be refused.
    fn ask(&mut self, record: Record) {
        let answer = self.saga.state.check(&self.saga.graph, &record);
        let context = || format!("{}: {answer:?} after {:?}", words(&record), self.saga.words());
        assert_eq!(answer.is_ok(), self.model.accepts(&record), "{}", context());
        if answer.is_ok() {
            self.apply(record);
        }
    }

    fn run(&mut self) {
        self.go();
        while !self.choices.is_used_up() && !self.saga.state.phase().is_ended() {
            self.event();
        }
    }

    /// From now on the world is kind: then the saga ends.
    fn drain(&mut self) {
        for _ in 0..200 {
            if self.saga.state.phase().is_ended() {
                return;
            }
            if let [position, ..] = self.live()[..] {
                let record = self.end_of(position, 0);
                self.apply(record);
            } else if self.saga.state.phase() == Phase::Parked {
                self.signal_all();
                self.apply(Record::Resumed(ByOperator { by: "ann".into(), reason: "the world is kind".into() }));
            } else if let Some(wake) = self.saga.state.next_wake() {
                self.saga.now = wake.max(self.saga.now);
            } else {
                self.signal_all();
            }
            self.plan();
            self.commit();
        }
        panic!("it does not end: {:?}", self.saga.words());
    }

    fn signal_all(&mut self) {
        for node in self.saga.graph.nodes().to_vec() {
            let record = Record::SignalReceived { step: node.name().into(), id: "mail".into(), payload: json("true") };
            if matches!(node.kind(), Kind::Signal { .. }) && self.saga.state.check(&self.saga.graph, &record).is_ok() {
                self.apply(record);
            }
        }
    }
}

/// What the random runs get to see: a test that never parks tells nothing about parking.
#[test]
fn random_runs_see_every_kind_of_record() {
    use rand::{SeedableRng, rngs::SmallRng};
    let mut rng = SmallRng::seed_from_u64(1);
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..2_000 {
        let mut pair = Pair::new((0..200).map(|_| rng.random()).collect());
        pair.run();
        seen.extend(pair.saga.log.iter().map(|(_, record)| kind_of(record)));
    }
    let expected = [
        "Abandoned",
        "CancelRequested",
        "Compensated",
        "Completed",
        "Created",
        "MarkedCompensated",
        "Parked",
        "PivotUnknown",
        "StepRejected",
        "UndoFailed",
        "Unreadable",
        "Resumed",
        "SignalReceived",
        "Skipped",
        "StepFailed",
        "StepLeftOut",
        "StepStarted",
        "StepSucceeded",
        "Turned",
        "Cancelled",
        "DeadlinePassed",
        "Operator",
        "StepFailed",
        "UndoStarted",
        "UndoSucceeded",
        "WaitStarted",
    ];
    for word in expected {
        assert!(seen.iter().any(|kind| kind.contains(word)), "no {word} among {seen:?}");
    }
}

/// The kind of a record, with that of its cause or reason.
fn kind_of(record: &Record) -> String {
    let debug = format!("{record:?}");
    let words = debug.split(['{', '(', ':']).map(str::trim);
    let capital = |word: &&str| word.starts_with(|first: char| first.is_ascii_uppercase());
    words.filter(capital).take(2).collect::<Vec<_>>().join(" ")
}

fn numbers() -> impl Strategy<Value = Vec<u16>> {
    proptest::collection::vec(any::<u16>(), 20..240)
}

/// More by `PROPTEST_CASES`.
fn cases() -> ProptestConfig {
    let cases = ProptestConfig::default().cases.max(1_500);
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn a_saga_does_what_the_model_says_and_ends(numbers in numbers()) {
        let mut pair = Pair::new(numbers);
        pair.run();
        pair.drain();
        pair.check_log();
    }

    #[test]
    fn a_saga_goes_on_from_every_prefix_of_its_records(numbers in numbers(), cut in any::<u16>()) {
        let mut pair = Pair::new(numbers);
        pair.run();
        pair.saga.log.truncate(1 + usize::from(cut) % pair.saga.log.len());
        pair.crash();
        pair.plan();
        pair.commit();
        pair.drain();
        pair.check_log();
    }

    #[test]
    fn a_log_that_was_tampered_with_is_refused_or_keeps_the_invariants(
        numbers in numbers(),
        tampering in proptest::collection::vec(any::<u16>(), 1..12),
    ) {
        let mut pair = Pair::new(numbers);
        pair.run();
        let mut log = pair.saga.log.clone();
        tamper(&mut log, &mut Choices::new(tampering));
        let mut state = State::new(&pair.saga.graph);
        let mut taken = Vec::new();
        for (epoch, record) in log {
            let before = state.clone();
            if state.apply(&pair.saga.graph, &record).is_err() {
                prop_assert_eq!(format!("{before:?}"), format!("{state:?}"), "a refused record changes nothing");
                break;
            }
            taken.push((epoch, record));
            state.plan(&pair.saga.graph, Timestamp::from_millis(u64::MAX));
            state.next_wake();
        }
        // Epochs are for the journal to guard: the fold does not see them.
        if let Err(violation) = testkit::check(&pair.saga.graph, &taken) {
            prop_assert!(["I-1", "I-2"].contains(&violation.invariant), "{}: {:?}", violation, taken);
        }
    }

    #[test]
    fn bytes_that_were_tampered_with_never_panic(
        numbers in numbers(),
        tampering in proptest::collection::vec(any::<u16>(), 1..12),
    ) {
        let mut pair = Pair::new(numbers);
        pair.run();
        let mut choices = Choices::new(tampering);
        let mut state = State::new(&pair.saga.graph);
        for (_, record) in &pair.saga.log {
            let mut bytes = record.encode();
            if choices.one_in(4) {
                let at = choices.of(bytes.len());
                bytes[at] = [b'0', b'"', b'}', b's', 0, 0xff][choices.of(6)];
            }
            let Ok(record) = Record::decode(&bytes) else { continue };
            let _ = state.apply(&pair.saga.graph, &record);
            state.plan(&pair.saga.graph, Timestamp::from_millis(u64::MAX));
        }
        state.lose_live();
        state.plan(&pair.saga.graph, Timestamp::from_millis(0));
    }
}

/// Leaves out, repeats, swaps and rewrites records.
fn tamper(log: &mut Vec<(u64, Record)>, choices: &mut Choices) {
    while !choices.is_used_up() && log.len() > 1 {
        let at = choices.of(log.len());
        let other = choices.of(log.len());
        match choices.of(5) {
            0 => drop(log.remove(at)),
            1 => log.insert(at, log[other].clone()),
            2 => log.swap(at, other),
            3 => log.truncate(at + 1),
            _ => {
                let epoch = log[at].0;
                log[at] = (epoch, rewritten(&log[at].1, choices));
            }
        }
    }
}

/// The record with another step, number, outcome or time.
fn rewritten(record: &Record, choices: &mut Choices) -> Record {
    let mut value = serde_json::to_value(record).unwrap();
    let body = value.as_object_mut().and_then(|kinds| kinds.values_mut().next());
    if let Some(serde_json::Value::Object(fields)) = body {
        let fields_there: Vec<String> = fields.keys().cloned().collect();
        let field = fields_there[choices.of(fields_there.len())].clone();
        let to = match field.as_str() {
            "step" => format!("s{}", choices.of(9)).into(),
            "attempt" => [0, 1, 2, 3, u32::MAX][choices.of(5)].into(),
            "retry_at" | "until" | "deadline" => {
                [serde_json::Value::Null, 0.into(), u64::MAX.into()][choices.of(3)].clone()
            }
            "outcome" => ["rejected", "rejected_for_key", "not_executed", "unknown"][choices.of(4)].into(),
            _ => serde_json::Value::from("x"),
        };
        fields.insert(field, to);
    }
    serde_json::from_value(value).unwrap_or_else(|_| record.clone())
}
