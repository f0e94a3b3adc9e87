//! The place where one stack ends and another begins.

use crate::{BoxError, Refusable, Verdict};
use pin_project::pin_project;
use std::{
    error, fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tower_layer::Layer;
use tower_service::Service;

/// Marks where a stack over [`BoxError`] ends: what comes from below is the service's own failure.
///
/// Put it directly above the leaf. A leaf that worked and *then* failed on a refusal of a stack of its own returns that
/// refusal in a box, and to the layers above it would look as if the leaf had never been reached. The boundary wraps such
/// an error as [`FromBelow`]; every other error passes as it is. Nothing like it is needed over the typed
/// [`Error<E>`](crate::Error), where `Inner` says it.
///
/// # Readiness
///
/// That of the inner service.
///
/// # Cancel safety
///
/// The boundary holds nothing; dropping its future drops the inner one.
///
/// # Examples
///
/// ```
/// use mainstay_core::{Boundary, BoxError, Reason, Refusable, Refused, Verdict};
/// use tower::{ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// // The leaf charged a card, and then its own call to the mailer was refused.
/// let leaf = || service_fn(async |_: ()| Err::<(), BoxError>(Refused::new(Reason::CircuitOpen, "mailer").into()));
///
/// let looks_untouched = leaf().oneshot(()).await.unwrap_err();
/// assert!(matches!(looks_untouched.verdict(), Verdict::Refused(_)));
///
/// let honest = Boundary::new(leaf()).oneshot(()).await.unwrap_err();
/// assert!(matches!(honest.verdict(), Verdict::Other));
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Boundary<S> {
    inner: S,
}

/// Makes a [`Boundary`].
#[derive(Clone, Copy, Debug, Default)]
pub struct BoundaryLayer;

/// The answer of a [`Boundary`].
#[pin_project]
#[derive(Clone, Copy, Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct BoundaryFuture<F> {
    #[pin]
    inner: F,
}

/// A refusal or timeout that came from below a [`Boundary`]: to the stack above it, a failure of the service.
#[derive(Debug)]
pub struct FromBelow {
    error: BoxError,
}

impl<S> Boundary<S> {
    /// Ends the stack above at `inner`.
    pub const fn new(inner: S) -> Self {
        Self { inner }
    }

    /// The inner service.
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service.
    pub const fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Takes the boundary away.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl BoundaryLayer {
    /// A layer that puts a [`Boundary`] above what it is given.
    pub const fn new() -> Self {
        Self
    }
}

impl<S> Layer<S> for BoundaryLayer {
    type Service = Boundary<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Boundary::new(inner)
    }
}

impl<S, Req> Service<Req> for Boundary<S>
where
    S: Service<Req>,
    S::Error: Into<BoxError>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = BoundaryFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(FromBelow::wrap)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        BoundaryFuture { inner: self.inner.call(request) }
    }
}

impl<F, T, E> Future for BoundaryFuture<F>
where
    F: Future<Output = Result<T, E>>,
    E: Into<BoxError>,
{
    type Output = Result<T, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // Pending: the inner future will wake us.
        Poll::Ready(ready!(self.project().inner.poll(cx)).map_err(FromBelow::wrap))
    }
}

impl FromBelow {
    /// The error as the service gave it.
    pub fn into_inner(self) -> BoxError {
        self.error
    }

    fn wrap(error: impl Into<BoxError>) -> BoxError {
        let error = error.into();
        match error.verdict() {
            Verdict::Other => error,
            Verdict::Refused(_) | Verdict::TimedOut(_) => Box::new(Self { error }),
        }
    }
}

impl fmt::Display for FromBelow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the service failed")
    }
}

impl error::Error for FromBelow {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        Some(&*self.error)
    }
}
