//! Sagas of three steps that do nothing: what is measured is what the engine and its journal cost.

mod machine;

use crate::Case;
use futures_util::future::join_all;
use mainstay_saga::{
    Cause, Draft, Effect, Engine, Out, Outcome, Saga, StepCx, StepError, UndoCx, UndoError,
    journal::{Journal, Memory},
};
use std::fmt::{self, Debug, Formatter};
use tokio::task::yield_now;

/// How many sagas are in flight where they are many.
pub const IN_FLIGHT: u64 = 1_000;

/// The journal is in memory, and each loop in a runtime of one thread. Where many are in flight, one call is all of them.
pub fn cases() -> Vec<Case> {
    let together = async |sagas: &mut Sagas| sagas.complete_together(IN_FLIGHT).await;
    cases_alone().into_iter().chain([one("saga/in_flight_1000", yielding, together)]).collect()
}

/// Those of [`cases`] in which one saga follows another.
pub fn cases_alone() -> Vec<Case> {
    vec![
        machine::record("saga_machine/record"),
        one("saga/completed", completing, Sagas::complete),
        one("saga/undone", rejected, Sagas::turn_back),
    ]
}

fn one(name: &str, saga: fn() -> Saga<(), u64, u64>, call: impl AsyncFn(&mut Sagas) + Copy + Send + 'static) -> Case {
    Case::awaited(name, move || {
        let mut made = None;
        async move |_| {
            let sagas = match &mut made {
                Some(sagas) => sagas,
                none => none.insert(Sagas::new(saga(), Memory::new()).await),
            };
            call(sagas).await;
        }
    })
}

/// An engine, and a saga that is started over and over.
pub struct Sagas {
    engine: Engine<()>,
    saga: Saga<(), u64, u64>,
    started: u64,
}

impl Sagas {
    /// In the runtime in which this is called.
    pub async fn new(saga: Saga<(), u64, u64>, journal: impl Journal) -> Self {
        let engine = Engine::builder((), journal).register(&saga).start().await.expect("an engine");
        Self { engine, saga, started: 0 }
    }

    /// One saga that completes, from its start to its outcome.
    pub async fn complete(&mut self) {
        self.started += 1;
        self.run(self.started).await;
    }

    /// So many at once.
    pub async fn complete_together(&mut self, sagas: u64) {
        let keys = self.started + 1..=self.started + sagas;
        self.started += sagas;
        let this = &*self;
        join_all(keys.map(|key| this.run(key))).await;
    }

    async fn run(&self, key: u64) {
        assert_eq!(self.outcome(key).await, Outcome::Completed(key + 3));
    }

    /// One saga that is undone.
    pub async fn turn_back(&mut self) {
        self.started += 1;
        let outcome = self.outcome(self.started).await;
        assert!(matches!(outcome, Outcome::Compensated(Cause::StepFailed { .. })));
    }

    async fn outcome(&self, key: u64) -> Outcome<u64> {
        let handle = self.engine.start(&self.saga, &key.to_string(), key).await.expect("there is room");
        handle.outcome().await.expect("it ends")
    }
}

/// Each step takes what the one before gave, and gives one more. Nothing waits.
pub fn completing() -> Saga<(), u64, u64> {
    define(async |_, number| Ok(number + 1))
}

/// The third step says no.
pub fn rejected() -> Saga<(), u64, u64> {
    define(async |_, _| Err(StepError::rejected("no")))
}

/// Each step lets all others have a turn, so that all are in flight at once.
pub fn yielding() -> Saga<(), u64, u64> {
    fn steps<'s>(mut s: Draft<'s, ()>, input: Out<'s, u64>) -> Out<'s, u64> {
        let first = s.step("first", input, later, keep);
        let second = s.step("second", first, later, keep);
        s.step("third", second, later, keep)
    }
    Saga::define("three", 1, steps).expect("a saga")
}

fn define<R>(third: impl Fn(StepCx<()>, u64) -> R + Send + Sync + 'static) -> Saga<(), u64, u64>
where
    R: Future<Output = Result<u64, StepError>> + Send + 'static,
{
    Saga::<(), u64, _>::define("three", 1, |mut s, input| {
        let first = s.step("first", input, async |_, number| Ok(number + 1), keep);
        let second = s.step("second", first, async |_, number| Ok(number + 1), keep);
        s.step("third", second, third, keep)
    })
    .expect("a saga")
}

async fn later(_: StepCx<()>, number: u64) -> Result<u64, StepError> {
    yield_now().await;
    Ok(number + 1)
}

async fn keep(_: UndoCx<()>, _: u64, _: Effect<u64>) -> Result<(), UndoError> {
    Ok(())
}

impl Debug for Sagas {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sagas").field("started", &self.started).finish_non_exhaustive()
    }
}
