//! The inner service that the layer under test is put on.

use crate::{
    backend::Backend,
    ledger::{Event, Readiness},
    request::{ProbeError, Reply, Request},
    trap::{self, Point},
};
use std::{
    future::Future,
    marker::PhantomPinned,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tower_service::Service;

/// An inner service that keeps tower's contract to the letter, and no more.
///
/// - Its readiness is a real token: taken from a pool in `poll_ready`, spent in `call`, given back when the response
///   future completes or is dropped, and when the service is dropped. A clone has none.
/// - It keeps the latest waker only, and wakes that one only.
/// - Its future is not `Unpin`, and remembers that it has completed.
/// - Being called without a token, or polled after completion, is written down instead of panicking, so that one mistake
///   does not hide the next.
///
/// Only the kit makes probes.
#[derive(Debug)]
pub struct Probe {
    backend: Arc<Backend>,
    instance: usize,
}

/// The response future of a [`Probe`].
#[derive(Debug)]
pub struct ProbeFuture {
    backend: Arc<Backend>,
    call: usize,
    request: u32,
    _not_unpin: PhantomPinned,
}

impl Probe {
    pub(crate) fn new(backend: Arc<Backend>) -> Self {
        let instance = backend.with(crate::backend::State::new_instance);
        Self { backend, instance }
    }

    fn pass(&self, point: Point) {
        pass(&self.backend, point);
    }
}

/// A trap at this point is written down if it was the one that sprang with a panic.
fn pass(backend: &Backend, point: Point) {
    if trap::is_due(point) {
        backend.record(Event::Panicked { point });
    }
    trap::pass(point);
}

impl Service<Request> for Probe {
    type Response = Reply;
    type Error = ProbeError;
    type Future = ProbeFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ProbeError>> {
        self.pass(Point::PollReady);
        match self.backend.poll_ready(self.instance, cx.waker().clone()) {
            Readiness::TookToken | Readiness::StillReady => Poll::Ready(Ok(())),
            Readiness::Pending => Poll::Pending,
            Readiness::Error(id) => Poll::Ready(Err(ProbeError::new(id, false))),
        }
    }

    fn call(&mut self, request: Request) -> ProbeFuture {
        self.pass(Point::Call);
        let id = request.id();
        // Before there is a future that a panic here could lose.
        drop(request);
        let call = self.backend.called(self.instance, id);
        ProbeFuture { backend: Arc::clone(&self.backend), call, request: id, _not_unpin: PhantomPinned }
    }
}

impl Clone for Probe {
    fn clone(&self) -> Self {
        self.pass(Point::CloneService);
        let instance = self.backend.cloned(self.instance);
        Self { backend: Arc::clone(&self.backend), instance }
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        // First, so that a panic here loses nothing.
        self.backend.instance_dropped(self.instance);
        self.pass(Point::DropService);
    }
}

impl Future for ProbeFuture {
    type Output = Result<Reply, ProbeError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        pass(&self.backend, Point::Poll);
        let given = self.backend.poll(self.call, cx.waker().clone());
        given.map_or(Poll::Pending, |given| Poll::Ready(given.map(|()| Reply::to(self.request))))
    }
}

impl Drop for ProbeFuture {
    fn drop(&mut self) {
        // First, so that a panic here loses nothing.
        self.backend.future_dropped(self.call);
        pass(&self.backend, Point::DropFuture);
    }
}
