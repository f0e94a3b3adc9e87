//! The layer: plain data.

use crate::{
    Always, Cloned, Config, Markable, Marked, MarkedIf, NoBudget, Pay, Policy, Retry, attempts::Terms,
    observe::Observers,
};
use mainstay_core::{AnyError, Attempt, InvalidConfig};
use std::fmt;
use tower_layer::Layer;

/// Puts a [`Retry`] around a service.
///
/// What was certainly not executed is sent again whatever it is; what failed is sent again only if the request is idempotent,
/// and by itself [`new`](Self::new) takes none to be. It is plain data and `Copy` if its parts are: services share nothing
/// but the budget, which is given by its handle.
///
/// `R` makes the attempts, `C` says what counts as a failure, `P` pays, `V` has the last word.
///
/// ```
/// use mainstay_core::Error;
/// use mainstay_retry::{Config, RetryLayer};
/// use std::sync::atomic::{AtomicU32, Ordering};
/// use tower::{Layer, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), mainstay_core::InvalidConfig> {
/// let calls = AtomicU32::new(0);
/// let flaky = || {
///     service_fn(async |_: &str| match calls.fetch_add(1, Ordering::Relaxed) {
///         0 => Err("connection reset"),
///         _ => Ok("espresso"),
///     })
///     .map_err(Error::Inner)
/// };
///
/// let layer = RetryLayer::new(Config::default())?;
/// assert!(layer.layer(flaky()).oneshot("order").await.is_err(), "it may have been executed");
///
/// # calls.store(0, Ordering::Relaxed);
/// let lookups = layer.idempotent();
/// assert_eq!(lookups.layer(flaky()).oneshot("look up").await, Ok("espresso"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy)]
#[must_use]
pub struct RetryLayer<R = Cloned, C = AnyError, P = NoBudget, V = Always> {
    policy: Policy,
    repeat: R,
    terms: Terms<C, P, V>,
}

impl RetryLayer {
    /// Sends clones of the request; every error is a failure; no request is idempotent, and every retry is paid.
    ///
    /// With hyper, axum and reqwest a response of status 500 is an `Ok`: use `http` there, or [`classify`](Self::classify).
    ///
    /// # Errors
    ///
    /// If a setting is out of its range; the error names both.
    pub fn new(config: Config) -> Result<Self, InvalidConfig> {
        Ok(Self { policy: Policy::new(config)?, repeat: Cloned::new(), terms: Terms::new(config.name) })
    }
}

#[cfg(feature = "http")]
#[cfg_attr(docsrs, doc(cfg(feature = "http")))]
impl RetryLayer<crate::HttpRepeat, mainstay_core::HttpStatus> {
    /// For HTTP: [`HttpRepeat`](crate::HttpRepeat) says what is idempotent and sends bodies again; a status of 5xx, 408 or
    /// 429 is a failure, as is any error, and `Retry-After` is heeded.
    ///
    /// # Errors
    ///
    /// If a setting is out of its range; the error names both.
    pub fn http(config: Config) -> Result<Self, InvalidConfig> {
        Ok(RetryLayer::new(config)?.repeat(crate::HttpRepeat::new()).classify(mainstay_core::HttpStatus))
    }
}

#[cfg(feature = "grpc")]
#[cfg_attr(docsrs, doc(cfg(feature = "grpc")))]
impl RetryLayer<crate::HttpRepeat, mainstay_core::GrpcStatus> {
    /// For gRPC: like `http`, with the status and the pushback of gRPC.
    ///
    /// Only what stands in the head is seen: a status in the trailers comes when the answer is on its way already. All
    /// calls are `POST`, so none is idempotent unless it is said, by [`idempotent_if`](Self::idempotent_if) for instance.
    ///
    /// # Errors
    ///
    /// If a setting is out of its range; the error names both.
    pub fn grpc(config: Config) -> Result<Self, InvalidConfig> {
        Ok(RetryLayer::new(config)?.repeat(crate::HttpRepeat::new()).classify(mainstay_core::GrpcStatus))
    }
}

impl<R, C, P> RetryLayer<R, C, P> {
    /// Asks `only_if` last, before the budget: the request, as [`Repeat::Seen`](crate::Repeat::Seen) says, how the attempt
    /// ended, and which it was. It can forbid a retry, not bring one about.
    ///
    /// There is one last word: a second one would take the place of the first, and allow what that forbids.
    ///
    /// ```compile_fail
    /// # use mainstay_core::Error;
    /// # use mainstay_retry::{Config, RetryLayer};
    /// # let layer = RetryLayer::new(Config::default()).unwrap();
    /// layer
    ///     .only_if(|_: &u32, _: Result<&u32, &Error<u32>>, _| false)
    ///     .only_if(|_: &u32, _: Result<&u32, &Error<u32>>, _| true);
    /// ```
    pub fn only_if<Seen, Res, Err, W>(self, only_if: W) -> RetryLayer<R, C, P, W>
    where
        Seen: ?Sized,
        W: Fn(&Seen, Result<&Res, &Err>, Attempt) -> bool,
    {
        RetryLayer { policy: self.policy, repeat: self.repeat, terms: self.terms.only_if(only_if) }
    }
}

impl<R, C, P, V> RetryLayer<R, C, P, V> {
    /// Makes the attempts in another way, and knows in another way what is idempotent: what `idempotent` and `idempotent_if` have
    /// declared is to be declared after it.
    pub fn repeat<Q>(self, repeat: Q) -> RetryLayer<Q, C, P, V> {
        RetryLayer { policy: self.policy, repeat, terms: self.terms }
    }

    /// Has another idea of what a failure is.
    pub fn classify<D>(self, classify: D) -> RetryLayer<R, D, P, V> {
        RetryLayer { policy: self.policy, repeat: self.repeat, terms: self.terms.classify(classify) }
    }

    /// Pays each retry from a [`Budget`](crate::Budget), which is shared by all that have its handle.
    pub fn budget<Q: Pay>(self, budget: Q) -> RetryLayer<R, C, Q, V> {
        RetryLayer { policy: self.policy, repeat: self.repeat, terms: self.terms.budget(budget) }
    }

    /// Declares that there is a [`Boundary`](mainstay_core::Boundary) below, so that a refusal in a
    /// [`BoxError`](mainstay_core::BoxError) is one of this stack, and proof that the call was not executed.
    ///
    /// Without it such a refusal counts as a failure. Over [`Error<E>`](mainstay_core::Error) it changes nothing.
    pub fn above_boundary(mut self) -> Self {
        self.terms.is_above_boundary = true;
        self
    }

    /// Declares all requests idempotent: what failed is sent again, whatever it was.
    pub fn idempotent(self) -> RetryLayer<R::With<Marked>, C, P, V>
    where
        R: Markable,
    {
        RetryLayer { policy: self.policy, repeat: self.repeat.with_mark(Marked), terms: self.terms }
    }

    /// Declares those requests idempotent for which `is_idempotent` says so; over HTTP, beside those that are so anyway.
    pub fn idempotent_if<Seen, F>(self, is_idempotent: F) -> RetryLayer<R::With<MarkedIf<F>>, C, P, V>
    where
        R: Markable,
        Seen: ?Sized,
        F: Fn(&Seen) -> bool,
    {
        let repeat = self.repeat.with_mark(MarkedIf(is_idempotent));
        RetryLayer { policy: self.policy, repeat, terms: self.terms }
    }

    /// The settings.
    pub const fn config(&self) -> &Config {
        self.policy.config()
    }

    /// Counts in the recorder that is installed now, for all policies of this name.
    #[cfg(feature = "metrics")]
    #[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
    pub fn rebind_metrics(&self) {
        self.terms.observers.rebind_metrics();
    }
}

impl Terms<AnyError, NoBudget, Always> {
    pub(crate) fn new(name: &'static str) -> Self {
        let observers = Observers::new(name);
        Self { classify: AnyError, budget: NoBudget, only_if: Always, is_above_boundary: false, observers }
    }
}

impl<C, P, V> Terms<C, P, V> {
    pub(crate) fn classify<D>(self, classify: D) -> Terms<D, P, V> {
        let Self { budget, only_if, is_above_boundary, observers, .. } = self;
        Terms { classify, budget, only_if, is_above_boundary, observers }
    }

    pub(crate) fn budget<Q>(self, budget: Q) -> Terms<C, Q, V> {
        let Self { classify, only_if, is_above_boundary, observers, .. } = self;
        Terms { classify, budget, only_if, is_above_boundary, observers }
    }

    pub(crate) fn only_if<W>(self, only_if: W) -> Terms<C, P, W> {
        let Self { classify, budget, is_above_boundary, observers, .. } = self;
        Terms { classify, budget, only_if, is_above_boundary, observers }
    }
}

impl<S, R, C, P, V> Layer<S> for RetryLayer<R, C, P, V>
where
    R: Clone,
    C: Clone,
    P: Clone,
    V: Clone,
{
    type Service = Retry<S, R, C, P, V>;

    fn layer(&self, inner: S) -> Self::Service {
        Retry::new(inner, self.policy, self.repeat.clone(), self.terms.clone())
    }
}

impl<R, C, P, V> fmt::Debug for RetryLayer<R, C, P, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryLayer").field("config", self.config()).finish_non_exhaustive()
    }
}
