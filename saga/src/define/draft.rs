//! A saga while it is written down, before its point of no return and after it.

use super::{
    Conditional, Effect, Inputs, Out, Step, StepCx, StepError, UndoCx, UndoError,
    list::{List, Slot},
    out::Brand,
};
use crate::{Data, Kind};
use std::{
    fmt::{self, Debug, Formatter},
    marker::PhantomData,
    time::Duration,
};

/// A saga before its point of no return.
///
/// Steps that share no edge run side by side; an edge is a handle that is read, or one that is only waited for
/// ([`Step::after`]). The function that is given a draft runs once, when the saga is defined: it may loop and call other
/// functions, and what it adds is the same for every saga of this definition.
///
/// A step's code is an `async fn`, or an `async` closure, of a [context](StepCx) and what it reads. It is called again for each
/// attempt, so it owns nothing that it uses up; what it needs besides its inputs is in the [application](StepCx::app). A closure that
/// captures is a plain one: `move |cx, n| { let client = client.clone(); async move { … } }`.
pub struct Draft<'s, A> {
    list: &'s mut List<A>,
    brand: Brand<'s>,
}

impl<'s, A> Draft<'s, A> {
    pub(super) const fn new(list: &'s mut List<A>) -> Self {
        Self { list, brand: PhantomData }
    }

    /// A step with an effect that can be taken back.
    ///
    /// `undo` is given what `run` was given, and what is known of the effect: it is called as well if nobody knows whether the
    /// step has happened. It has to work when called again, after it has worked too.
    ///
    /// It has no undo, and it does not compile:
    ///
    /// ```compile_fail,E0061
    /// # use mainstay_saga::{Draft, Out};
    /// fn order<'s>(mut s: Draft<'s, ()>, item: Out<'s, u64>) -> Out<'s, u64> {
    ///     s.step("reserve", item, async |_, item| Ok(item))
    /// }
    /// ```
    pub fn step<N, T, F, R, U, Q>(&mut self, step: impl Into<Step<'s>>, inputs: N, run: F, undo: U) -> Out<'s, T>
    where
        N: Inputs<'s>,
        T: Data,
        F: Fn(StepCx<A>, N::Value) -> R + Send + Sync + 'static,
        R: Future<Output = Result<T, StepError>> + Send + 'static,
        U: Fn(UndoCx<A>, N::Value, Effect<T>) -> Q + Send + Sync + 'static,
        Q: Future<Output = Result<(), UndoError>> + Send + 'static,
    {
        Out::new(self.list.compensatable(None, step.into(), inputs, run, undo))
    }

    /// A step that changes nothing, so it needs no undo. Nobody checks that it changes nothing.
    pub fn read<N, T, F, R>(&mut self, step: impl Into<Step<'s>>, inputs: N, run: F) -> Out<'s, T>
    where
        N: Inputs<'s>,
        T: Data,
        F: Fn(StepCx<A>, N::Value) -> R + Send + Sync + 'static,
        R: Future<Output = Result<T, StepError>> + Send + 'static,
    {
        Out::new(self.list.action(Kind::ReadOnly, None, step.into(), inputs, run))
    }

    /// Waits for a message from outside, which may come before it is waited for.
    ///
    /// `at_most` counts from the moment at which what it [waits for](Step::after) is done: without a message until then the
    /// saga is turned back. `None` waits without end.
    pub fn signal<T: Data>(&mut self, step: impl Into<Step<'s>>, at_most: impl Into<Option<Duration>>) -> Out<'s, T> {
        Out::new(self.list.signal::<T>(step.into(), at_most.into()))
    }

    /// Waits for so long, from the moment at which what it [waits for](Step::after) is done.
    pub fn wait(&mut self, step: impl Into<Step<'s>>, time: Duration) -> Out<'s, ()> {
        Out::new(self.list.timer(step.into(), time))
    }

    /// The next step is left out if this is `false`.
    pub fn when(&mut self, flag: Out<'s, bool>) -> When<'_, Self> {
        When { draft: self, flag: flag.slot }
    }

    /// The point of no return: runs after all steps before it, and once it has happened nothing is undone.
    ///
    /// It is the last step that may be rejected, so it has no undo. If its attempts are spent and nobody knows whether it has
    /// happened, the saga is parked for an operator.
    ///
    /// What follows it has to succeed in the end. A step that can be undone has no place there:
    ///
    /// ```compile_fail,E0599
    /// # use mainstay_saga::{Draft, Out};
    /// fn order<'s>(s: Draft<'s, ()>, item: Out<'s, u64>) -> Out<'s, u64> {
    ///     let (mut s, _) = s.pivot("sell", item, async |_, item| Ok(item));
    ///     s.step("reserve", item, async |_, item| Ok(item), async |_, _, _| Ok(()))
    /// }
    /// ```
    ///
    /// nor has it in the draft as it was before:
    ///
    /// ```compile_fail,E0382
    /// # use mainstay_saga::{Draft, Out};
    /// fn order<'s>(mut s: Draft<'s, ()>, item: Out<'s, u64>) -> Out<'s, u64> {
    ///     let _ = s.pivot("sell", item, async |_, item| Ok(item));
    ///     s.step("reserve", item, async |_, item| Ok(item), async |_, _, _| Ok(()))
    /// }
    /// ```
    pub fn pivot<N, T, F, R>(self, step: impl Into<Step<'s>>, inputs: N, run: F) -> (Committed<'s, A>, Out<'s, T>)
    where
        N: Inputs<'s>,
        T: Data,
        F: Fn(StepCx<A>, N::Value) -> R + Send + Sync + 'static,
        R: Future<Output = Result<T, StepError>> + Send + 'static,
    {
        let slot = self.list.action(Kind::Pivot, None, step.into(), inputs, run);
        (Committed { list: self.list, brand: PhantomData }, Out::new(slot))
    }
}

/// A saga after its point of no return: all that follows has to succeed in the end, since nothing is undone any more.
///
/// So there is no `step` here, and no second `pivot`. What is added here waits for the pivot.
pub struct Committed<'s, A> {
    list: &'s mut List<A>,
    brand: Brand<'s>,
}

impl<'s, A> Committed<'s, A> {
    /// A step that is tried until it succeeds. If it is [rejected](StepError::rejected), the saga is parked for an operator.
    pub fn retriable<N, T, F, R>(&mut self, step: impl Into<Step<'s>>, inputs: N, run: F) -> Out<'s, T>
    where
        N: Inputs<'s>,
        T: Data,
        F: Fn(StepCx<A>, N::Value) -> R + Send + Sync + 'static,
        R: Future<Output = Result<T, StepError>> + Send + 'static,
    {
        Out::new(self.list.action(Kind::Retriable, None, step.into(), inputs, run))
    }

    /// A step that changes nothing; it is tried until it succeeds, too.
    pub fn read<N, T, F, R>(&mut self, step: impl Into<Step<'s>>, inputs: N, run: F) -> Out<'s, T>
    where
        N: Inputs<'s>,
        T: Data,
        F: Fn(StepCx<A>, N::Value) -> R + Send + Sync + 'static,
        R: Future<Output = Result<T, StepError>> + Send + 'static,
    {
        Out::new(self.list.action(Kind::ReadOnly, None, step.into(), inputs, run))
    }

    /// Waits for a message from outside, as [before the pivot](Draft::signal). If it does not come in time, the saga is parked
    /// for an operator.
    pub fn signal<T: Data>(&mut self, step: impl Into<Step<'s>>, at_most: impl Into<Option<Duration>>) -> Out<'s, T> {
        Out::new(self.list.signal::<T>(step.into(), at_most.into()))
    }

    /// Waits for so long, from the moment at which what it [waits for](Step::after) is done.
    pub fn wait(&mut self, step: impl Into<Step<'s>>, time: Duration) -> Out<'s, ()> {
        Out::new(self.list.timer(step.into(), time))
    }

    /// The next step is left out if this is `false`.
    pub fn when(&mut self, flag: Out<'s, bool>) -> When<'_, Self> {
        When { draft: self, flag: flag.slot }
    }
}

/// Adds a step that is left out if its condition is `false`.
///
/// Whoever reads it is told by [`Conditional`] whether it ran. The condition is what another step has given, so that it is in the
/// journal and does not change.
#[must_use = "a condition without a step does nothing"]
pub struct When<'d, D> {
    draft: &'d mut D,
    flag: Slot,
}

impl<'s, A> When<'_, Draft<'s, A>> {
    /// A step with an effect that can be taken back, as [without a condition](Draft::step). Its undo is only called if it may have run.
    pub fn step<N, T, F, R, U, Q>(
        self,
        step: impl Into<Step<'s>>,
        inputs: N,
        run: F,
        undo: U,
    ) -> Out<'s, Conditional<T>>
    where
        N: Inputs<'s>,
        T: Data,
        F: Fn(StepCx<A>, N::Value) -> R + Send + Sync + 'static,
        R: Future<Output = Result<T, StepError>> + Send + 'static,
        U: Fn(UndoCx<A>, N::Value, Effect<T>) -> Q + Send + Sync + 'static,
        Q: Future<Output = Result<(), UndoError>> + Send + 'static,
    {
        Out::new(self.draft.list.compensatable(Some(self.flag), step.into(), inputs, run, undo))
    }

    /// A step that changes nothing.
    pub fn read<N, T, F, R>(self, step: impl Into<Step<'s>>, inputs: N, run: F) -> Out<'s, Conditional<T>>
    where
        N: Inputs<'s>,
        T: Data,
        F: Fn(StepCx<A>, N::Value) -> R + Send + Sync + 'static,
        R: Future<Output = Result<T, StepError>> + Send + 'static,
    {
        Out::new(self.draft.list.action(Kind::ReadOnly, Some(self.flag), step.into(), inputs, run))
    }
}

impl<'s, A> When<'_, Committed<'s, A>> {
    /// A step that is tried until it succeeds.
    pub fn retriable<N, T, F, R>(self, step: impl Into<Step<'s>>, inputs: N, run: F) -> Out<'s, Conditional<T>>
    where
        N: Inputs<'s>,
        T: Data,
        F: Fn(StepCx<A>, N::Value) -> R + Send + Sync + 'static,
        R: Future<Output = Result<T, StepError>> + Send + 'static,
    {
        Out::new(self.draft.list.action(Kind::Retriable, Some(self.flag), step.into(), inputs, run))
    }

    /// A step that changes nothing; it is tried until it succeeds, too.
    pub fn read<N, T, F, R>(self, step: impl Into<Step<'s>>, inputs: N, run: F) -> Out<'s, Conditional<T>>
    where
        N: Inputs<'s>,
        T: Data,
        F: Fn(StepCx<A>, N::Value) -> R + Send + Sync + 'static,
        R: Future<Output = Result<T, StepError>> + Send + 'static,
    {
        Out::new(self.draft.list.action(Kind::ReadOnly, Some(self.flag), step.into(), inputs, run))
    }
}

impl<A> Debug for Draft<'_, A> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Draft").finish_non_exhaustive()
    }
}

impl<A> Debug for Committed<'_, A> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Committed").finish_non_exhaustive()
    }
}

impl<D> Debug for When<'_, D> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("When").field("flag", &self.flag).finish_non_exhaustive()
    }
}
