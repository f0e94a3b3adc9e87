//! The layer: one policy, one limiter.

use super::{ClientId, ClientLimiter, Fields, HttpRateLimit, RateLimitFields};
use crate::{KeyedConfig, KeyedLimiter, One};
use http::{Request, Response};
use mainstay_core::{
    InvalidConfig,
    http::{EmptyBody, Rejection},
};
use std::{fmt, ops::Deref, sync::Arc};
use tower_layer::Layer;

/// Puts an [`HttpRateLimit`] around the service of an HTTP or gRPC server.
///
/// One layer is one limiter: its clones and all services that it makes share the quotas, so a stack that is applied again
/// for each connection is still one limit. `I` tells clients apart, `H` leads to the limiter, by default an `Arc`, `A`
/// completes the responses to refused requests, and `C` says how many units a request takes, by default one.
///
/// ```
/// use http::{Request, Response};
/// use mainstay_rate_limit::{Quota, http::{Bearer, HttpRateLimitLayer}};
/// use std::convert::Infallible;
/// use tower::{Layer, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let layer = HttpRateLimitLayer::new(Quota::per_hour(1)?, Bearer)?;
/// let server = layer.layer(service_fn(async |_: Request<()>| Ok::<_, Infallible>(Response::new("espresso"))));
///
/// let by = |client: &str| Request::get("/").header("authorization", format!("Bearer {client}")).body(());
/// assert_eq!(server.clone().oneshot(by("flo")?).await?.status(), 200);
/// assert_eq!(server.clone().oneshot(by("flo")?).await?.status(), 429);
/// assert_eq!(server.clone().oneshot(by("kim")?).await?.status(), 200);
/// assert_eq!(layer.handle().snapshot().refused, 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use]
pub struct HttpRateLimitLayer<I, H = Arc<KeyedLimiter<ClientId>>, A = EmptyBody, C = One> {
    pub(super) policy: Policy<I, H, A, C>,
}

/// What the layer and its services have in common.
#[derive(Clone)]
pub(super) struct Policy<I, H, A, C> {
    pub(super) identify: I,
    pub(super) limiter: H,
    pub(super) answer: A,
    pub(super) cost: C,
    pub(super) fields: Arc<RateLimitFields>,
    pub(super) when: Fields,
}

impl<I> HttpRateLimitLayer<I> {
    /// A layer with a quota for each client, as `identify` tells them apart.
    ///
    /// # Errors
    ///
    /// If a setting is out of its range; the error names both.
    pub fn new(config: impl Into<KeyedConfig>, identify: I) -> Result<Self, InvalidConfig> {
        Ok(Self::with_limiter(Arc::new(KeyedLimiter::new(config)?), identify))
    }
}

impl<I, A, C> HttpRateLimitLayer<I, Arc<KeyedLimiter<ClientId>>, A, C> {
    /// A layer with the same configuration and limits of its own.
    pub fn fresh(&self) -> Self
    where
        I: Clone,
        A: Clone,
        C: Clone,
    {
        let Policy { identify, limiter, answer, cost, when, .. } = self.policy.clone();
        let HttpRateLimitLayer { policy } = HttpRateLimitLayer::with_limiter(Arc::new(limiter.fresh()), identify);
        let Policy { identify, limiter, fields, .. } = policy;
        Self { policy: Policy { identify, limiter, answer, cost, fields, when } }
    }
}

impl<I, H: Deref<Target: ClientLimiter>> HttpRateLimitLayer<I, H> {
    /// A layer over a limiter that exists already: a [`KeyedLimiter`] of [`ClientId`]s, such as one with a quota for each client
    /// by a function, or a [`Limiter`](crate::Limiter) for all clients together.
    ///
    /// The policies that its responses name are those that the limiter has now. They name none from the first change of the
    /// rules on, until another layer is made over the limiter, and none at all if clients have quotas by a function.
    pub fn with_limiter(limiter: H, identify: I) -> Self {
        // Before the rules are read: if they are changed meanwhile, no policy is named, rather than one that does not hold.
        let version = limiter.rules_version();
        let config = limiter.config();
        let fields = Arc::new(RateLimitFields::new(&config.name, &config.rules).of_version(version));
        let when = Fields::default();
        Self { policy: Policy { identify, limiter, answer: EmptyBody, cost: One, fields, when } }
    }
}

impl<I, H, A, C> HttpRateLimitLayer<I, H, A, C> {
    /// Has `answer` complete every response to a refused request that is not for gRPC: body, content type, and headers of
    /// one's own.
    pub fn with_body<F, B>(self, answer: F) -> HttpRateLimitLayer<I, H, F, C>
    where
        F: Fn(&Rejection, &mut Response<B>),
    {
        let Policy { identify, limiter, answer: _, cost, fields, when } = self.policy;
        HttpRateLimitLayer { policy: Policy { identify, limiter, answer, cost, fields, when } }
    }

    /// Has each request take as many units of its client's quota as `cost` says: `Fn(&Request<B>) -> u64`. Default: one.
    ///
    /// A request of nothing is always allowed. One of more than can ever be taken at once is refused, with no time to come
    /// back: neither `Retry-After` nor pushback.
    ///
    /// ```
    /// use http::{Method, Request, Response};
    /// use mainstay_rate_limit::{Quota, http::{Bearer, HttpRateLimitLayer}};
    /// use std::convert::Infallible;
    /// use tower::{Layer, ServiceExt, service_fn};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let layer = HttpRateLimitLayer::new(Quota::per_hour(10)?, Bearer)?
    ///     .cost(|request: &Request<()>| if request.method() == Method::GET { 1 } else { 5 });
    /// let server = layer.layer(service_fn(async |_: Request<()>| Ok::<_, Infallible>(Response::new(()))));
    ///
    /// let response = server.clone().oneshot(Request::get("/menu").body(())?).await?;
    /// assert!(response.headers()["ratelimit"].to_str()?.starts_with(r#""rate-limit";r=9;"#));
    /// let response = server.clone().oneshot(Request::post("/orders").body(())?).await?;
    /// assert!(response.headers()["ratelimit"].to_str()?.starts_with(r#""rate-limit";r=4;"#));
    /// # Ok(())
    /// # }
    /// ```
    pub fn cost<B, F: Fn(&Request<B>) -> u64>(self, cost: F) -> HttpRateLimitLayer<I, H, A, F> {
        let Policy { identify, limiter, answer, cost: _, fields, when } = self.policy;
        HttpRateLimitLayer { policy: Policy { identify, limiter, answer, cost, fields, when } }
    }

    /// Which responses have `RateLimit` and `RateLimit-Policy`. Default: [`Fields::Always`].
    pub const fn fields(mut self, when: Fields) -> Self {
        self.policy.when = when;
        self
    }

    /// The limiter, to look at and to command.
    pub fn handle(&self) -> H
    where
        H: Clone,
    {
        self.policy.limiter.clone()
    }
}

impl<S, I: Clone, H: Clone, A: Clone, C: Clone> Layer<S> for HttpRateLimitLayer<I, H, A, C> {
    type Service = HttpRateLimit<S, I, H, A, C>;

    fn layer(&self, inner: S) -> Self::Service {
        HttpRateLimit::new(inner, self.policy.clone())
    }
}

impl<I, H: Deref<Target: ClientLimiter>, A, C> fmt::Debug for HttpRateLimitLayer<I, H, A, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpRateLimitLayer").field("limiter", &self.policy.limiter.name()).finish_non_exhaustive()
    }
}
