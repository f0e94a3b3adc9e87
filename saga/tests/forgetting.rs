//! A saga that has ended leaves no memory behind, in the engine or in the journal in memory; and what one takes on its way.

use mainstay_saga::{Draft, Effect, Engine, Out, Saga, StepCx, StepError, UndoCx, UndoError, journal::Memory};
use std::sync::Arc;
use tokio::runtime::{Builder, Runtime};

async fn act(_: StepCx<()>, number: u32) -> Result<u32, StepError> {
    Ok(number + 1)
}

async fn undo(_: UndoCx<()>, _: u32, _: Effect<u32>) -> Result<(), UndoError> {
    Ok(())
}

fn chain<'s>(mut s: Draft<'s, ()>, number: Out<'s, u32>) -> Out<'s, u32> {
    let a = s.step("first", number, act, undo);
    let b = s.step("second", a, act, undo);
    s.step("third", b, act, undo)
}

struct Stage {
    runtime: Runtime,
    engine: Engine<()>,
    saga: Saga<(), u32, u32>,
}

impl Stage {
    fn new() -> Self {
        let runtime = Builder::new_current_thread().enable_time().build().unwrap();
        let saga = Saga::define("chain", 1, chain).unwrap();
        let builder = Engine::builder(Arc::new(()), Memory::with_ended(16)).register(&saga);
        let engine = runtime.block_on(builder.start()).unwrap();
        Self { runtime, engine, saga }
    }

    fn run(&self, keys: std::ops::Range<u32>) {
        self.runtime.block_on(async {
            for key in keys {
                let handle = self.engine.start(&self.saga, &format!("{key:08}"), key).await.unwrap();
                handle.outcome().await.unwrap();
            }
        });
    }
}

#[test]
fn ended_sagas_leave_nothing_behind() {
    let stage = Stage::new();
    stage.run(0..200);
    let taken = allocation_counter::measure(|| stage.run(200..1_200));
    // Maps keep some room in reserve, and not always as much.
    let each = taken.bytes_current.abs() / 1_000;
    assert!(each < 8, "{} bytes are left of 1,000 sagas", taken.bytes_current);
}

#[test]
fn saga_of_three_steps_takes_few_allocations() {
    let stage = Stage::new();
    stage.run(0..200);
    let taken = allocation_counter::measure(|| stage.run(200..201));
    // The key of the test is one of them, the journal's futures and records the most.
    assert!(taken.count_total <= 50, "{taken:?}");
}
