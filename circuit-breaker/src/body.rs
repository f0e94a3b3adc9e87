//! The circuit breaker that settles when the body of the response ends.

use crate::{
    circuit::Circuit,
    future::{State, StateProjected, take_once},
    guard::Guard,
    layer::CircuitBreakerLayer,
    permit::Outcome,
    service::CircuitBreaker,
};
use http::{HeaderMap, Response, header::CONTENT_LENGTH};
use http_body::Body;
use mainstay_core::{
    Refusable,
    http::{ClassifyBody, End, Settle, SettleBody},
};
use pin_project::pin_project;
use std::{
    fmt,
    future::Future,
    marker::PhantomData,
    ops::Deref,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};
use tower_layer::Layer;
use tower_service::Service;

/// Puts a [`BodyCircuitBreaker`] around a service; made by
/// [`until_body_end`](CircuitBreakerLayer::until_body_end) or `CircuitBreakerLayer::grpc`.
///
/// ```
/// use http::{Request, Response};
/// use http_body_util::BodyExt;
/// use mainstay_circuit_breaker::{CircuitBreakerLayer, Config};
/// use mainstay_core::Error;
/// use std::convert::Infallible;
/// use tower::{Layer, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let layer = CircuitBreakerLayer::http(Config::default())?.until_body_end();
/// let circuit = layer.handle();
///
/// let hello = service_fn(async |_: Request<()>| Ok::<_, Infallible>(Response::new("hello".to_owned())));
/// let response = layer.layer(hello.map_err(Error::Inner)).oneshot(Request::new(())).await?;
///
/// assert_eq!(circuit.snapshot().votes.calls, 0);
/// response.into_body().collect().await?;
/// assert_eq!(circuit.snapshot().votes.calls, 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use]
pub struct BodyCircuitBreakerLayer<H, C> {
    layer: CircuitBreakerLayer<H, C>,
}

/// A [`CircuitBreaker`] whose calls end with the body of the response.
///
/// The head decides what it can, by [`ClassifyBody`]; the rest is decided at the end of the body. The deadline of a probe
/// starts anew with the head and with each frame, so a long body is not a silent one.
///
/// # Readiness
///
/// That of [`CircuitBreaker`].
///
/// # Cancel safety
///
/// A response future that is dropped early, or a body in the middle, is an *abandoned* call: it does not vote, and a probe
/// gives its slot back. A body of which nothing was read, or all that was announced, is judged by the head.
///
/// # Panics
///
/// As [`CircuitBreaker`]. A body that panics has failed.
#[derive(Clone)]
pub struct BodyCircuitBreaker<S, H: Deref<Target = Circuit>, C> {
    breaker: CircuitBreaker<S, H, C>,
}

/// The future of [`BodyCircuitBreaker`].
///
/// # Cancel safety
///
/// As [`ResponseFuture`](crate::ResponseFuture).
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct BodyResponseFuture<F, H: Deref<Target = Circuit>, C> {
    #[pin]
    state: State<F, H, C>,
}

/// Settles a call when the body of its response has ended.
pub struct SettleAtEnd<H: Deref<Target = Circuit>, C, B, E> {
    guard: Guard<H>,
    classify: C,
    /// What was classified: responses with this body, and this error.
    _of: PhantomData<fn(B, E)>,
}

impl<H: Deref<Target = Circuit>, C> BodyCircuitBreakerLayer<H, C> {
    pub(crate) const fn new(layer: CircuitBreakerLayer<H, C>) -> Self {
        Self { layer }
    }

    /// The circuit, to look at and to command.
    pub fn handle(&self) -> H
    where
        H: Clone,
    {
        self.layer.handle()
    }

    /// A layer with the same configuration and a circuit of its own.
    pub fn fresh(&self) -> BodyCircuitBreakerLayer<Arc<Circuit>, C>
    where
        C: Clone,
    {
        BodyCircuitBreakerLayer::new(self.layer.fresh())
    }
}

impl<S, H, C> Layer<S> for BodyCircuitBreakerLayer<H, C>
where
    H: Deref<Target = Circuit> + Clone,
    C: Clone,
{
    type Service = BodyCircuitBreaker<S, H, C>;

    fn layer(&self, inner: S) -> Self::Service {
        BodyCircuitBreaker { breaker: self.layer.layer(inner) }
    }
}

impl<S, H: Deref<Target = Circuit>, C> BodyCircuitBreaker<S, H, C> {
    /// The inner service.
    pub const fn get_ref(&self) -> &S {
        self.breaker.get_ref()
    }

    /// The inner service.
    pub const fn get_mut(&mut self) -> &mut S {
        self.breaker.get_mut()
    }

    /// Takes the circuit breaker away.
    pub fn into_inner(self) -> S {
        self.breaker.into_inner()
    }

    /// The circuit, to look at and to command.
    pub fn handle(&self) -> H
    where
        H: Clone,
    {
        self.breaker.handle()
    }
}

impl<S, H, C, Req, B> Service<Req> for BodyCircuitBreaker<S, H, C>
where
    S: Service<Req, Response = Response<B>>,
    S::Error: Refusable,
    B: Body,
    H: Deref<Target = Circuit> + Clone,
    C: ClassifyBody<B, S::Error> + Clone,
{
    type Response = Response<SettleBody<B, SettleAtEnd<H, C, B, S::Error>>>;
    type Error = S::Error;
    type Future = BodyResponseFuture<S::Future, H, C>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.breaker.poll_turn(cx)
    }

    #[track_caller]
    fn call(&mut self, request: Req) -> Self::Future {
        let state = match self.breaker.start(request) {
            Ok((guard, inner)) => {
                let classify = self.breaker.classifier().clone();
                State::Admitted { inner, guard, classify }
            }
            Err(refused) => State::Refused(Some(refused)),
        };
        BodyResponseFuture { state }
    }
}

impl<F, H, C, B, E> Future for BodyResponseFuture<F, H, C>
where
    F: Future<Output = Result<Response<B>, E>>,
    H: Deref<Target = Circuit> + Clone,
    C: ClassifyBody<B, E> + Clone,
    B: Body,
    E: Refusable,
{
    type Output = Result<Response<SettleBody<B, SettleAtEnd<H, C, B, E>>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let (inner, guard, classify) = match self.project().state.project() {
            StateProjected::Refused(refused) => return Poll::Ready(Err(take_once(refused).into())),
            StateProjected::Admitted { inner, guard, classify } => (inner, guard, classify),
        };
        // Pending: the inner future will wake us.
        let result = ready!(guard.run(|| inner.poll(cx)));
        let decided = classify.judge_head(result.as_ref());
        Poll::Ready(match (decided, result) {
            (None, Ok(response)) => {
                guard.renew();
                let settler = SettleAtEnd { guard: guard.hand_over(), classify: classify.clone(), _of: PhantomData };
                let announced = content_length(response.headers());
                Ok(response.map(|body| SettleBody::new(body, settler).announced(announced)))
            }
            (decided, result) => {
                // An error has no body that could decide, so a classifier that does not is taken to mean a failure.
                guard.settle_once(decided.map_or(Outcome::Failure, Outcome::from));
                result.map(|response| response.map(SettleBody::settled))
            }
        })
    }
}

impl<H: Deref<Target = Circuit>, C, B, E> Settle for SettleAtEnd<H, C, B, E>
where
    C: ClassifyBody<B, E>,
{
    fn settle(self, end: End<'_>) {
        let outcome = self.classify.classify_end(end).into();
        self.guard.settle(outcome);
    }

    fn progress(&mut self) {
        self.guard.renew();
    }
}

pub(crate) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

impl<H: Deref<Target = Circuit>, C> fmt::Debug for BodyCircuitBreakerLayer<H, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BodyCircuitBreakerLayer").field("layer", &self.layer).finish()
    }
}

impl<S: fmt::Debug, H: Deref<Target = Circuit>, C> fmt::Debug for BodyCircuitBreaker<S, H, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BodyCircuitBreaker").field("breaker", &self.breaker).finish()
    }
}

impl<F, H: Deref<Target = Circuit>, C> fmt::Debug for BodyResponseFuture<F, H, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BodyResponseFuture").field("state", &self.state).finish()
    }
}

impl<H: Deref<Target = Circuit>, C, B, E> fmt::Debug for SettleAtEnd<H, C, B, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SettleAtEnd").field("guard", &self.guard).finish_non_exhaustive()
    }
}
