//! The layer: one policy, one limiter that is waited for.

use super::WaitingRateLimit;
use crate::limiter::Limiter;
use std::{fmt, ops::Deref, sync::Arc, time::Duration};
use tower_layer::Layer;

/// Puts a [`WaitingRateLimit`] around a service; made by
/// [`RateLimitLayer::wait_at_most`](crate::RateLimitLayer::wait_at_most).
///
/// One layer is one limiter, shared by its clones and all services that it makes; [`fresh`](Self::fresh) makes an independent
/// one.
///
/// ```
/// use mainstay_core::Error;
/// use mainstay_rate_limit::{Quota, RateLimitLayer};
/// use std::{convert::Infallible, time::Duration};
/// use tower::{Layer, Service, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let layer = RateLimitLayer::new(Quota::per_second(10)?.burst(1)?)?.wait_at_most(Duration::from_secs(5));
/// let mut partner = layer.layer(service_fn(async |order: u32| Ok::<_, Error<Infallible>>(order)));
///
/// let start = tokio::time::Instant::now();
/// for order in 0..5 {
///     partner.ready().await?.call(order).await?;
/// }
/// assert_eq!(start.elapsed(), Duration::from_millis(400), "one each 100 ms");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use]
pub struct WaitingRateLimitLayer<H = Arc<Limiter>> {
    limiter: H,
    wait_at_most: Duration,
}

impl<H: Deref<Target = Limiter>> WaitingRateLimitLayer<H> {
    /// A layer over a limiter, whose callers wait for up to `wait_at_most`; of [`Duration::MAX`] for as long as it takes, and of
    /// zero not at all.
    pub const fn new(limiter: H, wait_at_most: Duration) -> Self {
        Self { limiter, wait_at_most }
    }

    /// The limiter, to look at and to command.
    pub fn handle(&self) -> H
    where
        H: Clone,
    {
        self.limiter.clone()
    }

    /// A layer with the same configuration and a limiter of its own.
    pub fn fresh(&self) -> WaitingRateLimitLayer<Arc<Limiter>> {
        WaitingRateLimitLayer::new(Arc::new(self.limiter.fresh()), self.wait_at_most)
    }
}

impl<S, H: Deref<Target = Limiter> + Clone> Layer<S> for WaitingRateLimitLayer<H> {
    type Service = WaitingRateLimit<S, H>;

    fn layer(&self, inner: S) -> Self::Service {
        WaitingRateLimit::new(inner, self.limiter.clone(), self.wait_at_most)
    }
}

impl<H: Deref<Target = Limiter>> fmt::Debug for WaitingRateLimitLayer<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitingRateLimitLayer")
            .field("limiter", &*self.limiter)
            .field("wait_at_most", &self.wait_at_most)
            .finish()
    }
}
