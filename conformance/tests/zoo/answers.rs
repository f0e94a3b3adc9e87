//! Layers that answer wrongly.

use crate::{breaks_only, on};
use mainstay_conformance::{Clause, Probe, ProbeError, ProbeFuture, Profile, Reply, Request, Subject, check};
use mainstay_core::{Error, Reason, Refused};
use pin_project::pin_project;
use std::{
    error,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, ready},
};
use tower_service::Service;

type BoxError = Box<dyn error::Error + Send + Sync>;

/// Hands on, and changes the answer.
#[derive(Clone)]
struct Alters<A> {
    inner: Probe,
    alter: A,
}

#[pin_project]
struct AltersFuture<A> {
    #[pin]
    inner: ProbeFuture,
    alter: A,
}

type Answer<E> = Result<Reply, E>;

impl<A: Fn(Answer<ProbeError>) -> Answer<E> + Clone, E: From<ProbeError>> Service<Request> for Alters<A> {
    type Response = Reply;
    type Error = E;
    type Future = AltersFuture<A>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), E>> {
        self.inner.poll_ready(cx).map_err(E::from)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        AltersFuture { inner: self.inner.call(request), alter: self.alter.clone() }
    }
}

impl<A: Fn(Answer<ProbeError>) -> Answer<E>, E> Future for AltersFuture<A> {
    type Output = Answer<E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let answer = ready!(this.inner.poll(cx));
        Poll::Ready((this.alter)(answer))
    }
}

fn alters<A>(alter: A) -> impl tower_layer::Layer<Probe, Service = Alters<A>>
where
    A: Fn(Answer<ProbeError>) -> Answer<BoxError> + Clone,
{
    tower_layer::layer_fn(move |inner| Alters { inner, alter: alter.clone() })
}

#[test]
fn makes_another_error_of_it() {
    let layer = || alters(|answer| answer.map_err(|_| "something went wrong".into()));
    breaks_only(&check(Subject::new("makes another error of it", layer)), Clause::InnerErrorIsKept);
}

#[test]
fn keeps_the_first_reply() {
    let layer = || {
        let first = Arc::new(Mutex::new(None));
        alters(move |answer: Answer<ProbeError>| {
            answer
                .map(|reply| *first.lock().expect("nobody panics with it").get_or_insert(reply))
                .map_err(BoxError::from)
        })
    };
    breaks_only(&check(Subject::new("keeps the first reply", layer)), Clause::AnswersBelong);
}

/// Never gives an error to anybody.
#[derive(Clone)]
struct KeepsQuiet(Probe);

impl Service<Request> for KeepsQuiet {
    type Response = Reply;
    type Error = ProbeError;
    type Future = Pin<Box<dyn Future<Output = Answer<ProbeError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ProbeError>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let answer = self.0.call(request);
        Box::pin(async {
            match answer.await {
                Ok(reply) => Ok(reply),
                Err(_) => std::future::pending().await,
            }
        })
    }
}

#[test]
fn keeps_quiet_about_errors() {
    breaks_only(&check(Subject::new("keeps quiet", || on(KeepsQuiet))), Clause::AnswersBelong);
}

fn refused() -> Refused {
    Refused::new(Reason::BulkheadFull, "the zoo")
}

/// Refuses after the fact: a failure is reported as a refusal.
#[test]
fn refuses_after_the_fact() {
    let layer = || {
        alters(|answer| {
            answer.map_err(|error| {
                // Those that carry a refusal are another specimen's.
                if error::Error::source(&error).is_some() { error.into() } else { refused().into() }
            })
        })
    };
    let profile = Profile::pass_through().may_refuse();
    let subject = Subject::new("refuses after the fact", layer).profile(profile);
    breaks_only(&check(subject), Clause::RefusedMeansNotCalled);
}

/// Looks for refusals in the chain of sources, and makes them its own.
#[test]
fn launders() {
    let layer = || {
        alters(|answer| {
            answer.map_err(|error| {
                match error::Error::source(&error).and_then(|source| source.downcast_ref::<Refused>()) {
                    Some(refused) => (*refused).into(),
                    None => error.into(),
                }
            })
        })
    };
    let profile = Profile::pass_through().may_refuse();
    breaks_only(&check(Subject::new("launders", layer).profile(profile)), Clause::RefusalsAreNotLaundered);
}

/// The typed error, which does not launder.
#[test]
fn the_typed_error_holds() {
    let layer = || tower::ServiceBuilder::new().map_err(Error::<ProbeError>::Inner);
    check(Subject::new("typed", layer)).assert();
}

/// Tries once more than it says.
#[derive(Clone)]
struct TriesOnceMore(Probe);

/// What it does in its future: it waits for readiness on the value that it then calls.
#[pin_project(project = AttemptProjection)]
enum Attempt {
    Running(#[pin] ProbeFuture),
    Waiting,
}

#[pin_project]
struct TriesFuture {
    service: Probe,
    request: Option<Request>,
    #[pin]
    attempt: Attempt,
    left: u32,
}

impl Service<Request> for TriesOnceMore {
    type Response = Reply;
    type Error = ProbeError;
    type Future = TriesFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ProbeError>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> TriesFuture {
        let service = self.0.clone();
        let attempt = Attempt::Running(self.0.call(request.clone()));
        TriesFuture { service, request: Some(request), attempt, left: 1 }
    }
}

impl Future for TriesFuture {
    type Output = Answer<ProbeError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.attempt.as_mut().project() {
                AttemptProjection::Running(future) => {
                    let answer = ready!(future.poll(cx));
                    if answer.is_ok() || *this.left == 0 {
                        return Poll::Ready(answer);
                    }
                    *this.left -= 1;
                    this.attempt.set(Attempt::Waiting);
                }
                AttemptProjection::Waiting => {
                    ready!(this.service.poll_ready(cx))?;
                    let request = this.request.take().expect("one retry");
                    let future = this.service.call(request);
                    this.attempt.set(Attempt::Running(future));
                }
            }
        }
    }
}

#[test]
fn tries_once_more() {
    breaks_only(&check(Subject::new("tries once more", || on(TriesOnceMore))), Clause::InnerCallsAreBounded);
    // With the true number it is a good retry.
    let honest = Profile::pass_through().max_inner_calls(2);
    check(Subject::new("tries twice", || on(TriesOnceMore)).profile(honest)).assert();
}

/// Says that it refuses, and executes the request with the next call.
#[derive(Clone)]
struct RefusesAndDoesItLater {
    inner: Probe,
    later: Arc<Mutex<Option<Request>>>,
}

impl Service<Request> for RefusesAndDoesItLater {
    type Response = Reply;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Answer<BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(BoxError::from)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let before = self.later.lock().expect("nobody panics with it").take();
        if let Some(before) = before {
            drop(self.inner.call(before));
        }
        let later = Arc::clone(&self.later);
        // Not before the caller has heard the refusal.
        Box::pin(async move {
            let before = later.lock().expect("nobody panics with it").replace(request);
            drop(before);
            Err(refused().into())
        })
    }
}

#[test]
fn refuses_and_does_it_later() {
    let layer = || on(|inner| RefusesAndDoesItLater { inner, later: Arc::default() });
    let profile = Profile::pass_through().may_refuse().detaches().ends_with_a_panic();
    breaks_only(
        &check(Subject::new("refuses and does it later", layer).profile(profile)),
        Clause::RefusedMeansNotCalled,
    );
}

/// An error whose `source()` is itself.
#[derive(Debug)]
struct BitesItsTail;

impl std::fmt::Display for BitesItsTail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("round and round")
    }
}

impl error::Error for BitesItsTail {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        Some(&Self)
    }
}

#[test]
fn an_error_without_an_end_is_read() {
    let layer = || alters(|answer| answer.map_err(|_| BitesItsTail.into()));
    breaks_only(&check(Subject::new("bites its tail", layer)), Clause::InnerErrorIsKept);
}
