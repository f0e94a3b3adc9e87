//! The layer: one policy, one measure of latency.

use super::{config::HedgeConfig, hedging::Hedging, service::Hedge};
use crate::{Cloned, Markable, Marked, MarkedIf, NoBudget, Pay};
use mainstay_core::{AnyError, InvalidConfig};
use std::{fmt, ops::Deref, sync::Arc};
use tower_layer::Layer;

/// Puts a [`Hedge`] around a service.
///
/// One layer is one policy: its clones and all services that it makes measure latency together.
/// [`fresh`](Self::fresh) makes an independent layer with the same configuration.
///
/// `R` says how a request is sent again and which may run side by side, by default clones, none of which is: say so by
/// [`idempotent`](Self::idempotent) or [`repeat`](Self::repeat), or nothing is ever hedged. `C` says what is a
/// success, by default whatever is not an error. `B` pays for hedges, by default nothing: share a
/// [`Budget`](crate::Budget) with the retries of the same service.
///
/// ```
/// use mainstay_core::Error;
/// use mainstay_retry::{Budget, BudgetConfig, HedgeConfig, HedgeLayer};
/// use std::{sync::Arc, time::Duration};
/// use tower::{Layer, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), mainstay_core::InvalidConfig> {
/// let budget = Arc::new(Budget::new(BudgetConfig::default())?);
/// let layer = HedgeLayer::new(HedgeConfig::default().delay(Duration::from_millis(50)))?
///     .idempotent()
///     .budget(Arc::clone(&budget));
///
/// // Each call takes a second, so a hedge starts beside it, and the first attempt is still the faster one.
/// let slow = service_fn(async |word: &'static str| {
///     tokio::time::sleep(Duration::from_secs(1)).await;
///     Ok::<_, Error<()>>(word)
/// });
///
/// assert_eq!(layer.layer(slow).oneshot("hello").await, Ok("hello"));
/// let snapshot = layer.handle().snapshot();
/// assert_eq!((snapshot.started, snapshot.won), (1, 0));
/// assert_eq!(budget.snapshot().withdrawn, 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy)]
#[must_use]
pub struct HedgeLayer<R = Cloned, C = AnyError, B = NoBudget, H = Arc<Hedging>> {
    hedging: H,
    repeat: R,
    classify: C,
    budget: B,
}

impl HedgeLayer {
    /// A layer with a policy of its own, which sends clones; every error is a failure, and no budget pays.
    ///
    /// With hyper, axum and reqwest a response of status 500 is an `Ok`: use `http` there.
    ///
    /// # Errors
    ///
    /// If a setting is out of its range; the error names both.
    pub fn new(config: HedgeConfig) -> Result<Self, InvalidConfig> {
        Ok(Self::with_hedging(Arc::new(Hedging::new(config)?)))
    }
}

#[cfg(feature = "http")]
#[cfg_attr(docsrs, doc(cfg(feature = "http")))]
impl HedgeLayer<crate::HttpRepeat, mainstay_core::HttpStatus> {
    /// A layer with a policy of its own for HTTP: what is idempotent by its method or mark is hedged, and a status of 5xx, 408
    /// or 429 does not win.
    ///
    /// A request with an `Idempotency-Key` is not hedged for that: a server answers 409 while the first one is under way.
    /// Declare by [`idempotent_if`](Self::idempotent_if) if yours does not.
    ///
    /// # Errors
    ///
    /// If a setting is out of its range; the error names both.
    pub fn http(config: HedgeConfig) -> Result<Self, InvalidConfig> {
        Ok(HedgeLayer::new(config)?.repeat(crate::HttpRepeat::new()).classify(mainstay_core::HttpStatus))
    }
}

#[cfg(feature = "grpc")]
#[cfg_attr(docsrs, doc(cfg(feature = "grpc")))]
impl HedgeLayer<crate::HttpRepeat, mainstay_core::GrpcStatus> {
    /// A layer with a policy of its own for gRPC, where what is marked [`Idempotent`](mainstay_core::Idempotent) is hedged.
    ///
    /// The head of a response decides: a status that comes in the trailers, behind a body, is not waited for.
    ///
    /// # Errors
    ///
    /// If a setting is out of its range; the error names both.
    pub fn grpc(config: HedgeConfig) -> Result<Self, InvalidConfig> {
        Ok(HedgeLayer::new(config)?.repeat(crate::HttpRepeat::new()).classify(mainstay_core::GrpcStatus))
    }
}

impl<H: Deref<Target = Hedging>> HedgeLayer<Cloned, AnyError, NoBudget, H> {
    /// A layer over a policy that exists already. Behind `&'static` it costs less per call than behind an `Arc`.
    pub const fn with_hedging(hedging: H) -> Self {
        Self { hedging, repeat: Cloned::new(), classify: AnyError, budget: NoBudget }
    }
}

impl<R, C, B, H> HedgeLayer<R, C, B, H> {
    /// The same policy, with another way of sending a request again, and another idea of which are idempotent.
    pub fn repeat<S>(self, repeat: S) -> HedgeLayer<S, C, B, H> {
        HedgeLayer { hedging: self.hedging, repeat, classify: self.classify, budget: self.budget }
    }

    /// The same policy, with another idea of what a success is.
    pub fn classify<D>(self, classify: D) -> HedgeLayer<R, D, B, H> {
        HedgeLayer { hedging: self.hedging, repeat: self.repeat, classify, budget: self.budget }
    }

    /// The same policy, whose hedges are paid from `budget`, and whose successes earn for it.
    pub fn budget<P: Pay>(self, budget: P) -> HedgeLayer<R, C, P, H> {
        HedgeLayer { hedging: self.hedging, repeat: self.repeat, classify: self.classify, budget }
    }

    /// Declares all requests idempotent: each may be executed more than once.
    pub fn idempotent(self) -> HedgeLayer<R::With<Marked>, C, B, H>
    where
        R: Markable,
    {
        let Self { hedging, repeat, classify, budget } = self;
        HedgeLayer { hedging, repeat: repeat.with_mark(Marked), classify, budget }
    }

    /// Declares those requests idempotent for which `is_idempotent` says so; over HTTP, beside those that are so anyway.
    pub fn idempotent_if<Seen, F>(self, is_idempotent: F) -> HedgeLayer<R::With<MarkedIf<F>>, C, B, H>
    where
        R: Markable,
        Seen: ?Sized,
        F: Fn(&Seen) -> bool,
    {
        let Self { hedging, repeat, classify, budget } = self;
        HedgeLayer { hedging, repeat: repeat.with_mark(MarkedIf(is_idempotent)), classify, budget }
    }

    /// The policy, to look at.
    pub fn handle(&self) -> H
    where
        H: Clone,
    {
        self.hedging.clone()
    }

    /// A layer with the same configuration and budget, and a policy of its own.
    pub fn fresh(&self) -> HedgeLayer<R, C, B, Arc<Hedging>>
    where
        R: Clone,
        C: Clone,
        B: Clone,
        H: Deref<Target = Hedging>,
    {
        HedgeLayer {
            hedging: Arc::new(self.hedging.fresh()),
            repeat: self.repeat.clone(),
            classify: self.classify.clone(),
            budget: self.budget.clone(),
        }
    }
}

impl<S, R, C, B, H> Layer<S> for HedgeLayer<R, C, B, H>
where
    R: Clone,
    C: Clone,
    B: Clone,
    H: Clone,
{
    type Service = Hedge<S, R, C, B, H>;

    fn layer(&self, inner: S) -> Self::Service {
        let (repeat, classify, budget) = (self.repeat.clone(), self.classify.clone(), self.budget.clone());
        Hedge::new(inner, self.hedging.clone(), repeat, classify, budget)
    }
}

impl<R, C, B, H: Deref<Target = Hedging>> fmt::Debug for HedgeLayer<R, C, B, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HedgeLayer").field("hedging", &*self.hedging).finish_non_exhaustive()
    }
}
