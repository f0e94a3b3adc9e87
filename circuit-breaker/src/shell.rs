//! The circuit on tokio's clock: what a user without tower needs.

use crate::{circuit::Circuit, clock::Clock, config::Config, future::ResponseFuture, guard::Guard, status::Snapshot};
use mainstay_core::{AnyError, Classify, InvalidConfig, Refusable};

impl Circuit {
    /// A closed circuit.
    ///
    /// # Errors
    ///
    /// If a setting is out of its range; the error names both.
    pub fn new(config: Config) -> Result<Self, InvalidConfig> {
        Self::new_at(config, Clock)
    }

    /// A circuit of its own with the present configuration of this one.
    #[must_use]
    pub fn fresh(&self) -> Self {
        self.fresh_at(Clock)
    }

    /// The circuit as it is now.
    pub fn snapshot(&self) -> Snapshot {
        self.snapshot_at(Clock)
    }

    /// Takes another configuration and keeps the state, as [`reconfigure_at`](Self::reconfigure_at) says.
    ///
    /// # Errors
    ///
    /// If a setting is out of its range, or the name is another one; then nothing is changed.
    pub fn reconfigure(&self, config: Config) -> Result<(), InvalidConfig> {
        self.reconfigure_at(config, Clock)
    }

    /// Runs `work` if the circuit admits it; every error of it counts as a failure.
    ///
    /// The circuit is asked when the returned future is first polled. Work with a plain error is lifted by
    /// [`lift`](mainstay_core::lift); the error type is then [`Error<E>`](mainstay_core::Error). So is work that calls
    /// another stack and passes its error on: unlifted, a refusal of that stack would look like one of this circuit, and
    /// what was done before it as if it had not been done.
    ///
    /// # Errors
    ///
    /// The refusal of the circuit, or the error of the work.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, the call is *abandoned*: it does not vote, and a probe gives its slot back.
    ///
    /// # Examples
    ///
    /// ```
    /// use mainstay_circuit_breaker::{Circuit, Config, Window};
    /// use mainstay_core::{Error, lift};
    ///
    /// async fn fetch() -> Result<u32, std::num::ParseIntError> {
    ///     "seven".parse()
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), mainstay_core::InvalidConfig> {
    /// let circuit = Circuit::new(Config::default().window(Window::Consecutive(1)))?;
    ///
    /// assert!(matches!(circuit.call(|| lift(fetch())).await, Err(Error::Inner(_))));
    /// assert!(matches!(circuit.call(|| lift(fetch())).await, Err(Error::Refused(_))));
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

    /// Runs `work` if the circuit admits it; `classify` says what counts as a failure.
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
        let mut guard = Guard::admit(self)?;
        let inner = guard.run(work);
        ResponseFuture::admitted(inner, guard, classify).await
    }
}
