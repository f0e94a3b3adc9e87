//! The throttle that settles when the body of the response ends.

use super::{
    Throttle, ThrottleGuard, ThrottleLayer, ThrottleService,
    future::{State, StateProjected},
};
use crate::{body::content_length, future::take_once, permit::Outcome};
use http::Response;
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

/// Puts a [`BodyThrottleService`] around a service; made by [`until_body_end`](ThrottleLayer::until_body_end) or
/// `ThrottleLayer::grpc`.
///
/// ```
/// use http::{Request, Response};
/// use http_body_util::BodyExt;
/// use mainstay_circuit_breaker::{ThrottleConfig, ThrottleLayer};
/// use mainstay_core::Error;
/// use std::convert::Infallible;
/// use tower::{Layer, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let layer = ThrottleLayer::http(ThrottleConfig::default())?.until_body_end();
/// let throttle = layer.handle();
///
/// let hello = service_fn(async |_: Request<()>| Ok::<_, Infallible>(Response::new("hello".to_owned())));
/// let response = layer.layer(hello.map_err(Error::Inner)).oneshot(Request::new(())).await?;
///
/// assert_eq!(throttle.snapshot().accepts, 0);
/// response.into_body().collect().await?;
/// assert_eq!(throttle.snapshot().accepts, 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use]
pub struct BodyThrottleLayer<H, C> {
    layer: ThrottleLayer<H, C>,
}

/// A [`ThrottleService`] whose calls end with the body of the response.
///
/// The head decides what it can, by [`ClassifyBody`]; the rest is decided at the end of the body.
///
/// # Readiness
///
/// That of [`ThrottleService`].
///
/// # Cancel safety
///
/// A response future that is dropped early, or a body in the middle, is an *abandoned* call: its request is taken back. A
/// body of which nothing was read, or all that was announced, is judged by the head.
///
/// # Panics
///
/// As [`ThrottleService`]. A body that panics has failed.
#[derive(Clone)]
pub struct BodyThrottleService<S, H, C> {
    throttle: ThrottleService<S, H, C>,
}

/// The future of [`BodyThrottleService`].
///
/// # Cancel safety
///
/// As [`ThrottleFuture`](crate::ThrottleFuture).
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct BodyThrottleFuture<F, H: Deref<Target = Throttle>, C> {
    #[pin]
    state: State<F, H, C>,
}

/// Settles a call when the body of its response has ended.
pub struct SettleThrottleAtEnd<H: Deref<Target = Throttle>, C, B, E> {
    guard: ThrottleGuard<H>,
    classify: C,
    /// What was classified: responses with this body, and this error.
    _of: PhantomData<fn(B, E)>,
}

impl<H: Deref<Target = Throttle>, C> BodyThrottleLayer<H, C> {
    pub(super) const fn new(layer: ThrottleLayer<H, C>) -> Self {
        Self { layer }
    }

    /// The throttle, to look at and to command.
    pub fn handle(&self) -> H
    where
        H: Clone,
    {
        self.layer.handle()
    }

    /// A layer with the same configuration and a throttle of its own.
    pub fn fresh(&self) -> BodyThrottleLayer<Arc<Throttle>, C>
    where
        C: Clone,
    {
        BodyThrottleLayer::new(self.layer.fresh())
    }
}

impl<S, H, C> Layer<S> for BodyThrottleLayer<H, C>
where
    H: Deref<Target = Throttle> + Clone,
    C: Clone,
{
    type Service = BodyThrottleService<S, H, C>;

    fn layer(&self, inner: S) -> Self::Service {
        BodyThrottleService { throttle: self.layer.layer(inner) }
    }
}

impl<S, H, C> BodyThrottleService<S, H, C> {
    /// The inner service.
    pub const fn get_ref(&self) -> &S {
        self.throttle.get_ref()
    }

    /// The inner service.
    pub const fn get_mut(&mut self) -> &mut S {
        self.throttle.get_mut()
    }

    /// Takes the throttle away.
    pub fn into_inner(self) -> S {
        self.throttle.into_inner()
    }

    /// The throttle, to look at and to command.
    pub fn handle(&self) -> H
    where
        H: Clone,
    {
        self.throttle.handle()
    }
}

impl<S, H, C, Req, B> Service<Req> for BodyThrottleService<S, H, C>
where
    S: Service<Req, Response = Response<B>>,
    S::Error: Refusable,
    B: Body,
    H: Deref<Target = Throttle> + Clone,
    C: ClassifyBody<B, S::Error> + Clone,
{
    type Response = Response<SettleBody<B, SettleThrottleAtEnd<H, C, B, S::Error>>>;
    type Error = S::Error;
    type Future = BodyThrottleFuture<S::Future, H, C>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.throttle.poll_inner(cx)
    }

    #[track_caller]
    fn call(&mut self, request: Req) -> Self::Future {
        let state = match self.throttle.start(request) {
            Ok((guard, inner)) => State::Admitted { inner, guard, classify: self.throttle.classifier().clone() },
            Err(refused) => State::Refused(Some(refused)),
        };
        BodyThrottleFuture { state }
    }
}

impl<F, H, C, B, E> Future for BodyThrottleFuture<F, H, C>
where
    F: Future<Output = Result<Response<B>, E>>,
    H: Deref<Target = Throttle> + Clone,
    C: ClassifyBody<B, E> + Clone,
    B: Body,
    E: Refusable,
{
    type Output = Result<Response<SettleBody<B, SettleThrottleAtEnd<H, C, B, E>>>, E>;

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
                let classify = classify.clone();
                let settler = SettleThrottleAtEnd { guard: guard.hand_over(), classify, _of: PhantomData };
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

impl<H: Deref<Target = Throttle>, C, B, E> Settle for SettleThrottleAtEnd<H, C, B, E>
where
    C: ClassifyBody<B, E>,
{
    fn settle(self, end: End<'_>) {
        let outcome = self.classify.classify_end(end).into();
        self.guard.settle(outcome);
    }
}

impl<H: Deref<Target = Throttle>, C> fmt::Debug for BodyThrottleLayer<H, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BodyThrottleLayer").field("layer", &self.layer).finish()
    }
}

impl<S: fmt::Debug, H: Deref<Target = Throttle>, C> fmt::Debug for BodyThrottleService<S, H, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BodyThrottleService").field("throttle", &self.throttle).finish()
    }
}

impl<F, H: Deref<Target = Throttle>, C> fmt::Debug for BodyThrottleFuture<F, H, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BodyThrottleFuture").field("state", &self.state).finish()
    }
}

impl<H: Deref<Target = Throttle>, C, B, E> fmt::Debug for SettleThrottleAtEnd<H, C, B, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SettleThrottleAtEnd").field("guard", &self.guard).finish_non_exhaustive()
    }
}
