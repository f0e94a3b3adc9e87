//! Users: who may order.

use crate::wire;
use axum::{Json, Router, response::IntoResponse, response::Response, routing::get};
use http::{HeaderMap, StatusCode};
use serde_json::json;

/// The account of whoever comes without a credential.
const GUEST: &str = "guest";
/// The account that may not order.
const BLOCKED: &str = "blocked";

/// `GET /account`
pub(crate) fn routes() -> Router {
    Router::new().route("/account", get(account))
}

/// The account that a credential belongs to. Nobody checks credentials in this shop.
async fn account(headers: HeaderMap) -> Response {
    let name = wire::text(&headers, &http::header::AUTHORIZATION);
    let name = name.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or(GUEST);
    if name == BLOCKED {
        return wire::problem(StatusCode::FORBIDDEN, "blocked", "this account may not order", &json!({}));
    }
    Json(json!({ "name": name })).into_response()
}
