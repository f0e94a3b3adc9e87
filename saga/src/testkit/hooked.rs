//! The code of a saga with something that happens around one of its calls.

use crate::{
    Payload, Saga, StepError, UndoError,
    define::{Code, Definition, Running, Undoing},
};
use futures_util::future::{BoxFuture, poll_immediate};
use std::{
    fmt::Debug,
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// What happens around a call of a step or of an undo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Around {
    DiesBefore,
    DiesAtItsFirstWait,
    DiesAfter,
    IsRejected,
    IsNotExecuted,
    LosesRequest,
    LosesAnswer,
    PanicsBefore,
    PanicsAfter,
    HangsBefore,
    HangsAfter,
}

/// Around which calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum At {
    /// The one of this number, which counts from one.
    Call(u64),
    /// Those of this step, or of its undo: the first one, or all of them.
    Step { step: usize, undo: bool, always: bool },
}

/// What happens, where, and how the process dies.
pub(super) struct Hook {
    pub(super) plans: Vec<(At, Around)>,
    pub(super) die: Box<dyn Fn() + Send + Sync>,
    calls: AtomicU64,
}

/// Who calls.
#[derive(Clone, Copy)]
struct Call {
    step: usize,
    undo: bool,
    attempt: u32,
}

impl Hook {
    pub(super) fn new(plans: Vec<(At, Around)>, die: impl Fn() + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { plans, die: Box::new(die), calls: AtomicU64::new(0) })
    }

    /// How many calls there were.
    pub(super) fn calls(&self) -> u64 {
        // Relaxed: read when the saga has ended, which is told by other means.
        self.calls.load(Ordering::Relaxed)
    }

    fn around(&self, call: Call) -> Option<Around> {
        // Relaxed: it only counts.
        let number = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        let hits = |at: At| match at {
            At::Call(wanted) => wanted == number,
            At::Step { step, undo, always } => (step, undo) == (call.step, call.undo) && (always || call.attempt == 1),
        };
        self.plans.iter().find(|(at, _)| hits(*at)).map(|(_, around)| *around)
    }

    async fn die<T>(&self) -> T {
        (self.die)();
        pending().await
    }
}

/// The saga with a hook around its code.
pub(super) fn hooked<A, I, O>(saga: &Saga<A, I, O>, hook: &Arc<Hook>) -> Saga<A, I, O>
where
    A: Send + Sync + 'static,
{
    let definition = saga.definition();
    saga.with_code((0..definition.code.len()).map(|step| code(definition, step, hook)))
}

fn code<A: Send + Sync + 'static>(definition: &Definition<A>, step: usize, hook: &Arc<Hook>) -> Code<A> {
    let (original, hook) = (Arc::clone(&definition.code), Arc::clone(hook));
    match &definition.code[step] {
        Code::Signal { accept } => Code::Signal { accept: *accept },
        Code::Timer => Code::Timer,
        Code::Action { undo, .. } => {
            let undo = undo.is_some().then(|| {
                let (original, hook) = (Arc::clone(&original), Arc::clone(&hook));
                let undo = move |cx: crate::UndoCx<A>, table: &[Option<Payload>], output: Option<&Payload>| {
                    let call = Call { step, undo: true, attempt: cx.attempt() };
                    let undoing = original[step].undo(cx, table, output)?;
                    let undoing: Undoing = Box::pin(around(Arc::clone(&hook), call, undoing, undo_error));
                    Ok(undoing)
                };
                Box::new(undo) as Box<_>
            });
            let run = move |cx: crate::StepCx<A>, table: &[Option<Payload>]| {
                let call = Call { step, undo: false, attempt: cx.attempt() };
                let running = original[step].run(cx, table)?;
                let running: Running = Box::pin(around(Arc::clone(&hook), call, running, step_error));
                Ok(running)
            };
            Code::Action { run: Box::new(run), undo }
        }
    }
}

async fn around<T: Debug, E: Debug>(
    hook: Arc<Hook>,
    call: Call,
    inner: BoxFuture<'static, Result<T, E>>,
    error: fn(Around) -> E,
) -> Result<T, E> {
    let Some(around) = hook.around(call) else { return inner.await };
    match around {
        Around::DiesBefore => hook.die().await,
        Around::DiesAtItsFirstWait => {
            drop(poll_immediate(inner).await);
            hook.die().await
        }
        Around::DiesAfter => {
            drop(inner.await);
            hook.die().await
        }
        Around::IsRejected | Around::IsNotExecuted | Around::LosesRequest => Err(error(around)),
        Around::LosesAnswer => {
            drop(inner.await);
            Err(error(around))
        }
        Around::PanicsBefore => panic!("on purpose"),
        Around::PanicsAfter => panic!("on purpose, after {:?}", inner.await),
        Around::HangsBefore => pending().await,
        Around::HangsAfter => {
            drop(inner.await);
            pending().await
        }
    }
}

fn step_error(around: Around) -> StepError {
    match around {
        Around::IsRejected => StepError::rejected("on purpose"),
        Around::IsNotExecuted => StepError::not_executed("on purpose"),
        _ => StepError::unknown("on purpose"),
    }
}

fn undo_error(around: Around) -> UndoError {
    match around {
        Around::IsRejected => UndoError::needs_help("on purpose"),
        _ => UndoError::try_again("on purpose"),
    }
}
