//! The throttle on tokio's clock: what a user without tower needs.

use super::{Throttle, ThrottleConfig, ThrottleFuture, ThrottleGuard, ThrottleSnapshot};
use crate::clock::Clock;
use mainstay_core::{AnyError, Classify, InvalidConfig, Refusable};

impl Throttle {
    /// A throttle that has seen nothing.
    ///
    /// # Errors
    ///
    /// If a setting is out of its range; the error names both.
    pub fn new(config: ThrottleConfig) -> Result<Self, InvalidConfig> {
        Self::new_at(config, Clock)
    }

    /// A throttle of its own with the present configuration of this one.
    #[must_use]
    pub fn fresh(&self) -> Self {
        self.fresh_at(Clock)
    }

    /// The throttle as it is now.
    pub fn snapshot(&self) -> ThrottleSnapshot {
        self.snapshot_at(Clock)
    }

    /// Takes another configuration and keeps what was counted, as [`reconfigure_at`](Self::reconfigure_at) says.
    ///
    /// # Errors
    ///
    /// If a setting is out of its range, or the name is another one; then nothing is changed.
    pub fn reconfigure(&self, config: ThrottleConfig) -> Result<(), InvalidConfig> {
        self.reconfigure_at(config, Clock)
    }

    /// Runs `work` if the throttle admits it; an error of it is a request that was not accepted.
    ///
    /// The throttle is asked when the returned future is first polled. Work with a plain error is lifted by
    /// [`lift`](mainstay_core::lift); the error type is then [`Error<E>`](mainstay_core::Error).
    ///
    /// # Errors
    ///
    /// The refusal of the throttle, or the error of the work.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, the call is *abandoned*: its request is taken back.
    ///
    /// # Examples
    ///
    /// ```
    /// use mainstay_circuit_breaker::{Throttle, ThrottleConfig};
    /// use mainstay_core::lift;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), mainstay_core::InvalidConfig> {
    /// let throttle = Throttle::new(ThrottleConfig::default())?;
    ///
    /// let answer = throttle.call(|| lift(async { "7".parse::<u32>() })).await;
    /// assert!(matches!(answer, Ok(7)));
    /// assert_eq!(throttle.snapshot().accepts, 1);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn call<T, E, F>(&self, work: impl FnOnce() -> F) -> Result<T, E>
    where
        F: Future<Output = Result<T, E>>,
        E: Refusable,
    {
        self.call_classified(AnyError, work).await
    }

    /// Runs `work` if the throttle admits it; `classify` says what is not accepted.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    ///
    /// # Cancel safety
    ///
    /// As [`call`](Self::call).
    pub async fn call_classified<T, E, F, C>(&self, classify: C, work: impl FnOnce() -> F) -> Result<T, E>
    where
        F: Future<Output = Result<T, E>>,
        E: Refusable,
        C: Classify<T, E>,
    {
        let mut guard = ThrottleGuard::admit(self)?;
        let inner = guard.run(work);
        ThrottleFuture::admitted(inner, guard, classify).await
    }
}
