//! The top of a stack over HTTP: refusals and timeouts become responses.

use super::{Rejection, protocol::Protocol};
use crate::Error;
use http::{Request, Response};
use pin_project::pin_project;
use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tower_layer::Layer;
use tower_service::Service;

/// Makes a [`RefusalResponse`].
///
/// It belongs at the top of the stack, and shares no state.
#[derive(Clone, Copy, Debug, Default)]
pub struct RefusalResponseLayer<A = EmptyBody> {
    answer: A,
}

/// Turns the refusals and timeouts of a stack into responses; what remains is the service's own error.
///
/// Nothing is boxed: `Error<E>` goes in, `E` comes out. Over an axum `Router` that is `Infallible`.
///
/// The response has the status and the `Retry-After` that [`Rejection`] describes, and an empty body, to be completed by
/// [`with_body`](RefusalResponseLayer::with_body). Under the feature `grpc` a request whose content type begins with
/// `application/grpc` gets a gRPC status in a response of trailers only, which `with_body` does not touch.
///
/// # Readiness
///
/// That of the inner service, with one exception. A refusal or timeout that comes from the readiness of the inner service
/// cannot be answered without a request: it is held, the service is ready, and `call` answers the next request without
/// reaching the inner service, once. A clone starts without what is held.
///
/// # Cancel safety
///
/// Dropping the future drops the inner one; nothing else is held.
///
/// # Examples
///
/// ```
/// use http::{Request, Response};
/// use mainstay_core::{Error, Reason, Refused, http::RefusalResponseLayer};
/// use std::{convert::Infallible, time::Duration};
/// use tower::{Layer, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// // A stack that refuses what it is asked.
/// let stack = service_fn(async |_: Request<()>| {
///     let refused = Refused::new(Reason::RateLimited, "visitors").with_retry_after(Duration::from_millis(1200));
///     Err::<Response<String>, _>(Error::<Infallible>::Refused(refused))
/// });
/// let service = RefusalResponseLayer::new().layer(stack);
///
/// let Ok(response) = service.oneshot(Request::new(())).await;
/// assert_eq!(response.status(), 429);
/// assert_eq!(response.headers()["retry-after"], "2");
/// # }
/// ```
#[derive(Debug)]
pub struct RefusalResponse<S, A = EmptyBody> {
    inner: S,
    answer: A,
    /// A refusal of the inner readiness: the answer to the next call.
    held: Option<Rejection>,
}

/// The answer of a [`RefusalResponse`].
#[pin_project]
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct RefusalResponseFuture<F, A = EmptyBody> {
    #[pin]
    state: State<F>,
    answer: A,
    protocol: Protocol,
}

#[pin_project(project = StateProj)]
#[derive(Debug)]
enum State<F> {
    Forward(#[pin] F),
    Reject(Rejection),
}

/// Completes the response to a rejection, which has its status and `Retry-After` already.
///
/// Implemented for [`EmptyBody`] and for closures.
pub trait Answer<B> {
    /// Puts in the body, and headers that belong to it.
    fn complete(&self, rejection: &Rejection, response: &mut Response<B>);
}

/// Leaves the body empty.
#[derive(Clone, Copy, Debug, Default)]
pub struct EmptyBody;

impl<B> Answer<B> for EmptyBody {
    fn complete(&self, _: &Rejection, _: &mut Response<B>) {}
}

impl<F, B> Answer<B> for F
where
    F: Fn(&Rejection, &mut Response<B>),
{
    fn complete(&self, rejection: &Rejection, response: &mut Response<B>) {
        self(rejection, response);
    }
}

impl RefusalResponseLayer {
    /// A layer whose responses have an empty body.
    pub const fn new() -> Self {
        Self { answer: EmptyBody }
    }
}

impl<A> RefusalResponseLayer<A> {
    /// Has `answer` complete every response that is not for gRPC: body, content type, and headers of one's own.
    ///
    /// ```
    /// use http::{HeaderValue, Response, header::CONTENT_TYPE};
    /// use mainstay_core::http::{RefusalResponseLayer, Rejection};
    ///
    /// let layer = RefusalResponseLayer::new().with_body(|rejection: &Rejection, response: &mut Response<String>| {
    ///     response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    ///     *response.body_mut() = rejection.to_string();
    /// });
    /// # let _ = layer;
    /// ```
    pub fn with_body<F, B>(self, answer: F) -> RefusalResponseLayer<F>
    where
        F: Fn(&Rejection, &mut Response<B>),
    {
        RefusalResponseLayer { answer }
    }
}

impl<S, A: Clone> Layer<S> for RefusalResponseLayer<A> {
    type Service = RefusalResponse<S, A>;

    fn layer(&self, inner: S) -> Self::Service {
        RefusalResponse { inner, answer: self.answer.clone(), held: None }
    }
}

impl<S> RefusalResponse<S> {
    /// Answers for `inner`, with empty bodies.
    pub const fn new(inner: S) -> Self {
        Self { inner, answer: EmptyBody, held: None }
    }
}

impl<S, A> RefusalResponse<S, A> {
    /// The inner service.
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service.
    pub const fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Takes the answers away.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

/// Readiness does not survive `Clone`, and what is held is readiness.
impl<S: Clone, A: Clone> Clone for RefusalResponse<S, A> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), answer: self.answer.clone(), held: None }
    }
}

impl<S, A, E, ReqB, ResB> Service<Request<ReqB>> for RefusalResponse<S, A>
where
    S: Service<Request<ReqB>, Response = Response<ResB>, Error = Error<E>>,
    A: Answer<ResB> + Clone,
    ResB: Default,
{
    type Response = Response<ResB>;
    type Error = E;
    type Future = RefusalResponseFuture<S::Future, A>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), E>> {
        if self.held.is_some() {
            return Poll::Ready(Ok(()));
        }
        // Pending: the inner service will wake us.
        Poll::Ready(match ready!(self.inner.poll_ready(cx)) {
            Ok(()) => Ok(()),
            Err(error) => rejection(error).map(|rejection| self.held = Some(rejection)),
        })
    }

    fn call(&mut self, request: Request<ReqB>) -> Self::Future {
        RefusalResponseFuture {
            answer: self.answer.clone(),
            protocol: Protocol::of(request.headers()),
            state: match self.held.take() {
                Some(rejection) => State::Reject(rejection),
                None => State::Forward(self.inner.call(request)),
            },
        }
    }
}

impl<F, A, E, B> Future for RefusalResponseFuture<F, A>
where
    F: Future<Output = Result<Response<B>, Error<E>>>,
    A: Answer<B>,
    B: Default,
{
    type Output = Result<Response<B>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let rejection = match this.state.project() {
            StateProj::Reject(rejection) => *rejection,
            // Pending: the inner future will wake us.
            StateProj::Forward(inner) => match ready!(inner.poll(cx)) {
                Ok(response) => return Poll::Ready(Ok(response)),
                Err(error) => rejection(error)?,
            },
        };
        Poll::Ready(Ok(this.protocol.respond(&rejection, this.answer)))
    }
}

/// Tells a rejection from the service's own error.
fn rejection<E>(error: Error<E>) -> Result<Rejection, E> {
    match error {
        Error::Refused(refused) => Ok(refused.into()),
        Error::TimedOut(timed_out) => Ok(timed_out.into()),
        Error::Inner(error) => Err(error),
    }
}
