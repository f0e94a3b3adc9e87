//! The service: whether this client may ask.

use super::{
    ClientId, ClientKey, ClientLimiter, Fields, Head, Identify,
    future::{HttpResponseFuture, Note},
    layer::Policy,
};
use crate::{Cost, Decision, KeyedLimiter, One};
use http::{HeaderMap, Request, Response};
use mainstay_core::{
    Refused,
    http::{Answer, EmptyBody, Protocol, Rejection},
};
use std::{
    fmt,
    ops::Deref,
    sync::Arc,
    task::{Context, Poll},
};
use tower_service::Service;

/// Refuses the requests of clients whose quota is used up, as an HTTP or gRPC server does it.
///
/// A refused request gets a response and no error, so the error of the inner service can be any type, such as the `Infallible`
/// of an axum router or of a tonic server:
///
/// - over HTTP status 429, with `Retry-After` in seconds, rounded up and one at least, and the fields of
///   [`RateLimitFields`](super::RateLimitFields);
/// - over gRPC (feature `grpc`) status `RESOURCE_EXHAUSTED` in a response of trailers only, with
///   `grpc-retry-pushback-ms`. gRPC has no field for what is left, so responses to gRPC requests have none.
///
/// A request that costs more than there ever is at once gets neither `Retry-After` nor pushback.
///
/// Responses to allowed requests have the fields too, beside those that the inner service may have written.
///
/// # Readiness
///
/// That of the inner service: whose quota is asked is known only in `call`. What the inner service has reserved for a request
/// that is then refused stays reserved for the next one, or until this service is dropped.
///
/// # Cancel safety
///
/// The quota is charged in `call`, with no await. Nothing is given back when the future is dropped, since the service was asked.
///
/// # Panics
///
/// `call` panics if what tells clients apart does, or the function that says the cost; nothing is taken then.
#[derive(Clone)]
pub struct HttpRateLimit<S, I, H = Arc<KeyedLimiter<ClientId>>, A = EmptyBody, C = One> {
    inner: S,
    policy: Policy<I, H, A, C>,
}

impl<S, I, H, A, C> HttpRateLimit<S, I, H, A, C> {
    pub(super) const fn new(inner: S, policy: Policy<I, H, A, C>) -> Self {
        Self { inner, policy }
    }

    /// The inner service.
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service.
    pub const fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Takes the limit away.
    pub fn into_inner(self) -> S {
        self.inner
    }

    /// The limiter, to look at and to command.
    pub fn handle(&self) -> H
    where
        H: Clone,
    {
        self.policy.limiter.clone()
    }
}

impl<S, I, H, A, C, ReqB, ResB> Service<Request<ReqB>> for HttpRateLimit<S, I, H, A, C>
where
    S: Service<Request<ReqB>, Response = Response<ResB>>,
    I: Identify,
    H: Deref<Target: ClientLimiter>,
    A: Answer<ResB>,
    C: Cost<Request<ReqB>>,
    ResB: Default,
{
    type Response = Response<ResB>;
    type Error = S::Error;
    type Future = HttpResponseFuture<S::Future, ResB>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        // Pending: the inner service will wake us.
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqB>) -> Self::Future {
        let policy = &self.policy;
        let client = policy.identify.identify(Head::from(&request)).unwrap_or(ClientKey::Unknown);
        let decision = policy.limiter.check_client(client, policy.cost.cost(&request));
        if let Some(refused) = decision.refused(policy.limiter.name()) {
            return HttpResponseFuture::refused(policy.refuse(request.headers(), &decision, refused));
        }
        let note = policy.note(request.headers(), decision);
        HttpResponseFuture::allowed(self.inner.call(request), note)
    }
}

impl<I, H: Deref<Target: ClientLimiter>, A, C> Policy<I, H, A, C> {
    /// The response to a refused request with these headers.
    fn refuse<B>(&self, request: &HeaderMap, decision: &Decision, refused: Refused) -> Response<B>
    where
        A: Answer<B>,
        B: Default,
    {
        let protocol = Protocol::of(request);
        let mut response = protocol.respond(&Rejection::from(refused), &self.answer);
        if protocol == Protocol::Http && self.when != Fields::Never {
            self.fields.write_if(self.holds(), decision, response.headers_mut());
        }
        response
    }

    /// What is to be written to the response to an allowed request with these headers.
    fn note(&self, request: &HeaderMap, decision: Decision) -> Option<Note> {
        let wanted = self.when == Fields::Always && !decision.shadow && Protocol::of(request) == Protocol::Http;
        wanted.then(|| Note { fields: Arc::clone(&self.fields), decision, holds: self.holds() })
    }

    /// Whether the decision was made by the rules whose policies are known.
    fn holds(&self) -> bool {
        self.fields.version().is_some_and(|version| self.limiter.rules_version() == Some(version))
    }
}

impl<S: fmt::Debug, I, H: Deref<Target: ClientLimiter>, A, C> fmt::Debug for HttpRateLimit<S, I, H, A, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpRateLimit")
            .field("inner", &self.inner)
            .field("limiter", &self.policy.limiter.name())
            .finish_non_exhaustive()
    }
}
