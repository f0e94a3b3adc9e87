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
use http::{HeaderMap, HeaderName, StatusCode};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::sleep;

/// In bytes.
pub(crate) const LONGEST_KEY: usize = 255;

/// `POST /captures`
pub(crate) fn routes(books: Books) -> Router {
    Router::new().route("/captures", post(capture)).with_state(books)
}

/// `GET /books`
pub(crate) fn audit(books: Books) -> Router {
    Router::new().route("/books", get(balance)).with_state(books)
}

/// Takes an amount once for each key. A client that leaves while it waits here has paid nothing.
async fn capture(State(books): State<Books>, headers: HeaderMap, order: Json<Value>) -> Response {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let key = text(IDEMPOTENCY_KEY);
    if key.is_some_and(|key| key.len() > LONGEST_KEY) {
        return wire::problem(
            StatusCode::BAD_REQUEST,
            "bad_key",
            "the key is too long",
            &json!({ "most": LONGEST_KEY }),
        );
    }
    sleep(Duration::from_millis(30)).await;
    let receipt = books.capture(key, text(TRACEPARENT), order["cents"].as_u64().unwrap_or_default());
    let receipt = json!({ "success": true, "receipt": receipt.receipt, "captured_cents": receipt.captured_cents });
    wire::with_trace(&headers, Json(receipt).into_response())
}

async fn balance(State(books): State<Books>) -> Json<Balance> {
    Json(books.balance())
}
