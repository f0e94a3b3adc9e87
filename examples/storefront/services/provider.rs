//! The payment provider: outside of the shop, and at times flaky, slow, failing or silent.

use crate::{
    books::{Balance, Books},
    wire::{self, IDEMPOTENCY_KEY, TRACEPARENT},
};
use axum::{
    Json, Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::sleep;

/// In bytes.
pub(crate) const LONGEST_KEY: usize = 255;

/// `POST /captures`, `POST /refunds`
pub(crate) fn routes(books: Books) -> Router {
    Router::new().route("/captures", post(capture)).route("/refunds", post(refund)).with_state(books)
}

/// `GET /books`, and the same at `GET /ledger`, as other services have it
pub(crate) fn audit(books: Books) -> Router {
    Router::new().route("/books", get(balance)).route("/ledger", get(balance)).with_state(books)
}

/// What was captured with this key is given back.
#[derive(Debug, Deserialize)]
struct Refund {
    capture: String,
}

/// Takes an amount once for each key. A client that leaves while it waits here has paid nothing.
async fn capture(State(books): State<Books>, headers: HeaderMap, order: Json<Value>) -> Response {
    let key = wire::text(&headers, &IDEMPOTENCY_KEY);
    if key.is_some_and(|key| key.len() > LONGEST_KEY) {
        return wire::problem(
            StatusCode::BAD_REQUEST,
            "bad_key",
            "the key is too long",
            &json!({ "most": LONGEST_KEY }),
        );
    }
    sleep(Duration::from_millis(30)).await;
    let cents = order["cents"].as_u64().unwrap_or_default();
    let Some(receipt) = books.capture(key, wire::text(&headers, &TRACEPARENT), cents) else {
        return wire::problem(StatusCode::CONFLICT, "refunded", "what this key pays for was called off", &json!({}));
    };
    let receipt = json!({ "success": true, "receipt": receipt.receipt, "captured_cents": receipt.captured_cents });
    wire::with_trace(&headers, Json(receipt).into_response())
}

async fn refund(State(books): State<Books>, headers: HeaderMap, Json(refund): Json<Refund>) -> Response {
    let refunded = json!({ "success": true, "refunded_cents": books.refund(&refund.capture) });
    wire::with_trace(&headers, Json(refunded).into_response())
}

async fn balance(State(books): State<Books>) -> Json<Balance> {
    Json(books.balance())
}
