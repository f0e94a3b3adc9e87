//! Without tower.

mod support;

use mainstay_core::{BoxError, Deadline, Error, Refusable, Verdict, lift};
use mainstay_timeout::{timeout, within};
use std::{
    convert::Infallible,
    future::{pending, ready},
    time::Duration,
};
use support::{Answer, Leaf, ms, now, timed_out, too_late};
use tokio::time::advance;
use tokio_test::{assert_pending, assert_ready_eq, task};

#[tokio::test(start_paused = true)]
async fn a_future_has_its_time() {
    assert_eq!(timeout("test", ms(100), ready(Answer::Ok(7))).await, Ok(7));
    assert_eq!(timeout("test", ms(100), ready(Answer::Err(Error::Inner("no")))).await, Err(Error::Inner("no")));
    let start = tokio::time::Instant::now();
    assert_eq!(timeout("test", ms(100), pending::<Answer>()).await, timed_out(ms(100)));
    assert_eq!(start.elapsed(), ms(100));
}

#[tokio::test(start_paused = true)]
async fn a_time_of_zero_is_one_poll() {
    assert_eq!(timeout("test", Duration::ZERO, ready(Answer::Ok(7))).await, Ok(7));
    let mut call = task::spawn(timeout("test", Duration::ZERO, pending::<Answer>()));
    assert_ready_eq!(call.poll(), timed_out(Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn a_passed_deadline_is_refused_without_a_poll() {
    let leaf = Leaf::answering(Ok(7));
    let mut call = task::spawn(within("test", Deadline::at(now()), leaf.future()));
    assert_ready_eq!(call.poll(), too_late());
    assert_eq!((leaf.0.polls.get(), leaf.0.alive.get()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn the_deadline_is_looked_at_when_the_future_is_first_polled() {
    let deadline = Deadline::after(now(), ms(100));
    let (leaf, other) = (Leaf::default(), Leaf::default());
    let mut late = task::spawn(within("test", deadline, leaf.future()));
    let mut call = task::spawn(within("test", deadline, other.future()));
    advance(ms(40)).await;
    assert_pending!(call.poll());
    advance(ms(60)).await;
    assert!(call.is_woken());
    assert_ready_eq!(late.poll(), too_late());
    assert_eq!(leaf.0.polls.get(), 0);
    assert_ready_eq!(call.poll(), timed_out(ms(60)));
    assert_eq!((other.0.polls.get(), other.0.alive.get()), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn an_answer_before_the_deadline_is_passed_on() {
    let leaf = Leaf::default();
    let mut call = task::spawn(within("test", Deadline::after(now(), ms(100)), leaf.future()));
    assert_pending!(call.poll());
    leaf.0.answer.set(Some(Ok(7)));
    assert_ready_eq!(call.poll(), Ok(7));
    drop(call);
    assert_eq!(leaf.0.alive.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn every_error_that_can_carry_it_carries_it() {
    let boxed = timeout("test", ms(1), pending::<Result<(), BoxError>>()).await.unwrap_err();
    assert!(matches!(boxed.verdict(), Verdict::TimedOut(_)));
    let boxed = within("test", Deadline::at(now()), pending::<Result<(), BoxError>>()).await.unwrap_err();
    assert!(matches!(boxed.verdict(), Verdict::Refused(_)));
    let lifted = timeout("test", ms(1), lift(pending::<Result<(), Infallible>>())).await.unwrap_err();
    assert!(matches!(lifted, Error::TimedOut(_)));
}

#[tokio::test(start_paused = true)]
async fn a_deadline_at_the_end_of_time_is_for_ever() {
    let mut far = now();
    for step in (0..63).rev().map(|bits| Duration::from_secs(1 << bits)) {
        far = far.checked_add(step).unwrap_or(far);
    }
    let mut call = task::spawn(within("test", Deadline::at(far), pending::<Answer>()));
    assert_pending!(call.poll());
    let mut call = task::spawn(within("test", Deadline::at(far + Duration::from_nanos(1)), pending::<Answer>()));
    assert_pending!(call.poll());
}
