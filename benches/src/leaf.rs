//! The service below every stack, and the caller above it.

use crate::Case;
use mainstay_core::Error;
use std::{
    error, fmt,
    future::{Future, Ready, poll_fn, ready},
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};
use tower_service::Service;

/// Answers each request with itself, at once.
#[derive(Clone, Copy, Debug)]
pub struct Leaf;

/// Answers each request with itself, when it is asked a second time.
#[derive(Clone, Copy, Debug)]
pub struct PendingLeaf;

/// The answer of [`PendingLeaf`].
#[derive(Debug)]
pub struct PendingOnce {
    request: u64,
    asked: bool,
}

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

impl Service<u64> for PendingLeaf {
    type Response = u64;
    type Error = Error<Failed>;
    type Future = PendingOnce;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u64) -> Self::Future {
        PendingOnce { request, asked: false }
    }
}

impl Future for PendingOnce {
    type Output = Result<u64, Error<Failed>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.asked {
            return Poll::Ready(Ok(self.request));
        }
        self.asked = true;
        cx.waker().wake_by_ref();
        Poll::Pending
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
pub fn call<S: Service<R>, R>(service: &mut S, request: R) -> Poll<Result<S::Response, S::Error>> {
    let mut cx = Context::from_waker(Waker::noop());
    match service.poll_ready(&mut cx) {
        Poll::Ready(Ok(())) => pin!(service.call(request)).poll(&mut cx),
        Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
        Poll::Pending => Poll::Pending,
    }
}

/// Makes one call and awaits it.
///
/// # Errors
///
/// The error of the service.
#[inline]
pub async fn call_awaited<S: Service<u64>>(service: &mut S, request: u64) -> Result<S::Response, S::Error> {
    poll_fn(|cx| service.poll_ready(cx)).await?;
    service.call(request).await
}

/// Calls to a service that answers each request with itself, at once.
pub fn at_once<S>(name: impl Into<String>, service: S) -> Case
where
    S: Service<u64, Response = u64> + Clone + Send + 'static,
{
    Case::new(name, move || {
        let mut service = service.clone();
        move |number| assert!(matches!(call(&mut service, number), Poll::Ready(Ok(answer)) if answer == number))
    })
}

/// The service alone: what to subtract from the others.
pub fn bare() -> Case {
    Case::new("bare", || {
        let mut service = Leaf;
        move |number| assert_eq!(call(&mut service, number), Poll::Ready(Ok(number)))
    })
}

/// The service alone where it is pending once and awaited: what to subtract from the others like that.
pub fn bare_awaited() -> Case {
    Case::awaited("bare_awaited", || {
        let mut service = PendingLeaf;
        async move |number| assert_eq!(call_awaited(&mut service, number).await, Ok(number))
    })
}
