//! The waits of an engine with a seed: the same ones for the same failures.

use mainstay_saga::{Config, Draft, Effect, Engine, Out, Saga, StepCx, StepError, UndoCx, UndoError, journal::Memory};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::time::Instant;

/// When the attempts were made.
struct Times {
    begin: Instant,
    taken: Mutex<Vec<Duration>>,
}

impl Times {
    fn new() -> Arc<Self> {
        Arc::new(Self { begin: Instant::now(), taken: Mutex::default() })
    }

    fn take(&self) {
        self.taken.lock().unwrap().push(self.begin.elapsed());
    }
}

async fn act(cx: StepCx<Times>, _: u32) -> Result<u32, StepError> {
    cx.app().take();
    if cx.attempt() < 5 { Err(StepError::not_executed("busy")) } else { Ok(1) }
}

async fn undo(cx: UndoCx<Times>, _: u32, _: Effect<u32>) -> Result<(), UndoError> {
    cx.app().take();
    if cx.attempt() < 5 { Err(UndoError::try_again("busy")) } else { Ok(()) }
}

/// Four waits of a step, a step that fails for good, and four waits of an undo.
fn stumbling<'s>(mut s: Draft<'s, Times>, number: Out<'s, u32>) -> Out<'s, u32> {
    let a = s.step("a", number, act, undo);
    s.read("b", a, async |_, _: u32| Err::<u32, _>(StepError::rejected("no")))
}

/// Nothing waits in it.
fn healthy<'s>(mut s: Draft<'s, Times>, number: Out<'s, u32>) -> Out<'s, u32> {
    let a = s.step("a", number, async |_, number| Ok(number), async |_, _, _: Effect<u32>| Ok(()));
    s.read("b", a, async |_, number: u32| if number > 0 { Ok(number) } else { Err(StepError::rejected("no")) })
}

/// When the attempts are made of a saga that stumbles, after so many that do not.
fn times(config: Config, before: u32) -> Vec<Duration> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let times = Times::new();
        let stumbling = Saga::define("stumbling", 1, stumbling).unwrap();
        let healthy = Saga::define("healthy", 1, healthy).unwrap();
        let builder = Engine::builder(Arc::clone(&times), Memory::new()).register(&stumbling).register(&healthy);
        let engine = builder.config(config).start().await.unwrap();
        for number in 0..before {
            engine.start(&healthy, &number.to_string(), number).await.unwrap().outcome().await.unwrap();
        }
        engine.start(&stumbling, "1", 1).await.unwrap().outcome().await.unwrap();
        times.taken.lock().unwrap().clone()
    })
}

#[test]
fn waits_are_those_of_the_seed() {
    let config = Config::default().seed(7);
    let waited = times(config, 0);
    assert_eq!(waited.len(), 10);
    assert_eq!(times(config, 0), waited);
    assert_ne!(times(Config::default().seed(8), 0), waited);
}

#[test]
fn waits_without_a_seed_are_always_others() {
    assert_ne!(times(Config::default(), 0), times(Config::default(), 0));
}

#[test]
fn only_waits_draw() {
    let config = Config::default().seed(7);
    // The first one fails for good, the others succeed.
    assert_eq!(times(config, 5), times(config, 0));
}

#[test]
fn each_wait_draws_for_itself() {
    let waited = times(Config::default().seed(7), 0);
    let waits = |of: &[Duration]| of.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).collect::<Vec<_>>();
    assert_ne!(waits(&waited[..5]), waits(&waited[5..]));
}

#[cfg(feature = "testkit")]
#[test]
fn pauses_of_a_journal_that_fails_are_those_of_the_seed() {
    use mainstay_saga::testkit::{Fault, FaultyJournal};

    let paused = |config: Config| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let (times, journal) = (Times::new(), FaultyJournal::new(Memory::new()));
            for write in 2..8 {
                journal.fail(write, Fault::Fails);
            }
            let healthy = Saga::define("healthy", 1, healthy).unwrap();
            let builder = Engine::builder(Arc::clone(&times), journal).register(&healthy);
            let engine = builder.config(config).start().await.unwrap();
            engine.start(&healthy, "1", 1).await.unwrap().outcome().await.unwrap();
            times.begin.elapsed()
        })
    };
    let config = Config::default().seed(7);
    assert_eq!(paused(config), paused(config));
    assert_ne!(paused(config), paused(Config::default().seed(8)));
}
