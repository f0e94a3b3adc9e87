//! The contract of tower: the conformance kit over the layer for HTTP.
#![cfg(feature = "http")]

use http::{Request as HttpRequest, Response};
use mainstay_conformance::{AutoTraits, ProbeError, Profile, Reply, Request, Subject, conformance_suite};
use mainstay_core::{Error, Reason, Refused};
use mainstay_rate_limit::{
    Config, Limiter, Quota,
    http::{ClientKey, HttpRateLimitLayer, Identify, Subject as ByExtension},
};
use std::sync::Arc;
use tower::ServiceBuilder;

type Answer<T> = Result<T, Error<ProbeError>>;

/// Two clients.
#[derive(Clone, Copy)]
struct Client(u32);

fn by_client() -> impl Identify + Clone + Send + Sync + 'static {
    ByExtension::of(|client: &Client| ClientKey::Number(client.0.into()))
}

fn over_http(request: Request) -> HttpRequest<Request> {
    let client = Client(request.id() % 2);
    let mut request = HttpRequest::new(request);
    request.extensions_mut().insert(client);
    request
}

fn respond(reply: Reply) -> Response<String> {
    let mut response = Response::default();
    response.extensions_mut().insert(reply);
    response
}

/// A status of 429 is the refusal.
fn reply(answer: Answer<Response<String>>) -> Answer<Reply> {
    let response = answer?;
    match response.extensions().get() {
        Some(reply) => Ok(*reply),
        None if response.status() == 429 => Err(Refused::new(Reason::RateLimited, "status").into()),
        None => panic!("{response:?}"),
    }
}

fn profile() -> Profile {
    Profile::pass_through()
        .may_refuse()
        .service_is(AutoTraits::SEND.sync().unpin())
        .future_is(AutoTraits::SEND.sync())
        .future_overhead(192)
}

fn quota() -> Quota {
    Quota::per_second(1).unwrap().burst(2).unwrap()
}

conformance_suite!(
    a_quota_for_each_client,
    Subject::new("a quota for each of two clients over HTTP", || {
        ServiceBuilder::new()
            .map_result(reply)
            .map_request(over_http)
            .layer(HttpRateLimitLayer::new(quota(), by_client()).unwrap())
            .map_err(Error::<ProbeError>::Inner)
            .map_response(respond)
            .map_request(HttpRequest::<Request>::into_body)
    })
    .on_tokio()
    .profile(profile()),
);

conformance_suite!(
    a_quota_for_all,
    Subject::new("one quota for all clients over HTTP", || {
        let limiter = Arc::new(Limiter::new(quota()).unwrap());
        ServiceBuilder::new()
            .map_result(reply)
            .map_request(over_http)
            .layer(HttpRateLimitLayer::with_limiter(limiter, by_client()))
            .map_err(Error::<ProbeError>::Inner)
            .map_response(respond)
            .map_request(HttpRequest::<Request>::into_body)
    })
    .on_tokio()
    .profile(profile()),
);

conformance_suite!(
    shadow,
    Subject::new("quotas over HTTP in shadow mode", || {
        ServiceBuilder::new()
            .map_result(reply)
            .map_request(over_http)
            .layer(HttpRateLimitLayer::new(Config::new(quota()).shadow(true), by_client()).unwrap())
            .map_err(Error::<ProbeError>::Inner)
            .map_response(respond)
            .map_request(HttpRequest::<Request>::into_body)
    })
    .on_tokio()
    .profile(profile()),
);
