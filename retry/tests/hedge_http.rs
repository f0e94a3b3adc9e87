//! Over HTTP and gRPC: what is hedged, and which response wins.

#![cfg(feature = "http")]

mod hedge_support;

use bytes::Bytes;
use hedge_support::{DELAY, advance, config};
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Empty, Full};
use mainstay_core::{Attempt, Deadline, Error, Idempotent, Meta};
use mainstay_retry::{Budget, BudgetConfig, Config, HedgeLayer, ReplayBody, RetryLayer};
use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::time::Instant;
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};

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
async fn methods_and_marks_decide_and_the_body_comes_with_each_attempt() {
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
        let (answer, seen) = ask(layer(), keyed).await;
        assert_eq!((answer, seen.lock().unwrap().len()), ("first", 1), "a key is for one after the other");

        let mut marked = request(method);
        marked.set_meta(Idempotent);
        assert_eq!(ask(layer(), marked).await.0, "hedge");
    }
}

fn keyed() -> Request<Full<Bytes>> {
    Request::post("/charges").header("idempotency-key", "7").body(Full::from("hello")).unwrap()
}

/// A server as the draft of the header asks for: 409 while the first request with the key is under way.
async fn charge(busy: &AtomicBool) -> Answer {
    if busy.swap(true, Ordering::SeqCst) {
        return Ok(Response::builder().status(409).body("in progress").unwrap());
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    Ok(Response::new("paid"))
}

#[tokio::test(start_paused = true)]
async fn a_keyed_request_does_not_meet_itself_unless_it_is_declared_that_it_may() {
    let busy = AtomicBool::new(false);
    let server = service_fn(async |_: Request<ReplayBody<Full<Bytes>>>| charge(&busy).await);
    let answer = layer().layer(server).oneshot(keyed()).await.expect("it answers");
    assert_eq!(answer.into_body(), "paid");

    let has_key = |head: &http::request::Parts| head.headers.contains_key("idempotency-key");
    let busy = AtomicBool::new(false);
    let server = service_fn(async |request: Request<ReplayBody<Full<Bytes>>>| {
        let _ = request.into_body().collect().await;
        charge(&busy).await
    });
    let answer = layer().idempotent_if(has_key).layer(server).oneshot(keyed()).await.expect("it answers");
    assert_eq!(answer.into_body(), "in progress");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_under_way_when_the_time_comes_is_hedged_one_delay_later() {
    // When the connection takes the body, and when the hedge is sent.
    for (taken, delays) in [(DELAY / 2, 1), (DELAY + Duration::from_millis(10), 2), (3 * DELAY + DELAY / 2, 4)] {
        let times = Mutex::new(Vec::new());
        let start = Instant::now();
        let server = service_fn(async |request: Request<ReplayBody<Full<Bytes>>>| {
            let attempt: Attempt = Meta::meta(&request).expect("every attempt is tagged");
            times.lock().unwrap().push(start.elapsed());
            if attempt.is_first() {
                tokio::time::sleep(taken).await;
            }
            let body = request.into_body().collect().await.expect("it is in memory").to_bytes();
            assert_eq!(body, "hello");
            if attempt.is_first() {
                tokio::time::sleep(Duration::from_secs(60)).await;
            }
            Answer::Ok(Response::new("done"))
        });
        let budget = Budget::new(BudgetConfig::default().initial(1)).unwrap();
        let answer = layer().budget(&budget).layer(server).oneshot(request(Method::PUT)).await.expect("it answers");
        assert_eq!(answer.into_body(), "done");
        assert_eq!(*times.lock().unwrap(), [Duration::ZERO, delays * DELAY]);
        let snapshot = budget.snapshot();
        assert_eq!(
            (snapshot.withdrawn, snapshot.given_back, snapshot.exhausted),
            (1, 0, 0),
            "only what is sent is paid"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_hedge_that_is_not_paid_does_not_keep_the_body_from_the_next() {
    let budget = Budget::new(BudgetConfig::default().initial(0).ratio(1.0)).unwrap();
    let bodies = Mutex::new(Vec::new());
    let server = service_fn(async |request: Request<ReplayBody<Full<Bytes>>>| {
        let attempt: Attempt = Meta::meta(&request).expect("every attempt is tagged");
        if attempt.is_first() {
            // Nobody has read the body, so there is one of it.
            drop(request);
            return std::future::pending::<Answer>().await;
        }
        let body = request.into_body().collect().await.expect("it is in memory").to_bytes();
        bodies.lock().unwrap().push(body);
        Ok(Response::new("hedge"))
    });
    let layer = HedgeLayer::http(config().max_hedges(2)).unwrap().budget(&budget);
    let mut call = tokio_test::task::spawn(layer.layer(server).oneshot(request(Method::PUT)));
    assert!(call.poll().is_pending());
    advance(DELAY).await;
    assert!(call.poll().is_pending());
    assert_eq!(budget.snapshot().exhausted, 1);
    budget.deposit();
    advance(DELAY).await;
    assert!(call.poll().is_ready());
    assert_eq!(*bodies.lock().unwrap(), ["hello"]);
}

#[tokio::test(start_paused = true)]
async fn nobody_wakes_up_for_a_body_that_is_gone() {
    // Above the cap, so that what is read of it is gone.
    let upload = Request::put("/").body(Full::from(vec![0; 100_000])).unwrap();
    let server = service_fn(async |request: Request<ReplayBody<Full<Bytes>>>| {
        let _ = request.into_body().collect().await;
        std::future::pending::<Answer>().await
    });
    let mut call = tokio_test::task::spawn(layer().layer(server).oneshot(upload));
    assert!(call.poll().is_pending());
    advance(DELAY).await;
    assert!(call.is_woken());
    assert!(call.poll().is_pending());
    advance(10 * DELAY).await;
    assert!(!call.is_woken());
}

#[tokio::test(start_paused = true)]
async fn without_a_delay_a_body_that_is_under_way_is_not_hedged() {
    let server = service_fn(async |request: Request<ReplayBody<Full<Bytes>>>| {
        tokio::time::sleep(DELAY).await;
        drop(request);
        Answer::Ok(Response::new("first"))
    });
    let layer = HedgeLayer::http(config().delay(Duration::ZERO).max_hedges(3)).unwrap();
    assert_eq!(layer.layer(server).oneshot(request(Method::PUT)).await.expect("it answers").into_body(), "first");
}

#[tokio::test(start_paused = true)]
async fn the_attempts_of_a_retry_and_its_hedges_are_their_product_or_only_the_late_ones() {
    for (on_failure, expected) in [(true, vec![1, 2, 1, 2, 1, 2]), (false, vec![1, 1, 1])] {
        let seen = Mutex::new(Vec::new());
        let server = service_fn(async |request: Request<ReplayBody<ReplayBody<Empty<Bytes>>>>| {
            let attempt: Attempt = Meta::meta(&request).expect("every attempt is tagged");
            seen.lock().unwrap().push(attempt.number());
            Answer::Ok(Response::builder().status(500).body("broken").unwrap())
        });
        let stack = ServiceBuilder::new()
            .layer(RetryLayer::http(Config::default()).unwrap())
            .layer(HedgeLayer::http(config().on_failure(on_failure)).unwrap())
            .service(server);
        let request = Request::get("/").body(Empty::new()).unwrap();
        assert_eq!(stack.oneshot(request).await.expect("it answers").status(), 500);
        assert_eq!(*seen.lock().unwrap(), expected, "each layer counts its own, and the innermost is seen");
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
