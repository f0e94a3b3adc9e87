//! The service below every stack, and the caller above it.

use crate::Case;
use mainstay_core::Error;
use std::{
    error, fmt,
    future::{Future, Ready, ready},
    pin::pin,
    task::{Context, Poll, Waker},
};
use tower_service::Service;

/// Answers each request with itself, at once.
#[derive(Clone, Copy, Debug)]
pub struct Leaf;

/// The error that [`Leaf`] could answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed;

impl Service<u64> for Leaf {
    type Response = u64;
    type Error = Error<Failed>;
    type Future = Ready<Result<u64, Self::Error>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u64) -> Self::Future {
        ready(Ok(request))
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("failed")
    }
}

impl error::Error for Failed {}

/// Makes one call without a runtime: readiness, the call, one poll.
#[inline]
pub fn call<S: Service<u64>>(service: &mut S, request: u64) -> Poll<Result<S::Response, S::Error>> {
    let mut cx = Context::from_waker(Waker::noop());
    match service.poll_ready(&mut cx) {
        Poll::Ready(Ok(())) => pin!(service.call(request)).poll(&mut cx),
        Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
        Poll::Pending => Poll::Pending,
    }
}

/// The service alone: what to subtract from the others.
pub fn bare() -> Case {
    Case::new("bare", || {
        let mut service = Leaf;
        move |number| assert_eq!(call(&mut service, number), Poll::Ready(Ok(number)))
    })
}
