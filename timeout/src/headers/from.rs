//! On the side of the server: from a header to the extensions.

use super::text::time_left;
use crate::clock::now;
use http::Request;
use mainstay_core::{Deadline, Meta};
use std::task::{Context, Poll};
use tower_layer::Layer;
use tower_service::Service;

/// Makes a [`DeadlineFromHeader`]. It has no state.
#[derive(Clone, Copy, Debug)]
pub struct DeadlineFromHeaderLayer;

/// Gives each request the [`Deadline`] that its headers tell: [`time_left`] from now.
///
/// It goes outside of whatever heeds deadlines. A deadline that the request has already is kept if it is earlier, so a caller
/// can shorten the time and not lengthen it. Nothing is refused here: a [`Timeout`](crate::Timeout) further in refuses
/// what comes too late. The time on the wire cannot be known, so the deadline is late by that.
///
/// # Readiness
///
/// That of the inner service.
///
/// # Cancel safety
///
/// The future is that of the inner service.
///
/// # Examples
///
/// ```
/// use http::Request;
/// use mainstay_core::{Deadline, Error, Reason};
/// use mainstay_timeout::{Config, DeadlineFromHeaderLayer, TimeoutLayer};
/// use tower::{ServiceBuilder, ServiceExt};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let server = ServiceBuilder::new()
///     .layer(DeadlineFromHeaderLayer)
///     .layer(TimeoutLayer::http(Config::default())?)
///     .map_err(Error::Inner)
///     .service_fn(async |request: Request<()>| Ok::<_, &str>(request.extensions().get::<Deadline>().is_some()));
///
/// let in_time = Request::get("/").header("x-request-timeout-ms", "250").body(())?;
/// assert_eq!(server.clone().oneshot(in_time).await, Ok(true));
///
/// let too_late = Request::get("/").header("grpc-timeout", "0n").body(())?;
/// let Err(Error::Refused(refused)) = server.oneshot(too_late).await else { unreachable!() };
/// assert_eq!(refused.reason(), Reason::DeadlinePassed);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct DeadlineFromHeader<S> {
    inner: S,
}

impl<S> Layer<S> for DeadlineFromHeaderLayer {
    type Service = DeadlineFromHeader<S>;

    fn layer(&self, inner: S) -> Self::Service {
        DeadlineFromHeader { inner }
    }
}

impl<S> DeadlineFromHeader<S> {
    /// The inner service.
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service.
    pub const fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Takes the layer away.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, B> Service<Request<B>> for DeadlineFromHeader<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        if let Some(left) = time_left(request.headers()) {
            let told = Deadline::after(now(), left);
            let known: Option<Deadline> = request.meta();
            request.set_meta(known.map_or(told, |known| known.earlier(told)));
        }
        self.inner.call(request)
    }
}
