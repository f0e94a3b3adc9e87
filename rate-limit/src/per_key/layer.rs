//! The layer: one policy, the limits of all its keys.

use super::{ByRef, ByValue, KeyedRateLimit, KeyedWaitingRateLimitLayer};
use crate::{
    cost::One,
    keyed::{KeyedConfig, KeyedLimiter},
};
use mainstay_core::InvalidConfig;
use std::{fmt, hash::Hash, ops::Deref, sync::Arc, time::Duration};
use tower_layer::Layer;

/// Puts a [`KeyedRateLimit`] around a service.
///
/// One layer is one set of limits: its clones and all services that it makes share them. [`fresh`](Self::fresh) makes an
/// independent layer with the same configuration.
///
/// `F` finds the key of a request, `H` leads to the limits, and `C` says how many units a request takes, by default one.
///
/// ```
/// use mainstay_core::Error;
/// use mainstay_rate_limit::{KeyedRateLimitLayer, Quota};
/// use std::convert::Infallible;
/// use tower::{Layer, ServiceExt, service_fn};
///
/// #[derive(Debug)]
/// struct Order { tenant: String, items: u64 }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), mainstay_core::InvalidConfig> {
/// let layer = KeyedRateLimitLayer::new(Quota::per_minute(10)?, |order: &Order| order.tenant.as_str())?
///     .cost(|order: &Order| order.items);
///
/// let shop = layer.layer(service_fn(async |order: Order| Ok::<_, Error<Infallible>>(order.items)));
/// let order = |tenant: &str, items| shop.clone().oneshot(Order { tenant: tenant.to_owned(), items });
///
/// assert_eq!(order("greedy", 10).await, Ok(10));
/// assert!(matches!(order("greedy", 1).await, Err(Error::Refused(_))));
/// assert_eq!(order("modest", 1).await, Ok(1));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use]
pub struct KeyedRateLimitLayer<F, H, C = One> {
    key: F,
    limiter: H,
    cost: C,
}

impl<F, Q: Hash + ?Sized> KeyedRateLimitLayer<ByRef<F, Q>, Arc<KeyedLimiter<Q>>> {
    /// A layer with limits of its own, whose key is a part of the request, such as a `&str`.
    ///
    /// # Errors
    ///
    /// If a setting is out of its range; the error names both.
    pub fn new<Req>(config: impl Into<KeyedConfig>, key: F) -> Result<Self, InvalidConfig>
    where
        F: Fn(&Req) -> &Q,
    {
        Ok(Self::with_limiter(Arc::new(KeyedLimiter::new(config)?), ByRef::new(key)))
    }
}

impl<F, K: Hash> KeyedRateLimitLayer<ByValue<F>, Arc<KeyedLimiter<K>>> {
    /// A layer with limits of its own, whose key is computed from the request.
    ///
    /// # Errors
    ///
    /// If a setting is out of its range; the error names both.
    pub fn by_value<Req>(config: impl Into<KeyedConfig>, key: F) -> Result<Self, InvalidConfig>
    where
        F: Fn(&Req) -> K,
    {
        Ok(Self::with_limiter(Arc::new(KeyedLimiter::new(config)?), ByValue::new(key)))
    }
}

impl<F, H> KeyedRateLimitLayer<F, H> {
    /// A layer over limits that exist already; `key` is a [`ByRef`] or a [`ByValue`].
    pub const fn with_limiter(limiter: H, key: F) -> Self {
        Self { key, limiter, cost: One }
    }

    /// The same limits, of which each request takes as many units as `cost` says: `Fn(&Req) -> u64`.
    pub fn cost<Req, C: Fn(&Req) -> u64>(self, cost: C) -> KeyedRateLimitLayer<F, H, C> {
        KeyedRateLimitLayer { key: self.key, limiter: self.limiter, cost }
    }
}

impl<F, H, C> KeyedRateLimitLayer<F, H, C> {
    /// The same limits, whose calls wait for up to `wait_at_most`, instead of being refused.
    pub fn wait_at_most(self, wait_at_most: Duration) -> KeyedWaitingRateLimitLayer<F, H, C> {
        KeyedWaitingRateLimitLayer::new(self, wait_at_most)
    }

    /// The limits, to look at and to command.
    pub fn handle(&self) -> H
    where
        H: Clone,
    {
        self.limiter.clone()
    }

    /// A layer with the same configuration and limits of its own.
    pub fn fresh<K: Hash + ?Sized>(&self) -> KeyedRateLimitLayer<F, Arc<KeyedLimiter<K>>, C>
    where
        H: Deref<Target = KeyedLimiter<K>>,
        F: Clone,
        C: Clone,
    {
        let limiter = Arc::new(self.limiter.fresh());
        KeyedRateLimitLayer { key: self.key.clone(), limiter, cost: self.cost.clone() }
    }
}

impl<S, F: Clone, H: Clone, C: Clone> Layer<S> for KeyedRateLimitLayer<F, H, C> {
    type Service = KeyedRateLimit<S, F, H, C>;

    fn layer(&self, inner: S) -> Self::Service {
        KeyedRateLimit::new(inner, self.key.clone(), self.limiter.clone(), self.cost.clone())
    }
}

impl<F, K: ?Sized, H: Deref<Target = KeyedLimiter<K>>, C> fmt::Debug for KeyedRateLimitLayer<F, H, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedRateLimitLayer").field("limiter", &*self.limiter).finish_non_exhaustive()
    }
}
