//! The gateway: the door of the shop. It routes, and the stacks behind its routes do the rest.

use crate::{
    services::provider::LONGEST_KEY,
    stacks::Upstream,
    wire::{self, IDEMPOTENCY_KEY, TRACEPARENT},
};
use axum::{
    Router,
    body::{Body, to_bytes},
    error_handling::HandleErrorLayer,
    extract::{Request, State},
    middleware::{Next, from_fn, from_fn_with_state},
    response::Response,
    routing::{get, get_service, post_service},
};
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header::RETRY_AFTER};
use mainstay::{BoxError, http::RefusalResponseLayer};
use metrics::{Counter, counter};
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::json;
use std::{
    convert::Infallible,
    hash::{BuildHasher, RandomState},
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::time::timeout;
use tower::{ServiceBuilder, util::BoxCloneSyncService};

/// In bytes.
const LARGEST_ORDER: usize = 16 * 1024;
const UPLOAD_TIME: Duration = Duration::from_secs(2);

/// `GET /products/{id}` and `POST /checkout`
pub(crate) fn routes(catalog: Upstream, orders: Upstream) -> Router {
    let browse = get_service(edge(catalog));
    let checkout = post_service(edge(orders)).layer(from_fn(as_order));
    Router::new()
        .route("/products/{id}", browse.layer(from_fn_with_state(Outcomes::of("browse"), count)))
        .route("/checkout", checkout.layer(from_fn_with_state(Outcomes::of("checkout"), count)))
        .layer(from_fn(trace))
}

/// `GET /metrics`, in Prometheus text
pub(crate) fn metrics(handle: PrometheusHandle) -> Router {
    Router::new().route("/metrics", get(async move || handle.render()))
}

/// What every route of the gateway ends with: whatever the stack says, the customer gets an answer.
fn edge(upstream: Upstream) -> BoxCloneSyncService<Request, Response, Infallible> {
    BoxCloneSyncService::new(
        ServiceBuilder::new()
            // An error that no policy knows, such as a connection that breaks off: 502.
            .layer(HandleErrorLayer::new(unreachable))
            // Refusals and timeouts: 503 with Retry-After, 504.
            .layer(RefusalResponseLayer::new().with_body(wire::describe))
            .service(upstream),
    )
}

async fn unreachable(error: BoxError) -> Response {
    wire::problem(StatusCode::BAD_GATEWAY, "upstream_unreachable", &error.to_string(), &json!({}))
}

/// What the shop calls a checkout is an order to the orders service.
///
/// It is read first: a customer who uploads slowly, or half of it, is not the fault of anybody further in, and takes no place
/// there.
async fn as_order(request: Request<Body>, next: Next) -> Response {
    let (mut head, body) = request.into_parts();
    head.uri = Uri::from_static("/orders");
    if !has_key(&mut head.headers) {
        let details = json!({ "most": LONGEST_KEY });
        return wire::problem(StatusCode::BAD_REQUEST, "bad_key", "the key is too long, or no text", &details);
    }
    match timeout(UPLOAD_TIME, to_bytes(body, LARGEST_ORDER)).await {
        Ok(Ok(order)) => next.run(Request::from_parts(head, order.into())).await,
        Ok(Err(error)) => wire::problem(StatusCode::BAD_REQUEST, "bad_order", &error.to_string(), &json!({})),
        Err(_) => wire::problem(StatusCode::REQUEST_TIMEOUT, "slow_order", "the order did not arrive", &json!({})),
    }
}

/// Gives the checkout its key: that of the customer, who may send the order again by hand, or else a new one. With it all
/// that is sent for this order, by whomever, is paid once. Whether the key will do.
fn has_key(headers: &mut HeaderMap) -> bool {
    let key = headers.entry(IDEMPOTENCY_KEY).or_insert_with(new_key);
    key.to_str().is_ok_and(|key| key.len() <= LONGEST_KEY)
}

/// Must not be guessed: who knows the key of another's order gets the receipt.
fn new_key() -> HeaderValue {
    static SECRET: LazyLock<[RandomState; 2]> = LazyLock::new(|| [(); 2].map(|()| RandomState::new()));
    static NEXT: AtomicU64 = AtomicU64::new(1);
    // Relaxed: all that matters is that each order gets another number.
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let [first, second] = SECRET.each_ref().map(|secret| secret.hash_one(number));
    HeaderValue::try_from(format!("{first:016x}{second:016x}")).expect("digits are valid")
}

/// Begins a trace, unless the request belongs to one already.
async fn trace(mut request: Request, next: Next) -> Response {
    request.headers_mut().entry(TRACEPARENT).or_insert_with(new_trace);
    next.run(request).await
}

fn new_trace() -> HeaderValue {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    // Relaxed: all that matters is that each trace gets another number.
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    HeaderValue::try_from(format!("00-{number:032x}-{number:016x}-01")).expect("digits and dashes are valid")
}

/// How the requests of one route ended; the label is the configured name, never what a request says.
#[derive(Clone)]
struct Outcomes {
    ok: Counter,
    refused: Counter,
    failed: Counter,
}

impl Outcomes {
    fn of(route: &'static str) -> Self {
        let ended =
            |outcome: &'static str| counter!("storefront_requests_total", "route" => route, "outcome" => outcome);
        Self { ok: ended("ok"), refused: ended("refused"), failed: ended("failed") }
    }
}

async fn count(State(outcomes): State<Outcomes>, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let counter = match response.status() {
        status if status.is_success() => outcomes.ok,
        StatusCode::SERVICE_UNAVAILABLE if response.headers().contains_key(RETRY_AFTER) => outcomes.refused,
        _ => outcomes.failed,
    };
    counter.increment(1);
    response
}
