//! Over HTTP and gRPC: what is hedged, and which response wins.

#![cfg(feature = "http")]

mod hedge_support;

use bytes::Bytes;
use hedge_support::{DELAY, advance, config};
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use mainstay_core::{Attempt, Deadline, Error, Idempotent, Meta};
use mainstay_retry::{HedgeLayer, ReplayBody};
use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::time::Instant;
use tower::{Layer, ServiceExt, service_fn};

type Answer = Result<Response<&'static str>, Error<Infallible>>;
/// Attempt, body, and when it came.
type Seen = Arc<Mutex<Vec<(u32, Bytes, Duration)>>>;

/// The first attempt reads its body, takes a second and answers with `status`; all others answer at once.
async fn serve(seen: Seen, start: Instant, status: u16, request: Request<ReplayBody<Full<Bytes>>>) -> Answer {
    let attempt: Attempt = request.meta().expect("every attempt is tagged");
    let body = request.into_body().collect().await.expect("it is in memory").to_bytes();
    seen.lock().unwrap().push((attempt.number(), body, start.elapsed()));
    if attempt.is_first() {
        tokio::time::sleep(Duration::from_secs(1)).await;
        return Ok(Response::builder().status(status).body("first").unwrap());
    }
    Ok(Response::new("hedge"))
}

async fn ask(
    layer: HedgeLayer<mainstay_retry::HttpRepeat, mainstay_core::HttpStatus>,
    request: Request<Full<Bytes>>,
) -> (&'static str, Seen) {
    let seen = Seen::default();
    let (log, start) = (Arc::clone(&seen), Instant::now());
    let server = service_fn(move |request| serve(Arc::clone(&log), start, 200, request));
    let answer = layer.layer(server).oneshot(request).await;
    (answer.expect("it answers").into_body(), seen)
}

fn request(method: Method) -> Request<Full<Bytes>> {
    Request::builder().method(method).uri("/").body(Full::from("hello")).unwrap()
}

fn layer() -> HedgeLayer<mainstay_retry::HttpRepeat, mainstay_core::HttpStatus> {
    HedgeLayer::http(config()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn methods_keys_and_marks_decide_and_the_body_comes_with_each_attempt() {
    for method in [Method::GET, Method::HEAD, Method::OPTIONS, Method::PUT, Method::DELETE] {
        let (answer, seen) = ask(layer(), request(method.clone())).await;
        assert_eq!(answer, "hedge", "{method}");
        let expected = [(1, Bytes::from("hello"), Duration::ZERO), (2, Bytes::from("hello"), DELAY)];
        assert_eq!(*seen.lock().unwrap(), expected, "{method}");
    }
    for method in [Method::POST, Method::PATCH] {
        let (answer, seen) = ask(layer(), request(method.clone())).await;
        assert_eq!((answer, seen.lock().unwrap().len()), ("first", 1), "{method}");

        let mut keyed = request(method.clone());
        keyed.headers_mut().insert("idempotency-key", "7".parse().unwrap());
        assert_eq!(ask(layer(), keyed).await.0, "hedge");

        let mut marked = request(method);
        marked.set_meta(Idempotent);
        assert_eq!(ask(layer(), marked).await.0, "hedge");
    }
}

#[tokio::test(start_paused = true)]
async fn no_hedge_starts_at_the_deadline_that_a_request_carries() {
    for (deadline, answer) in [(DELAY, "first"), (2 * DELAY, "hedge")] {
        let mut request = request(Method::GET);
        request.set_meta(Deadline::after(Instant::now().into_std(), deadline));
        assert_eq!(ask(layer(), request).await.0, answer);
    }
}

#[tokio::test(start_paused = true)]
async fn a_response_of_500_does_not_win() {
    let server = service_fn(async |request: Request<ReplayBody<Full<Bytes>>>| {
        let attempt: Attempt = Meta::meta(&request).expect("every attempt is tagged");
        if attempt.is_first() {
            return Answer::Ok(Response::builder().status(500).body("broken").unwrap());
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        Ok(Response::new("hedge"))
    });
    let start = Instant::now();
    let answer = layer().layer(server).oneshot(request(Method::GET)).await.expect("it answers");
    assert_eq!((answer.into_body(), start.elapsed()), ("hedge", Duration::from_secs(1)), "it started at once");
    let declared = layer().idempotent().layer(server).oneshot(request(Method::POST)).await.expect("it answers");
    assert_eq!(declared.into_body(), "hedge");
    advance(Duration::ZERO).await;
}

#[cfg(feature = "grpc")]
#[tokio::test(start_paused = true)]
async fn a_status_in_the_head_of_a_grpc_response_decides() {
    let server = service_fn(async |request: Request<ReplayBody<Full<Bytes>>>| {
        let attempt: Attempt = Meta::meta(&request).expect("every attempt is tagged");
        let status = if attempt.is_first() { "14" } else { "0" };
        Answer::Ok(Response::builder().header("grpc-status", status).body("grpc").unwrap())
    });
    for (marked, status) in [(false, "14"), (true, "0")] {
        let mut call = request(Method::POST);
        if marked {
            call.set_meta(Idempotent);
        }
        let layer = HedgeLayer::grpc(config()).unwrap();
        let answer = layer.layer(server).oneshot(call).await.expect("it answers");
        assert_eq!(answer.headers()["grpc-status"], status);
    }
}
