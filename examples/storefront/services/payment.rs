//! Payment: charges an order and gives the amount back, with the help of a provider outside of the shop.

use crate::{
    stacks::Upstream,
    wire::{self, IDEMPOTENCY_KEY, TRACEPARENT},
};
use axum::{
    Extension, Json, Router,
    body::Body,
    extract::{State, rejection::JsonRejection},
    response::{IntoResponse, Response},
    routing::post,
};
use http::{HeaderMap, Request, StatusCode};
use mainstay::{BoxError, Deadline, Error, http::Rejection, timeout::DeadlineFromHeaderLayer};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tower::ServiceExt;

#[derive(Debug, Deserialize, Serialize)]
struct Order {
    product: u32,
    cents: u32,
}

/// What was charged with this key is given back.
#[derive(Debug, Deserialize, Serialize)]
struct Refund {
    #[serde(rename(deserialize = "charge", serialize = "capture"))]
    charge: String,
}

/// `POST /charges`, `POST /refunds`
pub(crate) fn routes(provider: Upstream) -> Router {
    Router::new()
        .route("/charges", post(charge))
        .route("/refunds", post(refund))
        .with_state(provider)
        .layer(DeadlineFromHeaderLayer)
}

async fn charge(
    State(provider): State<Upstream>,
    headers: HeaderMap,
    deadline: Option<Extension<Deadline>>,
    order: Result<Json<Order>, JsonRejection>,
) -> Response {
    pass_on(provider, "/captures", &headers, deadline, order).await
}

async fn refund(
    State(provider): State<Upstream>,
    headers: HeaderMap,
    deadline: Option<Extension<Deadline>>,
    refund: Result<Json<Refund>, JsonRejection>,
) -> Response {
    pass_on(provider, "/refunds", &headers, deadline, refund).await
}

async fn pass_on<T: Serialize>(
    provider: Upstream,
    path: &'static str,
    headers: &HeaderMap,
    deadline: Option<Extension<Deadline>>,
    wish: Result<Json<T>, JsonRejection>,
) -> Response {
    let wish = match wish {
        Ok(Json(wish)) => json!(wish),
        Err(rejection) => {
            return wire::problem(rejection.status(), "bad_order", &rejection.body_text(), &json!({}));
        }
    };
    match ask(provider, path, headers, deadline, &wish).await {
        Ok(response) if response.status().is_success() => response,
        // It works, and says no.
        Ok(response) if response.status() == StatusCode::CONFLICT => response,
        Ok(response) => wire::problem(
            StatusCode::BAD_GATEWAY,
            "provider_failed",
            "the provider could not do it",
            &json!({ "provider_status": response.status().as_u16() }),
        ),
        // What the stack itself says no to is honest about it: nothing was captured, or nobody knows.
        Err(error) => match Rejection::of(&error) {
            Some(rejection) => wire::rejected(rejection),
            None => wire::problem(StatusCode::BAD_GATEWAY, "provider_unreachable", &error.to_string(), &json!({})),
        },
    }
}

/// Asks the provider with the key that payment was asked with, and no longer than is waited for.
async fn ask(
    provider: Upstream,
    path: &'static str,
    headers: &HeaderMap,
    deadline: Option<Extension<Deadline>>,
    wish: &Value,
) -> Result<Response, Error<BoxError>> {
    let mut request = Request::post(path)
        .header("content-type", "application/json")
        .body(Body::from(wish.to_string()))
        .expect("a constant head is valid");
    for name in [TRACEPARENT, IDEMPOTENCY_KEY] {
        if let Some(value) = headers.get(&name) {
            request.headers_mut().insert(name, value.clone());
        }
    }
    if let Some(Extension(deadline)) = deadline {
        request.extensions_mut().insert(deadline);
    }
    provider.oneshot(request).await.map(IntoResponse::into_response)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{sync::mpsc, time::Duration};
    use tokio::time::Instant;
    use tower::{service_fn, util::BoxCloneSyncService};

    #[tokio::test(start_paused = true)]
    async fn the_provider_is_given_the_key_and_no_more_time_than_its_callers_have() {
        let (sender, asked) = mpsc::channel();
        let provider = service_fn(move |request: Request<Body>| {
            sender.send(request.map(drop)).unwrap();
            std::future::ready(Ok(Response::new(Body::empty())))
        });
        let order = Request::post("/charges")
            .header("content-type", "application/json")
            .header(IDEMPOTENCY_KEY, "key")
            .header("x-request-timeout-ms", "70");
        let order = order.body(Body::from(r#"{"product":7,"cents":758}"#)).unwrap();

        assert_eq!(routes(BoxCloneSyncService::new(provider)).oneshot(order).await.unwrap().status(), 200);
        let asked = asked.recv().unwrap();
        assert_eq!(asked.headers()[IDEMPOTENCY_KEY], "key");
        let deadline = asked.extensions().get::<Deadline>().unwrap();
        assert_eq!(deadline.remaining(Instant::now().into_std()), Some(Duration::from_millis(70)));
    }
}
