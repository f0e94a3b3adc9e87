//! The circuits on tokio's clock: what a user without tower needs.

use super::{Circuits, KeyedCircuit, KeyedConfig};
use crate::{clock::Clock, status::Snapshot};
use mainstay_core::{AnyError, Classify, InvalidConfig, Refusable};
use std::{borrow::Borrow, hash::Hash};

impl<K> Circuits<K> {
    /// The circuit of a key, made if it is not there; `None` if there is no room for it, and the call is unguarded.
    #[inline]
    pub fn get<Q>(&self, key: &Q) -> Option<KeyedCircuit<K>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        self.get_at(key, Clock)
    }

    /// The circuits of all keys as they are now, one after another, as [`handles`](Self::handles) says.
    pub fn snapshots(&self) -> impl Iterator<Item = (KeyedCircuit<K>, Snapshot)> {
        self.snapshots_at(Clock)
    }

    /// Takes another configuration, as [`reconfigure_at`](Self::reconfigure_at) says.
    ///
    /// # Errors
    ///
    /// If a setting is out of its range, or the name is another one; then nothing is changed.
    pub fn reconfigure(&self, config: impl Into<KeyedConfig>) -> Result<(), InvalidConfig> {
        self.reconfigure_at(config, Clock)
    }

    /// Runs `work` if the circuit of `key` admits it, or without one if there is no room; every error of it counts as a
    /// failure.
    ///
    /// The circuit is looked up and asked when the returned future is first polled. Work with a plain error is lifted by
    /// [`lift`](mainstay_core::lift), as for [`Circuit::call`](crate::Circuit::call).
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
    /// use mainstay_circuit_breaker::{Circuits, Config, Window};
    /// use mainstay_core::{Error, lift};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), mainstay_core::InvalidConfig> {
    /// let circuits = Circuits::<String>::new(Config::default().window(Window::Consecutive(1)))?;
    /// let fetch = async || "seven".parse::<u32>();
    ///
    /// assert!(matches!(circuits.call("a.example", || lift(fetch())).await, Err(Error::Inner(_))));
    /// assert!(matches!(circuits.call("a.example", || lift(fetch())).await, Err(Error::Refused(_))));
    /// assert!(matches!(circuits.call("b.example", || lift(fetch())).await, Err(Error::Inner(_))));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn call<Q, T, E, F>(&self, key: &Q, work: impl FnOnce() -> F) -> Result<T, E>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
        F: Future<Output = Result<T, E>>,
        E: Refusable,
    {
        self.call_classified(key, AnyError, work).await
    }

    /// Runs `work` as [`call`](Self::call) does; `classify` says what counts as a failure.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    ///
    /// # Cancel safety
    ///
    /// As [`call`](Self::call).
    pub async fn call_classified<Q, T, E, F, C>(&self, key: &Q, classify: C, work: impl FnOnce() -> F) -> Result<T, E>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
        F: Future<Output = Result<T, E>>,
        E: Refusable,
        C: Classify<T, E>,
    {
        match self.get(key) {
            Some(circuit) => circuit.call_classified(classify, work).await,
            None => work().await,
        }
    }
}
