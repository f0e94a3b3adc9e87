//! Deadlines over a real connection: hyper's client, axum's server.
#![cfg(feature = "http")]

use axum::{Router, body::Body, extract::Request, routing::get};
use http::{Response, StatusCode};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use mainstay_core::{Deadline, Error, Meta, Reason, http::RefusalResponseLayer};
use mainstay_timeout::{Config, DeadlineFromHeaderLayer, DeadlineToHeaderLayer, HeaderForm, TimeoutLayer};
use std::{
    convert::Infallible,
    future::pending,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::net::TcpListener;
use tower::{Service, ServiceBuilder, ServiceExt};

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Answers what is left of the deadline in microseconds, or never on `/hang`.
fn router(started: &Arc<AtomicU32>) -> Router {
    let (started, also_started) = (Arc::clone(started), Arc::clone(started));
    let left = move |request: Request| {
        started.fetch_add(1, Ordering::Relaxed);
        let deadline: Option<Deadline> = request.meta();
        let left = deadline.map(|deadline| deadline.remaining(now()).unwrap_or_default().as_micros().to_string());
        async move { left.unwrap_or_default() }
    };
    let hang = move || {
        also_started.fetch_add(1, Ordering::Relaxed);
        pending::<&'static str>()
    };
    let stack = ServiceBuilder::new()
        .layer(RefusalResponseLayer::new())
        .layer(DeadlineFromHeaderLayer)
        .layer(TimeoutLayer::http(Config::default().name("server")).expect("a valid configuration"))
        .map_err(Error::<Infallible>::Inner);
    Router::new().route("/left", get(left)).route("/hang", get(hang)).layer(stack)
}

async fn serve(started: &Arc<AtomicU32>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
    let address = listener.local_addr().expect("it is bound");
    let router = router(started);
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// Writes the deadline into the chosen headers, and ends a call that is late.
fn client(
    form: HeaderForm,
) -> impl Service<Request, Response = Response<Body>, Error = Error<hyper_util::client::legacy::Error>> {
    ServiceBuilder::new()
        .layer(TimeoutLayer::http(Config::default().name("client")).expect("a valid configuration"))
        .layer(DeadlineToHeaderLayer::new().form(form))
        .map_err(Error::Inner)
        .map_response(|response: Response<_>| response.map(Body::new))
        .service(Client::builder(TokioExecutor::new()).build_http::<Body>())
}

fn request(address: SocketAddr, path: &str, wait: Option<Duration>) -> Request {
    let mut request = Request::get(format!("http://{address}{path}")).body(Body::empty()).expect("a valid request");
    if let Some(wait) = wait {
        request.set_meta(Deadline::after(now(), wait));
    }
    request
}

async fn text(response: Response<Body>) -> String {
    let bytes = axum::body::to_bytes(response.into_body(), 1_000).await.expect("it is there");
    String::from_utf8(bytes.to_vec()).expect("it is text")
}

#[tokio::test]
async fn a_deadline_arrives_and_is_not_later() {
    let started = Arc::new(AtomicU32::new(0));
    let address = serve(&started).await;
    for form in [HeaderForm::Millis, HeaderForm::Grpc, HeaderForm::Both] {
        let deadline = Duration::from_secs(3_600);
        let response = client(form).oneshot(request(address, "/left", Some(deadline))).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let left = Duration::from_micros(text(response).await.parse().unwrap());
        // Whole milliseconds of an hour, and what the way took.
        assert!(left <= deadline && left > Duration::from_secs(3_000), "{left:?} by {form:?}");
    }
    let response = client(HeaderForm::Both).oneshot(request(address, "/left", None)).await.unwrap();
    assert_eq!(text(response).await, "", "without a deadline there is none");
    assert_eq!(started.load(Ordering::Relaxed), 4);
}

#[tokio::test]
async fn what_comes_too_late_is_not_started() {
    let started = Arc::new(AtomicU32::new(0));
    let address = serve(&started).await;
    let plain = Client::builder(TokioExecutor::new()).build_http::<Body>();
    for (name, value) in [("grpc-timeout", "0n"), ("x-request-timeout-ms", "0")] {
        let mut late = request(address, "/hang", None);
        late.headers_mut().insert(name, value.parse().unwrap());
        assert_eq!(plain.request(late).await.unwrap().status(), StatusCode::GATEWAY_TIMEOUT);
    }
    let late = client(HeaderForm::Both).oneshot(request(address, "/hang", Some(Duration::ZERO))).await;
    let Err(Error::Refused(refused)) = late else { panic!("it was sent") };
    assert_eq!(refused.reason(), Reason::DeadlinePassed);
    assert_eq!(started.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_server_stops_when_its_caller_has_stopped_waiting() {
    let started = Arc::new(AtomicU32::new(0));
    let address = serve(&started).await;
    let plain = Client::builder(TokioExecutor::new()).build_http::<Body>();
    let mut hangs = request(address, "/hang", None);
    // The caller waits in truth, so the answer is the server's.
    hangs.headers_mut().insert("grpc-timeout", "20m".parse().unwrap());
    assert_eq!(plain.request(hangs).await.unwrap().status(), StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(started.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn junk_from_the_wire_harms_nobody() {
    let started = Arc::new(AtomicU32::new(0));
    let address = serve(&started).await;
    let plain = Client::builder(TokioExecutor::new()).build_http::<Body>();
    let long = "9".repeat(10_000);
    for value in ["", "-1", "1e9", "junk", "\u{fc}", &long, "00000000000000000000000000000000000000", "9"] {
        let mut request = request(address, "/left", None);
        let value = http::HeaderValue::from_bytes(value.as_bytes()).unwrap();
        request.headers_mut().append("grpc-timeout", value.clone());
        request.headers_mut().append("x-request-timeout-ms", value);
        let status = plain.request(request).await.unwrap().status();
        assert!([StatusCode::OK, StatusCode::GATEWAY_TIMEOUT].contains(&status));
    }
}
