//! The layer for HTTP servers: clients with credentials, in turn.

use super::{FEW, ample, scarce};
use crate::{Case, call};
use http::{Request, Response, StatusCode};
use mainstay_rate_limit::{
    KeyedConfig, Quota,
    http::{Bearer, Fields, HttpRateLimitLayer},
};
use std::{
    convert::Infallible,
    future::{Ready, ready},
    sync::Arc,
    task::{Context, Poll},
};
use tower_layer::Layer;
use tower_service::Service;

/// What to subtract comes first. Each call clones its request, and one that is allowed makes a response.
pub(super) fn cases() -> Vec<Case> {
    let refused = [layer(scarce()), layer(scarce()).fields(Fields::Never)].map(|layer| layer.layer(Leaf));
    let [with_fields, without_fields] = refused.map(|mut service| {
        (0..FEW).for_each(|client| assert!(call(&mut service, request(client)).is_ready()));
        service
    });
    let [yes, no] = [StatusCode::OK, StatusCode::TOO_MANY_REQUESTS];
    vec![
        case("rate_limit_http/bare", Leaf, yes),
        case("rate_limit_http/layer", layer(ample()).layer(Leaf), yes),
        case("rate_limit_http/layer_no_fields", layer(ample()).fields(Fields::Never).layer(Leaf), yes),
        case("rate_limit_http/refused", with_fields, no),
        case("rate_limit_http/refused_no_fields", without_fields, no),
    ]
}

/// Answers each request with 200, at once.
#[derive(Clone, Copy, Debug)]
struct Leaf;

impl Service<Request<()>> for Leaf {
    type Response = Response<()>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        assert_eq!(request.headers().len(), 3);
        ready(Ok(Response::new(())))
    }
}

fn layer(quota: Quota) -> HttpRateLimitLayer<Bearer> {
    HttpRateLimitLayer::new(KeyedConfig::new(quota), Bearer).expect("every setting is in its range")
}

/// A `GET` with three headers, one of them the credential of this client.
pub fn request(client: u64) -> Request<()> {
    Request::get("/stock/espresso")
        .header("accept", "application/json")
        .header("host", "catalog.example.com")
        .header("authorization", format!("Bearer 2YotnFZFEjr1zCsi{client:04}"))
        .body(())
        .expect("a request")
}

fn case<S>(name: &str, service: S, status: StatusCode) -> Case
where
    S: Service<Request<()>, Response = Response<()>, Error = Infallible> + Clone + Send + 'static,
{
    let requests: Arc<[_]> = (0..FEW).map(request).collect();
    Case::new(name, move || {
        let (mut service, requests) = (service.clone(), requests.clone());
        move |number| {
            let request = requests[usize::try_from(number % FEW).unwrap_or(0)].clone();
            assert!(matches!(call(&mut service, request), Poll::Ready(Ok(response)) if response.status() == status));
        }
    })
}
