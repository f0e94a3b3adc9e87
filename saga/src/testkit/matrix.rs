//! Crashes everywhere, and failures everywhere.

use super::{
    Fault,
    hooked::{Around, At},
    trial::{Counts, End, Life, Trial},
};
use crate::{
    Data, Kind, Payload, Saga,
    journal::{Journal, Memory},
};
use std::sync::Arc;

/// What was tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tried {
    /// How many runs there were.
    pub runs: usize,
    /// How many of them completed.
    pub completed: usize,
    /// How many of them were compensated.
    pub compensated: usize,
    /// How many of them were parked.
    pub parked: usize,
}

/// Pairs of crashes are tried up to so many writes.
const MOST_WRITES_OF_PAIRS: u64 = 12;

/// Lets the process die at each place where it can: before and after each write of the journal and each call of a step or an
/// undo, and in the middle of those that wait; and lets each write fail and lose its answer. Short sagas also get each pair of
/// deaths. Each time the saga goes on with a new engine until it ends, and its records are checked against the invariants.
///
/// `world` makes the application anew for each run, with its services and what they hold; `check` looks at it afterwards, with what
/// was done to the saga and how it came to rest. There it is to be asserted that what ought to have happened has happened once, and
/// that what was undone is gone. The saga has to end by itself, not by a signal.
///
/// It is one half, and [`fail_each_step`] the other. No step fails here that does not fail by itself, and one in which the process
/// dies is done again: so an undo is hardly ever given [`Effect::Maybe`](crate::Effect::Maybe), and those of a saga that completes
/// are never called.
///
/// To be run under tokio's paused time, since attempts are waited for.
///
/// # Panics
///
/// If an invariant does not hold, if the saga cannot be started, or if `check` panics.
///
/// # Examples
///
/// ```
/// use mainstay_saga::{Draft, Effect, Out, Saga, StepCx, StepError, UndoCx, UndoError, testkit::crash_matrix};
/// use std::{collections::BTreeSet, sync::{Arc, Mutex}};
///
/// /// A service that knows its keys, so that what is sent twice happens once.
/// #[derive(Default)]
/// struct Stock {
///     reserved: Mutex<BTreeSet<String>>,
/// }
///
/// async fn reserve(cx: StepCx<Stock>, _: u32) -> Result<(), StepError> {
///     cx.app().reserved.lock().unwrap().insert(cx.key().to_owned());
///     Ok(())
/// }
///
/// async fn release(cx: UndoCx<Stock>, _: u32, _: Effect<()>) -> Result<(), UndoError> {
///     cx.app().reserved.lock().unwrap().remove(cx.do_key());
///     Ok(())
/// }
///
/// fn order<'s>(mut s: Draft<'s, Stock>, item: Out<'s, u32>) -> Out<'s, ()> {
///     let reserved = s.step("reserve", item, reserve, release);
///     s.read("check", reserved, async |_, ()| Err(StepError::rejected("no such customer")))
/// }
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// let order = Saga::define("order", 1, order).unwrap();
/// let tried = crash_matrix(&order, 7, Arc::<Stock>::default, |stock, _, end| {
///     assert!(end.is_compensated());
///     assert!(stock.reserved.lock().unwrap().is_empty(), "all is released");
/// })
/// .await;
/// assert!(tried.runs > 50);
/// # }
/// ```
pub async fn crash_matrix<A, I, O>(
    saga: &Saga<A, I, O>,
    input: I,
    world: impl Fn() -> Arc<A>,
    check: impl FnMut(&A, &str, &End<O>),
) -> Tried
where
    A: Send + Sync + 'static,
    I: Data,
    O: Data,
{
    crash_matrix_on(saga, input, world, in_memory, check).await
}

/// The same on a journal of one's own.
///
/// `fresh` is called for each run, and what it gives for each life of the process: it opens the journal again after whoever had it has
/// died.
///
/// # Panics
///
/// As [`crash_matrix`].
pub async fn crash_matrix_on<A, I, O, J, F>(
    saga: &Saga<A, I, O>,
    input: I,
    world: impl Fn() -> Arc<A>,
    fresh: impl Fn() -> F,
    check: impl FnMut(&A, &str, &End<O>),
) -> Tried
where
    A: Send + Sync + 'static,
    I: Data,
    O: Data,
    J: Journal,
    F: Fn() -> J,
{
    let mut matrix = Matrix::new(saga, &input, world, fresh, check);
    let counts = matrix.run("nothing goes wrong", &[]).await;
    matrix.writes(counts.writes).await;
    matrix.calls(counts.calls).await;
    if counts.writes <= MOST_WRITES_OF_PAIRS {
        matrix.pairs(counts.writes).await;
    }
    matrix.tried
}

/// Lets each step fail in each way, once and always, before and after its effect; and lets each undo fail once in each way while the
/// saga is turned back by each of its steps. The records of each run are checked against the invariants.
///
/// For `world` and `check` see [`crash_matrix`], which is the other half: no process dies here.
///
/// # Panics
///
/// As [`crash_matrix`].
pub async fn fail_each_step<A, I, O>(
    saga: &Saga<A, I, O>,
    input: I,
    world: impl Fn() -> Arc<A>,
    check: impl FnMut(&A, &str, &End<O>),
) -> Tried
where
    A: Send + Sync + 'static,
    I: Data,
    O: Data,
{
    let mut matrix = Matrix::new(saga, &input, world, in_memory, check);
    let nodes = saga.graph().nodes();
    for (step, node) in nodes.iter().enumerate().filter(|(_, node)| node.kind().is_run()) {
        matrix.fail_step(step, node.name(), node.is_committed()).await;
        for (before, undone) in nodes[..step].iter().enumerate() {
            if undone.kind() == Kind::Compensatable && !node.is_committed() {
                matrix
                    .fail_undo(step, before, &format!("{} is rejected and the undo of {}", node.name(), undone.name()))
                    .await;
            }
        }
    }
    matrix.tried
}

fn in_memory() -> impl Fn() -> Memory {
    let memory = Memory::new();
    move || {
        memory.forget_owners();
        memory.clone()
    }
}

/// All runs of one saga.
struct Matrix<'m, A, I, O, W, N, C> {
    saga: &'m Saga<A, I, O>,
    input: Payload,
    world: W,
    fresh: N,
    check: C,
    tried: Tried,
}

impl<'m, A, I, O, W, N, C, J, F> Matrix<'m, A, I, O, W, N, C>
where
    A: Send + Sync + 'static,
    I: Data,
    O: Data,
    W: Fn() -> Arc<A>,
    N: Fn() -> F,
    F: Fn() -> J,
    J: Journal,
    C: FnMut(&A, &str, &End<O>),
{
    fn new(saga: &'m Saga<A, I, O>, input: &I, world: W, fresh: N, check: C) -> Self {
        let input = Payload::encode(input).expect("the input has JSON");
        Self { saga, input, world, fresh, check, tried: Tried { runs: 0, completed: 0, compensated: 0, parked: 0 } }
    }

    async fn run(&mut self, case: &str, lives: &[Life]) -> Counts {
        let trial = Trial { saga: self.saga, input: &self.input, app: (self.world)() };
        let (end, counts) = trial.run((self.fresh)(), lives).await;
        self.tried.runs += 1;
        match &end {
            End::Parked(_) => self.tried.parked += 1,
            end if end.is_completed() => self.tried.completed += 1,
            end if end.is_compensated() => self.tried.compensated += 1,
            End::Ended(_) => {}
        }
        (self.check)(&trial.app, case, &end);
        counts
    }

    async fn writes(&mut self, writes: u64) {
        for write in 1..=writes {
            for fault in Fault::ALL {
                let life = Life { write: Some((write, fault)), calls: Vec::new() };
                self.run(&format!("write {write}: {fault:?}"), &[life]).await;
            }
        }
    }

    async fn calls(&mut self, calls: u64) {
        for call in 1..=calls {
            for around in [Around::DiesBefore, Around::DiesAtItsFirstWait, Around::DiesAfter] {
                let life = Life { write: None, calls: vec![(At::Call(call), around)] };
                self.run(&format!("call {call}: {around:?}"), &[life]).await;
            }
        }
    }

    async fn pairs(&mut self, writes: u64) {
        let deaths = |write| [Fault::DiesBefore, Fault::DiesAfter].map(|fault| Some((write, fault)));
        for first in (1..=writes).flat_map(deaths) {
            for second in (1..=writes).flat_map(deaths) {
                let lives = [first, second].map(|write| Life { write, calls: Vec::new() });
                self.run(&format!("write {first:?} and then write {second:?}"), &lives).await;
            }
        }
    }

    async fn fail_step(&mut self, step: usize, name: &str, committed: bool) {
        for around in FAILURES {
            for always in [false, true] {
                // What is tried without end is not let fail without end.
                if !(always && committed && around != Around::IsRejected) {
                    let plan = (At::Step { step, undo: false, always }, around);
                    let often = if always { "always" } else { "once" };
                    let life = Life { write: None, calls: vec![plan] };
                    self.run(&format!("{name}: {around:?}, {often}"), &[life]).await;
                }
            }
        }
    }

    async fn fail_undo(&mut self, step: usize, undone: usize, case: &str) {
        let turn = (At::Step { step, undo: false, always: true }, Around::IsRejected);
        for around in FAILURES {
            let undo = (At::Step { step: undone, undo: true, always: false }, around);
            let life = Life { write: None, calls: vec![turn, undo] };
            self.run(&format!("{case}: {around:?}"), &[life]).await;
        }
    }
}

const FAILURES: [Around; 8] = [
    Around::IsRejected,
    Around::IsNotExecuted,
    Around::LosesRequest,
    Around::LosesAnswer,
    Around::PanicsBefore,
    Around::PanicsAfter,
    Around::HangsBefore,
    Around::HangsAfter,
];
