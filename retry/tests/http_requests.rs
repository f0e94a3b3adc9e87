//! Which HTTP requests may be executed twice, and what each attempt carries.
#![cfg(feature = "http")]

use bytes::Bytes;
use http::{Method, Request, Response, request::Parts};
use http_body_util::{BodyExt, Empty, Full};
use mainstay_core::{Attempt, Deadline, Error, Idempotent, Meta, Now};
use mainstay_retry::{Backoff, Budget, BudgetConfig, Clock, Config, HttpRepeat, Mark, Repeat, ReplayBody, RetryLayer};
use std::{
    cell::{Cell, RefCell},
    convert::Infallible,
    future::{Future, ready},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tower::{Layer, ServiceExt, service_fn};

type Body = Empty<&'static [u8]>;

fn request(method: Method) -> Request<Body> {
    let mut request = Request::new(Body::new());
    *request.method_mut() = method;
    request
}

fn is_idempotent<M: Mark<Parts>>(repeat: &HttpRepeat<M>, request: Request<Body>) -> bool {
    let (_, kept) = repeat.first(request);
    Repeat::<Request<Body>>::is_idempotent(repeat, &kept.unwrap())
}

#[test]
fn the_methods_of_rfc_9110_are_idempotent_and_no_other() {
    let idempotent = [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE, Method::PUT, Method::DELETE];
    let other = [Method::POST, Method::PATCH, Method::CONNECT, Method::from_bytes(b"BREW").unwrap()];
    for method in idempotent {
        assert!(is_idempotent(&HttpRepeat::new(), request(method.clone())), "{method}");
    }
    for method in other {
        assert!(!is_idempotent(&HttpRepeat::new(), request(method.clone())), "{method}");
        assert!(is_idempotent(&HttpRepeat::new().idempotent(), request(method)));
    }
}

#[test]
fn a_key_a_mark_or_a_closure_makes_a_request_idempotent() {
    let mut keyed = request(Method::POST);
    keyed.headers_mut().insert("Idempotency-Key", "7f3e".parse().unwrap());
    assert!(is_idempotent(&HttpRepeat::new(), keyed));

    for empty in ["", " ", "\"\""] {
        let mut keyed = request(Method::POST);
        keyed.headers_mut().insert("Idempotency-Key", empty.parse().unwrap());
        assert!(!is_idempotent(&HttpRepeat::new(), keyed), "{empty:?} tells nothing apart");
    }

    let mut marked = request(Method::POST);
    marked.set_meta(Idempotent);
    assert!(is_idempotent(&HttpRepeat::new(), marked));

    let searches = HttpRepeat::new().idempotent_if(|head: &Parts| head.uri.path() == "/search");
    let mut search = request(Method::POST);
    *search.uri_mut() = "/search".parse().unwrap();
    assert!(is_idempotent(&searches, search));
    assert!(!is_idempotent(&searches, request(Method::POST)));
    assert!(is_idempotent(&searches, request(Method::GET)), "what is idempotent anyway stays so");
}

#[tokio::test(start_paused = true)]
async fn each_attempt_carries_its_number_and_the_whole_head() {
    let seen = RefCell::new(Vec::new());
    let leaf = service_fn(|request: Request<ReplayBody<Body>>| {
        let attempt: Option<Attempt> = request.meta();
        seen.borrow_mut().push((attempt.unwrap().number(), request.uri().path().to_owned(), request.headers().len()));
        ready(Ok::<_, Error<Infallible>>(Response::builder().status(503).body(()).unwrap()))
    });
    let config = Config::default().backoff(Backoff::constant(Duration::ZERO));
    let mut call = Request::get("/menu").header("accept", "text/plain").body(Body::new()).unwrap();
    call.set_meta(Attempt::FIRST.next().next());
    let answer = RetryLayer::http(config).unwrap().layer(leaf).oneshot(call).await.unwrap();
    assert_eq!(answer.status(), 503);
    assert_eq!(seen.take(), [1, 2, 3].map(|attempt| (attempt, "/menu".to_owned(), 1)));
}

#[tokio::test(start_paused = true)]
async fn the_deadline_in_the_extensions_is_heeded() {
    let calls = Cell::new(0);
    let leaf = service_fn(|_: Request<ReplayBody<Body>>| {
        calls.set(calls.get() + 1);
        ready(Ok::<_, Error<Infallible>>(Response::builder().status(503).header("retry-after", "2").body(()).unwrap()))
    });
    let config = Config::default().backoff(Backoff::constant(Duration::ZERO)).max_attempts(10);
    let mut call = Request::get("/menu").body(Body::new()).unwrap();
    call.set_meta(Deadline::after(Clock.now(), Duration::from_secs(5)));
    let start = tokio::time::Instant::now();
    let _ = RetryLayer::http(config).unwrap().layer(leaf).oneshot(call).await;
    assert_eq!((calls.get(), start.elapsed()), (3, Duration::from_secs(4)), "at 0, 2 and 4 seconds");
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_or_pays_for_a_retry_whose_body_is_gone() {
    let budget = Budget::new(BudgetConfig::default()).unwrap();
    for len in [64 * 1024, 64 * 1024 + 1] {
        let is_gone = len > 64 * 1024;
        let leaf = service_fn(async |request: Request<ReplayBody<Full<Bytes>>>| {
            let _ = request.into_body().collect().await;
            Ok::<_, Error<Infallible>>(Response::builder().status(503).header("retry-after", "7").body(()).unwrap())
        });
        let layer =
            RetryLayer::http(Config::default().max_attempts(2).backoff(Backoff::constant(Duration::ZERO))).unwrap();
        let upload = Request::put("/menu").body(Full::from(vec![0; len])).unwrap();
        let (start, paid) = (tokio::time::Instant::now(), budget.snapshot().withdrawn);
        let answer = layer.budget(&budget).layer(leaf).oneshot(upload).await.unwrap();
        let seen = (answer.status().as_u16(), start.elapsed().as_secs(), budget.snapshot().withdrawn - paid);
        assert_eq!(seen, if is_gone { (503, 0, 0) } else { (503, 7, 1) }, "{len}");
    }
}

/// Has its request until it is dropped.
struct Holding {
    _request: Request<ReplayBody<Full<Bytes>>>,
    status: u16,
}

impl Future for Holding {
    type Output = Result<Response<()>, Error<Infallible>>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(Ok(Response::builder().status(self.status).body(()).unwrap()))
    }
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_ended_gives_its_body_back_before_the_next_is_made() {
    let calls = Cell::new(0);
    let leaf = service_fn(|request: Request<ReplayBody<Full<Bytes>>>| {
        calls.set(calls.get() + 1);
        Holding { _request: request, status: if calls.get() < 3 { 503 } else { 200 } }
    });
    let config = Config::default().backoff(Backoff::constant(Duration::ZERO));
    let call = Request::put("/menu").body(Full::new(Bytes::from_static(b"one flat white"))).unwrap();
    let answer = RetryLayer::http(config).unwrap().layer(leaf).oneshot(call).await.unwrap();
    assert_eq!((answer.status().as_u16(), calls.get()), (200, 3));
}

#[cfg(feature = "grpc")]
#[tokio::test(start_paused = true)]
async fn over_grpc_a_pushback_is_heeded_and_a_negative_one_ends_it_whatever_the_status() {
    let statuses = ["2", "4", "8", "13", "14", "15"];
    for (status, (pushback, calls_made)) in
        statuses.into_iter().flat_map(|status| [("2000", 3), ("-1", 1)].map(|end| (status, end)))
    {
        let calls = Cell::new(0);
        let leaf = service_fn(|_: Request<ReplayBody<Body>>| {
            calls.set(calls.get() + 1);
            let failed = Response::builder().header("grpc-status", status).header("grpc-retry-pushback-ms", pushback);
            ready(Ok::<_, Error<Infallible>>(failed.body(()).unwrap()))
        });
        let config = Config::default().backoff(Backoff::constant(Duration::ZERO));
        let layer = RetryLayer::grpc(config).unwrap().idempotent_if(|head: &Parts| head.uri.path() == "/shop.Menu/Get");
        let start = tokio::time::Instant::now();
        let get = Request::post("/shop.Menu/Get").body(Body::new()).unwrap();
        let _ = layer.layer(leaf).oneshot(get).await;
        assert_eq!((calls.get(), start.elapsed().as_secs()), (calls_made, 2 * (calls_made - 1)), "{status} {pushback}");
    }
}
