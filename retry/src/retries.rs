//! Retries without tower.

use crate::{
    Always, Clock, Config, Course, NoBudget, OnlyIf, Pay, Policy, Repeat,
    attempts::{Attempts, Next, Terms},
    seeds::Seeds,
};
use mainstay_core::{AnyError, Attempt, Classify, InvalidConfig, Refusable};
use std::{fmt, future::Future};
use tokio::{task::coop::consume_budget, time::sleep};

/// Retries plain async work.
///
/// Work with a plain error is lifted by [`lift`](mainstay_core::lift); the error type is then
/// [`Error<E>`](mainstay_core::Error). So is work that calls another stack and passes its error on: unlifted, a refusal of
/// that stack would be taken as proof that nothing was done.
///
/// ```
/// use mainstay_core::{Error, lift};
/// use mainstay_retry::{Config, Retries};
///
/// async fn fetch(attempt: u32) -> Result<&'static str, String> {
///     if attempt < 3 { Err(format!("attempt {attempt} failed")) } else { Ok("espresso") }
/// }
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), mainstay_core::InvalidConfig> {
/// let retries = Retries::new(Config::default().max_attempts(3))?;
///
/// let answer = retries.call_idempotent(|attempt| lift(fetch(attempt.number()))).await;
/// assert_eq!(answer, Ok("espresso"));
///
/// let answer = retries.call(|attempt| lift(fetch(attempt.number()))).await;
/// assert_eq!(answer, Err(Error::Inner("attempt 1 failed".to_owned())), "it may have been executed");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use]
pub struct Retries<C = AnyError, P = NoBudget, V = Always> {
    policy: Policy,
    seeds: Seeds,
    terms: Terms<C, P, V>,
}

impl Retries {
    /// Every error is a failure, and every retry is paid.
    ///
    /// # Errors
    ///
    /// If a setting is out of its range; the error names both.
    pub fn new(config: Config) -> Result<Self, InvalidConfig> {
        Ok(Self { policy: Policy::new(config)?, seeds: Seeds::new(config.seed), terms: Terms::new(config.name) })
    }
}

impl<C, P> Retries<C, P> {
    /// Asks `only_if` last, before the budget, how the attempt ended and which it was. It can forbid a retry, not bring one
    /// about. There is one last word, as with the [layer](crate::RetryLayer::only_if).
    pub fn only_if<T, E, F>(self, only_if: F) -> Retries<C, P, ResultOnly<F>>
    where
        F: Fn(Result<&T, &E>, Attempt) -> bool,
    {
        Retries { policy: self.policy, seeds: self.seeds, terms: self.terms.only_if(ResultOnly(only_if)) }
    }
}

impl<C, P, V> Retries<C, P, V> {
    /// Has another idea of what a failure is.
    pub fn classify<D>(self, classify: D) -> Retries<D, P, V> {
        Retries { policy: self.policy, seeds: self.seeds, terms: self.terms.classify(classify) }
    }

    /// Pays each retry from a [`Budget`](crate::Budget), which is shared by all that have its handle.
    pub fn budget<Q: Pay>(self, budget: Q) -> Retries<C, Q, V> {
        Retries { policy: self.policy, seeds: self.seeds, terms: self.terms.budget(budget) }
    }

    /// Declares that a refusal in a [`BoxError`](mainstay_core::BoxError) is proof that the work was not done; see
    /// [`Boundary`](mainstay_core::Boundary).
    pub fn above_boundary(mut self) -> Self {
        self.terms.is_above_boundary = true;
        self
    }

    /// Does `work`, and again if it was refused: what failed may have been done.
    ///
    /// # Errors
    ///
    /// The error of the attempt that leaves most open whether it was executed, the later of two alike.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the attempt that runs, and no other follows. What was paid for a retry that has not started
    /// is given back.
    ///
    /// # Panics
    ///
    /// Where it has to wait, outside of a tokio runtime with a timer.
    pub async fn call<T, E, F>(&self, work: impl FnMut(Attempt) -> F) -> Result<T, E>
    where
        F: Future<Output = Result<T, E>>,
        E: Refusable,
        C: Classify<T, E>,
        P: Pay,
        V: OnlyIf<(), T, E>,
    {
        self.run(Work { is_idempotent: false }, work).await
    }

    /// Does `work`, and again if it was refused or has failed: to do it twice must be the same as to do it once.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    ///
    /// # Cancel safety
    ///
    /// As [`call`](Self::call).
    ///
    /// # Panics
    ///
    /// As [`call`](Self::call).
    pub async fn call_idempotent<T, E, F>(&self, work: impl FnMut(Attempt) -> F) -> Result<T, E>
    where
        F: Future<Output = Result<T, E>>,
        E: Refusable,
        C: Classify<T, E>,
        P: Pay,
        V: OnlyIf<(), T, E>,
    {
        self.run(Work { is_idempotent: true }, work).await
    }

    async fn run<T, E, F>(&self, kind: Work, mut work: impl FnMut(Attempt) -> F) -> Result<T, E>
    where
        F: Future<Output = Result<T, E>>,
        E: Refusable,
        C: Classify<T, E>,
        P: Pay,
        V: OnlyIf<(), T, E>,
    {
        let mut attempts = Attempts::new(Course::new(self.policy, self.seeds.next()));
        attempts.course.start(Clock);
        loop {
            let result = work(attempts.course.attempt()).await;
            let Some(class) = self.terms.judge(result.as_ref()) else {
                return result;
            };
            let request = Some((&kind, &())).filter(|work| self.terms.may_repeat(class, result.as_ref(), *work));
            let (wait, charge) = match attempts.failed(class, result, request, &self.terms) {
                Next::Answer(answer) => return answer,
                Next::Again(wait, charge) => (wait, charge),
            };
            if wait.is_zero() {
                // Others have their turn, and a timeout around this can end it.
                consume_budget().await;
            } else {
                sleep(wait).await;
            }
            if let Some(answer) = attempts.answer_if_late(attempts.limit(None), &self.terms) {
                return answer;
            }
            charge.spend();
            self.terms.observers.retried();
        }
    }

    /// Counts in the recorder that is installed now, for all policies of this name.
    #[cfg(feature = "metrics")]
    #[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
    pub fn rebind_metrics(&self) {
        self.terms.observers.rebind_metrics();
    }
}

impl<C, P, V> fmt::Debug for Retries<C, P, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retries").field("config", self.policy.config()).finish_non_exhaustive()
    }
}

/// Makes an [`OnlyIf`] of a closure that is not shown the request; see [`Retries::only_if`].
#[derive(Clone, Copy, Debug)]
pub struct ResultOnly<F>(F);

impl<T, E, F> OnlyIf<(), T, E> for ResultOnly<F>
where
    F: Fn(Result<&T, &E>, Attempt) -> bool,
{
    fn allows(&self, (): &(), result: Result<&T, &E>, attempt: Attempt) -> bool {
        (self.0)(result, attempt)
    }
}

/// Work that is done by a closure: there is no request.
struct Work {
    is_idempotent: bool,
}

impl Repeat<()> for Work {
    type Request = ();
    type Kept = ();
    type Seen = ();

    fn first(&self, (): ()) -> ((), Option<()>) {
        ((), Some(()))
    }

    fn again(&self, (): &mut (), _attempt: Attempt) -> Option<()> {
        Some(())
    }

    fn is_idempotent(&self, (): &()) -> bool {
        self.is_idempotent
    }

    fn seen<'a>(&self, kept: &'a ()) -> &'a () {
        kept
    }
}
