//! On the side of the client: from the extensions to a header.

use super::text::{GRPC_TIMEOUT, X_REQUEST_TIMEOUT_MS, time_left, write_grpc, write_millis};
use crate::{clock::now, observe};
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use mainstay_core::{Deadline, Meta, Reason, Refusable, Refused};
use pin_project::pin_project;
use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tower_layer::Layer;
use tower_service::Service;

/// Makes a [`DeadlineToHeader`]. It has no state.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct DeadlineToHeaderLayer {
    name: &'static str,
    form: HeaderForm,
}

/// Which headers tell the server how long the caller waits.
///
/// Whichever is on the request already is written too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeaderForm {
    /// `x-request-timeout-ms`.
    #[default]
    Millis,
    /// `grpc-timeout`.
    Grpc,
    /// Each.
    Both,
}

/// Tells the server how long the caller still waits: what is left of the [`Deadline`] in the extensions of the request.
///
/// The time is rounded down, so that the server does not wait longer than the caller, except that a rest of less than a
/// millisecond is one in `x-request-timeout-ms`. If the request has such headers already and they say less, that counts; and each
/// that it has is written, whatever the [`HeaderForm`], since a server may read that one alone. A request without a
/// deadline is sent as it is; one whose deadline has passed is refused.
///
/// It belongs at the bottom of the stack, so that each attempt tells what is left then.
///
/// # Readiness
///
/// That of the inner service. When a call is refused, what the inner service reserved stays reserved for the next call, or
/// until this service is dropped: nobody else has it meanwhile.
///
/// # Cancel safety
///
/// Dropping the future drops the inner one; nothing else is held.
///
/// # Examples
///
/// ```
/// use http::Request;
/// use mainstay_core::{Deadline, Error};
/// use mainstay_timeout::DeadlineToHeaderLayer;
/// use std::time::Duration;
/// use tower::{Layer, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// let client = service_fn(async |request: Request<()>| Ok::<_, &str>(request.headers()["x-request-timeout-ms"].clone()));
/// let client = DeadlineToHeaderLayer::new().layer(client.map_err(Error::Inner));
///
/// let mut request = Request::new(());
/// let now = tokio::time::Instant::now().into_std();
/// request.extensions_mut().insert(Deadline::after(now, Duration::from_millis(250)));
/// tokio::time::advance(Duration::from_millis(50)).await;
/// assert_eq!(client.oneshot(request).await.unwrap(), "200");
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct DeadlineToHeader<S> {
    inner: S,
    name: &'static str,
    form: HeaderForm,
}

/// The future of [`DeadlineToHeader`].
///
/// # Panics
///
/// If it is polled again after a refusal.
#[pin_project]
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct DeadlineToHeaderFuture<F> {
    #[pin]
    state: State<F>,
}

#[pin_project(project = StateProjected)]
#[derive(Debug)]
enum State<F> {
    Sent(#[pin] F),
    Refused(Refused),
    Answered,
}

impl DeadlineToHeaderLayer {
    /// A layer that is called `"deadline"` and writes [`HeaderForm::Millis`].
    pub const fn new() -> Self {
        Self { name: "deadline", form: HeaderForm::Millis }
    }

    /// Sets what refusals, logs and metrics call it; `"deadline"` by default.
    ///
    /// It is not checked. A name that is not a literal is made `'static` by [`intern`](mainstay_core::intern).
    pub const fn name(mut self, name: &'static str) -> Self {
        self.name = name;
        self
    }

    /// Sets which headers are written; [`HeaderForm::Millis`] by default.
    pub const fn form(mut self, form: HeaderForm) -> Self {
        self.form = form;
        self
    }
}

impl Default for DeadlineToHeaderLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for DeadlineToHeaderLayer {
    type Service = DeadlineToHeader<S>;

    fn layer(&self, inner: S) -> Self::Service {
        DeadlineToHeader { inner, name: self.name, form: self.form }
    }
}

impl<S> DeadlineToHeader<S> {
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

    fn tell<B>(&self, request: &mut Request<B>) -> Result<(), Refused> {
        let deadline: Option<Deadline> = request.meta();
        let Some(deadline) = deadline else { return Ok(()) };
        let left = deadline.remaining(now()).unwrap_or_default();
        let headers = request.headers_mut();
        let left = time_left(headers).map_or(left, |told| told.min(left));
        if left.is_zero() {
            return Err(Refused::new(Reason::DeadlinePassed, self.name));
        }
        self.form.write(left, headers);
        Ok(())
    }
}

impl HeaderForm {
    /// A header that is there already would tell more than is left.
    fn write(self, left: Duration, headers: &mut HeaderMap) {
        if matches!(self, Self::Millis | Self::Both) || headers.contains_key(X_REQUEST_TIMEOUT_MS) {
            insert(headers, X_REQUEST_TIMEOUT_MS, write_millis(left));
        }
        if matches!(self, Self::Grpc | Self::Both) || headers.contains_key(GRPC_TIMEOUT) {
            insert(headers, GRPC_TIMEOUT, write_grpc(left));
        }
    }
}

fn insert(headers: &mut HeaderMap, name: HeaderName, text: String) {
    let value = HeaderValue::try_from(text).expect("digits and letters are a value");
    headers.insert(name, value);
}

impl<S, B> Service<Request<B>> for DeadlineToHeader<S>
where
    S: Service<Request<B>>,
    S::Error: Refusable,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = DeadlineToHeaderFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let state = match self.tell(&mut request) {
            Ok(()) => State::Sent(self.inner.call(request)),
            Err(refused) => State::Refused(refused),
        };
        DeadlineToHeaderFuture { state }
    }
}

impl<F, T, E> Future for DeadlineToHeaderFuture<F>
where
    F: Future<Output = Result<T, E>>,
    E: Refusable,
{
    type Output = Result<T, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        match state.as_mut().project() {
            // Pending: the inner future will wake us.
            StateProjected::Sent(inner) => inner.poll(cx),
            StateProjected::Refused(refused) => {
                let refused = *refused;
                state.set(State::Answered);
                observe::refused(&refused);
                Poll::Ready(Err(refused.into()))
            }
            StateProjected::Answered => panic!("the future was polled after its answer"),
        }
    }
}
