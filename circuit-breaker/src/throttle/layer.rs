//! The layer: one policy, one throttle.

use super::{Throttle, ThrottleConfig, ThrottleService};
use mainstay_core::{AnyError, InvalidConfig};
use std::{fmt, ops::Deref, sync::Arc};
use tower_layer::Layer;

/// Puts a [`ThrottleService`] around a service.
///
/// One layer is one throttle: its clones and all services that it makes share the state. [`fresh`](Self::fresh) makes an
/// independent layer with the same configuration.
///
/// `H` leads to the throttle, by default an `Arc`; `C` says what is not accepted, by default any error.
///
/// ```
/// use mainstay_circuit_breaker::{ThrottleConfig, ThrottleLayer};
/// use mainstay_core::{Error, Reason};
/// use tower::{Layer, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), mainstay_core::InvalidConfig> {
/// let layer = ThrottleLayer::new(ThrottleConfig::default().name("search").minimum_calls(10))?;
/// let busy = || service_fn(async |_: ()| Err::<(), _>("too busy")).map_err(Error::Inner);
///
/// let mut refused = 0;
/// for _ in 0..1_000 {
///     if let Err(Error::Refused(why)) = layer.layer(busy()).oneshot(()).await {
///         assert_eq!((why.reason(), why.by()), (Reason::Throttled, "search"));
///         refused += 1;
///     }
/// }
/// assert!((800..1_000).contains(&refused), "nine of ten");
/// assert_eq!(layer.handle().snapshot().refused, refused);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use]
pub struct ThrottleLayer<H = Arc<Throttle>, C = AnyError> {
    throttle: H,
    classify: C,
}

impl ThrottleLayer {
    /// A layer with a throttle of its own; every error is a request that was not accepted.
    ///
    /// With hyper, axum and reqwest a response of status 503 is an `Ok`: use `http` there, or [`classify`](Self::classify).
    ///
    /// # Errors
    ///
    /// If a setting is out of its range; the error names both.
    pub fn new(config: ThrottleConfig) -> Result<Self, InvalidConfig> {
        Ok(Self::with_throttle(Arc::new(Throttle::new(config)?)))
    }
}

#[cfg(feature = "http")]
#[cfg_attr(docsrs, doc(cfg(feature = "http")))]
impl ThrottleLayer<Arc<Throttle>, mainstay_core::HttpStatus> {
    /// A layer with a throttle of its own for HTTP: a status of 5xx, 408 or 429 is not an accept, nor is any error.
    ///
    /// # Errors
    ///
    /// If a setting is out of its range; the error names both.
    pub fn http(config: ThrottleConfig) -> Result<Self, InvalidConfig> {
        Ok(ThrottleLayer::new(config)?.classify(mainstay_core::HttpStatus))
    }
}

#[cfg(feature = "grpc")]
#[cfg_attr(docsrs, doc(cfg(feature = "grpc")))]
impl ThrottleLayer<Arc<Throttle>, mainstay_core::GrpcStatus> {
    /// A layer with a throttle of its own for gRPC, whose status is known when the body ends.
    ///
    /// # Errors
    ///
    /// If a setting is out of its range; the error names both.
    pub fn grpc(
        config: ThrottleConfig,
    ) -> Result<super::BodyThrottleLayer<Arc<Throttle>, mainstay_core::GrpcStatus>, InvalidConfig> {
        Ok(ThrottleLayer::new(config)?.classify(mainstay_core::GrpcStatus).until_body_end())
    }
}

impl<H: Deref<Target = Throttle>> ThrottleLayer<H> {
    /// A layer over a throttle that exists already. Behind `&'static` it costs less per call than behind an `Arc`.
    pub const fn with_throttle(throttle: H) -> Self {
        Self { throttle, classify: AnyError }
    }
}

impl<H: Deref<Target = Throttle>, C> ThrottleLayer<H, C> {
    /// The same throttle, with another idea of what is not accepted.
    pub fn classify<D>(self, classify: D) -> ThrottleLayer<H, D> {
        ThrottleLayer { throttle: self.throttle, classify }
    }

    /// The throttle, to look at and to command.
    pub fn handle(&self) -> H
    where
        H: Clone,
    {
        self.throttle.clone()
    }

    /// The same throttle, which settles a call when the body of its response ends, and not at the head.
    #[cfg(feature = "http")]
    #[cfg_attr(docsrs, doc(cfg(feature = "http")))]
    pub fn until_body_end(self) -> super::BodyThrottleLayer<H, C> {
        super::BodyThrottleLayer::new(self)
    }

    /// A layer with the same configuration and a throttle of its own.
    pub fn fresh(&self) -> ThrottleLayer<Arc<Throttle>, C>
    where
        C: Clone,
    {
        ThrottleLayer { throttle: Arc::new(self.throttle.fresh()), classify: self.classify.clone() }
    }
}

impl<S, H, C> Layer<S> for ThrottleLayer<H, C>
where
    H: Deref<Target = Throttle> + Clone,
    C: Clone,
{
    type Service = ThrottleService<S, H, C>;

    fn layer(&self, inner: S) -> Self::Service {
        ThrottleService::new(inner, self.throttle.clone(), self.classify.clone())
    }
}

impl<H: Deref<Target = Throttle>, C> fmt::Debug for ThrottleLayer<H, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThrottleLayer").field("throttle", &*self.throttle).finish_non_exhaustive()
    }
}
