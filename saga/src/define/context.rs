//! What steps and undos are given.

use crate::SagaId;
use std::{
    fmt::{self, Debug, Formatter, Write},
    sync::{Arc, OnceLock},
};

/// What a step is given: the application, and who it is. Owned, so that it can be moved anywhere; a clone copies pointers.
///
/// The engine makes one for each attempt. In a test of a step alone it is made by hand:
///
/// ```
/// use mainstay_saga::{SagaId, StepCx, StepError};
/// use std::sync::Arc;
///
/// struct Shop {
///     opens_at: u32,
/// }
///
/// async fn greet(cx: StepCx<Shop>, hour: u32) -> Result<String, StepError> {
///     if hour < cx.app().opens_at { Err(StepError::rejected("closed")) } else { Ok(format!("hello, {}", cx.key())) }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let cx = StepCx::new(Arc::new(Shop { opens_at: 9 }), SagaId::from_u128(0x2a), "greet");
/// assert_eq!(greet(cx, 10).await.unwrap(), "hello, 0000000000000000000000000000002a-greet-do");
/// # }
/// ```
pub struct StepCx<A> {
    attempt: Attempt<A>,
    maybe_done: bool,
    key: Key,
}

/// What an undo is given: the application, and who it is. A clone copies pointers.
pub struct UndoCx<A> {
    attempt: Attempt<A>,
    key: Key,
    do_key: Key,
}

/// What both know.
struct Attempt<A> {
    app: Arc<A>,
    saga: SagaId,
    step: Arc<str>,
    number: u32,
}

/// A key that is made when it is first asked for.
#[derive(Clone, Default)]
struct Key(OnceLock<Arc<str>>);

impl Key {
    fn of<A>(&self, attempt: &Attempt<A>, phase: &str) -> &str {
        self.0.get_or_init(|| {
            // The id has 32 digits; with enough room nothing is moved while the rest is added.
            let mut key = String::with_capacity(34 + attempt.step.len() + phase.len());
            let _ = write!(key, "{}-{}-{phase}", attempt.saga, attempt.step);
            key.into()
        })
    }
}

impl<A> Attempt<A> {
    fn first(app: Arc<A>, saga: SagaId, step: Arc<str>) -> Self {
        Self { app, saga, step, number: 1 }
    }

    fn debug(&self, name: &str, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct(name)
            .field("saga", &self.saga)
            .field("step", &self.step)
            .field("attempt", &self.number)
            .finish_non_exhaustive()
    }
}

impl<A> StepCx<A> {
    /// The first attempt of a step.
    pub fn new(app: Arc<A>, saga: SagaId, step: impl Into<Arc<str>>) -> Self {
        Self { attempt: Attempt::first(app, saga, step.into()), maybe_done: false, key: Key::default() }
    }

    /// The same for a later attempt. `maybe_done`: whether one before may have worked.
    #[must_use]
    pub fn at_attempt(mut self, number: u32, maybe_done: bool) -> Self {
        self.attempt.number = number;
        self.maybe_done = maybe_done;
        self
    }

    /// What the engine was given for its steps: clients, pools, settings.
    pub fn app(&self) -> &A {
        &self.attempt.app
    }

    /// The same in every attempt of this step of this saga, after every crash, and in no other: the idempotency key to send.
    ///
    /// It has letters, digits, dots, hyphens and underscores only, 100 at most.
    pub fn key(&self) -> &str {
        self.key.of(&self.attempt, "do")
    }

    /// Counts from one; those that a crash ended count too.
    pub fn attempt(&self) -> u32 {
        self.attempt.number
    }

    /// Whether an attempt before may have worked. A participant that does not know the key is to be asked before it is told.
    pub fn maybe_done(&self) -> bool {
        self.maybe_done
    }

    /// The saga.
    pub fn saga(&self) -> SagaId {
        self.attempt.saga
    }

    /// The name of the step.
    pub fn step(&self) -> &str {
        &self.attempt.step
    }
}

impl<A> UndoCx<A> {
    /// The first attempt of an undo.
    pub fn new(app: Arc<A>, saga: SagaId, step: impl Into<Arc<str>>) -> Self {
        let attempt = Attempt::first(app, saga, step.into());
        Self { attempt, key: Key::default(), do_key: Key::default() }
    }

    /// The same for a later attempt.
    #[must_use]
    pub fn at_attempt(mut self, number: u32) -> Self {
        self.attempt.number = number;
        self
    }

    /// What the engine was given for its steps: clients, pools, settings.
    pub fn app(&self) -> &A {
        &self.attempt.app
    }

    /// The same in every attempt of this undo, and another than that of the step: of the same letters, 102 at most.
    pub fn key(&self) -> &str {
        self.key.of(&self.attempt, "undo")
    }

    /// The [key](StepCx::key) that the step was sent with.
    pub fn do_key(&self) -> &str {
        self.do_key.of(&self.attempt, "do")
    }

    /// Counts from one; those that a crash ended count too.
    pub fn attempt(&self) -> u32 {
        self.attempt.number
    }

    /// The saga.
    pub fn saga(&self) -> SagaId {
        self.attempt.saga
    }

    /// The name of the step.
    pub fn step(&self) -> &str {
        &self.attempt.step
    }
}

// By hand: the application need not be `Clone` or `Debug`.
impl<A> Clone for Attempt<A> {
    fn clone(&self) -> Self {
        Self { app: Arc::clone(&self.app), saga: self.saga, step: Arc::clone(&self.step), number: self.number }
    }
}

impl<A> Clone for StepCx<A> {
    fn clone(&self) -> Self {
        Self { attempt: self.attempt.clone(), maybe_done: self.maybe_done, key: self.key.clone() }
    }
}

impl<A> Clone for UndoCx<A> {
    fn clone(&self) -> Self {
        Self { attempt: self.attempt.clone(), key: self.key.clone(), do_key: self.do_key.clone() }
    }
}

impl<A> Debug for StepCx<A> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.attempt.debug("StepCx", f)
    }
}

impl<A> Debug for UndoCx<A> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.attempt.debug("UndoCx", f)
    }
}
