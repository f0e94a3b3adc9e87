//! A hostile reader's tests. Each fails at 43bc737. `should_…` and `note_…` give the severity.
#![allow(missing_docs, clippy::pedantic, reason = "scratch")]

mod support;

use mainstay_core::{Class, Classify, Error, Failure, Reason, Refused};
use mainstay_fallback::{FallbackLayer, fallback};
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    task::Poll,
};
use support::{Answer, E, From500, Leaf, failed, timed_out};
use tokio_test::{block_on, task};
use tower::{Layer, Service};

fn ask<S: Service<u32, Response = u32, Error = E>>(mut service: S) -> Poll<Answer> {
    let _ = task::spawn(()).enter(|cx, _| service.poll_ready(cx));
    task::spawn(service.call(1)).poll()
}

// ---- F1: `on_error` leaves failed responses alone, and says that it has answered them

#[test]
fn should_f1_what_is_left_alone_did_not_fall_back() {
    let told = Rc::new(Cell::new(0));
    let see = told.clone();
    let layer = FallbackLayer::on_error(|_: E| 7)
        .classify(From500)
        .observe(move |_: Result<&u32, &E>| see.set(see.get() + 1));
    assert_eq!(ask(layer.layer(Leaf::answering(Ok(500)))), Poll::Ready(Ok(500)), "the service's own answer");
    assert_eq!(told.get(), 0, "\"each call that falls back\" is shown and counted, and this one did not");
}

#[cfg(feature = "metrics")]
#[test]
fn should_f1_what_is_left_alone_is_not_counted_as_used() {
    let recorder = metrics_util::debugging::DebuggingRecorder::new();
    let layer = FallbackLayer::on_error(|_: E| 7).classify(From500);
    let answer = metrics::with_local_recorder(&recorder, || ask(layer.layer(Leaf::answering(Ok(500)))));
    assert_eq!(answer, Poll::Ready(Ok(500)));
    let seen = recorder.snapshotter().snapshot().into_vec();
    assert!(seen.is_empty(), "{seen:?}");
}

/// The docs of the layer: "a response of status 500 is an `Ok`: say `http` there". So a newcomer does.
#[cfg(feature = "http")]
#[test]
fn should_f1_on_error_with_http_answers_a_500() {
    use http::{Request, Response};
    use tower::{ServiceExt, service_fn};
    let leaf = service_fn(async |_: Request<()>| {
        Ok::<_, Error<()>>(Response::builder().status(500).body("").unwrap())
    });
    let layer = FallbackLayer::on_error(|_: Error<()>| Response::new("stale")).http();
    let answer = block_on(layer.layer(leaf).oneshot(Request::new(()))).unwrap();
    assert_eq!(*answer.body(), "stale", "it compiles, is counted as used, and does nothing");
}

// ---- F2: `only_if` keeps what must not be executed twice from the other service; `classify` and `http` take it away

#[test]
fn should_f2_a_guard_is_not_lost_when_classify_comes_after_it() {
    let other = Leaf::answering(Ok(1));
    let layer = FallbackLayer::service(other.clone())
        .only_if(|failed: Result<&u32, &E>| matches!(failed, Err(Error::Refused(_))))
        .classify(From500);
    let _ = ask(layer.layer(Leaf::answering(timed_out())));
    assert!(other.asked().is_empty(), "the first may have been executed, and so is the second");
}

#[cfg(feature = "http")]
#[test]
fn should_f2_a_guard_is_not_lost_when_http_comes_after_it() {
    use http::{Request, Response};
    use mainstay_core::TimedOut;
    use tower::{ServiceExt, service_fn};
    let sent = Rc::new(Cell::new(0));
    let send = sent.clone();
    let other = service_fn(move |_: Request<()>| {
        send.set(send.get() + 1);
        std::future::ready(Ok::<_, Error<()>>(Response::new(())))
    });
    let leaf = service_fn(async |_: Request<()>| {
        Err::<Response<()>, Error<()>>(TimedOut::new("charge", std::time::Duration::ZERO).into())
    });
    let layer = FallbackLayer::service(other)
        .only_if(|failed: Result<&Response<()>, &Error<()>>| matches!(failed, Err(Error::Refused(_))))
        .http();
    let _ = block_on(layer.layer(leaf).oneshot(Request::new(())));
    assert_eq!(sent.get(), 0, "charged twice");
}

// ---- F3: an error that the classifier calls a success is an answer, of the first service and in a retry; of the other not

#[derive(Clone, Copy)]
struct NotFoundIsFine;

impl Classify<u32, E> for NotFoundIsFine {
    fn classify(&self, result: Result<&u32, &E>) -> Class {
        match result {
            Ok(_) | Err(Error::Inner("not found")) => Class::Success,
            Err(_) => Class::Failure(Failure::Transient),
        }
    }
}

#[test]
fn should_f3_an_error_that_is_a_success_is_the_answer_of_the_other_service_too() {
    let first = FallbackLayer::value(9).classify(NotFoundIsFine).layer(Leaf::answering(failed("not found")));
    assert_eq!(ask(first), Poll::Ready(failed("not found")));
    let layer = FallbackLayer::service(Leaf::answering(failed("not found"))).classify(NotFoundIsFine);
    let answer = ask(layer.layer(Leaf::answering(timed_out())));
    assert_eq!(answer, Poll::Ready(failed("not found")), "the other service has not failed");
}

// ---- F4: README, "Outermost, or nearly: above … timeout", and "the other service has policies of its own"; but a timeout
// does not cover the wait for readiness, so in that stack nothing ends this call.

#[test]
fn should_f4_something_ends_the_wait_for_the_other_service() {
    let layer = FallbackLayer::service(Leaf::default());
    let mut call = task::spawn(layer.layer(Leaf::answering(timed_out())).call(1));
    assert!(call.poll().is_ready(), "the outcome is known, and withheld for ever");
}

// ---- F5: the layers and `fallback_to` drop the first future before the fallback answers

#[test]
fn note_f5_the_plain_form_drops_the_future_first() {
    let leaf = Leaf::answering(failed("no"));
    let alive = block_on(fallback(leaf.future(), |_| leaf.alive()));
    assert_eq!(alive, 0, "what the future holds (a permit) is held while the closure runs");
}

// ---- F6: a backup that is down is seen by nobody

#[test]
fn note_f6_the_failure_of_the_other_service_is_seen() {
    let told = Rc::new(RefCell::new(Vec::new()));
    let see = told.clone();
    let layer = FallbackLayer::service(Leaf::answering(failed("the backup is down")))
        .observe(move |outcome: Result<&u32, &E>| see.borrow_mut().push(outcome.copied().map_err(|error| *error)));
    assert_eq!(ask(layer.layer(Leaf::answering(timed_out()))), Poll::Ready(timed_out()));
    assert!(told.borrow().contains(&failed("the backup is down")), "{told:?}");
}

// ---- F7: a retry answers that refusal ("Whoever refuses because nobody waits any more would do so again")

#[test]
fn note_f7_work_past_its_deadline_is_not_begun_elsewhere() {
    let other = Leaf::answering(Ok(1));
    let late = Err(Refused::new(Reason::DeadlinePassed, "server").into());
    let _ = ask(FallbackLayer::service(other.clone()).layer(Leaf::answering(late)));
    assert!(other.asked().is_empty(), "nobody waits, and yet it is started");
}
