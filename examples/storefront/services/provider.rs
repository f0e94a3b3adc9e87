//! The payment provider: outside of the shop, and at times slow, failing or silent.

use crate::{
    faults::{Fault, Switch},
    wire,
};
use axum::{
    Json, Router,
    extract::{Path, Request, State},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use std::{future::pending, time::Duration};
use tokio::time::sleep;

/// How the provider is, and how long it takes to answer while it is slow.
#[derive(Clone, Debug)]
pub(crate) struct Sickness {
    pub(crate) switch: Switch,
    pub(crate) slowness: Duration,
}

/// `POST /captures`
pub(crate) fn routes() -> Router {
    Router::new().route("/captures", post(capture))
}

/// `GET /faults`, `POST /faults/{healthy|slow|failing|silent}`
pub(crate) fn controls(switch: Switch) -> Router {
    Router::new().route("/faults", get(fault)).route("/faults/{fault}", post(set_fault)).with_state(switch)
}

/// Makes the provider sick, before its pool: a silent provider accepts everything.
pub(crate) fn with_faults(routes: Router, sickness: Sickness) -> Router {
    routes.layer(from_fn_with_state(sickness, suffer))
}

async fn capture(headers: HeaderMap, order: Json<Value>) -> Response {
    sleep(Duration::from_millis(30)).await;
    let receipt = Json(json!({ "success": true, "captured_cents": order["cents"] }));
    wire::with_trace(&headers, receipt.into_response())
}

async fn suffer(State(sickness): State<Sickness>, request: Request, next: Next) -> Response {
    match sickness.switch.meet() {
        Fault::Healthy => {}
        Fault::Slow => sleep(sickness.slowness).await,
        Fault::Failing => {
            return wire::problem(
                StatusCode::INTERNAL_SERVER_ERROR,
                "out_of_order",
                "the provider is failing",
                &json!({}),
            );
        }
        // Whoever waits here waits until the client is gone, even if the provider recovers.
        Fault::Silent => pending().await,
    }
    next.run(request).await
}

async fn fault(State(switch): State<Switch>) -> Json<Value> {
    Json(json!({ "fault": switch.fault(), "sick_calls": switch.sick_calls() }))
}

async fn set_fault(State(switch): State<Switch>, Path(name): Path<String>) -> Response {
    let Ok(fault) = name.parse() else {
        let known = Fault::ALL.map(Fault::as_str);
        return wire::problem(
            StatusCode::NOT_FOUND,
            "no_such_fault",
            "this fault is unknown",
            &json!({ "known": known }),
        );
    };
    switch.set(fault);
    self::fault(State(switch)).await.into_response()
}
