//! The layer whose calls wait.

use super::{KeyedRateLimitLayer, KeyedWaitingRateLimit};
use crate::{cost::One, keyed::KeyedLimiter};
use std::{fmt, hash::Hash, ops::Deref, sync::Arc, time::Duration};
use tower_layer::Layer;

/// Puts a [`KeyedWaitingRateLimit`] around a service; made by
/// [`KeyedRateLimitLayer::wait_at_most`].
///
/// One layer is one set of limits, shared by its clones and all services that it makes; [`fresh`](Self::fresh) makes an
/// independent one.
///
/// ```
/// use mainstay_core::Error;
/// use mainstay_rate_limit::{KeyedRateLimitLayer, Quota};
/// use std::{convert::Infallible, time::Duration};
/// use tower::{Layer, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let hosts = KeyedRateLimitLayer::new(Quota::per_second(1)?, |host: &&'static str| *host)?;
/// let crawler = hosts.wait_at_most(Duration::from_secs(5)).layer(service_fn(async |host| Ok::<_, Error<Infallible>>(host)));
///
/// let start = tokio::time::Instant::now();
/// let fetch = |host| crawler.clone().oneshot(host);
/// tokio::try_join!(fetch("a.example"), fetch("a.example"), fetch("a.example"), fetch("b.example"))?;
/// assert_eq!(start.elapsed(), Duration::from_secs(2), "a second between those of one host");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use]
pub struct KeyedWaitingRateLimitLayer<F, H, C = One> {
    refusing: KeyedRateLimitLayer<F, H, C>,
    wait_at_most: Duration,
}

impl<F, H, C> KeyedWaitingRateLimitLayer<F, H, C> {
    pub(super) const fn new(refusing: KeyedRateLimitLayer<F, H, C>, wait_at_most: Duration) -> Self {
        Self { refusing, wait_at_most }
    }

    /// The limits, to look at and to command.
    pub fn handle(&self) -> H
    where
        H: Clone,
    {
        self.refusing.handle()
    }

    /// A layer with the same configuration and limits of its own.
    pub fn fresh<K: Hash + ?Sized>(&self) -> KeyedWaitingRateLimitLayer<F, Arc<KeyedLimiter<K>>, C>
    where
        H: Deref<Target = KeyedLimiter<K>>,
        F: Clone,
        C: Clone,
    {
        KeyedWaitingRateLimitLayer::new(self.refusing.fresh(), self.wait_at_most)
    }
}

impl<S, F: Clone, H: Clone, C: Clone> Layer<S> for KeyedWaitingRateLimitLayer<F, H, C> {
    type Service = KeyedWaitingRateLimit<S, F, H, C>;

    fn layer(&self, inner: S) -> Self::Service {
        KeyedWaitingRateLimit::new(self.refusing.layer(inner), self.wait_at_most)
    }
}

impl<F, K: ?Sized, H: Deref<Target = KeyedLimiter<K>>, C> fmt::Debug for KeyedWaitingRateLimitLayer<F, H, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedWaitingRateLimitLayer")
            .field("refusing", &self.refusing)
            .field("wait_at_most", &self.wait_at_most)
            .finish()
    }
}
