//! The layer under test, as the kit drives it.

use crate::{
    auto_traits::{Ask, AutoTraits},
    clause::Clause,
    probe::{Probe, ProbeFuture},
    profile::Profile,
    request::{Reply, Request},
    told::{IsRefusal, Told},
};
use mainstay_core::BoxError;
use pin_project::pin_project;
use std::{
    error, fmt,
    future::Future,
    marker::PhantomData,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tower_layer::Layer;
use tower_service::Service;

/// A layer, what it declares about itself, and how the kit shall drive it.
///
/// `L` is put on a [`Probe`]; the service must answer [`Request`]s with [`Reply`]s. Layers for other types of requests are
/// put between tower's `map_request` and `map_response`, layers that need another error type above `map_err`.
///
/// ```
/// use mainstay_conformance::{Profile, Subject, check};
///
/// // tower's identity layer.
/// let subject = Subject::new("identity", tower_layer::Identity::new).profile(Profile::pass_through().future_overhead(0));
/// check(subject).assert();
/// ```
#[must_use]
pub struct Subject<L> {
    pub(crate) erased: Erased,
    _layer: PhantomData<fn() -> L>,
}

/// The subject without its types.
pub(crate) struct Erased {
    pub(crate) name: String,
    pub(crate) make: Arc<dyn Fn() -> Box<dyn AnyLayer> + Send + Sync>,
    pub(crate) profile: Profile,
    pub(crate) clones: bool,
    pub(crate) on_tokio: bool,
    pub(crate) patience: Duration,
    pub(crate) future_size: usize,
    /// Of the service and of the future, if the compiler was asked.
    pub(crate) auto_traits: Option<(AutoTraits, AutoTraits)>,
    is_refusal: Option<IsRefusal>,
}

impl<L> Subject<L>
where
    L: Layer<Probe> + 'static,
    L::Service: Service<Request, Response = Reply> + 'static,
    <L::Service as Service<Request>>::Error: Into<BoxError>,
{
    /// A layer whose services can be cloned. `make` is called for each run, and makes a layer that shares nothing with
    /// earlier ones.
    pub fn new(name: impl Into<String>, make: impl Fn() -> L + Send + Sync + 'static) -> Self
    where
        L::Service: Clone,
    {
        Self::with(name.into(), make, Some(L::Service::clone))
    }

    /// A layer whose services cannot be cloned: where the kit needs a second one, it takes another from the same layer.
    pub fn without_clone(name: impl Into<String>, make: impl Fn() -> L + Send + Sync + 'static) -> Self {
        Self::with(name.into(), make, None)
    }

    fn with(name: String, make: impl Fn() -> L + Send + Sync + 'static, clone: Option<CloneFn<L::Service>>) -> Self {
        let future = size_of::<<L::Service as Service<Request>>::Future>();
        let erased = Erased {
            name,
            make: Arc::new(move || Box::new(Typed { layer: make(), clone, is_refusal: None })),
            profile: Profile::pass_through(),
            clones: clone.is_some(),
            on_tokio: false,
            patience: Duration::from_secs(5),
            future_size: future.saturating_sub(size_of::<ProbeFuture>()),
            auto_traits: None,
            is_refusal: None,
        };
        Self { erased, _layer: PhantomData }
    }

    /// What the layer declares; [`Profile::pass_through`] unless it is said here.
    pub fn profile(mut self, profile: Profile) -> Self {
        self.erased.profile = profile;
        self
    }

    /// The layer uses tokio's timers or spawns tasks: it runs within a paused runtime, and spawned tasks run after each
    /// action of the driver.
    #[cfg(feature = "tokio")]
    #[cfg_attr(docsrs, doc(cfg(feature = "tokio")))]
    pub fn on_tokio(mut self) -> Self {
        self.erased.on_tokio = true;
        self
    }

    /// Says which errors mean *refused*, besides [`mainstay_core::Refused`]. Asked for each error in the `source()` chain,
    /// down to the inner error.
    pub fn refusal(
        mut self,
        is_refusal: impl Fn(&(dyn error::Error + 'static)) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.erased.is_refusal = Some(Arc::new(is_refusal));
        self
    }

    /// How long a single step may take before the kit says that the layer blocks; 5 s by default.
    ///
    /// # Panics
    ///
    /// If `patience` is less than 100 ms.
    pub fn patience(mut self, patience: Duration) -> Self {
        assert!(patience.as_millis() >= 100, "`patience` is {patience:?}, allowed is at least 100ms");
        self.erased.patience = patience;
        self
    }

    #[doc(hidden)]
    pub fn service_type(&self) -> Ask<L::Service> {
        Ask::new()
    }

    #[doc(hidden)]
    pub fn future_type(&self) -> Ask<<L::Service as Service<Request>>::Future> {
        Ask::new()
    }

    #[doc(hidden)]
    pub fn auto_traits(mut self, service: AutoTraits, future: AutoTraits) -> Self {
        self.erased.auto_traits = Some((service, future));
        self
    }
}

impl Erased {
    /// Why the clause does not bind it; `None` if it does.
    pub(crate) fn exempt(&self, clause: Clause) -> Option<&'static str> {
        if clause == Clause::ClonesAreNotReady && !self.clones {
            return Some("its services cannot be cloned");
        }
        self.profile.exempt(clause)
    }

    pub(crate) fn layer(&self) -> Box<dyn AnyLayer> {
        let mut layer = (self.make)();
        layer.refusals(self.is_refusal.clone());
        layer
    }
}

type CloneFn<S> = fn(&S) -> S;

/// A layer without its type.
pub(crate) trait AnyLayer {
    fn refusals(&mut self, is_refusal: Option<IsRefusal>);
    fn service(&self, probe: Probe) -> Box<dyn AnyService>;
}

/// A service without its type.
pub(crate) trait AnyService {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Told>>;
    fn call(&mut self, request: Request) -> AnyFuture;
    /// One call to the end, with nothing boxed; for counting allocations.
    #[cfg(feature = "allocations")]
    fn call_in_place(&mut self, request: Request, cx: &mut Context<'_>) -> Poll<bool>;
    fn another(&self) -> Option<Box<dyn AnyService>>;
}

/// A response future without its type.
pub(crate) type AnyFuture = Pin<Box<dyn Future<Output = Result<Reply, Told>>>>;

struct Typed<L, S> {
    layer: L,
    clone: Option<CloneFn<S>>,
    is_refusal: Option<IsRefusal>,
}

struct TypedService<S> {
    service: S,
    clone: Option<CloneFn<S>>,
    is_refusal: Option<IsRefusal>,
}

#[pin_project]
struct TypedFuture<F> {
    #[pin]
    future: F,
    is_refusal: Option<IsRefusal>,
}

impl<L> AnyLayer for Typed<L, L::Service>
where
    L: Layer<Probe>,
    L::Service: Service<Request, Response = Reply> + 'static,
    <L::Service as Service<Request>>::Error: Into<BoxError>,
{
    fn refusals(&mut self, is_refusal: Option<IsRefusal>) {
        self.is_refusal = is_refusal;
    }

    fn service(&self, probe: Probe) -> Box<dyn AnyService> {
        let service = self.layer.layer(probe);
        Box::new(TypedService { service, clone: self.clone, is_refusal: self.is_refusal.clone() })
    }
}

impl<S> AnyService for TypedService<S>
where
    S: Service<Request, Response = Reply> + 'static,
    S::Error: Into<BoxError>,
{
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Told>> {
        self.service.poll_ready(cx).map_err(|error| Told::read(error, self.is_refusal.as_ref()))
    }

    fn call(&mut self, request: Request) -> AnyFuture {
        Box::pin(TypedFuture { future: self.service.call(request), is_refusal: self.is_refusal.clone() })
    }

    #[cfg(feature = "allocations")]
    fn call_in_place(&mut self, request: Request, cx: &mut Context<'_>) -> Poll<bool> {
        std::pin::pin!(self.service.call(request)).poll(cx).map(|answer| answer.is_ok())
    }

    fn another(&self) -> Option<Box<dyn AnyService>> {
        let clone = self.clone?;
        Some(Box::new(Self { service: clone(&self.service), clone: self.clone, is_refusal: self.is_refusal.clone() }))
    }
}

impl<F, E> Future for TypedFuture<F>
where
    F: Future<Output = Result<Reply, E>>,
    E: Into<BoxError>,
{
    type Output = Result<Reply, Told>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        this.future.poll(cx).map_err(|error| Told::read(error, this.is_refusal.as_ref()))
    }
}

impl<L> fmt::Debug for Subject<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subject")
            .field("name", &self.erased.name)
            .field("profile", &self.erased.profile)
            .finish_non_exhaustive()
    }
}
