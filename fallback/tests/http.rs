//! Over HTTP a failure can be a response.
#![cfg(feature = "http")]

use http::{Request, Response};
use mainstay_core::{Error, Reason, Refused};
use mainstay_fallback::FallbackLayer;
use std::convert::Infallible;
use tower::{Layer, ServiceExt, service_fn};

type Answer = Result<Response<&'static str>, Error<Infallible>>;

/// What is answered in the place of this status, or of a refusal.
async fn in_place_of(status: Option<u16>) -> u16 {
    let leaf = service_fn(move |_: Request<()>| async move {
        let refused = Error::<Infallible>::Refused(Refused::new(Reason::CircuitOpen, "menu"));
        status.map(|status| Response::builder().status(status).body("fresh").unwrap()).ok_or(refused)
    });
    let stale = |failed: Answer| failed.map(|_| Response::new("stale")).or_else(|_| Ok(Response::new("stale")));
    let answer = FallbackLayer::function(stale).http().layer(leaf).oneshot(Request::new(())).await.unwrap();
    if *answer.body() == "stale" { 0 } else { answer.status().as_u16() }
}

#[tokio::test]
async fn what_the_service_could_not_do_falls_back_and_what_it_would_not_does_not() {
    for status in [500, 502, 503, 504, 408, 429] {
        assert_eq!(in_place_of(Some(status)).await, 0, "{status}");
    }
    for status in [200, 204, 304, 400, 401, 404] {
        assert_eq!(in_place_of(Some(status)).await, status);
    }
    assert_eq!(in_place_of(None).await, 0);
}

#[tokio::test]
async fn on_error_leaves_a_failed_response_alone() {
    let leaf = service_fn(async |_: Request<()>| Ok(Response::builder().status(500).body("fresh").unwrap()));
    let layer = FallbackLayer::on_error(|_: Error<Infallible>| Response::new("stale")).http();
    assert_eq!(*layer.layer(leaf).oneshot(Request::new(())).await.unwrap().body(), "fresh");
}
