//! Payment: charges an order, with the help of a provider outside of the shop.

use crate::{
    stacks::Upstream,
    wire::{self, TRACEPARENT},
};
use axum::{
    Json, Router,
    body::Body,
    extract::{State, rejection::JsonRejection},
    response::{IntoResponse, Response},
    routing::post,
};
use http::{HeaderMap, Request, StatusCode};
use mainstay::{BoxError, Error, http::Rejection};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tower::ServiceExt;

#[derive(Debug, Deserialize, Serialize)]
struct Order {
    product: u32,
    cents: u32,
}

/// `POST /charges`
pub(crate) fn routes(provider: Upstream) -> Router {
    Router::new().route("/charges", post(charge)).with_state(provider)
}

async fn charge(
    State(provider): State<Upstream>,
    headers: HeaderMap,
    order: Result<Json<Order>, JsonRejection>,
) -> Response {
    let order = match order {
        Ok(Json(order)) => order,
        Err(rejection) => {
            return wire::problem(rejection.status(), "bad_order", &rejection.body_text(), &json!({}));
        }
    };
    match capture(provider, &headers, &order).await {
        Ok(response) if response.status().is_success() => response,
        Ok(response) => wire::problem(
            StatusCode::BAD_GATEWAY,
            "provider_failed",
            "the provider could not capture the amount",
            &json!({ "provider_status": response.status().as_u16() }),
        ),
        // What the stack itself says no to is honest about it: nothing was captured, or nobody knows.
        Err(error) => match Rejection::of(&error) {
            Some(rejection) => wire::rejected(rejection),
            None => wire::problem(StatusCode::BAD_GATEWAY, "provider_unreachable", &error.to_string(), &json!({})),
        },
    }
}

/// Asks the provider for the money.
async fn capture(provider: Upstream, headers: &HeaderMap, order: &Order) -> Result<Response, Error<BoxError>> {
    let mut request = Request::post("/captures")
        .header("content-type", "application/json")
        .body(Body::from(json!(order).to_string()))
        .expect("a constant head is valid");
    if let Some(trace) = headers.get(TRACEPARENT) {
        request.headers_mut().insert(TRACEPARENT, trace.clone());
    }
    provider.oneshot(request).await.map(IntoResponse::into_response)
}
