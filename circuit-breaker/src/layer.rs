//! The layer: one policy, one circuit.

use crate::{circuit::Circuit, config::Config, service::CircuitBreaker};
use mainstay_core::{AnyError, InvalidConfig};
use std::{fmt, ops::Deref, sync::Arc};
use tower_layer::Layer;

/// Puts a [`CircuitBreaker`] around a service.
///
/// One layer is one circuit: its clones and all services that it makes share the state, so a stack that is applied again
/// for each connection is still one circuit. [`fresh`](Self::fresh) makes an independent layer with the same
/// configuration, for one endpoint of several.
///
/// `H` leads to the circuit, by default an `Arc`; `C` says what counts as a failure, by default any error.
///
/// ```
/// use mainstay_circuit_breaker::{CircuitBreakerLayer, Config, State, Window};
/// use mainstay_core::Error;
/// use tower::{Layer, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), mainstay_core::InvalidConfig> {
/// let layer = CircuitBreakerLayer::new(Config::default().window(Window::Consecutive(1)))?;
/// let dead = || service_fn(async |_: ()| Err::<(), _>("connection refused")).map_err(Error::Inner);
///
/// let _ = layer.layer(dead()).oneshot(()).await;
///
/// assert_eq!(layer.handle().state(), State::Open);
/// assert!(matches!(layer.layer(dead()).oneshot(()).await, Err(Error::Refused(_))), "the circuit is shared");
/// assert!(matches!(layer.fresh().layer(dead()).oneshot(()).await, Err(Error::Inner(_))), "this one is apart");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use]
pub struct CircuitBreakerLayer<H = Arc<Circuit>, C = AnyError> {
    circuit: H,
    classify: C,
}

impl CircuitBreakerLayer {
    /// A layer with a circuit of its own; every error counts as a failure.
    ///
    /// With hyper, axum and reqwest a response of status 500 is an `Ok`: use `http` there, or [`classify`](Self::classify).
    ///
    /// # Errors
    ///
    /// If a setting is out of its range; the error names both.
    pub fn new(config: Config) -> Result<Self, InvalidConfig> {
        Ok(Self::with_circuit(Arc::new(Circuit::new(config)?)))
    }
}

#[cfg(feature = "http")]
#[cfg_attr(docsrs, doc(cfg(feature = "http")))]
impl CircuitBreakerLayer<Arc<Circuit>, mainstay_core::HttpStatus> {
    /// A layer with a circuit of its own for HTTP: a status of 5xx, 408 or 429 counts as a failure, as does any error.
    ///
    /// # Errors
    ///
    /// If a setting is out of its range; the error names both.
    pub fn http(config: Config) -> Result<Self, InvalidConfig> {
        Ok(CircuitBreakerLayer::new(config)?.classify(mainstay_core::HttpStatus))
    }
}

#[cfg(feature = "grpc")]
#[cfg_attr(docsrs, doc(cfg(feature = "grpc")))]
impl CircuitBreakerLayer<Arc<Circuit>, mainstay_core::GrpcStatus> {
    /// A layer with a circuit of its own for gRPC, whose status is known when the body ends.
    ///
    /// # Errors
    ///
    /// If a setting is out of its range; the error names both.
    pub fn grpc(
        config: Config,
    ) -> Result<crate::BodyCircuitBreakerLayer<Arc<Circuit>, mainstay_core::GrpcStatus>, InvalidConfig> {
        Ok(CircuitBreakerLayer::new(config)?.classify(mainstay_core::GrpcStatus).until_body_end())
    }
}

impl<H: Deref<Target = Circuit>> CircuitBreakerLayer<H> {
    /// A layer over a circuit that exists already. Behind `&'static` it costs less per call than behind an `Arc`.
    pub const fn with_circuit(circuit: H) -> Self {
        Self { circuit, classify: AnyError }
    }
}

impl<H: Deref<Target = Circuit>, C> CircuitBreakerLayer<H, C> {
    /// The same circuit, with another idea of what a failure is.
    pub fn classify<D>(self, classify: D) -> CircuitBreakerLayer<H, D> {
        CircuitBreakerLayer { circuit: self.circuit, classify }
    }

    /// The circuit, to look at and to command.
    pub fn handle(&self) -> H
    where
        H: Clone,
    {
        self.circuit.clone()
    }

    /// The same circuit, which settles a call when the body of its response ends, and not at the head.
    ///
    /// A body that breaks off is then a failure, a slow call is slow to its last byte, and a probe keeps its slot as long.
    #[cfg(feature = "http")]
    #[cfg_attr(docsrs, doc(cfg(feature = "http")))]
    pub fn until_body_end(self) -> crate::BodyCircuitBreakerLayer<H, C> {
        crate::BodyCircuitBreakerLayer::new(self)
    }

    /// A layer with the same configuration and a circuit of its own.
    pub fn fresh(&self) -> CircuitBreakerLayer<Arc<Circuit>, C>
    where
        C: Clone,
    {
        CircuitBreakerLayer { circuit: Arc::new(self.circuit.fresh()), classify: self.classify.clone() }
    }
}

impl<S, H, C> Layer<S> for CircuitBreakerLayer<H, C>
where
    H: Deref<Target = Circuit> + Clone,
    C: Clone,
{
    type Service = CircuitBreaker<S, H, C>;

    fn layer(&self, inner: S) -> Self::Service {
        CircuitBreaker::new(inner, self.circuit.clone(), self.classify.clone())
    }
}

impl<H: Deref<Target = Circuit>, C> fmt::Debug for CircuitBreakerLayer<H, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CircuitBreakerLayer").field("circuit", &*self.circuit).finish_non_exhaustive()
    }
}
