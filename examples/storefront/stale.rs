//! The stale price list: what the gateway answers when the catalog cannot.

use crate::{
    services::catalog::{self, PRODUCTS},
    stacks::Upstream,
    wire,
};
use axum::{
    Json,
    body::Body,
    response::{IntoResponse, Response},
};
use http::{Request, StatusCode};
use serde_json::json;
use std::{future::ready, sync::Arc};
use tower::{service_fn, util::BoxCloneSyncService};

/// Answers for the catalog from a copy of its prices, and says so: `"stale": true`.
///
/// In life the copy is fetched now and then. Here it is made once, since no price ever changes.
pub(crate) fn price_list() -> Upstream {
    let prices: Arc<[u32]> = (1..=PRODUCTS).map(catalog::price).collect();
    BoxCloneSyncService::new(service_fn(move |request| ready(Ok(answer(&prices, &request)))))
}

/// What the list has to know of a request.
pub(crate) fn head(request: &Request<Body>) -> Request<Body> {
    let mut head = Request::new(Body::empty());
    head.uri_mut().clone_from(request.uri());
    head.headers_mut().clone_from(request.headers());
    head
}

fn answer(prices: &[u32], request: &Request<Body>) -> Response {
    let id = request.uri().path().rsplit('/').next().and_then(|id| id.parse::<u32>().ok());
    let known = id.and_then(|id| Some((id, prices.get(usize::try_from(id.checked_sub(1)?).ok()?)?)));
    let Some((id, cents)) = known else {
        return wire::problem(StatusCode::NOT_FOUND, "no_such_product", "not in the stale price list", &json!({}));
    };
    let product = json!({ "id": id, "name": catalog::name(id), "price_cents": cents, "stale": true });
    wire::with_trace(request.headers(), Json(product).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use tower::ServiceExt;

    #[tokio::test]
    async fn the_list_knows_what_the_catalog_sells_and_nothing_else() {
        let ask = |path: &str| price_list().oneshot(Request::get(path).body(Body::empty()).unwrap());
        let bytes = axum::body::to_bytes(ask("/products/7").await.unwrap().into_body(), 1_000).await.unwrap();
        let product: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(product, json!({ "id": 7, "name": "Product 7", "price_cents": catalog::price(7), "stale": true }));
        for path in ["/products/0", "/products/1001", "/products/seven", "/products/4294967296"] {
            assert_eq!(ask(path).await.unwrap().status(), 404, "{path}");
        }
    }
}
