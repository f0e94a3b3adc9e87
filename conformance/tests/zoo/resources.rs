//! Layers that are larger, or tied to more, than they say.

use crate::{breaks_only, on};
use mainstay_conformance::{
    AutoTraits, Clause, Probe, ProbeError, ProbeFuture, Profile, Reply, Request, Subject, check, subject_types,
};
use std::{
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};
use tower_service::Service;

/// Carries something along.
#[derive(Clone)]
struct Carries<T> {
    inner: Probe,
    luggage: T,
}

struct CarriesFuture<T> {
    inner: Pin<Box<ProbeFuture>>,
    _luggage: T,
}

impl<T: Clone + Unpin> Service<Request> for Carries<T> {
    type Response = Reply;
    type Error = ProbeError;
    type Future = CarriesFuture<T>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ProbeError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> CarriesFuture<T> {
        CarriesFuture { inner: Box::pin(self.inner.call(request)), _luggage: self.luggage.clone() }
    }
}

impl<T: Unpin> Future for CarriesFuture<T> {
    type Output = Result<Reply, ProbeError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.inner.as_mut().poll(cx)
    }
}

#[test]
fn is_large() {
    let layer = || on(|inner| Carries { inner, luggage: [0_u8; 1024] });
    let subject = Subject::new("is large", layer).profile(Profile::pass_through().future_overhead(512));
    breaks_only(&check(subject), Clause::FutureIsSmall);
}

#[test]
fn is_not_send() {
    let subject = subject_types!(Subject::new("is not send", || on(|inner| Carries { inner, luggage: Rc::new(()) })));
    breaks_only(&check(subject), Clause::AutoTraitsHold);
}

#[test]
fn what_is_not_declared_is_not_asked() {
    let profile = Profile::pass_through().service_is(AutoTraits::NONE).future_is(AutoTraits::NONE.unpin());
    let layer = || on(|inner| Carries { inner, luggage: Rc::new(()) });
    check(subject_types!(Subject::new("is not send, and says so", layer).profile(profile))).assert();
}

#[cfg(feature = "allocations")]
#[test]
fn boxes() {
    let layer = || on(|inner| Carries { inner, luggage: () });
    let profile = Profile::pass_through().allocations(0);
    breaks_only(&check(Subject::new("boxes", layer).profile(profile)), Clause::FewAllocations);
    // With the true number.
    let profile = Profile::pass_through().allocations(1);
    check(Subject::new("boxes once", layer).profile(profile)).assert();
}
