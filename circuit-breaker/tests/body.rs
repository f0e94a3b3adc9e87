//! A call that lasts until the body of its response has ended.
#![cfg(all(feature = "http", feature = "grpc"))]

use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use mainstay_circuit_breaker::{
    BodyCircuitBreakerLayer, Circuit, CircuitBreakerLayer, Clock, Config, OnOpen, Outcome, SettleAtEnd, State, Window,
};
use mainstay_core::{BoxError, Error, GrpcStatus, HttpStatus, Refusable, http::SettleBody};
use std::{sync::Arc, time::Duration};
use tokio::sync::mpsc;
use tower::{Layer, Service, ServiceExt, service_fn};

type Piece = Result<Frame<&'static [u8]>, BoxError>;
type Body = StreamBody<futures_util::stream::BoxStream<'static, Piece>>;
type Sender = mpsc::UnboundedSender<Piece>;
type Failure = Error<BoxError>;
type Answer<C> = Response<SettleBody<Body, SettleAtEnd<Arc<Circuit>, C, Body, Failure>>>;

/// A body that is written from outside, and ends when the writer is dropped.
fn body() -> (Sender, Body) {
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let pieces = futures_util::stream::poll_fn(move |cx| receiver.poll_recv(cx));
    (sender, StreamBody::new(futures_util::StreamExt::boxed(pieces)))
}

fn data(bytes: &'static [u8]) -> Frame<&'static [u8]> {
    Frame::data(bytes)
}

fn trailers(status: &'static str) -> Frame<&'static [u8]> {
    Frame::trailers(HeaderMap::from_iter([("grpc-status".parse().unwrap(), HeaderValue::from_static(status))]))
}

fn one_failure_opens() -> Config {
    Config::default().window(Window::Consecutive(1)).probes(1)
}

fn http() -> BodyCircuitBreakerLayer<Arc<Circuit>, HttpStatus> {
    CircuitBreakerLayer::http(one_failure_opens()).unwrap().until_body_end()
}

fn grpc() -> BodyCircuitBreakerLayer<Arc<Circuit>, GrpcStatus> {
    CircuitBreakerLayer::grpc(one_failure_opens()).unwrap()
}

/// Makes one call that is answered by `response`.
async fn call<C>(
    layer: &BodyCircuitBreakerLayer<Arc<Circuit>, C>,
    response: Response<Body>,
) -> Result<Answer<C>, Failure>
where
    C: mainstay_core::http::ClassifyBody<Body, Failure> + Clone,
{
    let mut response = Some(response);
    let leaf = service_fn(move |_: Request<()>| {
        let response = response.take().expect("one call");
        async move { Ok::<_, BoxError>(response) }
    });
    layer.layer(leaf.map_err(Error::Inner)).oneshot(Request::new(())).await
}

fn counted() -> Config {
    Config::default().window(Window::Last(10)).minimum_calls(10)
}

fn votes(circuit: &Circuit) -> (u64, u64, u64) {
    let snapshot = circuit.snapshot();
    (snapshot.votes.calls, snapshot.votes.failed, snapshot.abandoned)
}

#[tokio::test(start_paused = true)]
async fn a_success_is_settled_when_the_body_has_ended() {
    let layer = CircuitBreakerLayer::http(counted()).unwrap().until_body_end();
    let (sender, body) = body();
    let mut answer = call(&layer, Response::new(body)).await.unwrap();
    sender.send(Ok(data(b"half"))).unwrap();
    assert!(answer.body_mut().frame().await.is_some());
    assert_eq!(votes(&layer.handle()), (0, 0, 0));

    drop(sender);
    assert!(answer.body_mut().frame().await.is_none());
    assert_eq!(votes(&layer.handle()), (1, 0, 0), "before the body is dropped");
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_the_head_shows_is_settled_by_the_head() {
    let layer = http();
    let (_sender, body) = body();
    let answer = call(&layer, Response::builder().status(500).body(body).unwrap()).await.unwrap();
    assert_eq!(layer.handle().state(), State::Open);
    assert_eq!(answer.status(), 500);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_off_is_a_failure() {
    let layer = http();
    let (sender, body) = body();
    let answer = call(&layer, Response::new(body)).await.unwrap();
    sender.send(Err("connection reset".into())).unwrap();
    assert_eq!(layer.handle().state(), State::Closed);
    assert!(answer.into_body().collect().await.is_err());
    assert_eq!(layer.handle().state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_dropped_in_the_middle_is_an_abandoned_call() {
    let layer = CircuitBreakerLayer::http(counted()).unwrap().until_body_end();
    let (sender, body) = body();
    let mut answer = call(&layer, Response::new(body)).await.unwrap();
    sender.send(Ok(data(b"half"))).unwrap();
    assert!(answer.body_mut().frame().await.is_some());
    drop(answer);
    assert_eq!(votes(&layer.handle()), (0, 0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_nobody_reads_is_judged_by_its_head() {
    let layer = CircuitBreakerLayer::http(counted()).unwrap().until_body_end();
    let (_sender, unread) = body();
    drop(call(&layer, Response::new(unread)).await.unwrap());
    assert_eq!(votes(&layer.handle()), (1, 0, 0));

    let layer = grpc();
    let (_sender, unread) = body();
    drop(call(&layer, Response::new(unread)).await.unwrap());
    let snapshot = layer.handle().snapshot();
    assert_eq!((snapshot.votes.calls, snapshot.abandoned), (0, 0), "the trailers would have told");
}

#[tokio::test(start_paused = true)]
async fn a_reader_who_stops_at_the_content_length_has_read_it_all() {
    let layer = CircuitBreakerLayer::http(counted()).unwrap().until_body_end();
    let (sender, body) = body();
    let mut answer = call(&layer, Response::builder().header("content-length", "4").body(body).unwrap()).await.unwrap();
    sender.send(Ok(data(b"full"))).unwrap();
    assert!(answer.body_mut().frame().await.is_some());
    drop(answer);
    assert_eq!(votes(&layer.handle()), (1, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_not_silent_outlives_the_deadline_of_its_probe() {
    let layer = http();
    let (_sender, broken) = body();
    drop(call(&layer, Response::builder().status(500).body(broken).unwrap()).await);
    tokio::time::sleep(Duration::from_secs(30)).await;

    let (sender, long) = body();
    let mut answer = call(&layer, Response::new(long)).await.unwrap();
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_secs(29)).await;
        sender.send(Ok(data(b"more"))).unwrap();
        assert!(answer.body_mut().frame().await.is_some());
        assert_eq!(layer.handle().snapshot().state, State::HalfOpen);
    }
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(layer.handle().snapshot().state, State::Open, "silent for as long as the deadline");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_panics_has_failed() {
    let layer = http();
    let pieces = futures_util::stream::poll_fn(|_| -> std::task::Poll<Option<Piece>> { panic!("as told") });
    let broken = StreamBody::new(futures_util::StreamExt::boxed(pieces));
    let mut answer = call(&layer, Response::new(broken)).await.unwrap();
    let read = std::panic::AssertUnwindSafe(async { answer.body_mut().frame().await.is_some() });
    assert!(futures_util::FutureExt::catch_unwind(read).await.is_err());
    assert_eq!(layer.handle().state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn a_probe_keeps_its_slot_until_its_body_ends_or_is_dropped() {
    let layer = http();
    let (_sender, broken) = body();
    drop(call(&layer, Response::builder().status(500).body(broken).unwrap()).await);
    tokio::time::sleep(Duration::from_secs(30)).await;

    let (_sender, first) = body();
    let probe = call(&layer, Response::new(first)).await.unwrap();
    let (_sender, second) = body();
    assert!(matches!(call(&layer, Response::new(second)).await, Err(Error::Refused(_))));

    drop(probe);
    let (sender, third) = body();
    let probe = call(&layer, Response::new(third)).await.unwrap();
    drop(sender);
    probe.into_body().collect().await.unwrap();
    assert_eq!(layer.handle().state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_call_is_slow_to_its_last_byte() {
    let config = counted().window(Window::Last(1)).slow(Duration::from_secs(1), 1.0);
    let layer = CircuitBreakerLayer::http(config).unwrap().until_body_end();
    let (sender, body) = body();
    let answer = call(&layer, Response::new(body)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1_001)).await;
    drop(sender);
    answer.into_body().collect().await.unwrap();
    assert_eq!(layer.handle().state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn the_status_of_grpc_is_read_from_the_trailers() {
    for (status, state) in [("0", State::Closed), ("5", State::Closed), ("13", State::Open), ("14", State::Open)] {
        let layer = grpc();
        let (sender, body) = body();
        let answer = call(&layer, Response::new(body)).await.unwrap();
        sender.send(Ok(data(b"message"))).unwrap();
        sender.send(Ok(trailers(status))).unwrap();
        drop(sender);
        let collected = answer.into_body().collect().await.unwrap();
        assert_eq!(collected.trailers().unwrap()["grpc-status"], status);
        assert_eq!(layer.handle().state(), state, "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_grpc_answer_without_a_status_was_cut_short() {
    let layer = grpc();
    let (sender, body) = body();
    let answer = call(&layer, Response::new(body)).await.unwrap();
    sender.send(Ok(data(b"message"))).unwrap();
    drop(sender);
    answer.into_body().collect().await.unwrap();
    assert_eq!(layer.handle().state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn a_grpc_answer_of_trailers_only_is_settled_by_the_head() {
    let layer = grpc();
    let (_sender, body) = body();
    let answer = call(&layer, Response::builder().header("grpc-status", "14").body(body).unwrap()).await.unwrap();
    assert_eq!(layer.handle().state(), State::Open);
    drop(answer);
}

#[tokio::test(start_paused = true)]
async fn an_error_is_settled_at_once_and_a_refusal_from_further_in_is_ignored() {
    let layer = http();
    let refusing = http();
    refusing.handle().isolate();
    let leaf = || service_fn(async |_: Request<()>| Err::<Response<String>, BoxError>("connection refused".into()));

    let refused = layer.layer(refusing.layer(leaf().map_err(Error::Inner))).oneshot(Request::new(())).await;
    assert!(matches!(refused.unwrap_err().verdict(), mainstay_core::Verdict::Refused(_)));
    assert_eq!(layer.handle().state(), State::Closed);

    assert!(layer.layer(leaf().map_err(Error::Inner)).oneshot(Request::new(())).await.is_err());
    assert_eq!(layer.handle().state(), State::Open);
    assert_eq!(layer.fresh().handle().state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_body_with_nothing_to_send_is_settled_at_once() {
    let layer = CircuitBreakerLayer::http(counted()).unwrap().until_body_end();
    let leaf = service_fn(async |_: Request<()>| Ok::<_, BoxError>(Response::new(String::new())));
    let mut service = layer.layer(leaf.map_err(Error::Inner));
    let answer = service.ready().await.unwrap().call(Request::new(())).await.unwrap();
    assert_eq!(votes(&layer.handle()), (1, 0, 0));
    drop(answer);
}

#[tokio::test(start_paused = true)]
async fn a_response_future_that_is_dropped_is_an_abandoned_call() {
    let layer = CircuitBreakerLayer::http(counted()).unwrap().until_body_end();
    let leaf = service_fn(|_: Request<()>| std::future::pending::<Result<Response<String>, Error<BoxError>>>());
    let mut service = layer.layer(leaf);
    drop(service.ready().await.unwrap().call(Request::new(())));
    assert_eq!(votes(&layer.handle()), (0, 0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_circuit_that_is_waited_for_lets_one_go_on_when_the_body_of_the_probe_has_ended() {
    let config = one_failure_opens().on_open(OnOpen::Wait);
    let layer = CircuitBreakerLayer::http(config).unwrap().until_body_end();
    let circuit = layer.handle();
    circuit.settle(circuit.admit(Clock).unwrap(), Outcome::Failure, Clock);

    let begin = tokio::time::Instant::now();
    let (sender, written) = body();
    let probe = call(&layer, Response::new(written)).await.unwrap();
    assert_eq!(tokio::time::Instant::now() - begin, Duration::from_secs(30));
    let (_, other) = body();
    let mut next = tokio_test::task::spawn(Box::pin(call(&layer, Response::new(other))));
    assert!(next.poll().is_pending());
    drop(sender);
    assert!(!next.is_woken());
    probe.into_body().collect().await.unwrap();
    assert_eq!(circuit.state(), State::Closed);
    assert!(next.is_woken());
    assert!(matches!(next.poll(), std::task::Poll::Ready(Ok(_))));
}
