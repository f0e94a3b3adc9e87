//! What a user without tower needs.

use super::{hedging::Hedging, next::Rerun, race::Race};
use crate::{NoBudget, Pay};
use mainstay_core::{AnyError, Attempt, Classify, Refusable};

impl Hedging {
    /// Runs `work`, and runs it again beside itself if it takes long; every error counts as a failure, and no budget pays.
    ///
    /// By calling this you declare that running `work` twice is the same as running it once. Work with a plain error is
    /// lifted by [`lift`](mainstay_core::lift).
    ///
    /// # Errors
    ///
    /// If no attempt succeeds: the most uncertain outcome, which is a timeout before an error of the work before a refusal.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, all attempts are dropped.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with a timer, when the first attempt is pending.
    ///
    /// # Examples
    ///
    /// ```
    /// use mainstay_core::lift;
    /// use mainstay_retry::{HedgeConfig, Hedging};
    /// use std::{future::pending, time::Duration};
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), mainstay_core::InvalidConfig> {
    /// let hedging = Hedging::new(HedgeConfig::default().delay(Duration::from_millis(50)))?;
    ///
    /// let answer = hedging
    ///     .call(|attempt| {
    ///         lift(async move {
    ///             if attempt.is_first() { pending::<Result<u32, &str>>().await } else { Ok(attempt.number()) }
    ///         })
    ///     })
    ///     .await;
    ///
    /// assert_eq!(answer, Ok(2), "the first attempt hangs, the second does not");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn call<T, E, F>(&self, work: impl FnMut(Attempt) -> F) -> Result<T, E>
    where
        F: Future<Output = Result<T, E>>,
        E: Refusable,
    {
        self.call_with(AnyError, NoBudget, work).await
    }

    /// Runs `work`, and runs it again beside itself if it takes long; `classify` says what a success is, `budget` pays for
    /// every run after the first.
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
    pub async fn call_with<T, E, F, C, B>(
        &self,
        classify: C,
        budget: B,
        mut work: impl FnMut(Attempt) -> F,
    ) -> Result<T, E>
    where
        F: Future<Output = Result<T, E>>,
        E: Refusable,
        C: Classify<T, E>,
        B: Pay,
    {
        let first = work(Attempt::FIRST);
        Race::new(self, classify, budget, first, Some(Rerun(work))).await
    }
}
