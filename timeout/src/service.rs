//! The service: what time a call gets.

use crate::{
    clock::now,
    config::Config,
    deadlines::{Deadlines, NoDeadline},
    future::{Limit, ResponseFuture},
};
use mainstay_core::{Refusable, Refused};
use std::task::{Context, Poll};
use tower_service::Service;

/// Ends calls that take too long, and refuses those whose deadline has passed.
///
/// Without deadlines the time starts at the end of the first poll of the future, and a call that is answered at that poll
/// costs neither a clock nor a timer. With deadlines it starts at `call`, since the request takes the deadline along: the
/// earlier of the one that it carries and the end of the configured time. A deadline that has passed at `call` is refused, and
/// the inner service is not called. One that passes between `call` and the first poll is not: the inner future is polled once, and
/// then ended.
///
/// At the end of the time the inner future is dropped, then the answer is given: [`TimedOut`](mainstay_core::TimedOut), which
/// means that the outcome is unknown. An answer that is there when the time ends counts. The time that the error names is
/// the time that the call was given.
///
/// What the response brings later, such as an HTTP body, is not timed, nor is the wait for readiness.
///
/// # Readiness
///
/// That of the inner service. When a call is refused, what the inner service reserved stays reserved for the next call, or
/// until this service is dropped: nobody else has it meanwhile. Whoever keeps a clone for later drops it after a refusal.
///
/// # Cancel safety
///
/// Dropping the future drops the inner one; nothing else is held but a timer.
///
/// # Panics
///
/// The future panics where it has to wait, outside of a tokio runtime with a timer.
#[derive(Clone, Copy, Debug)]
pub struct Timeout<S, D = NoDeadline> {
    inner: S,
    config: Config,
    deadlines: D,
}

impl<S, D> Timeout<S, D> {
    pub(crate) const fn new(inner: S, config: Config, deadlines: D) -> Self {
        Self { inner, config, deadlines }
    }

    /// The inner service.
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service.
    pub const fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Takes the timeout away.
    pub fn into_inner(self) -> S {
        self.inner
    }

    fn limit<Req>(&self, request: &mut Req) -> Result<Limit, Refused>
    where
        D: Deadlines<Req>,
    {
        if !D::CARRIED {
            return Ok(self.config.timeout.map_or(Limit::Never, Limit::After));
        }
        let carried = self.deadlines.read(request);
        if carried.is_none() && self.config.timeout.is_none() {
            return Ok(Limit::Never);
        }
        let now = now();
        let Some(deadline) = self.config.deadline(carried, now)? else { return Ok(Limit::Never) };
        if carried != Some(deadline) {
            self.deadlines.write(request, deadline);
        }
        Ok(Limit::At(deadline, now))
    }
}

impl<S, D, Req> Service<Req> for Timeout<S, D>
where
    S: Service<Req>,
    S::Error: Refusable,
    D: Deadlines<Req>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Req) -> Self::Future {
        match self.limit(&mut request) {
            Ok(limit) => ResponseFuture::started(self.inner.call(request), self.config.name, limit),
            Err(refused) => ResponseFuture::refused(refused),
        }
    }
}
