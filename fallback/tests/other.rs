//! Another service in the place of a call that failed.

mod support;

use mainstay_core::{Class, Classify, Error, Failure, Reason, Refused};
use mainstay_fallback::FallbackLayer;
use std::{
    cell::{Cell, RefCell},
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    task::Poll,
};
use support::{Answer, E, From500, Leaf, failed, refused, timed_out};
use tokio_test::{assert_pending, assert_ready_eq, task};
use tower::{Layer, Service, service_fn};

/// What becomes of these two answers.
fn both(first: Answer, second: Answer) -> Answer {
    let layer = FallbackLayer::service(Leaf::answering(second)).classify(From500);
    match task::spawn(layer.layer(Leaf::answering(first)).call(1)).poll() {
        Poll::Ready(answer) => answer,
        Poll::Pending => panic!("the leaves answer at once"),
    }
}

#[test]
fn its_success_is_the_answer() {
    for first in [Ok(500), failed("no"), timed_out(), refused()] {
        assert_eq!(both(first, Ok(7)), Ok(7));
    }
    assert_eq!(both(Ok(1), Ok(7)), Ok(1));
    assert_eq!(both(failed("ignored"), Ok(7)), failed("ignored"));
}

/// How much is left open, and the answer.
fn outcomes(why: &'static str, status: u32) -> [(u8, Answer); 4] {
    [(0, refused()), (1, failed(why)), (1, Ok(status)), (2, timed_out())]
}

#[test]
fn of_two_failures_the_one_that_leaves_more_open_is_the_answer() {
    for (first_open, first) in outcomes("first", 501) {
        for (second_open, second) in outcomes("second", 502) {
            let expected = if first_open > second_open { first } else { second };
            assert_eq!(both(first, second), expected, "{first:?}, then {second:?}");
        }
    }
    assert_eq!(both(failed("first"), failed("ignored")), failed("ignored"), "an error is no success");
    assert_eq!(both(timed_out(), failed("ignored")), timed_out());
}

/// An error of which the service says that it is the answer.
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
fn an_error_that_the_classifier_calls_a_success_is_the_answer_of_either_service() {
    let ask = |first, second| {
        let layer = FallbackLayer::service(Leaf::answering(second)).classify(NotFoundIsFine);
        task::spawn(layer.layer(Leaf::answering(first)).call(1)).poll()
    };
    assert_eq!(ask(failed("not found"), Ok(7)), Poll::Ready(failed("not found")));
    assert_eq!(ask(timed_out(), failed("not found")), Poll::Ready(failed("not found")));
    assert_eq!(ask(timed_out(), failed("no")), Poll::Ready(timed_out()));
}

#[test]
fn a_veto_is_about_the_first_outcome_alone() {
    let layer = FallbackLayer::service(Leaf::answering(Ok(501)))
        .classify(From500)
        .only_if(|failed: Result<&u32, &E>| failed != Ok(&501));
    let ask = |answer| match task::spawn(layer.layer(Leaf::answering(answer)).call(1)).poll() {
        Poll::Ready(answer) => answer,
        Poll::Pending => panic!("the leaves answer at once"),
    };
    assert_eq!(ask(timed_out()), timed_out(), "501 has failed, although it would not have fallen back");
    assert_eq!(ask(failed("no")), Ok(501));
}

#[test]
fn it_is_polled_and_asked_only_when_it_is_needed() {
    let (first, second) = (Leaf::silent(), Leaf::default());
    let mut service = FallbackLayer::service(second.clone()).layer(first.clone());
    let mut call = task::spawn(service.call(3));
    assert_pending!(call.poll());
    first.answer(Ok(1));
    assert_ready_eq!(call.poll(), Ok(1));
    assert_eq!((second.0.readied.get(), second.asked()), (0, vec![]));
    drop(call);

    first.answer(failed("no"));
    let mut call = task::spawn(service.call(4));
    assert_pending!(call.poll());
    assert_eq!((second.0.readied.get(), second.asked()), (1, vec![]), "not asked before it is ready");
    assert_eq!(first.alive(), 0, "the first call is gone while the other service is waited for");
    second.be(Ok(()));
    assert!(call.is_woken());
    assert_pending!(call.poll());
    assert_eq!((second.0.readied.get(), second.asked()), (2, vec![4]));
    assert_pending!(call.poll());
    assert_eq!(second.0.readied.get(), 2, "nor polled for readiness again");
    second.answer(Ok(7));
    assert!(call.is_woken());
    assert_ready_eq!(call.poll(), Ok(7));
    assert_eq!((first.asked(), second.asked()), (vec![3, 4], vec![4]));
}

#[test]
fn an_error_of_its_readiness_is_its_outcome() {
    for (first, readiness, expected) in [
        (failed("no"), refused(), failed("no")),
        (refused(), refused(), refused()),
        (refused(), failed("gone"), failed("gone")),
        (timed_out(), failed("gone"), timed_out()),
    ] {
        let second = Leaf::answering(Ok(7));
        second.be(readiness.map(drop));
        let call = FallbackLayer::service(second.clone()).layer(Leaf::answering(first)).call(1);
        assert_ready_eq!(task::spawn(call).poll(), expected);
        assert!(second.asked().is_empty());
    }
}

#[test]
fn what_is_kept_is_asked_and_what_is_not_does_not_fall_back() {
    let second = Leaf::answering(Ok(7));
    let layer = FallbackLayer::service(second.clone())
        .classify(From500)
        .keep(|request: &u32| request.is_multiple_of(2).then(|| request + 100));
    let ask = |request| task::spawn(layer.clone().layer(Leaf::answering(failed("no"))).call(request)).poll();
    assert_eq!(ask(2), Poll::Ready(Ok(7)));
    assert_eq!(ask(3), Poll::Ready(failed("no")));
    assert_eq!(second.asked(), [102]);
}

#[test]
fn the_observer_sees_the_first_outcome_before_the_other_service_is_asked() {
    let second = Leaf::default();
    let seen = RefCell::new(Vec::new());
    let layer = FallbackLayer::service(second.clone()).observe(|original: Result<&u32, &E>| {
        seen.borrow_mut().push((original.cloned().map_err(|error| *error), second.0.readied.get()));
    });
    let mut call = task::spawn(layer.layer(Leaf::answering(failed("no"))).call(1));
    assert_pending!(call.poll());
    assert_eq!(*seen.borrow(), [(failed("no"), 0)]);
    second.be(Ok(()));
    second.answer(failed("neither"));
    assert_ready_eq!(call.poll(), failed("neither"));
    assert_eq!(seen.borrow().len(), 1);
}

#[test]
fn a_dropped_call_drops_what_is_running_however_far_it_was() {
    let (first, second) = (Leaf::silent(), Leaf::default());
    let mut service = FallbackLayer::service(second.clone()).layer(first.clone());
    drop(service.call(1));
    let nothing_is_left = || {
        // The test and the service have a handle each, and no future.
        assert_eq!((first.alive(), second.alive()), (0, 0));
        assert_eq!((Rc::strong_count(&first.0), Rc::strong_count(&second.0)), (2, 2));
    };
    nothing_is_left();
    let mut call = task::spawn(service.call(1));
    assert_pending!(call.poll());
    drop(call);
    nothing_is_left();
    first.answer(failed("no"));
    let mut call = task::spawn(service.call(1));
    assert_pending!(call.poll());
    drop(call);
    nothing_is_left();
    second.be(Ok(()));
    let mut call = task::spawn(service.call(1));
    assert_pending!(call.poll());
    assert_eq!(second.alive(), 1);
    drop(call);
    nothing_is_left();
}

#[test]
fn the_other_future_is_gone_when_the_answer_is_given() {
    let second = Leaf::answering(failed("neither"));
    let mut call = task::spawn(FallbackLayer::service(second.clone()).layer(Leaf::answering(timed_out())).call(1));
    assert_ready_eq!(call.poll(), timed_out());
    assert_eq!(second.alive(), 0);
    let again = catch_unwind(AssertUnwindSafe(|| call.poll())).unwrap_err();
    assert_eq!(again.downcast_ref(), Some(&"the future was polled after its answer"));
}

#[test]
fn a_panic_of_the_other_service_goes_on_to_the_caller_and_harms_no_other_call() {
    let fine = Rc::new(Cell::new(false));
    let other = service_fn(|request: u32| {
        assert!(fine.get(), "boom");
        std::future::ready(Answer::Ok(request))
    });
    let first = Leaf::answering(failed("no"));
    let mut service = FallbackLayer::service(other).layer(first.clone());
    let mut call = task::spawn(service.call(1));
    let boom = catch_unwind(AssertUnwindSafe(|| call.poll())).unwrap_err();
    assert_eq!(boom.downcast_ref(), Some(&"boom"));
    assert_eq!(first.alive(), 0);
    let again = catch_unwind(AssertUnwindSafe(|| call.poll())).unwrap_err();
    assert_eq!(again.downcast_ref(), Some(&"the future was polled after its answer"));
    fine.set(true);
    assert_ready_eq!(task::spawn(service.call(5)).poll(), Ok(5));
}

/// Pending at the first poll of its readiness.
#[derive(Clone)]
struct First(Rc<Cell<u32>>);
impl Service<u32> for First {
    type Response = u32;
    type Error = E;
    type Future = std::future::Ready<Answer>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> Poll<Result<(), E>> {
        self.0.set(self.0.get() + 1);
        if self.0.get() == 1 { Poll::Pending } else { Poll::Ready(Ok(())) }
    }

    fn call(&mut self, request: u32) -> Self::Future {
        std::future::ready(Ok(request))
    }
}

#[test]
fn two_calls_wait_for_the_other_service_side_by_side() {
    // Each call has its own clone: one that waits does not hold the next one up.
    let polls = Rc::new(Cell::new(0));
    let mut service = FallbackLayer::service(First(polls)).layer(Leaf::answering(failed("no")));
    let mut waits = task::spawn(service.call(1));
    assert_pending!(waits.poll());
    assert_ready_eq!(task::spawn(service.call(2)).poll(), Ok(2));
    assert_ready_eq!(waits.poll(), Ok(1));
}

#[test]
fn a_call_that_came_too_late_further_in_falls_back_like_any_other() {
    let late = Err(Refused::new(Reason::DeadlinePassed, "further in").into());
    let layer = FallbackLayer::service(Leaf::answering(Ok(7)));
    assert_eq!(task::spawn(layer.layer(Leaf::answering(late)).call(1)).poll(), Poll::Ready(Ok(7)));
}
