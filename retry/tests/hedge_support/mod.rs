//! A service whose attempts end when the test says so.

#![allow(dead_code, reason = "each test uses a part of it")]

use mainstay_core::{Class, Error, Failure, Reason, Refused, TimedOut};
use mainstay_retry::{HedgeConfig, HedgeLayer, HedgeSnapshot, Hedging};
use pin_project::{pin_project, pinned_drop};
use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};
use tokio::sync::oneshot;
use tower::Service;

pub(crate) type Answer = Result<u32, Error<&'static str>>;

/// A request.
pub(crate) type Req = &'static str;

#[derive(Clone, Default)]
pub(crate) struct Leaf {
    calls: Arc<Mutex<Vec<Call>>>,
}

struct Call {
    request: Req,
    end: Option<oneshot::Sender<Answer>>,
    is_running: bool,
    polls: usize,
}

#[pin_project(PinnedDrop)]
pub(crate) struct LeafFuture {
    number: usize,
    leaf: Leaf,
    #[pin]
    answer: oneshot::Receiver<Answer>,
}

impl Leaf {
    /// How many attempts it was sent.
    pub(crate) fn calls(&self) -> usize {
        self.calls.lock().unwrap().len()
    }

    /// The numbers of the attempts that have neither ended nor been dropped.
    pub(crate) fn running(&self) -> Vec<usize> {
        let calls = self.calls.lock().unwrap();
        (0..calls.len()).filter(|&number| calls[number].is_running).collect()
    }

    pub(crate) fn polls(&self, number: usize) -> usize {
        self.calls.lock().unwrap()[number].polls
    }

    pub(crate) fn requests(&self) -> Vec<Req> {
        self.calls.lock().unwrap().iter().map(|call| call.request).collect()
    }

    /// Ends attempt `number`, from zero.
    pub(crate) fn end(&self, number: usize, answer: Answer) {
        let end = self.calls.lock().unwrap()[number].end.take().expect("it ends once");
        end.send(answer).expect("it is still running");
    }

    fn start(&self, request: Req) -> LeafFuture {
        let (end, answer) = oneshot::channel();
        let mut calls = self.calls.lock().unwrap();
        calls.push(Call { request, end: Some(end), is_running: true, polls: 0 });
        LeafFuture { number: calls.len() - 1, leaf: self.clone(), answer }
    }
}

impl Service<Req> for Leaf {
    type Response = u32;
    type Error = Error<&'static str>;
    type Future = LeafFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Req) -> LeafFuture {
        self.start(request)
    }
}

impl Future for LeafFuture {
    type Output = Answer;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer> {
        let this = self.project();
        this.leaf.calls.lock().unwrap()[*this.number].polls += 1;
        this.answer.poll(cx).map(|answer| answer.expect("the test ends it"))
    }
}

#[pinned_drop]
impl PinnedDrop for LeafFuture {
    fn drop(self: Pin<&mut Self>) {
        self.leaf.calls.lock().unwrap()[self.number].is_running = false;
    }
}

/// Fifty milliseconds.
pub(crate) const DELAY: Duration = Duration::from_millis(50);

/// One millisecond less.
pub(crate) const ALMOST: Duration = Duration::from_millis(49);

pub(crate) fn config() -> HedgeConfig {
    HedgeConfig::default().name("tested").delay(DELAY)
}

pub(crate) type TestLayer = HedgeLayer<mainstay_retry::Cloned<mainstay_retry::Marked>>;

pub(crate) fn layer(config: HedgeConfig) -> TestLayer {
    HedgeLayer::new(config).unwrap().idempotent()
}

pub(crate) fn counts(hedging: &Hedging) -> (u64, u64, u64) {
    let HedgeSnapshot { started, suppressed, won, .. } = hedging.snapshot();
    (started, suppressed, won)
}

pub(crate) async fn advance(time: Duration) {
    tokio::time::advance(time).await;
}

pub(crate) fn refused() -> Answer {
    Err(Refused::new(Reason::CircuitOpen, "test").into())
}

pub(crate) fn timed_out() -> Answer {
    Err(TimedOut::new("test", Duration::from_secs(1)).into())
}

pub(crate) fn failed(text: &'static str) -> Answer {
    Err(Error::Inner(text))
}

/// By the text of the error; a response of 500 is a failure too, one of 299 is nothing.
pub(crate) fn class(result: Result<&u32, &Error<&'static str>>) -> Class {
    Class::Failure(match result {
        Ok(500) => Failure::Transient,
        Ok(299) | Err(Error::Inner("cancelled")) => return Class::Ignored,
        Ok(_) => return Class::Success,
        Err(Error::Inner("fatal")) => Failure::Permanent,
        Err(Error::Inner("busy")) => Failure::Overloaded { retry_after: None },
        Err(Error::Inner("busy for 80 ms")) => Failure::Overloaded { retry_after: Some(Duration::from_millis(80)) },
        Err(Error::Inner("busy for ever")) => Failure::Overloaded { retry_after: Some(Duration::MAX) },
        Err(_) => Failure::Transient,
    })
}
