//! The layer: one policy, the circuits of all its keys.

use super::{ByRef, ByValue, Circuits, KeyedCircuitBreaker, KeyedConfig, service::Shared};
use mainstay_core::{AnyError, InvalidConfig};
use std::{borrow::Borrow, fmt, hash::Hash, ops::Deref, sync::Arc};
use tower_layer::Layer;

/// Puts a [`KeyedCircuitBreaker`] around a service.
///
/// One layer is one set of circuits: its clones and all services that it makes share them. [`fresh`](Self::fresh) makes an
/// independent layer with the same configuration.
///
/// `F` finds the key of a request, `H` leads to the circuits, `C` says what counts as a failure, by default any error.
///
/// ```
/// use mainstay_circuit_breaker::{Config, KeyedCircuitBreakerLayer, Window};
/// use mainstay_core::Error;
/// use tower::{Layer, ServiceExt, service_fn};
///
/// struct Order { tenant: String, cents: u32 }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), mainstay_core::InvalidConfig> {
/// let config = Config::default().name("tenants").window(Window::Consecutive(1));
/// let layer = KeyedCircuitBreakerLayer::new(config, |order: &Order| order.tenant.as_str())?;
///
/// let service = layer.layer(service_fn(async |order: Order| u8::try_from(order.cents)).map_err(Error::Inner));
/// let order = |tenant: &str, cents| service.clone().oneshot(Order { tenant: tenant.to_owned(), cents });
///
/// assert!(matches!(order("greedy", 1_000).await, Err(Error::Inner(_))));
/// assert!(matches!(order("greedy", 1).await, Err(Error::Refused(_))), "open for this tenant");
/// assert!(matches!(order("modest", 1).await, Ok(1)), "and for no other");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use]
pub struct KeyedCircuitBreakerLayer<F, H, C = AnyError> {
    key: F,
    circuits: H,
    classify: C,
}

impl<F, Q> KeyedCircuitBreakerLayer<ByRef<F, Q>, Shared<Q::Owned>>
where
    Q: Hash + Eq + ToOwned + ?Sized,
    Q::Owned: Borrow<Q>,
{
    /// A layer with circuits of its own, whose key is a part of the request; every error counts as a failure.
    ///
    /// `key` gives the borrowed form, such as `&str`, which is copied only when the key is new.
    ///
    /// # Errors
    ///
    /// If a setting is out of its range; the error names both.
    pub fn new<Req>(config: impl Into<KeyedConfig>, key: F) -> Result<Self, InvalidConfig>
    where
        F: Fn(&Req) -> &Q,
    {
        Ok(Self::with_circuits(ByRef::new(key), Arc::new(Circuits::new(config)?)))
    }
}

impl<F, K> KeyedCircuitBreakerLayer<ByValue<F>, Shared<K>> {
    /// A layer with circuits of its own, whose key is computed from the request; every error counts as a failure.
    ///
    /// # Errors
    ///
    /// If a setting is out of its range; the error names both.
    pub fn by_value<Req>(config: impl Into<KeyedConfig>, key: F) -> Result<Self, InvalidConfig>
    where
        F: Fn(&Req) -> K,
        K: Hash + Eq + Clone,
    {
        Ok(Self::with_circuits(ByValue::new(key), Arc::new(Circuits::new(config)?)))
    }
}

#[cfg(feature = "http")]
#[cfg_attr(docsrs, doc(cfg(feature = "http")))]
impl KeyedCircuitBreakerLayer<super::ByAuthority, Shared<http::uri::Authority>, mainstay_core::HttpStatus> {
    /// A layer for clients over HTTP with a circuit per host and port: a status of 5xx, 408 or 429 counts as a failure, as
    /// does any error.
    ///
    /// # Errors
    ///
    /// If a setting is out of its range; the error names both.
    pub fn http(config: impl Into<KeyedConfig>) -> Result<Self, InvalidConfig> {
        let circuits = Arc::new(Circuits::new(config)?);
        Ok(KeyedCircuitBreakerLayer::with_circuits(super::ByAuthority, circuits).classify(mainstay_core::HttpStatus))
    }
}

impl<F, H> KeyedCircuitBreakerLayer<F, H> {
    /// A layer over circuits that exist already.
    pub const fn with_circuits(key: F, circuits: H) -> Self {
        Self { key, circuits, classify: AnyError }
    }
}

impl<F, H, C> KeyedCircuitBreakerLayer<F, H, C> {
    /// The same circuits, with another idea of what a failure is.
    pub fn classify<D>(self, classify: D) -> KeyedCircuitBreakerLayer<F, H, D> {
        KeyedCircuitBreakerLayer { key: self.key, circuits: self.circuits, classify }
    }

    /// The circuits, to look at and to command.
    pub fn handle(&self) -> H
    where
        H: Clone,
    {
        self.circuits.clone()
    }

    /// A layer with the same configuration and circuits of its own.
    pub fn fresh<K>(&self) -> KeyedCircuitBreakerLayer<F, Arc<Circuits<K>>, C>
    where
        H: Deref<Target = Circuits<K>>,
        F: Clone,
        C: Clone,
    {
        let circuits = Arc::new(self.circuits.fresh());
        KeyedCircuitBreakerLayer { key: self.key.clone(), circuits, classify: self.classify.clone() }
    }
}

impl<S, F: Clone, H: Clone, C: Clone> Layer<S> for KeyedCircuitBreakerLayer<F, H, C> {
    type Service = KeyedCircuitBreaker<S, F, H, C>;

    fn layer(&self, inner: S) -> Self::Service {
        KeyedCircuitBreaker::new(inner, self.key.clone(), self.circuits.clone(), self.classify.clone())
    }
}

impl<F, K, H: Deref<Target = Circuits<K>>, C> fmt::Debug for KeyedCircuitBreakerLayer<F, H, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedCircuitBreakerLayer").field("circuits", &*self.circuits).finish_non_exhaustive()
    }
}
