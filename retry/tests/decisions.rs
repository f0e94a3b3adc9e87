//! What is sent again, and what the answer is.

mod support;

use mainstay_core::{Boundary, BoxError, Class, Error, Failure, Reason, Refused, TimedOut, classify_fn};
use mainstay_retry::{Config, Retries, RetryLayer};
use proptest::prelude::*;
use std::{
    cell::{Cell, RefCell},
    future::ready,
    time::Duration,
};
use support::{Answer, End, FAILED, Leaf, OK, REFUSED, SECOND, TIMED_OUT, at_once, doubling};
use tokio_test::block_on;
use tower::{Layer, Service, ServiceExt, service_fn};

fn layer(config: Config) -> RetryLayer {
    RetryLayer::new(config).unwrap()
}

/// The ends of an attempt that a classifier can tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Success,
    Refused,
    RefusedInVain,
    Failed,
    Permanent,
    Ignored,
    TimedOut,
    /// Responses, as over HTTP.
    BadResponse,
    PermanentResponse,
    IgnoredResponse,
}

use Kind::{
    BadResponse, Failed, Ignored, IgnoredResponse, Permanent, PermanentResponse, Refused as RefusedKind, RefusedInVain,
    Success, TimedOut as TimedOutKind,
};

const KINDS: [Kind; 10] = [
    Success,
    RefusedKind,
    RefusedInVain,
    Failed,
    Permanent,
    Ignored,
    TimedOutKind,
    BadResponse,
    PermanentResponse,
    IgnoredResponse,
];

type Numbered = Result<(Kind, usize), Error<(Kind, usize)>>;

fn end(kind: Kind, number: usize) -> Numbered {
    // The number of the attempt, where there is room for it.
    let after = Duration::from_secs(number as u64);
    match kind {
        Success | BadResponse | PermanentResponse | IgnoredResponse => Ok((kind, number)),
        Failed | Permanent | Ignored => Err(Error::Inner((kind, number))),
        RefusedKind => Err(Refused::new(Reason::CircuitOpen, "test").with_retry_after(after).into()),
        RefusedInVain => Err(Refused::new(Reason::DeadlinePassed, "test").with_retry_after(after).into()),
        TimedOutKind => Err(TimedOut::new("test", after).into()),
    }
}

fn classify(result: Result<&(Kind, usize), &Error<(Kind, usize)>>) -> Class {
    match result {
        Ok((kind, _)) | Err(Error::Inner((kind, _))) => match kind {
            Permanent | PermanentResponse => Class::Failure(Failure::Permanent),
            Ignored | IgnoredResponse => Class::Ignored,
            Success => Class::Success,
            _ => Class::Failure(Failure::Transient),
        },
        Err(_) => Class::Failure(Failure::Transient),
    }
}

/// How many attempts there are, and which of them is the answer.
fn model(kinds: &[Kind], max_attempts: usize, is_idempotent: bool) -> (usize, usize) {
    let goes_on = |kind| match kind {
        RefusedKind => true,
        Failed | TimedOutKind | BadResponse => is_idempotent,
        _ => false,
    };
    let last = kinds.iter().take(max_attempts).position(|kind| !goes_on(*kind)).unwrap_or(max_attempts - 1);
    if matches!(kinds[last], Success | IgnoredResponse) {
        return (last + 1, last);
    }
    let uncertainty = |kind| match kind {
        RefusedKind | RefusedInVain => 0,
        TimedOutKind => 2,
        _ => 1,
    };
    let answer = (0..=last).max_by_key(|attempt| uncertainty(kinds[*attempt])).unwrap();
    (last + 1, answer)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, ..ProptestConfig::default() })]

    #[test]
    fn attempts_and_answer_are_those_of_the_model(
        kinds in prop::collection::vec(prop::sample::select(&KINDS[..]), 4),
        max_attempts in 1_usize..=4,
        is_idempotent: bool,
    ) {
        let config = at_once().max_attempts(max_attempts.try_into().unwrap()).max_retry_after(Duration::ZERO);
        let (attempts, answer) = model(&kinds, max_attempts, is_idempotent);
        let calls = Cell::new(0);
        let attempt = || {
            calls.set(calls.get() + 1);
            ready(end(kinds[calls.get() - 1], calls.get() - 1))
        };

        let repeat = mainstay_retry::Cloned::new().idempotent_if(move |(): &()| is_idempotent);
        let service = layer(config).repeat(repeat).classify(classify_fn(classify)).layer(service_fn(|()| attempt()));
        prop_assert_eq!(block_on(service.oneshot(())), end(kinds[answer], answer));
        prop_assert_eq!(calls.replace(0), attempts);

        let retries = Retries::new(config).unwrap().classify(classify_fn(classify));
        let plain = block_on(async {
            if is_idempotent { retries.call_idempotent(|_| attempt()).await } else { retries.call(|_| attempt()).await }
        });
        prop_assert_eq!(plain, end(kinds[answer], answer));
        prop_assert_eq!(calls.get(), attempts);
    }
}

#[tokio::test(start_paused = true)]
async fn what_may_have_been_executed_is_sent_once() {
    for end in [FAILED, TIMED_OUT] {
        let leaf = Leaf::new([end]);
        assert!(layer(at_once()).layer(leaf.handle()).oneshot(1).await.is_err());
        assert_eq!(leaf.calls(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn the_marked_requests_alone_are_sent_again() {
    let leaf = Leaf::new([FAILED, FAILED, FAILED]);
    let service = layer(at_once()).idempotent_if(|request: &u32| *request == 7).layer(leaf.handle());
    assert!(service.clone().oneshot(6).await.is_err());
    assert_eq!(leaf.calls(), 1);
    assert_eq!(service.oneshot(7).await, Ok("espresso"));
    assert_eq!(leaf.calls(), 4);
}

#[tokio::test(start_paused = true)]
async fn the_last_word_is_asked_after_everything_but_the_budget() {
    let asked = RefCell::new(Vec::new());
    let ask = |request: &u32, result: Result<&&str, &Error<&str>>, attempt: mainstay_core::Attempt| {
        asked.borrow_mut().push((*request, result.is_err(), attempt.number()));
        attempt.is_first()
    };
    let leaf = Leaf::new([REFUSED, REFUSED, REFUSED, FAILED]);
    let budget = mainstay_retry::Budget::new(mainstay_retry::BudgetConfig::default()).unwrap();
    let service = layer(at_once()).budget(&budget).only_if(&ask).layer(leaf.handle());
    assert!(matches!(service.clone().oneshot(1).await, Err(Error::Refused(_))));
    assert_eq!(asked.take(), [(1, true, 1), (1, true, 2)]);
    assert_eq!((leaf.calls(), budget.snapshot().withdrawn), (2, 1), "what is forbidden is not paid for");

    // Neither for what is no failure nor for what may not be sent again.
    let leaf = Leaf::new([OK, FAILED]);
    let service = layer(at_once()).only_if(&ask).layer(leaf.handle());
    assert!(service.clone().oneshot(1).await.is_ok());
    assert!(service.oneshot(1).await.is_err());
    assert!(asked.take().is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_plain_form_has_a_last_word_too() {
    let retries = Retries::new(at_once()).unwrap().only_if(|_: Result<&(), &Error<&str>>, attempt| attempt.is_first());
    let calls = Cell::new(0);
    let work = |attempt: mainstay_core::Attempt| {
        calls.set(attempt.number());
        ready(Err::<(), _>(Error::Inner("reset")))
    };
    assert!(retries.call_idempotent(work).await.is_err());
    assert_eq!(calls.get(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_in_a_box_is_proof_above_a_boundary_only() {
    let calls = Cell::new(0);
    let refuse = || {
        calls.set(calls.get() + 1);
        ready(Err::<(), BoxError>(Box::new(Refused::new(Reason::CircuitOpen, "test"))))
    };
    let leaf = || service_fn(|()| refuse());
    let attempts = |_| calls.replace(0);

    let unsure = layer(at_once()).layer(leaf()).oneshot(()).await;
    assert_eq!(attempts(unsure), 1, "the leaf may have met it on its way");
    let unsure = layer(at_once()).idempotent().layer(leaf()).oneshot(()).await;
    assert_eq!(attempts(unsure), 3, "it does not matter");
    let declared = layer(at_once()).above_boundary().layer(leaf()).oneshot(()).await;
    assert_eq!(attempts(declared), 3);
    let below = layer(at_once()).above_boundary().layer(Boundary::new(leaf())).oneshot(()).await;
    assert_eq!(attempts(below), 1, "it came from below");

    let _ = Retries::new(at_once()).unwrap().call(|_| refuse()).await;
    assert_eq!(calls.replace(0), 1);
    let _ = Retries::new(at_once()).unwrap().above_boundary().call(|_| refuse()).await;
    assert_eq!(calls.get(), 3);
}

#[tokio::test(start_paused = true)]
async fn nobody_comes_back_before_the_time_that_was_asked_for() {
    let leaf = Leaf::new([refused_for(7 * SECOND), refused_for(10 * SECOND)]);
    assert!(layer(doubling()).layer(leaf.handle()).oneshot(1).await.is_ok());
    assert_eq!(leaf.times(), [0, 7, 17].map(|at| at * SECOND));

    let overloaded = classify_fn(|result: Result<&&str, &Error<&str>>| match result {
        Ok(_) => Class::Success,
        Err(_) => Class::Failure(Failure::Overloaded { retry_after: Some(5 * SECOND) }),
    });
    let leaf = Leaf::new([FAILED, FAILED]);
    assert!(layer(doubling()).idempotent().classify(overloaded).layer(leaf.handle()).oneshot(1).await.is_ok());
    assert_eq!(leaf.times(), [0, 5, 10].map(|at| at * SECOND));
}

fn refused_for(wait: Duration) -> End {
    End::With(Err(Refused::new(Reason::CircuitOpen, "test").with_retry_after(wait).into()))
}

#[tokio::test(start_paused = true)]
async fn a_refusal_for_too_long_is_answered_at_once_and_the_wait_of_a_service_is_cut() {
    let too_long = 10 * SECOND + Duration::from_nanos(1);
    for is_idempotent in [false, true] {
        let leaf = Leaf::new([REFUSED, refused_for(too_long)]);
        let service = layer(at_once()).idempotent_if(move |_| is_idempotent).layer(leaf.handle());
        let start = tokio::time::Instant::now();
        assert!(
            matches!(service.oneshot(1).await, Err(Error::Refused(refused)) if refused.retry_after() == Some(too_long))
        );
        assert_eq!((leaf.calls(), start.elapsed()), (2, Duration::ZERO), "whoever comes earlier is refused once more");
    }
    let calls = Cell::new(0);
    let retries = Retries::new(at_once()).unwrap();
    let answer: Answer = retries
        .call(|_| {
            calls.set(calls.get() + 1);
            ready(Err(Refused::new(Reason::CircuitOpen, "test").with_retry_after(too_long).into()))
        })
        .await;
    assert!(matches!(answer, Err(Error::Refused(_))));
    assert_eq!(calls.get(), 1);

    let overloaded = classify_fn(|result: Result<&&str, &Error<&str>>| match result {
        Ok(_) => Class::Success,
        Err(_) => Class::Failure(Failure::Overloaded { retry_after: Some(1_000 * SECOND) }),
    });
    let leaf = Leaf::new([FAILED]);
    assert!(layer(at_once()).idempotent().classify(overloaded).layer(leaf.handle()).oneshot(1).await.is_ok());
    assert_eq!(leaf.times(), [0, 10].map(|at| at * SECOND), "a guess, made for many");

    let leaf = Leaf::new([refused_for(1_000 * SECOND)]);
    assert!(layer(doubling().max_retry_after(Duration::ZERO)).layer(leaf.handle()).oneshot(1).await.is_ok());
    assert_eq!(leaf.times(), [0, 1].map(|at| at * SECOND), "no notice is taken");
}

#[tokio::test(start_paused = true)]
async fn by_default_an_open_circuit_answers_at_once() {
    use mainstay_circuit_breaker as breaker;
    let consecutive = breaker::Config::default().window(breaker::Window::Consecutive(1));
    let mut stack = tower::ServiceBuilder::new()
        .layer(layer(Config::default()))
        .layer(breaker::CircuitBreakerLayer::new(consecutive).unwrap())
        .service_fn(|_: u32| ready(Err::<u32, _>(Error::Inner("down"))));
    assert_eq!(stack.ready().await.unwrap().call(1).await, Err(Error::Inner("down")));
    let start = tokio::time::Instant::now();
    assert!(matches!(stack.ready().await.unwrap().call(1).await, Err(Error::Refused(_))));
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn the_waits_are_those_of_the_backoff() {
    let leaf = Leaf::new([FAILED; 9]);
    let answer = layer(doubling().max_attempts(4)).idempotent().layer(leaf.handle()).oneshot(1).await;
    assert_eq!(answer, Err(Error::Inner("reset")));
    assert_eq!(leaf.times(), [0, 1, 3, 7].map(|at| at * SECOND));
}

#[tokio::test(start_paused = true)]
async fn a_seed_repeats_the_waits_and_no_clone_repeats_another() {
    let times = async |clones: usize| {
        let mut all = Vec::new();
        let mut service = layer(Config::default().seed(7)).idempotent().layer(Leaf::new([]));
        for _ in 0..clones {
            service = service.clone();
        }
        for _ in 0..3 {
            let leaf = Leaf::new([FAILED, FAILED]);
            *service.get_mut() = leaf.handle();
            let answer: Answer = service.ready().await.unwrap().call(1).await;
            assert!(answer.is_ok());
            all.push(leaf.times());
        }
        all
    };
    let [first, second] = [times(0).await, times(1).await];
    assert_eq!(first, times(0).await);
    assert_eq!(second, times(1).await);
    let mut all: Vec<_> = [first, second].concat();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 6, "each call draws anew");
}
