//! Attempts that need not wait let others have their turn.

mod support;

use mainstay_core::{Error, Reason, Refused};
use mainstay_retry::{Retries, RetryLayer};
use std::{
    cell::Cell,
    future::{Future, ready},
    time::Duration,
};
use support::{SECOND, at_once};
use tokio::{task::yield_now, time::advance};
use tower::{Layer, ServiceExt, service_fn};

type Answer = Result<(), Error<&'static str>>;

const ATTEMPTS: u32 = 100_000;

/// Refuses every call, and counts.
fn refuse(calls: &Cell<u32>) -> impl Future<Output = Answer> + use<> {
    calls.set(calls.get() + 1);
    ready(Err(Refused::new(Reason::CircuitOpen, "test").into()))
}

/// How many attempts others let pass, in a task of their own.
async fn attempts_until_others_had_their_turn(call: impl Future<Output = Answer>, calls: &Cell<u32>) -> u32 {
    let mut seen = 0;
    let other = async {
        yield_now().await;
        seen = calls.get();
    };
    let (answer, ()) = tokio::join!(call, other);
    assert!(answer.is_err());
    assert_eq!(calls.get(), ATTEMPTS, "all of them were made in the end");
    seen
}

#[tokio::test]
async fn others_have_their_turn_between_attempts_of_the_layer() {
    let calls = Cell::new(0);
    let layer = RetryLayer::new(at_once().max_attempts(ATTEMPTS)).unwrap();
    let call = layer.layer(service_fn(|()| refuse(&calls))).oneshot(());
    assert!(attempts_until_others_had_their_turn(call, &calls).await < 1_000);
}

#[tokio::test]
async fn others_have_their_turn_between_attempts_of_the_plain_form() {
    let calls = Cell::new(0);
    let retries = Retries::new(at_once().max_attempts(ATTEMPTS)).unwrap();
    let call = retries.call(|_| refuse(&calls));
    assert!(attempts_until_others_had_their_turn(call, &calls).await < 1_000);
}

#[tokio::test(start_paused = true)]
async fn a_timeout_around_a_call_ends_it() {
    let calls = Cell::new(0);
    let retries = Retries::new(at_once().max_attempts(ATTEMPTS)).unwrap();
    let layer = RetryLayer::new(at_once().max_attempts(ATTEMPTS)).unwrap();
    let plain = async { tokio::time::timeout(SECOND, retries.call(|_| refuse(&calls))).await };
    let layered =
        async { tokio::time::timeout(SECOND, layer.layer(service_fn(|()| refuse(&calls))).oneshot(())).await };
    // Time passes only where others have their turn.
    let time = async {
        loop {
            advance(Duration::from_millis(100)).await;
        }
    };
    tokio::select! {
        ended = async { (plain.await, layered.await) } => assert!(ended.0.is_err() && ended.1.is_err()),
        () = time => unreachable!(),
    }
    assert!(calls.get() < ATTEMPTS);
}
