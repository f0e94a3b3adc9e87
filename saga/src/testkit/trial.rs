//! One saga, run over a journal and a code that fail, to its end.

use super::{
    FaultyJournal, check,
    hooked::{Around, At, Hook, hooked},
};
use crate::{
    Data, Engine, Handle, Outcome, ParkReason, Payload, Record, Saga, SagaId, StartError, WaitError,
    journal::{Filter, Journal, JournalError, Phase},
    testkit::Fault,
};
use futures_util::future::{Either, select};
use std::{pin::pin, sync::Arc, time::Duration};

/// How a saga came to rest.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum End<O> {
    /// It ended.
    Ended(Outcome<O>),
    /// It waits for an operator.
    Parked(ParkReason),
}

impl<O> End<O> {
    /// Whether all steps succeeded.
    pub const fn is_completed(&self) -> bool {
        matches!(self, Self::Ended(Outcome::Completed(_)))
    }

    /// Whether all that had happened was undone.
    pub const fn is_compensated(&self) -> bool {
        matches!(self, Self::Ended(Outcome::Compensated(_)))
    }
}

/// What goes wrong in one life of the process.
#[derive(Debug, Clone)]
pub(super) struct Life {
    pub(super) write: Option<(u64, Fault)>,
    pub(super) calls: Vec<(At, Around)>,
}

impl Life {
    pub(super) const fn quiet() -> Self {
        Self { write: None, calls: Vec::new() }
    }
}

/// What was counted in a life.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    pub(super) writes: u64,
    pub(super) calls: u64,
}

/// One run of a saga, through one life after the other.
pub(super) struct Trial<'t, A, I, O> {
    pub(super) saga: &'t Saga<A, I, O>,
    pub(super) input: &'t Payload,
    pub(super) app: Arc<A>,
}

const KEY: &str = "trial";

impl<A: Send + Sync + 'static, I: Data, O: Data> Trial<'_, A, I, O> {
    /// Lets the process live, die and live again, until the saga has come to rest. What happened is checked against the
    /// invariants.
    pub(super) async fn run<J: Journal>(&self, open: impl Fn() -> J, lives: &[Life]) -> (End<O>, Counts) {
        let mut first = Counts::default();
        let quiet = Life::quiet();
        for (number, life) in lives.iter().chain(std::iter::repeat(&quiet)).enumerate() {
            let (end, counts) = self.live(open(), life).await;
            if number == 0 {
                first = counts;
            }
            if let Some(end) = end {
                return (end, first);
            }
        }
        unreachable!("a life without faults does not end before the saga")
    }

    async fn live<J: Journal>(&self, journal: J, life: &Life) -> (Option<End<O>>, Counts) {
        let real = Arc::new(journal);
        let journal = FaultyJournal::new(Arc::clone(&real));
        if let Some((write, fault)) = life.write {
            journal.fail(write, fault);
        }
        let dying = journal.clone();
        let hook = Hook::new(life.calls.clone(), move || dying.cut_off());
        let saga = hooked(self.saga, &hook);
        let end = self.end(&saga, &journal).await;
        let counts = Counts { writes: journal.writes(), calls: hook.calls() };
        drop((journal, hook, saga));
        self.verify(&*real, end.as_ref()).await;
        left_alone(&real).await;
        (end, counts)
    }

    /// Runs the saga until it rests, or the process dies.
    async fn end<J: Journal>(&self, saga: &Saga<A, I, O>, journal: &FaultyJournal<Arc<J>>) -> Option<End<O>> {
        let builder = Engine::builder(Arc::clone(&self.app), journal.clone()).register(saga);
        let engine = builder.start().await.expect("the journal answers");
        let end = {
            let rest = pin!(async { rest(&self.start(&engine, saga).await).await });
            let died = pin!(journal.died());
            match select(died, rest).await {
                Either::Left(_) => None,
                Either::Right((end, _)) => Some(end),
            }
        };
        engine.shutdown(Duration::ZERO).await;
        end
    }

    /// Starts the saga as a client does that does not give up.
    async fn start(&self, engine: &Engine<A>, saga: &Saga<A, I, O>) -> Handle<O> {
        loop {
            let input = self.input.decode().expect("what was encoded can be decoded");
            match engine.start(saga, KEY, input).await {
                Ok(handle) => return handle,
                Err(StartError::Journal(JournalError::Transient(_) | JournalError::Full)) => {}
                Err(error) => panic!("the saga is not started: {error:?}"),
            }
        }
    }

    /// Checks what is in the journal.
    async fn verify(&self, journal: &impl Journal, end: Option<&End<O>>) {
        let found = journal.list(Filter::default(), None, 10).await.expect("the journal answers");
        assert!(found.len() <= 1, "one key made {} sagas", found.len());
        let phase = found.first().map(|summary| summary.phase);
        match end {
            Some(End::Ended(_)) => assert!(phase.is_some_and(Phase::is_ended), "the end was told before it was kept"),
            Some(End::Parked(_)) => assert_eq!(phase, Some(Phase::Parked)),
            None => {}
        }
        if let Some(summary) = found.first() {
            let records = records(journal, summary.id).await;
            if let Err(violation) = check(self.saga.graph(), &records) {
                panic!("{violation}\n{records:#?}");
            }
        }
    }
}

async fn rest<O: Data>(handle: &Handle<O>) -> End<O> {
    match handle.outcome().await {
        Ok(outcome) => End::Ended(outcome),
        Err(WaitError::Parked(reason)) => End::Parked(reason),
        Err(error) => panic!("the outcome is not known: {error:?}"),
    }
}

async fn records(journal: &impl Journal, id: SagaId) -> Vec<(u64, Record)> {
    let stored = journal.load(id).await.expect("the journal answers");
    let decode = |bytes: &[u8]| Record::decode(bytes).expect("the engine writes what it can read");
    stored.iter().map(|stored| (stored.epoch, decode(&stored.bytes))).collect()
}

/// Waits until the tasks of the dead engine have let go of the journal.
async fn left_alone<J>(journal: &Arc<J>) {
    while Arc::strong_count(journal) > 1 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
