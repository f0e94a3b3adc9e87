//! The answer of a call for which somebody has to be asked.

use crate::{
    acquire::admit,
    decision::{CostTooLarge, Decision},
};
use mainstay_core::Refused;
use pin_project::pin_project;
use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tower_service::Service;

/// The future of [`LimitService`](crate::LimitService).
///
/// # Cancel safety
///
/// Dropped while the limit is asked, it does not call the inner service. Whether the units were taken by then is for the limit to
/// say. Later it drops the inner future.
///
/// # Panics
///
/// A refused call panics when polled again after its answer.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct LimitFuture<S: Service<Req>, Req, D> {
    #[pin]
    state: State<S, Req, D>,
}

#[pin_project(project = StateProjected)]
enum State<S: Service<Req>, Req, D> {
    Asking {
        #[pin]
        decide: D,
        by: &'static str,
        service: S,
        request: Option<Req>,
    },
    Called(#[pin] S::Future),
    Refused,
}

impl<S: Service<Req>, Req, D> LimitFuture<S, Req, D> {
    pub(super) const fn new(decide: D, by: &'static str, service: S, request: Req) -> Self {
        Self { state: State::Asking { decide, by, service, request: Some(request) } }
    }
}

impl<S, Req, D> Future for LimitFuture<S, Req, D>
where
    S: Service<Req>,
    S::Error: From<Refused>,
    D: Future<Output = Result<Decision, CostTooLarge>>,
{
    type Output = Result<S::Response, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            match state.as_mut().project() {
                StateProjected::Asking { decide, by, service, request } => {
                    // Pending: the limit will wake us.
                    if let Err(refused) = admit(ready!(decide.poll(cx)), by) {
                        // Its readiness is free before it is answered: a finished future may be kept for a while.
                        state.set(State::Refused);
                        return Poll::Ready(Err(refused.into()));
                    }
                    let request = request.take().expect("the future was polled after a panic");
                    let inner = service.call(request);
                    state.set(State::Called(inner));
                }
                // Pending: the inner future will wake us.
                StateProjected::Called(inner) => return inner.poll(cx),
                StateProjected::Refused => panic!("the future was polled after its answer"),
            }
        }
    }
}

impl<S: Service<Req>, Req, D> fmt::Debug for LimitFuture<S, Req, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.state {
            State::Asking { .. } => "LimitFuture(Asking)",
            State::Called(_) => "LimitFuture(Called)",
            State::Refused => "LimitFuture(Refused)",
        })
    }
}
