//! The catalog: what there is to buy. It must not suffer from what is wrong with the provider; it has troubles of its own.

use crate::wire;
use axum::{
    Json, Router,
    extract::{Path, State},
    response::{IntoResponse, Response},
    routing::get,
};
use http::{HeaderMap, StatusCode};
use serde_json::json;
use std::time::Duration;
use tokio::time::sleep;

/// Products have the numbers from 1 to this one.
pub(crate) const PRODUCTS: u32 = 1_000;

/// `GET /products/{id}`
pub(crate) fn routes(replica: &'static str) -> Router {
    Router::new().route("/products/{id}", get(product)).with_state(replica)
}

async fn product(State(replica): State<&'static str>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    let id = id.parse().ok().filter(|id| (1..=PRODUCTS).contains(id));
    let Some(id) = id else {
        return wire::problem(
            StatusCode::NOT_FOUND,
            "no_such_product",
            "products are numbered from 1",
            &json!({ "products": PRODUCTS }),
        );
    };
    // The look-up: some products take longer than others.
    sleep(Duration::from_millis(u64::from(4 + id % 10))).await;
    let product = json!({ "id": id, "name": name(id), "price_cents": price(id), "replica": replica });
    wire::with_trace(&headers, Json(product).into_response())
}

pub(crate) fn name(id: u32) -> String {
    format!("Product {id}")
}

/// In cents.
pub(crate) const fn price(id: u32) -> u32 {
    499 + id * 37 % 9_500
}
