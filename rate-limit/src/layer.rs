//! The layer: one policy, one limiter.

use crate::{
    config::Config,
    cost::One,
    limiter::Limiter,
    per_key::{ByRef, ByValue, KeyedRateLimitLayer},
    service::RateLimit,
    waiting::WaitingRateLimitLayer,
};
use mainstay_core::InvalidConfig;
use std::{fmt, ops::Deref, sync::Arc, time::Duration};
use tower_layer::Layer;

/// Puts a [`RateLimit`] around a service.
///
/// One layer is one limiter: its clones and all services that it makes share the quota, so a stack that is applied again
/// for each connection is still one limit. [`fresh`](Self::fresh) makes an independent layer with the same configuration, for
/// one endpoint of several.
///
/// `H` leads to the limiter, by default an `Arc`; `C` says how many units a request takes, by default one.
///
/// ```
/// use mainstay_core::Error;
/// use mainstay_rate_limit::{Quota, RateLimitLayer};
/// use std::convert::Infallible;
/// use tower::{Layer, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), mainstay_core::InvalidConfig> {
/// let layer = RateLimitLayer::new(Quota::per_minute(3)?)?.cost(|items: &u64| *items);
/// let shop = || service_fn(async |items: u64| Ok::<_, Error<Infallible>>(items));
///
/// assert_eq!(layer.layer(shop()).oneshot(2).await, Ok(2));
/// assert!(matches!(layer.layer(shop()).oneshot(2).await, Err(Error::Refused(_))), "the limiter is shared");
/// assert_eq!(layer.layer(shop()).oneshot(1).await, Ok(1));
/// assert_eq!(layer.fresh().layer(shop()).oneshot(3).await, Ok(3), "this one is apart");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use]
pub struct RateLimitLayer<H = Arc<Limiter>, C = One> {
    limiter: H,
    cost: C,
}

impl RateLimitLayer {
    /// A layer with a limiter of its own: of a [`Quota`](crate::Quota), a [`Rule`](crate::Rule), several of them, or a
    /// [`Config`].
    ///
    /// # Errors
    ///
    /// If a setting is out of its range; the error names both.
    pub fn new(config: impl Into<Config>) -> Result<Self, InvalidConfig> {
        Ok(Self::with_limiter(Arc::new(Limiter::new(config)?)))
    }

    /// A layer over limits per key, which is a part of the request, such as a `&str`.
    ///
    /// `limits` leads to a [`KeyedLimiter`](crate::KeyedLimiter).
    pub const fn keyed<Req, Q: ?Sized, F, H>(limits: H, key: F) -> KeyedRateLimitLayer<ByRef<F, Q>, H>
    where
        F: Fn(&Req) -> &Q,
        H: Deref<Target = crate::KeyedLimiter<Q>>,
    {
        KeyedRateLimitLayer::with_limiter(limits, ByRef::new(key))
    }

    /// A layer over limits per key, which is computed from the request.
    ///
    /// `limits` leads to a [`KeyedLimiter`](crate::KeyedLimiter).
    pub const fn keyed_by_value<Req, K, F, H>(limits: H, key: F) -> KeyedRateLimitLayer<ByValue<F>, H>
    where
        F: Fn(&Req) -> K,
        H: Deref<Target = crate::KeyedLimiter<K>>,
    {
        KeyedRateLimitLayer::with_limiter(limits, ByValue::new(key))
    }
}

impl<H: Deref<Target = Limiter>> RateLimitLayer<H> {
    /// A layer over a limiter that exists already. Behind `&'static` it costs less to clone than behind an `Arc`.
    pub const fn with_limiter(limiter: H) -> Self {
        Self { limiter, cost: One }
    }

    /// The same limiter, which lets callers wait in `poll_ready` for up to `wait_at_most`, instead of refusing them.
    ///
    /// Each call takes one unit, since the request is not known there.
    pub fn wait_at_most(self, wait_at_most: Duration) -> WaitingRateLimitLayer<H> {
        WaitingRateLimitLayer::new(self.limiter, wait_at_most)
    }

    /// The same limiter, of which each request takes as many units as `cost` says: `Fn(&Req) -> u64`.
    pub fn cost<Req, C: Fn(&Req) -> u64>(self, cost: C) -> RateLimitLayer<H, C> {
        RateLimitLayer { limiter: self.limiter, cost }
    }
}

impl<H: Deref<Target = Limiter>, C> RateLimitLayer<H, C> {
    /// The limiter, to look at and to command.
    pub fn handle(&self) -> H
    where
        H: Clone,
    {
        self.limiter.clone()
    }

    /// A layer with the same configuration and a limiter of its own.
    pub fn fresh(&self) -> RateLimitLayer<Arc<Limiter>, C>
    where
        C: Clone,
    {
        RateLimitLayer { limiter: Arc::new(self.limiter.fresh()), cost: self.cost.clone() }
    }
}

impl<S, H, C> Layer<S> for RateLimitLayer<H, C>
where
    H: Deref<Target = Limiter> + Clone,
    C: Clone,
{
    type Service = RateLimit<S, H, C>;

    fn layer(&self, inner: S) -> Self::Service {
        RateLimit::new(inner, self.limiter.clone(), self.cost.clone())
    }
}

impl<H: Deref<Target = Limiter>, C> fmt::Debug for RateLimitLayer<H, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimitLayer").field("limiter", &*self.limiter).finish_non_exhaustive()
    }
}
