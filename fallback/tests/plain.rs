//! Without tower.

mod support;

use mainstay_core::Error;
use mainstay_fallback::{fallback, fallback_to};
use std::{
    cell::Cell,
    future::{pending, ready},
    panic::{AssertUnwindSafe, catch_unwind},
};
use support::{Answer, E, Leaf, failed, refused, timed_out};
use tokio_test::{assert_pending, assert_ready_eq, task};

#[tokio::test]
async fn call_else_this() {
    assert_eq!(fallback(ready(Answer::Ok(1)), |_| panic!("not on a success")).await, 1);
    assert_eq!(fallback(ready(failed("no")), |_| 7).await, 7);
    // No bound on the error, and it is given away.
    let text = fallback(ready(Err::<String, _>("no".to_owned())), |error| error + "thing").await;
    assert_eq!(text, "nothing");
}

#[test]
fn the_future_is_gone_before_the_function_answers() {
    let leaf = Leaf::answering(failed("no"));
    let mut call = task::spawn(fallback(leaf.future(), |_| leaf.alive()));
    assert_ready_eq!(call.poll(), 0);
    let again = catch_unwind(AssertUnwindSafe(|| call.poll())).unwrap_err();
    assert_eq!(again.downcast_ref(), Some(&"the future was polled after its answer"));
}

#[tokio::test]
async fn call_else_that() {
    let never = |_: &E| -> std::future::Ready<Answer> { panic!("not on a success") };
    assert_eq!(fallback_to(ready(Ok(1)), never).await, Ok(1));
    assert_eq!(
        fallback_to(ready(failed("no")), |error| ready(Ok(u32::from(*error == Error::Inner("no"))))).await,
        Ok(1)
    );
}

#[tokio::test]
async fn of_two_errors_the_one_that_leaves_more_open_is_the_answer() {
    let outcomes = |why| [(0, refused()), (1, failed(why)), (2, timed_out())];
    for (first_open, first) in outcomes("first") {
        for (second_open, second) in outcomes("second") {
            let expected = if first_open > second_open { first } else { second };
            assert_eq!(fallback_to(ready(first), |_| ready(second)).await, expected);
        }
    }
}

#[test]
fn who_is_waited_for_wakes_and_the_first_is_gone_before_the_second() {
    let (first, second) = (Leaf::silent(), Leaf::silent());
    let mut call = task::spawn(fallback_to(first.future(), |_| {
        assert_eq!(first.alive(), 0);
        second.future()
    }));
    assert_pending!(call.poll());
    first.answer(failed("no"));
    assert!(call.is_woken());
    assert_pending!(call.poll());
    second.answer(Ok(7));
    assert!(call.is_woken());
    assert_ready_eq!(call.poll(), Ok(7));
    assert_eq!(second.alive(), 0, "gone with the answer");
}

#[test]
fn a_dropped_call_drops_what_is_running() {
    let (first, second) = (Leaf::silent(), Leaf::silent());
    drop(fallback(first.future(), |_| 7));
    drop(fallback_to(first.future(), |_| second.future()));
    let mut call = task::spawn(fallback_to(first.future(), |_| second.future()));
    assert_pending!(call.poll());
    drop(call);
    first.answer(failed("no"));
    let mut call = task::spawn(fallback_to(first.future(), |_| second.future()));
    assert_pending!(call.poll());
    assert_eq!((first.alive(), second.alive()), (0, 1));
    drop(call);
    assert_eq!((first.alive(), second.alive()), (0, 0));
}

#[test]
fn a_panic_goes_on_to_the_caller_and_the_call_is_over() {
    let calls = Cell::new(0);
    let mut call = task::spawn(fallback_to(ready(failed("no")), |_: &E| -> std::future::Pending<Answer> {
        calls.set(calls.get() + 1);
        assert_ne!(calls.get(), 1, "boom");
        pending()
    }));
    let boom = catch_unwind(AssertUnwindSafe(|| call.poll())).unwrap_err();
    assert!(boom.downcast_ref::<String>().expect("it is formatted").contains("boom"));
    let again = catch_unwind(AssertUnwindSafe(|| call.poll())).unwrap_err();
    assert_eq!(again.downcast_ref(), Some(&"the future was polled after its answer"));
}
