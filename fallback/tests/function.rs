//! A value or a function in the place of a call that failed.

mod support;

use mainstay_core::{AnyError, Error, Reason, Refused};
use mainstay_fallback::FallbackLayer;
use std::{
    cell::{Cell, RefCell},
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    task::{Context, Poll, Waker},
};
use support::{Answer, E, From500, Leaf, failed, refused, timed_out};
use tokio_test::{assert_pending, assert_ready_eq, task};
use tower::{Layer, Service, ServiceExt, service_fn};

/// What a layer makes of this answer.
fn ask<L>(layer: &L, answer: Answer) -> Answer
where
    L: Layer<Leaf>,
    L::Service: Service<u32, Response = u32, Error = E>,
{
    match task::spawn(layer.layer(Leaf::answering(answer)).call(1)).poll() {
        Poll::Ready(answer) => answer,
        Poll::Pending => panic!("the leaf answers at once"),
    }
}

#[test]
fn any_error_falls_back_and_no_response_does() {
    let layer = FallbackLayer::function(|_: Answer| Ok(7));
    for error in [refused(), timed_out(), failed("no")] {
        assert_eq!(ask(&layer, error), Ok(7));
    }
    assert_eq!(ask(&layer, Ok(500)), Ok(500));
}

#[test]
fn the_classifier_says_what_a_failure_is_but_a_refusal_is_always_one() {
    let layer = FallbackLayer::function(|_: Answer| Ok(7)).classify(From500);
    for (answer, expected) in [
        (Ok(200), Ok(200)),
        (Ok(500), Ok(7)),
        (failed("no"), Ok(7)),
        (failed("ignored"), failed("ignored")),
        (timed_out(), Ok(7)),
        (refused(), Ok(7)),
    ] {
        assert_eq!(ask(&layer, answer), expected);
    }
}

#[test]
fn a_function_sees_how_the_call_ended_and_may_fail_itself() {
    let layer = FallbackLayer::function(|failed: Answer| match failed {
        Ok(status) => Ok(status + 1_000),
        Err(Error::Inner(why)) => Err(Error::Inner(if why == "no" { "no, and no" } else { why })),
        Err(other) => Err(other),
    })
    .classify(From500);
    assert_eq!(ask(&layer, Ok(503)), Ok(1_503));
    assert_eq!(ask(&layer, failed("no")), failed("no, and no"));
    assert_eq!(ask(&layer, timed_out()), timed_out());
}

#[test]
fn on_error_sees_errors_and_leaves_responses_alone() {
    let layer = FallbackLayer::on_error(|error: E| match error {
        Error::Refused(_) => 1,
        Error::TimedOut(_) => 2,
        _ => 3,
    })
    .classify(From500);
    let answers = [refused(), timed_out(), failed("no"), Ok(500)].map(|answer| ask(&layer, answer));
    assert_eq!(answers, [Ok(1), Ok(2), Ok(3), Ok(500)]);
}

#[test]
fn of_what_on_error_leaves_alone_nobody_is_told() {
    let told = Cell::new(0);
    let layer =
        FallbackLayer::on_error(|_: E| 7).classify(From500).observe(|_: Result<&u32, &E>| told.set(told.get() + 1));
    assert_eq!(ask(&layer, Ok(500)), Ok(500), "the service's own answer");
    assert_eq!(told.get(), 0);
    assert_eq!(ask(&layer, failed("no")), Ok(7));
    assert_eq!(told.get(), 1);
}

#[test]
fn another_classifier_takes_the_place_of_the_first() {
    let layer = FallbackLayer::function(|_: Answer| Ok(7)).classify(AnyError).classify(From500);
    assert_eq!(ask(&layer, Ok(500)), Ok(7));
    assert_eq!(ask(&layer, failed("ignored")), failed("ignored"));
}

#[test]
fn layers_and_services_of_closures_can_be_shown() {
    let layer = FallbackLayer::on_error(|_: E| 7).name("stock").only_if(|_: Result<&u32, &E>| true);
    assert_eq!(format!("{layer:?}"), r#"FallbackLayer { name: "stock", .. }"#);
    assert_eq!(format!("{:?}", layer.layer(())), r#"Fallback { inner: (), name: "stock", .. }"#);
}

#[test]
fn only_if_takes_some_failures_out_and_puts_no_success_in() {
    let layer = FallbackLayer::function(|_: Answer| Ok(7))
        .classify(From500)
        .only_if(|failed: Result<&u32, &E>| !matches!(failed, Err(Error::Inner("fraud")) | Ok(501)));
    for (answer, expected) in [
        (Ok(200), Ok(200)),
        (Ok(500), Ok(7)),
        (Ok(501), Ok(501)),
        (failed("fraud"), failed("fraud")),
        (failed("no"), Ok(7)),
        (refused(), Ok(7)),
    ] {
        assert_eq!(ask(&layer, answer), expected);
    }
    let both = layer.only_if(|failed: Result<&u32, &E>| failed.is_err());
    assert_eq!(ask(&both, Ok(500)), Ok(500), "each predicate has a veto");
    assert_eq!(ask(&both, failed("fraud")), failed("fraud"));
}

#[test]
fn nothing_of_the_fallback_runs_on_a_success() {
    let calls = Rc::new(Cell::new(0));
    let count = |calls: &Rc<Cell<u32>>| {
        let calls = Rc::clone(calls);
        move || calls.set(calls.get() + 1)
    };
    let (made, vetoed, seen) = (count(&calls), count(&calls), count(&calls));
    let layer = FallbackLayer::function(move |_: Answer| {
        made();
        Ok(7)
    })
    .only_if(move |_: Result<&u32, &E>| {
        vetoed();
        true
    })
    .observe(move |_: Result<&u32, &E>| seen());
    assert_eq!(ask(&layer, Ok(1)), Ok(1));
    assert_eq!(calls.get(), 0);
    assert_eq!(ask(&layer, failed("no")), Ok(7));
    assert_eq!(calls.get(), 3);
}

#[test]
fn the_observer_sees_the_original_before_the_fallback_answers() {
    let seen = RefCell::new(Vec::new());
    let layer = FallbackLayer::function(|_: Answer| {
        seen.borrow_mut().push("made".to_owned());
        Ok(7)
    })
    .classify(From500)
    .only_if(|failed: Result<&u32, &E>| failed != Ok(&501))
    .observe(|original: Result<&u32, &E>| seen.borrow_mut().push(format!("{original:?}")));
    for answer in [Ok(200), Ok(500), Ok(501), failed("no")] {
        let _ = ask(&layer, answer);
    }
    assert_eq!(*seen.borrow(), ["Ok(500)", "made", r#"Err(Inner("no"))"#, "made"]);
}

/// Counts its clones.
#[derive(Debug)]
struct Counted(Rc<Cell<u32>>);

impl Clone for Counted {
    fn clone(&self) -> Self {
        self.0.set(self.0.get() + 1);
        Self(Rc::clone(&self.0))
    }
}

#[tokio::test]
async fn a_value_is_cloned_when_it_is_used_and_not_before() {
    let clones = Rc::new(Cell::new(0));
    let layer = FallbackLayer::value(Counted(Rc::clone(&clones)));
    let leaf =
        service_fn(async |fine: bool| if fine { Ok(Counted(Rc::new(Cell::new(0)))) } else { Err(Error::Inner("no")) });
    let service = layer.clone().layer(leaf);
    assert!(service.clone().oneshot(true).await.is_ok());
    assert_eq!(clones.get(), 0);
    assert!(service.clone().oneshot(false).await.is_ok());
    assert!(service.oneshot(false).await.is_ok());
    assert_eq!(clones.get(), 2);
}

#[test]
fn an_own_answer_does_as_well() {
    #[derive(Clone, Copy)]
    struct Double;
    impl mainstay_fallback::Synchronous for Double {}
    impl mainstay_fallback::Answer<u32, E> for Double {
        fn takes(&self, failed: Result<&u32, &E>) -> bool {
            failed != Ok(&501)
        }

        fn answer(self, failed: Answer) -> Answer {
            failed.map(|response| response * 2)
        }
    }
    let layer = FallbackLayer::with(Double).classify(From500);
    assert_eq!([Ok(500), Ok(501)].map(|answer| ask(&layer, answer)), [Ok(1_000), Ok(501)]);
}

#[test]
fn the_inner_future_is_gone_before_the_fallback_answers() {
    let leaf = Leaf::silent();
    let inner = leaf.clone();
    let layer = FallbackLayer::function(move |_: Answer| Ok(inner.alive()));
    let mut call = task::spawn(layer.layer(leaf.clone()).call(1));
    assert_pending!(call.poll());
    assert_eq!(leaf.alive(), 1);
    leaf.answer(failed("no"));
    assert!(call.is_woken());
    assert_ready_eq!(call.poll(), Ok(0));
}

#[test]
fn a_dropped_call_drops_the_inner_one() {
    let leaf = Leaf::silent();
    let layer = FallbackLayer::function(|_: Answer| Ok(7));
    drop(layer.layer(leaf.clone()).call(1));
    assert_eq!(leaf.alive(), 0);
    let mut call = task::spawn(layer.layer(leaf.clone()).call(1));
    assert_pending!(call.poll());
    drop(call);
    assert_eq!((leaf.alive(), leaf.asked()), (0, vec![1, 1]));
}

#[test]
#[should_panic = "polled after its answer"]
fn a_call_that_fell_back_is_not_polled_again() {
    let mut call = task::spawn(FallbackLayer::value(7).layer(Leaf::answering(failed("no"))).call(1));
    assert_ready_eq!(call.poll(), Ok(7));
    let _ = call.poll();
}

#[test]
fn a_panic_of_the_function_goes_on_to_the_caller_and_harms_no_other_call() {
    let leaf = Leaf::answering(failed("no"));
    let layer = FallbackLayer::function(|failed: Answer| failed.map_err(|_| panic!("boom")));
    let mut service = layer.layer(leaf.clone());
    let mut call = task::spawn(service.call(1));
    let boom = catch_unwind(AssertUnwindSafe(|| call.poll())).unwrap_err();
    assert_eq!(boom.downcast_ref(), Some(&"boom"));
    assert_eq!(leaf.alive(), 0);
    let again = catch_unwind(AssertUnwindSafe(|| call.poll())).unwrap_err();
    assert_eq!(again.downcast_ref(), Some(&"the future was polled after its answer"));
    leaf.answer(Ok(1));
    assert_ready_eq!(task::spawn(service.call(1)).poll(), Ok(1));
}

#[test]
fn an_error_of_readiness_is_passed_on() {
    let leaf = Leaf::default();
    let mut service = FallbackLayer::value(7).layer(leaf.clone());
    let cx = &mut Context::from_waker(Waker::noop());
    assert!(service.poll_ready(cx).is_pending());
    let gone = Error::Refused(Refused::new(Reason::NoEndpoint, "further in"));
    leaf.be(Err(gone));
    assert_eq!(service.poll_ready(cx), Poll::Ready(Err(gone)));
    leaf.be(Ok(()));
    assert_eq!(service.poll_ready(cx), Poll::Ready(Ok(())));
}
