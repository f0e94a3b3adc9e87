//! The crate `tower_governor`: a layer for HTTP servers, by the same credential as ours, without and with its fields.

use axum::body::Body;
use governor::middleware::NoOpMiddleware;
use http::{Request, Response, StatusCode};
use mainstay_benches::{
    Case, call,
    rate_limit::{FEW, request},
};
use std::{
    convert::Infallible,
    future::{Ready, ready},
    sync::Arc,
    task::{Context, Poll},
};
use tower_governor::{GovernorError, GovernorLayer, governor::GovernorConfigBuilder, key_extractor::KeyExtractor};
use tower_layer::Layer;
use tower_service::Service;

/// By bearer credential, as in its examples.
#[derive(Clone, Debug)]
struct Credential;

impl KeyExtractor for Credential {
    type Key = String;

    fn extract<T>(&self, request: &Request<T>) -> Result<String, GovernorError> {
        let header = request.headers().get("authorization").and_then(|header| header.to_str().ok());
        let credential = header.and_then(|header| header.strip_prefix("Bearer "));
        credential.map(|credential| credential.trim().to_owned()).ok_or(GovernorError::UnableToExtractKey)
    }
}

/// Answers each request with 200, at once.
#[derive(Clone, Copy, Debug)]
struct Leaf;

impl Service<Request<()>> for Leaf {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        assert_eq!(request.headers().len(), 3);
        ready(Ok(Response::new(Body::empty())))
    }
}

pub(super) fn cases() -> Vec<Case> {
    let mut ample = GovernorConfigBuilder::default();
    ample.per_nanosecond(1).burst_size(1_000_000_000);
    let mut scarce = GovernorConfigBuilder::default();
    scarce.per_second(24 * 60 * 60).burst_size(1);
    let [mut ample, mut scarce] = [ample, scarce].map(|mut config| config.key_extractor(Credential));
    let layers = |config: &mut GovernorConfigBuilder<Credential, NoOpMiddleware<_>>| {
        let plain = GovernorLayer::new(config.finish().expect("every setting is in its range"));
        let with_fields = GovernorLayer::new(config.use_headers().finish().expect("every setting is in its range"));
        (plain, with_fields)
    };
    let ((plain, with_fields), (plain_refused, fields_refused)) = (layers(&mut ample), layers(&mut scarce));
    let [yes, no] = [StatusCode::OK, StatusCode::TOO_MANY_REQUESTS];
    vec![
        case("http/tower_governor", with_fields.layer(Leaf), yes),
        case("http/tower_governor_no_fields", plain.layer(Leaf), yes),
        case("http_refused/tower_governor", fields_refused.layer(Leaf), no),
        case("http_refused/tower_governor_no_fields", plain_refused.layer(Leaf), no),
    ]
}

fn case<S>(name: &str, mut service: S, status: StatusCode) -> Case
where
    S: Service<Request<()>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
{
    let requests: Arc<[_]> = (0..FEW).map(request).collect();
    // Whoever has one unit a day has used it then.
    requests.iter().for_each(|request| assert!(call(&mut service, request.clone()).is_ready()));
    Case::new(name, move || {
        let (mut service, requests) = (service.clone(), requests.clone());
        move |number| {
            let request = requests[usize::try_from(number % FEW).unwrap_or(0)].clone();
            assert!(matches!(call(&mut service, request), Poll::Ready(Ok(response)) if response.status() == status));
        }
    })
}
