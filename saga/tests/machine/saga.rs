//! One saga driven by hand, and its records in few words.

use mainstay_saga::{
    Cause, FailedAs, Graph, Node, ParkReason, Payload, Record, StepError, Timestamp, UndoError,
    state::{IllegalRecord, State},
    testkit,
};

/// A saga with its log, whose world is the test.
pub(crate) struct Saga {
    pub(crate) graph: Graph,
    pub(crate) state: State,
    pub(crate) log: Vec<(u64, Record)>,
    pub(crate) now: Timestamp,
    pub(crate) epoch: u64,
}

pub(crate) fn json(text: &str) -> Payload {
    Payload::encode(&serde_json::from_str::<serde_json::Value>(text).expect("the test gives JSON")).unwrap()
}

pub(crate) fn seconds(seconds: u64) -> Timestamp {
    Timestamp::from_millis(seconds * 1_000)
}

/// A graph of these steps.
pub(crate) fn graph(nodes: Vec<Node>) -> Graph {
    Graph::new("saga", 1, nodes).expect("the test means a valid graph")
}

impl Saga {
    /// A saga that was created, and nothing else.
    pub(crate) fn new(nodes: Vec<Node>) -> Self {
        Self::of(graph(nodes))
    }

    pub(crate) fn of(graph: Graph) -> Self {
        let state = State::new(&graph);
        let mut saga = Self { graph, state, log: Vec::new(), now: seconds(0), epoch: 1 };
        let created = Record::created(&saga.graph, "key".into(), json("1"), saga.now);
        saga.apply(created);
        saga
    }

    /// Takes in a record that has to be legal, and checks the log.
    pub(crate) fn apply(&mut self, record: Record) {
        self.try_apply(record).unwrap();
    }

    pub(crate) fn try_apply(&mut self, record: Record) -> Result<(), IllegalRecord> {
        self.state.apply(&self.graph, &record)?;
        self.log.push((self.epoch, record));
        testkit::check(&self.graph, &self.log).unwrap_or_else(|violation| panic!("{violation}: {:?}", self.words()));
        Ok(())
    }

    /// What comes of itself, until nothing comes.
    pub(crate) fn go(&mut self) -> Vec<String> {
        let mut went = Vec::new();
        while let Some(record) = self.state.plan(&self.graph, self.now) {
            went.push(words(&record));
            self.apply(record);
            assert!(went.len() < 20_000, "it never comes to rest");
        }
        went
    }

    pub(crate) fn position(&self, step: &str) -> usize {
        self.graph.position(step).expect("the test names a step")
    }

    pub(crate) fn ended(&mut self, step: &str, end: Result<Payload, StepError>) -> Vec<String> {
        let record = self.state.settle(&self.graph, self.position(step), end, self.now, u64::MAX);
        self.apply(record);
        self.go()
    }

    /// The step succeeds; what comes of it.
    pub(crate) fn ok(&mut self, step: &str) -> Vec<String> {
        self.gives(step, "7")
    }

    pub(crate) fn gives(&mut self, step: &str, output: &str) -> Vec<String> {
        self.ended(step, Ok(json(output)))
    }

    pub(crate) fn fails(&mut self, step: &str, outcome: FailedAs) -> Vec<String> {
        self.ended(step, Err(error(outcome)))
    }

    pub(crate) fn undo_ended(&mut self, step: &str, end: Result<(), UndoError>) -> Vec<String> {
        let record = self.state.settle_undo(&self.graph, self.position(step), end, self.now, u64::MAX);
        self.apply(record);
        self.go()
    }

    pub(crate) fn undone(&mut self, step: &str) -> Vec<String> {
        self.undo_ended(step, Ok(()))
    }

    pub(crate) fn undo_fails(&mut self, step: &str) -> Vec<String> {
        self.undo_ended(step, Err(UndoError::try_again("no")))
    }

    /// The process dies, and another one takes over.
    pub(crate) fn crash(&mut self) -> Vec<String> {
        self.reload();
        self.go()
    }

    pub(crate) fn reload(&mut self) {
        self.epoch += 1;
        self.state = State::load(&self.graph, self.log.iter().map(|(_, record)| record)).unwrap();
    }

    pub(crate) fn at(&mut self, now: Timestamp) -> Vec<String> {
        self.now = now;
        self.go()
    }

    pub(crate) fn cancel(&mut self) -> Vec<String> {
        self.apply(Record::CancelRequested { reason: "enough".into() });
        self.go()
    }

    pub(crate) fn does(&mut self, record: Record) -> Vec<String> {
        self.apply(record);
        self.go()
    }

    pub(crate) fn words(&self) -> Vec<String> {
        self.log.iter().map(|(_, record)| words(record)).collect()
    }
}

pub(crate) fn error(outcome: FailedAs) -> StepError {
    match outcome {
        FailedAs::Rejected => StepError::rejected("no"),
        FailedAs::RejectedForKey => StepError::rejected_for_key("no"),
        FailedAs::NotExecuted => StepError::not_executed("no"),
        _ => StepError::unknown("no"),
    }
}

/// A record in few words.
pub(crate) fn words(record: &Record) -> String {
    match record {
        Record::Created { .. } => "created".into(),
        Record::StepStarted { step, attempt } => format!("start {step} {attempt}"),
        Record::StepSucceeded { step, .. } => format!("ok {step}"),
        Record::StepFailed { step, retry_at: Some(at), .. } => format!("failed {step}, again at {}", at.as_millis()),
        Record::StepFailed { step, .. } => format!("failed {step}"),
        Record::StepLeftOut { step } => format!("leave out {step}"),
        Record::WaitStarted { step, until: Some(until) } => format!("wait for {step} until {}", until.as_millis()),
        Record::WaitStarted { step, .. } => format!("wait for {step}"),
        Record::SignalReceived { step, .. } => format!("signal {step}"),
        Record::CancelRequested { .. } => "cancel".into(),
        Record::Turned { cause } => match cause {
            Cause::StepFailed { step, .. } => format!("turn: {step}"),
            Cause::Cancelled { .. } => "turn: cancelled".into(),
            Cause::DeadlinePassed => "turn: deadline".into(),
            other => format!("turn: {other:?}"),
        },
        Record::UndoStarted { step, attempt } => format!("undo {step} {attempt}"),
        Record::UndoSucceeded { step } => format!("undone {step}"),
        Record::UndoFailed { step, retry_at: Some(at), .. } => {
            format!("undo failed {step}, again at {}", at.as_millis())
        }
        Record::UndoFailed { step, .. } => format!("undo failed {step}"),
        Record::Parked { reason } => match reason {
            ParkReason::PivotUnknown { step } => format!("park: pivot unknown {step}"),
            ParkReason::StepRejected { step } => format!("park: rejected {step}"),
            ParkReason::UndoFailed { step } => format!("park: undo failed {step}"),
            ParkReason::NeverEnds { step } => format!("park: never ends {step}"),
            other => format!("park: {other:?}"),
        },
        Record::Completed => "completed".into(),
        Record::Compensated => "compensated".into(),
        other => format!("{other:?}"),
    }
}
