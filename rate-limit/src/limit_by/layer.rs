//! The layer: one policy, whatever decides.

use super::LimitService;
use crate::{config::check_name, cost::One};
use mainstay_core::{InvalidConfig, intern};
use std::fmt;
use tower_layer::Layer;

/// Puts a [`LimitService`] around a service: for what decides elsewhere, or is not of this crate. For a
/// [`Limiter`](crate::Limiter) and a [`KeyedLimiter`](crate::KeyedLimiter), [`RateLimitLayer`](crate::RateLimitLayer) and
/// [`KeyedRateLimitLayer`](crate::KeyedRateLimitLayer) are cheaper and can wait.
///
/// `L` is a [`Limit`](crate::Limit) or leads to one, such as an `Arc`; its clones share one state. `F` finds the key of a request, and
/// `C` says how many units it takes, by default one.
///
/// ```
/// use mainstay_core::Error;
/// use mainstay_rate_limit::{ByRef, CostTooLarge, Decision, KeyedLimiter, Limit, LimitLayer, Quota};
/// use std::{convert::Infallible, future::Future, pin::Pin, sync::Arc};
/// use tower::{Layer, ServiceExt, service_fn};
///
/// /// In place of a store that is asked over the network.
/// #[derive(Clone)]
/// struct Store(Arc<KeyedLimiter<str>>);
///
/// impl Limit<str> for Store {
///     type Decide = Pin<Box<dyn Future<Output = Result<Decision, CostTooLarge>> + Send>>;
///
///     fn decide(&self, key: &str, cost: u64) -> Self::Decide {
///         let (limiter, key) = (Arc::clone(&self.0), key.to_owned());
///         Box::pin(async move {
///             tokio::task::yield_now().await;
///             limiter.check_cost(&key, cost)
///         })
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), mainstay_core::InvalidConfig> {
/// let store = Store(Arc::new(KeyedLimiter::new(Quota::per_minute(1)?)?));
/// let layer = LimitLayer::new("clients", store, ByRef::new(|client: &String| client.as_str()))?;
/// let shop = layer.layer(service_fn(async |client: String| Ok::<_, Error<Infallible>>(client)));
///
/// assert!(shop.clone().oneshot("alice".to_owned()).await.is_ok());
/// let Err(Error::Refused(refused)) = shop.oneshot("alice".to_owned()).await else { unreachable!() };
/// assert_eq!(refused.by(), "clients");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use]
pub struct LimitLayer<F, L, C = One> {
    name: &'static str,
    key: F,
    limit: L,
    cost: C,
}

impl<F, L> LimitLayer<F, L> {
    /// A layer over `limit`, which refusals call `name`; `key` is a [`ByRef`](crate::ByRef) or a [`ByValue`](crate::ByValue).
    ///
    /// Layers of equal names share one string, which is kept for the life of the process.
    ///
    /// # Errors
    ///
    /// If the name is empty or has more than 128 bytes.
    pub fn new(name: &str, limit: L, key: F) -> Result<Self, InvalidConfig> {
        check_name(name)?;
        Ok(Self { name: intern(name), key, limit, cost: One })
    }

    /// The same, where each request takes as many units as `cost` says: `Fn(&Req) -> u64`.
    pub fn cost<Req, C: Fn(&Req) -> u64>(self, cost: C) -> LimitLayer<F, L, C> {
        LimitLayer { name: self.name, key: self.key, limit: self.limit, cost }
    }
}

impl<S, F: Clone, L: Clone, C: Clone> Layer<S> for LimitLayer<F, L, C> {
    type Service = LimitService<S, F, L, C>;

    fn layer(&self, inner: S) -> Self::Service {
        LimitService::new(inner, self.name, self.key.clone(), self.limit.clone(), self.cost.clone())
    }
}

impl<F, L, C> fmt::Debug for LimitLayer<F, L, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LimitLayer").field("name", &self.name).finish_non_exhaustive()
    }
}
