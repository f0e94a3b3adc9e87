//! What a request allocates in the layer for HTTP: nothing, but for the fields of responses.
//!
//! Run with the features off and on: with `tracing` and no subscriber, with `metrics` and no recorder.
#![cfg(feature = "http")]

use allocation_counter::measure;
use futures_util::FutureExt;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use mainstay_rate_limit::{
    Config, Quota,
    http::{
        Bearer, ClientKey, Fields, Forwarded, ForwardedFor, Head, Header, HttpRateLimitLayer, Identify, Peer, Subject,
    },
};
use std::{
    convert::Infallible,
    future::{Ready, ready},
    net::SocketAddr,
    task::{Context, Poll},
};
use tower::{Layer, Service};

/// Answers with a response that has fields already, as those of servers have.
#[derive(Clone, Copy)]
struct Leaf;

impl Service<Request<()>> for Leaf {
    type Response = Response<()>;
    type Error = Infallible;
    type Future = Ready<Result<Response<()>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        let mut response = Response::new(());
        for name in ["content-type", "content-length", "date"] {
            response.headers_mut().insert(name, HeaderValue::from_static("x"));
        }
        ready(Ok(response))
    }
}

fn request() -> Request<()> {
    let mut request = Request::get("/")
        .header("authorization", "Bearer 2YotnFZFEjr1zCsicMWpAA")
        .header("x-api-key", "k-3141")
        .header("x-forwarded-for", "198.51.100.1, 203.0.113.9, 10.0.0.1")
        .header("forwarded", r#"for="[2001:db8::1]:4711";host="a\"b", for=10.0.0.1"#)
        .body(())
        .unwrap();
    request.extensions_mut().insert(SocketAddr::from(([203, 0, 113, 9], 1)));
    request.extensions_mut().insert(7_u64);
    request
}

const REQUESTS: u64 = 1_000;

/// How often a request to `service` allocates, once its client is known and has been answered so.
fn allocations_of<S>(service: &mut S, status: StatusCode) -> u64
where
    S: Service<Request<()>, Response = Response<()>, Error = Infallible>,
{
    let mut ask = |request| {
        let Ok(response) = service.call(request).now_or_never().expect("the leaf answers at once");
        response.status()
    };
    // The first makes the key, and the first that is refused the handles of the metrics.
    ask(request());
    ask(request());
    let mut requests: Vec<_> = (0..REQUESTS).map(|_| request()).collect();
    let info = measure(|| requests.drain(..).for_each(|request| assert_eq!(ask(request), status)));
    assert_eq!(info.count_total % REQUESTS, 0, "the same for each request");
    info.count_total / REQUESTS
}

/// How much more often an allowed request allocates than one to the bare service.
fn added<I: Identify + Clone>(layer: &HttpRateLimitLayer<I>) -> u64 {
    allocations_of(&mut layer.layer(Leaf), StatusCode::OK) - allocations_of(&mut Leaf, StatusCode::OK)
}

fn refused<I: Identify + Clone>(layer: &HttpRateLimitLayer<I>) -> u64 {
    allocations_of(&mut layer.layer(Leaf), StatusCode::TOO_MANY_REQUESTS)
}

fn layer<I>(limit: u64, identify: I) -> HttpRateLimitLayer<I> {
    HttpRateLimitLayer::new(Config::new(Quota::per_hour(limit).unwrap()), identify).unwrap()
}

#[test]
fn no_way_to_tell_clients_apart_allocates() {
    fn told(identify: &impl Identify) -> u64 {
        let request = request();
        measure(|| assert!(identify.identify(Head::from(&request)).is_some())).count_total
    }
    assert_eq!(told(&Bearer), 0);
    assert_eq!(told(&Header::named(HeaderName::from_static("x-api-key"))), 0);
    assert_eq!(told(&ForwardedFor::trusted(2)), 0);
    assert_eq!(told(&Forwarded::trusted(2)), 0);
    assert_eq!(told(&Peer::new()), 0);
    assert_eq!(told(&Subject::of(|number: &u64| ClientKey::Number((*number).into()))), 0);
}

#[test]
fn an_allowed_request_without_fields_allocates_nothing() {
    for fields in [Fields::WhenRefused, Fields::Never] {
        assert_eq!(added(&layer(1_000_000, Bearer).fields(fields)), 0, "{fields:?}");
        let by_address = layer(1_000_000, ForwardedFor::trusted(2).or_else(Peer::new()));
        assert_eq!(added(&by_address.fields(fields)), 0, "{fields:?}");
    }
}

#[test]
fn a_cost_allocates_nothing() {
    let layer = layer(1_000_000, Bearer).fields(Fields::WhenRefused).cost(|_: &Request<()>| 2);
    let allocations = allocations_of(&mut layer.layer(Leaf), StatusCode::OK);
    assert_eq!(allocations, allocations_of(&mut Leaf, StatusCode::OK));
}

#[test]
fn an_allowed_request_allocates_the_value_of_one_field() {
    assert_eq!(added(&layer(1_000_000, Bearer)), 1);
}

#[test]
fn a_refused_request_allocates_its_fields_and_no_more() {
    // A map of fields takes two, and the number of `retry-after` as well.
    assert_eq!(refused(&layer(1, Bearer)), 5, "the map, and the values of `retry-after` and `ratelimit`");
    assert_eq!(refused(&layer(1, Bearer).fields(Fields::Never)), 4, "the map, and the value of `retry-after`");
}
