//! A server may answer while the body of the request still streams (RFC 9113, 8.1): nothing panics, no frame is lost.
#![cfg(feature = "http")]

use axum::{
    Router,
    body::{Body, Bytes},
    http::StatusCode,
    routing::post,
};
use http::{Request, Response};
use http_body_util::{BodyExt, channel::Channel};
use hyper_util::{
    client::legacy::{Client, Error as ClientError, connect::HttpConnector},
    rt::TokioExecutor,
};
use mainstay_core::{Error, HttpStatus};
use mainstay_retry::{Backoff, Config, HttpRepeat, ReplayBody, RetryLayer};
use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::net::TcpListener;
use tower::{Layer, ServiceExt, util::MapErr};

type Stream = Channel<Bytes, Infallible>;
type Lifted = MapErr<Client<HttpConnector, ReplayBody<Stream>>, fn(ClientError) -> Error<ClientError>>;

fn client() -> mainstay_retry::Retry<Lifted, HttpRepeat, HttpStatus> {
    let lift: fn(ClientError) -> Error<ClientError> = Error::Inner;
    let client = Client::builder(TokioExecutor::new()).build_http::<ReplayBody<Stream>>().map_err(lift);
    let config = Config::default().backoff(Backoff::constant(Duration::ZERO));
    RetryLayer::http(config).unwrap().layer(client)
}

async fn serve(router: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(axum::serve(listener, router).into_future());
    format!("http://{address}/")
}

fn put(uri: &str, body: Stream) -> Request<Stream> {
    Request::post(uri).header("idempotency-key", "1").body(body).unwrap()
}

#[tokio::test]
async fn an_answer_before_the_end_of_the_request_loses_no_frame() {
    let uri = serve(Router::new().route("/", post(async |body: Body| Response::new(body)))).await;
    let (mut sender, body) = Stream::new(1);
    sender.send_data("first ".into()).await.unwrap();
    // The answer is here, and the request has not ended.
    let response = client().oneshot(put(&uri, body)).await.unwrap();
    for word in ["second ", "third ", "fourth"] {
        sender.send_data(word.into()).await.unwrap();
    }
    drop(sender);
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "first second third fourth");
}

#[tokio::test]
async fn a_failure_before_the_end_of_the_request_is_the_answer() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let busy = post(async move |body: Body| {
        counted.fetch_add(1, Ordering::Relaxed);
        // One frame is read, and the rest is not waited for.
        let mut body = body;
        let first = body.frame().await;
        assert!(first.is_some());
        (StatusCode::SERVICE_UNAVAILABLE, body)
    });
    let uri = serve(Router::new().route("/", busy)).await;
    let (mut sender, body) = Stream::new(1);
    sender.send_data("first ".into()).await.unwrap();
    let response = client().oneshot(put(&uri, body)).await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(calls.load(Ordering::Relaxed), 1, "the transport still reads the body");
    // And it goes on to do so.
    sender.send_data("second".into()).await.unwrap();
    drop(sender);
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "second");
}

#[tokio::test]
async fn a_failure_after_the_end_of_the_request_is_sent_again_with_the_same_body() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let echo = post(async move |body: Bytes| match counted.fetch_add(1, Ordering::Relaxed) {
        0 | 1 => (StatusCode::SERVICE_UNAVAILABLE, Bytes::new()),
        _ => (StatusCode::OK, body),
    });
    let uri = serve(Router::new().route("/", echo)).await;
    let (mut sender, body) = Stream::new(4);
    for word in ["first ", "second ", "third"] {
        sender.send_data(word.into()).await.unwrap();
    }
    drop(sender);
    let response = client().oneshot(put(&uri, body)).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "first second third");
    assert_eq!(calls.load(Ordering::Relaxed), 3);
}
