//! Inventory: keeps pieces for orders, sells them, or puts them back. Every request may come again, and in any order.

use crate::{
    stock::{Refusal, Stock},
    wire::{self, IDEMPOTENCY_KEY},
};
use axum::{
    Json, Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::json;

#[derive(Debug, Deserialize)]
struct Wish {
    product: u32,
}

/// The key that something was reserved with.
#[derive(Debug, Deserialize)]
struct Reserved {
    reservation: String,
}

/// `POST /reservations`, `POST /releases`, `GET /ledger`
pub(crate) fn routes(stock: Stock) -> Router {
    Router::new()
        .route("/reservations", post(reserve))
        .route("/releases", post(release))
        .route("/ledger", get(|State(stock): State<Stock>| async move { Json(stock.ledger()) }))
        .with_state(stock)
}

/// `POST /confirmations`: what the script breaks.
pub(crate) fn confirmations(stock: Stock) -> Router {
    Router::new().route("/confirmations", post(confirm)).with_state(stock)
}

async fn reserve(State(stock): State<Stock>, headers: HeaderMap, Json(wish): Json<Wish>) -> Response {
    let Some(key) = wire::text(&headers, &IDEMPOTENCY_KEY) else { return wire::no_key() };
    answer(stock.reserve(key, wish.product))
}

async fn release(State(stock): State<Stock>, Json(reserved): Json<Reserved>) -> Response {
    answer(stock.release(&reserved.reservation))
}

async fn confirm(State(stock): State<Stock>, Json(reserved): Json<Reserved>) -> Response {
    answer(stock.confirm(&reserved.reservation))
}

fn answer(done: Result<(), Refusal>) -> Response {
    let (code, message) = match done {
        Ok(()) => return Json(json!({ "success": true })).into_response(),
        Err(Refusal::OutOfStock) => ("out_of_stock", "there is none left"),
        Err(Refusal::Unknown) => ("no_such_product", "this is not sold here"),
        Err(Refusal::Released) => ("released", "the reservation was released"),
        Err(Refusal::Confirmed) => ("confirmed", "the reservation is sold"),
        Err(Refusal::NotReserved) => ("not_reserved", "there is no such reservation"),
    };
    wire::problem(StatusCode::CONFLICT, code, message, &json!({}))
}
