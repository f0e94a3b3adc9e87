//! Refusals and timeouts as responses: in the future, from readiness, over HTTP and gRPC, with axum.
#![cfg(feature = "http")]

use axum::{Router, body::Body, routing::get};
use http::{HeaderValue, Request, Response, header::CONTENT_TYPE};
use mainstay_core::{
    Error, Reason, Refused, TimedOut,
    http::{RefusalResponse, RefusalResponseLayer, Rejection},
};
use std::{
    cell::Cell,
    collections::VecDeque,
    convert::Infallible,
    future::{Ready, poll_fn, ready},
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};
use tokio_test::{assert_pending, assert_ready, assert_ready_err, assert_ready_ok, task};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

type Answer = Result<Response<String>, Error<&'static str>>;

const REFUSED: Refused = Refused::new(Reason::CircuitOpen, "test").with_retry_after(Duration::from_millis(1_500));
const TIMED_OUT: TimedOut = TimedOut::new("test", Duration::from_secs(1));

/// A service that gives one prepared answer, and is ready as it is told; at the end of the list, for ever.
#[derive(Clone)]
struct Told {
    readiness: VecDeque<Poll<Result<(), Error<&'static str>>>>,
    answer: Answer,
    calls: Rc<Cell<u32>>,
}

impl Told {
    fn answering(answer: Answer) -> Self {
        Self { readiness: VecDeque::new(), answer, calls: Rc::default() }
    }

    fn ready(mut self, polls: impl IntoIterator<Item = Poll<Result<(), Error<&'static str>>>>) -> Self {
        self.readiness.extend(polls);
        self
    }
}

impl Service<Request<()>> for Told {
    type Response = Response<String>;
    type Error = Error<&'static str>;
    type Future = Ready<Answer>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        let polled = self.readiness.pop_front().unwrap_or(Poll::Ready(Ok(())));
        if polled.is_pending() {
            cx.waker().wake_by_ref();
        }
        polled
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        self.calls.set(self.calls.get() + 1);
        ready(self.answer.clone())
    }
}

#[expect(clippy::unnecessary_wraps, reason = "an answer like those that failed")]
fn fine() -> Answer {
    Ok(Response::new("fine".to_owned()))
}

fn request(content_type: &'static str) -> Request<()> {
    let mut request = Request::new(());
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    request
}

/// Polls readiness once.
fn poll_ready<S: Service<Request<()>>>(service: &mut S) -> Poll<Result<(), S::Error>> {
    task::spawn(()).enter(|cx, _| service.poll_ready(cx))
}

fn answer(answer: Answer) -> Result<Response<String>, &'static str> {
    let mut service = RefusalResponse::new(Told::answering(answer));
    assert_ready_ok!(poll_ready(&mut service));
    let mut future = task::spawn(service.call(Request::new(())));
    assert_ready!(future.poll())
}

#[test]
fn responses_and_errors_of_the_service_pass() {
    assert_eq!(answer(fine()).unwrap().into_body(), "fine");
    assert_eq!(answer(Err(Error::Inner("reset"))).unwrap_err(), "reset");
}

#[test]
fn refusals_and_timeouts_become_responses() {
    let response = answer(Err(REFUSED.into())).unwrap();
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers()["retry-after"], "2");
    assert_eq!(response.body(), "");

    let response = answer(Err(TIMED_OUT.into())).unwrap();
    assert_eq!(response.status(), 504);
    assert!(response.headers().is_empty());
}

#[test]
fn a_future_that_waits_is_woken_by_the_inner_one() {
    let (send, receive) = tokio::sync::oneshot::channel::<Answer>();
    let mut receive = Some(receive);
    let mut service = RefusalResponse::new(service_fn(move |_: Request<()>| {
        let receive = receive.take().unwrap();
        async { receive.await.unwrap() }
    }));
    let mut future = task::spawn(service.call(Request::new(())));
    assert_pending!(future.poll());
    send.send(Err(REFUSED.into())).unwrap();
    assert!(future.is_woken());
    assert_eq!(assert_ready_ok!(future.poll()).status(), 503);
}

#[test]
fn a_refused_readiness_is_the_answer_to_the_next_call_alone() {
    for (error, status) in [(Error::from(REFUSED), 503), (TIMED_OUT.into(), 504)] {
        let told = Told::answering(fine()).ready([Poll::Ready(Err(error))]);
        let calls = told.calls.clone();
        let mut service = RefusalResponse::new(told);

        assert_ready_ok!(poll_ready(&mut service));
        let mut refused = task::spawn(service.call(Request::new(())));
        assert_eq!(assert_ready_ok!(refused.poll()).status(), status);
        assert_eq!(calls.get(), 0);

        assert_ready_ok!(poll_ready(&mut service));
        let mut served = task::spawn(service.call(Request::new(())));
        assert_eq!(assert_ready_ok!(served.poll()).status(), 200);
        assert_eq!(calls.get(), 1);
    }
}

#[test]
fn what_is_held_stays_held_without_asking_the_inner_service_again() {
    let told = Told::answering(fine()).ready([Poll::Ready(Err(REFUSED.into())), Poll::Pending]);
    let mut service = RefusalResponse::new(told);
    assert_ready_ok!(poll_ready(&mut service));
    assert_ready_ok!(poll_ready(&mut service));
    assert_eq!(service.get_ref().readiness.len(), 1);
}

#[test]
fn a_clone_starts_without_what_is_held() {
    let told = Told::answering(fine()).ready([Poll::Ready(Err(REFUSED.into()))]);
    let mut service = RefusalResponse::new(told);
    assert_ready_ok!(poll_ready(&mut service));
    let mut clone = service.clone();
    assert_ready_ok!(poll_ready(&mut clone));
    let mut served = task::spawn(clone.call(Request::new(())));
    assert_eq!(assert_ready_ok!(served.poll()).status(), 200);
}

#[test]
fn a_failed_readiness_passes_and_a_pending_one_waits() {
    let told = Told::answering(fine()).ready([Poll::Pending, Poll::Ready(Err(Error::Inner("gone")))]);
    let mut service = RefusalResponse::new(told);
    let mut readiness = task::spawn(poll_fn(|cx| Service::<Request<()>>::poll_ready(&mut service, cx)));
    assert_pending!(readiness.poll());
    assert!(readiness.is_woken());
    assert_eq!(assert_ready_err!(readiness.poll()), "gone");
}

#[tokio::test]
async fn a_body_of_ones_own_completes_the_response() {
    let layer = RefusalResponseLayer::new().with_body(|rejection: &Rejection, response: &mut Response<String>| {
        response.headers_mut().insert("x-by", HeaderValue::from_static("test"));
        *response.body_mut() = rejection.to_string();
    });
    let service = layer.layer(Told::answering(Err(REFUSED.into())));
    let response = service.oneshot(Request::new(())).await.unwrap();
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers()["retry-after"], "2");
    assert_eq!(response.headers()["x-by"], "test");
    assert_eq!(response.body(), "refused by `test`: the circuit is open");
}

#[tokio::test]
async fn a_grpc_request_is_refused_in_its_own_protocol() {
    let layer = RefusalResponseLayer::new()
        .with_body(|_: &Rejection, response: &mut Response<String>| response.body_mut().push('!'));
    let service = layer.layer(Told::answering(Err(REFUSED.into())));
    let response = service.oneshot(request("application/grpc+proto")).await;
    let response = response.unwrap();
    if cfg!(feature = "grpc") {
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["grpc-status"], "14");
        assert_eq!(response.headers()["grpc-retry-pushback-ms"], "1500");
        assert!(!response.headers().contains_key("retry-after"));
        assert_eq!(response.body(), "");
    } else {
        assert_eq!(response.status(), 503);
        assert_eq!(response.body(), "!");
    }
}

#[tokio::test]
async fn a_grpc_request_can_be_refused_by_readiness_too() {
    let told = Told::answering(fine()).ready([Poll::Ready(Err(REFUSED.into()))]);
    let response = RefusalResponse::new(told).oneshot(request("application/grpc"));
    let response = response.await.unwrap();
    let status = if cfg!(feature = "grpc") { 200 } else { 503 };
    assert_eq!(response.status(), status);
}

/// Refuses everything, above anything.
#[derive(Clone, Copy)]
struct RefuseAll;

#[derive(Clone, Copy)]
struct RefusesAll<S>(S);

impl<S> Layer<S> for RefuseAll {
    type Service = RefusesAll<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RefusesAll(inner)
    }
}

impl<S, Req> Service<Req> for RefusesAll<S>
where
    S: Service<Req>,
    S::Error: From<Refused>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Ready<Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, _: Req) -> Self::Future {
        ready(Err(REFUSED.into()))
    }
}

async fn status(service: impl Service<Request<Body>, Response = Response<Body>, Error = Infallible>) -> u16 {
    let request = Request::get("/menu").body(Body::empty()).unwrap();
    let Ok(response) = service.oneshot(request).await;
    response.status().as_u16()
}

#[tokio::test]
async fn a_stack_fits_on_a_router_and_in_front_of_one() {
    let router = || Router::new().route("/menu", get(async || "espresso"));
    let stack =
        ServiceBuilder::new().layer(RefusalResponseLayer::new()).layer(RefuseAll).map_err(Error::<Infallible>::Inner);
    assert_eq!(status(router()).await, 200);
    assert_eq!(status(router().layer(stack.clone())).await, 503);
    assert_eq!(status(stack.service(router())).await, 503);
}
