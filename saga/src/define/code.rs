//! The code of a saga's steps, without their types.

use super::{
    Conditional, Effect, StepCx, StepError, UndoCx, UndoError,
    inputs::{Load, Values},
};
use crate::{Data, Graph, Payload};
use futures_util::future::BoxFuture;
use std::{
    fmt::{self, Debug, Display, Formatter},
    sync::Arc,
};

/// What a saga has so far: the input, and behind it what each step gave.
pub(crate) type Table = [Option<Payload>];

/// An attempt of a step.
pub(crate) type Running = BoxFuture<'static, Result<Payload, StepError>>;

/// An attempt to undo a step.
pub(crate) type Undoing = BoxFuture<'static, Result<(), UndoError>>;

type Run<A> = Box<dyn Fn(StepCx<A>, &Table) -> Result<Running, Unreadable> + Send + Sync>;
type Undo<A> = Box<dyn Fn(UndoCx<A>, &Table, Option<&Payload>) -> Result<Undoing, Unreadable> + Send + Sync>;
type Accept = fn(&Payload) -> Result<(), serde_json::Error>;

/// A saga's graph and code, without the types of its input and its result.
pub(crate) struct Definition<A> {
    pub(crate) graph: Arc<Graph>,
    /// As long as the list of steps.
    pub(crate) code: Arc<[Code<A>]>,
}

/// What runs for a step.
pub(crate) enum Code<A> {
    /// An action, and what takes it back.
    Action { run: Run<A>, undo: Option<Undo<A>> },
    /// A message from outside.
    Signal { accept: Accept },
    /// A timer.
    Timer,
}

impl<A> Code<A> {
    /// Makes an attempt of the step: its function is called here, and what is async in it runs in the future.
    pub(crate) fn run(&self, cx: StepCx<A>, table: &Table) -> Result<Running, Unreadable> {
        match self {
            Self::Action { run, .. } => run(cx, table),
            Self::Signal { .. } | Self::Timer => Err(Unreadable::nothing()),
        }
    }

    /// Makes an attempt to undo the step, which gave this if that is known.
    pub(crate) fn undo(&self, cx: UndoCx<A>, table: &Table, output: Option<&Payload>) -> Result<Undoing, Unreadable> {
        match self {
            Self::Action { undo: Some(undo), .. } => undo(cx, table, output),
            Self::Action { undo: None, .. } | Self::Signal { .. } | Self::Timer => Err(Unreadable::nothing()),
        }
    }

    /// Whether a message is one that those who read it can decode.
    pub(crate) fn accept(&self, message: &Payload) -> Result<(), serde_json::Error> {
        match self {
            Self::Signal { accept } => accept(message),
            Self::Action { .. } | Self::Timer => Ok(()),
        }
    }

    pub(super) fn signal<T: Data>() -> Self {
        Self::Signal { accept: |message| message.decode::<T>().map(drop) }
    }
}

/// How a step's output is kept.
pub(super) struct Form<T> {
    encode: fn(&T) -> Result<Payload, serde_json::Error>,
    decode: fn(&Payload) -> Result<T, serde_json::Error>,
}

impl<T: Data> Form<T> {
    /// As it is.
    const PLAIN: Self = Self { encode: Payload::encode, decode: Payload::decode };

    /// What a step with this condition needs.
    pub(super) const fn of(condition: Option<usize>) -> &'static Self {
        if condition.is_some() { &Self::CONDITIONAL } else { &Self::PLAIN }
    }

    /// As a [`Conditional`], which those who read it have to look into.
    const CONDITIONAL: Self = Self {
        encode: |output| Payload::encode(&Conditional::Ran(output)),
        decode: |payload| {
            let output = payload.decode::<Conditional<T>>()?.ran();
            output.ok_or_else(|| serde::de::Error::custom("the step was left out"))
        },
    };
}

/// An action that can be stored beside those of other types.
pub(super) fn erase_run<A, V, T, R>(
    sources: Arc<[Source]>,
    load: Load<V>,
    form: &'static Form<T>,
    run: impl Fn(StepCx<A>, V) -> R + Send + Sync + 'static,
) -> Run<A>
where
    V: 'static,
    T: Data,
    R: Future<Output = Result<T, StepError>> + Send + 'static,
{
    let encode = form.encode;
    Box::new(move |cx, table| {
        let running = run(cx, load(&mut Values::new(table, &sources))?);
        // What has happened and cannot be written down may have happened.
        Ok(Box::pin(async move { encode(&running.await?).map_err(StepError::unknown) }))
    })
}

/// An undo, likewise.
pub(super) fn erase_undo<A, V, T, Q>(
    step: Arc<str>,
    sources: Arc<[Source]>,
    load: Load<V>,
    form: &'static Form<T>,
    undo: impl Fn(UndoCx<A>, V, Effect<T>) -> Q + Send + Sync + 'static,
) -> Undo<A>
where
    V: 'static,
    T: Data,
    Q: Future<Output = Result<(), UndoError>> + Send + 'static,
{
    let decode = form.decode;
    Box::new(move |cx, table, output| {
        let effect = match output.map(decode).transpose() {
            Ok(known) => known.map_or(Effect::Maybe, Effect::Known),
            Err(error) => return Err(Unreadable { step: Some(step.clone()), error: error.to_string() }),
        };
        Ok(Box::pin(undo(cx, load(&mut Values::new(table, &sources))?, effect)))
    })
}

/// Where a value comes from.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub(super) slot: usize,
    /// The step that gives it; `None` for the input.
    pub(super) step: Option<Arc<str>>,
}

impl Source {
    pub(super) fn read<T: Data>(&self, table: &Table) -> Result<T, Unreadable> {
        let unreadable = |error: String| Unreadable { step: self.step.clone(), error };
        let payload = table.get(self.slot).and_then(Option::as_ref);
        let payload = payload.ok_or_else(|| unreadable("it is not there".to_owned()))?;
        payload.decode().map_err(|error| unreadable(error.to_string()))
    }
}

/// A value in the journal is not one of the type that is read there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// The step that gave it; `None` for the input.
    step: Option<Arc<str>>,
    error: String,
}

impl Unreadable {
    /// Something is asked for that the definition does not have.
    pub(super) fn nothing() -> Self {
        Self { step: None, error: "the definition reads none here".to_owned() }
    }
}

impl Display for Unreadable {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.step {
            Some(step) => write!(f, "what the step {step:?} gave cannot be read: {}", self.error),
            None => write!(f, "the input cannot be read: {}", self.error),
        }
    }
}

impl std::error::Error for Unreadable {}

// By hand: the application need not be `Clone` or `Debug`.
impl<A> Clone for Definition<A> {
    fn clone(&self) -> Self {
        Self { graph: Arc::clone(&self.graph), code: Arc::clone(&self.code) }
    }
}

impl<A> Debug for Definition<A> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Definition").field("graph", &self.graph).finish_non_exhaustive()
    }
}
