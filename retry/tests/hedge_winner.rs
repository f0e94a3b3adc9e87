//! Which attempt gives the answer, and what starts the next one.

mod hedge_support;

use hedge_support::{
    ALMOST, Answer, DELAY, Leaf, TestLayer, advance, class, config, counts, failed, layer, refused, timed_out,
};
use mainstay_core::classify_fn;
use mainstay_retry::HedgeConfig;
use proptest::prelude::*;
use std::time::Duration;
use tokio_test::{assert_pending, assert_ready_eq, task};
use tower::{Layer, Service};

/// A call in a task of its own. A macro, since its type has the type of a closure in it.
macro_rules! call {
    ($leaf:expr, $config:expr) => {{
        let mut service = layer($config).classify(classify_fn(class)).layer($leaf.clone());
        let _ = service.poll_ready(&mut std::task::Context::from_waker(std::task::Waker::noop()));
        task::spawn(service.call("read"))
    }};
}

fn up_to(hedges: u32) -> HedgeConfig {
    config().max_hedges(hedges)
}

#[tokio::test(start_paused = true)]
async fn a_first_attempt_in_time_is_the_only_one() {
    let leaf = Leaf::default();
    let mut call = call!(leaf, config());
    assert_pending!(call.poll());
    advance(ALMOST).await;
    assert!(!call.is_woken());
    leaf.end(0, Ok(1));
    assert!(call.is_woken());
    assert_ready_eq!(call.poll(), Ok(1));
    assert_eq!(leaf.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn hedges_start_one_delay_after_another_and_no_more_than_allowed() {
    let leaf = Leaf::default();
    let mut call = call!(leaf, up_to(3));
    assert_pending!(call.poll());
    for started in 1..=3 {
        advance(ALMOST).await;
        assert!(!call.is_woken(), "hedge {started} is not due");
        advance(Duration::from_millis(1)).await;
        assert!(call.is_woken(), "hedge {started} is due");
        assert_pending!(call.poll());
        assert_eq!(leaf.running().len(), 1 + started);
    }
    advance(100 * DELAY).await;
    assert!(!call.is_woken(), "nothing more is due");
    assert_pending!(call.poll());
    assert_eq!(leaf.calls(), 4);
    for number in [3, 1] {
        leaf.end(number, failed("no"));
        assert!(call.is_woken());
        assert_pending!(call.poll());
    }
    leaf.end(2, Ok(2));
    assert!(call.is_woken());
    assert_ready_eq!(call.poll(), Ok(2));
    assert_eq!(leaf.requests(), ["read"; 4]);
}

#[tokio::test(start_paused = true)]
async fn without_a_delay_all_start_at_the_first_poll_without_a_timer() {
    let leaf = Leaf::default();
    let mut call = call!(leaf, up_to(2).delay(Duration::ZERO));
    assert_eq!(leaf.calls(), 1);
    assert_pending!(call.poll());
    assert_eq!(leaf.running(), [0, 1, 2]);
    leaf.end(2, Ok(7));
    assert!(call.is_woken());
    assert_ready_eq!(call.poll(), Ok(7));
}

#[test]
fn no_runtime_is_needed_where_nothing_waits_for_a_time() {
    let leaf = Leaf::default();
    let mut call = call!(leaf, config().delay(Duration::ZERO));
    assert_pending!(call.poll());
    leaf.end(1, Ok(7));
    assert_ready_eq!(call.poll(), Ok(7));

    let mut call = call!(leaf, config().delay(Duration::MAX));
    assert_pending!(call.poll());
    leaf.end(2, Ok(8));
    assert_ready_eq!(call.poll(), Ok(8));
}

#[tokio::test(start_paused = true)]
async fn a_later_success_wins_over_an_earlier_error() {
    for first in [failed("early"), refused(), timed_out(), Ok(500), failed("busy")] {
        let leaf = Leaf::default();
        let mut call = call!(leaf, config());
        assert_pending!(call.poll());
        advance(DELAY).await;
        assert_pending!(call.poll());
        leaf.end(0, first);
        assert_pending!(call.poll());
        leaf.end(1, Ok(2));
        assert!(call.is_woken());
        assert_ready_eq!(call.poll(), Ok(2));
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_hedge_leaves_the_first_attempt_running() {
    let leaf = Leaf::default();
    let mut call = call!(leaf, config());
    assert_pending!(call.poll());
    advance(DELAY).await;
    assert_pending!(call.poll());
    leaf.end(1, failed("hedge"));
    assert_pending!(call.poll());
    leaf.end(0, Ok(1));
    assert_ready_eq!(call.poll(), Ok(1));
}

#[tokio::test(start_paused = true)]
async fn a_failure_starts_the_next_attempt_at_once() {
    for first in [failed("early"), timed_out(), Ok(500)] {
        let leaf = Leaf::default();
        let mut call = call!(leaf, config());
        assert_pending!(call.poll());
        leaf.end(0, first);
        assert_pending!(call.poll());
        assert_eq!(leaf.running(), [1], "not a millisecond has passed");
        leaf.end(1, Ok(2));
        assert_ready_eq!(call.poll(), Ok(2));
    }
}

#[tokio::test(start_paused = true)]
async fn where_only_what_is_late_is_hedged_a_failure_starts_none() {
    for first in [failed("early"), timed_out(), Ok(500)] {
        let leaf = Leaf::default();
        let mut call = call!(leaf, up_to(3).on_failure(false));
        assert_pending!(call.poll());
        leaf.end(0, first);
        assert_ready_eq!(call.poll(), first, "nothing runs");
        assert_eq!(leaf.calls(), 1);

        let leaf = Leaf::default();
        let mut call = call!(leaf, up_to(3).on_failure(false));
        assert_pending!(call.poll());
        advance(DELAY).await;
        assert_pending!(call.poll());
        advance(DELAY / 2).await;
        leaf.end(1, first);
        assert_pending!(call.poll());
        assert_eq!(leaf.calls(), 2);
        advance(DELAY / 2).await;
        assert_pending!(call.poll());
        assert_eq!(leaf.running(), [0, 2], "by its time");
    }
}

#[tokio::test(start_paused = true)]
async fn each_failure_starts_one_and_the_timer_starts_anew_after_it() {
    let leaf = Leaf::default();
    let mut call = call!(leaf, up_to(3));
    assert_pending!(call.poll());
    advance(DELAY / 2).await;
    leaf.end(0, failed("early"));
    assert_pending!(call.poll());
    assert_eq!(leaf.calls(), 2);
    advance(DELAY / 2).await;
    assert!(!call.is_woken(), "the old time does not count any more");
    assert_pending!(call.poll());
    assert_eq!(leaf.calls(), 2);
    advance(DELAY / 2).await;
    assert!(call.is_woken());
    assert_pending!(call.poll());
    assert_eq!(leaf.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_fatal_failure_ends_the_call_at_once() {
    for number in [0, 1] {
        let leaf = Leaf::default();
        let mut call = call!(leaf, up_to(3));
        assert_pending!(call.poll());
        advance(DELAY).await;
        assert_pending!(call.poll());
        leaf.end(number, failed("fatal"));
        assert!(call.is_woken());
        assert_ready_eq!(call.poll(), failed("fatal"));
        assert_eq!((leaf.running(), leaf.calls()), (vec![], 2));
    }
}

#[tokio::test(start_paused = true)]
async fn a_response_that_says_nothing_of_the_service_is_an_answer() {
    for number in [0, 1] {
        let leaf = Leaf::default();
        let mut call = call!(leaf, up_to(3));
        assert_pending!(call.poll());
        advance(DELAY).await;
        assert_pending!(call.poll());
        leaf.end(number, Ok(299));
        assert_ready_eq!(call.poll(), Ok(299));
        assert_eq!((leaf.running(), leaf.calls()), (vec![], 2));
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_that_says_nothing_of_the_service_starts_none_and_waits_for_the_others() {
    let leaf = Leaf::default();
    let mut call = call!(leaf, up_to(3));
    assert_pending!(call.poll());
    leaf.end(0, failed("cancelled"));
    assert_ready_eq!(call.poll(), failed("cancelled"), "nothing runs");
    assert_eq!(leaf.calls(), 1);

    for (other, expected) in [(Ok(1), Ok(1)), (timed_out(), timed_out()), (refused(), failed("cancelled"))] {
        for number in [0, 1] {
            let leaf = Leaf::default();
            let mut call = call!(leaf, up_to(3));
            assert_pending!(call.poll());
            advance(DELAY).await;
            assert_pending!(call.poll());
            leaf.end(number, failed("cancelled"));
            assert_pending!(call.poll());
            assert_eq!(leaf.running(), [1 - number]);
            leaf.end(1 - number, other);
            let answer = call.poll();
            let answer = if answer.is_ready() {
                answer
            } else {
                // The timeout is a failure, which starts another.
                leaf.end(2, refused());
                call.poll()
            };
            assert_ready_eq!(answer, expected);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_that_says_nothing_of_the_service_does_not_hide_a_timeout() {
    let leaf = Leaf::default();
    let mut call = call!(leaf, config());
    assert_pending!(call.poll());
    leaf.end(0, timed_out());
    assert_pending!(call.poll());
    leaf.end(1, failed("cancelled"));
    assert_ready_eq!(call.poll(), timed_out());
}

#[tokio::test(start_paused = true)]
async fn an_overloaded_service_is_not_asked_again_at_once() {
    for first in ["busy", "busy for 80 ms", "busy for ever"] {
        let leaf = Leaf::default();
        let mut call = call!(leaf, up_to(3));
        assert_pending!(call.poll());
        leaf.end(0, failed(first));
        assert_ready_eq!(call.poll(), failed(first), "nothing runs, and nothing can start");
        assert_eq!(leaf.calls(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn no_hedge_starts_before_the_time_that_the_service_named() {
    let leaf = Leaf::default();
    let mut call = call!(leaf, up_to(5));
    assert_pending!(call.poll());
    advance(DELAY).await;
    assert_pending!(call.poll());
    leaf.end(0, failed("busy for 80 ms"));
    assert_pending!(call.poll());
    advance(DELAY).await;
    assert_pending!(call.poll());
    assert_eq!(leaf.calls(), 2, "its time has come, and the service asked for more");
    advance(Duration::from_millis(29)).await;
    assert!(!call.is_woken());
    advance(Duration::from_millis(1)).await;
    assert!(call.is_woken());
    assert_pending!(call.poll());
    assert_eq!(leaf.calls(), 3);
    // Others go on by the usual delay.
    advance(DELAY).await;
    assert_pending!(call.poll());
    assert_eq!(leaf.calls(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_failure_does_not_start_one_before_that_time_either() {
    let leaf = Leaf::default();
    let mut call = call!(leaf, up_to(5).delay(Duration::from_millis(100)));
    assert_pending!(call.poll());
    advance(Duration::from_millis(100)).await;
    assert_pending!(call.poll());
    advance(Duration::from_millis(100)).await;
    assert_pending!(call.poll());
    assert_eq!(leaf.calls(), 3);
    leaf.end(0, failed("busy for 80 ms"));
    assert_pending!(call.poll());
    leaf.end(1, failed("early"));
    assert_pending!(call.poll());
    assert_eq!(leaf.calls(), 3);
    advance(Duration::from_millis(99)).await;
    assert!(!call.is_woken());
    advance(Duration::from_millis(1)).await;
    assert_pending!(call.poll());
    assert_eq!(leaf.calls(), 4, "by its own time");
}

#[tokio::test(start_paused = true)]
async fn a_service_that_never_wants_to_be_asked_again_is_not() {
    let leaf = Leaf::default();
    let mut call = call!(leaf, up_to(5));
    assert_pending!(call.poll());
    advance(DELAY).await;
    assert_pending!(call.poll());
    leaf.end(0, failed("busy for ever"));
    assert_pending!(call.poll());
    advance(100 * DELAY).await;
    assert!(!call.is_woken());
    leaf.end(1, failed("late"));
    assert_ready_eq!(call.poll(), failed("late"));
}

#[tokio::test(start_paused = true)]
async fn only_what_is_idempotent_is_sent_twice() {
    let leaf = Leaf::default();
    let layer = mainstay_retry::HedgeLayer::new(config()).unwrap().idempotent_if(|request| *request == "read");
    let mut service = layer.layer(leaf.clone());
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    for (request, sent) in [("write", 1), ("read", 2)] {
        let before = leaf.calls();
        assert!(service.poll_ready(&mut cx).is_ready());
        let mut call = task::spawn(service.call(request));
        assert_pending!(call.poll());
        advance(DELAY).await;
        assert_eq!(call.is_woken(), sent == 2);
        assert_pending!(call.poll());
        leaf.end(before, failed("no"));
        if sent == 1 {
            assert_ready_eq!(call.poll(), failed("no"));
        } else {
            assert_pending!(call.poll());
        }
        assert_eq!(leaf.calls() - before, sent, "{request}");
    }
    // Nothing is, by default.
    let mut service = mainstay_retry::HedgeLayer::new(config().delay(Duration::ZERO)).unwrap().layer(leaf.clone());
    let before = leaf.calls();
    assert!(service.poll_ready(&mut cx).is_ready());
    let mut call = task::spawn(service.call("read"));
    assert_pending!(call.poll());
    leaf.end(before, refused());
    assert_ready_eq!(call.poll(), refused());
    assert_eq!(leaf.calls() - before, 1);
}

#[tokio::test(start_paused = true)]
async fn the_snapshot_counts_what_was_started_and_what_has_won() {
    let leaf = Leaf::default();
    let layer: TestLayer = layer(config());
    let mut service = layer.layer(leaf.clone());
    for winner in [0, 1] {
        let first = leaf.calls();
        let _ = service.poll_ready(&mut std::task::Context::from_waker(std::task::Waker::noop()));
        let mut call = task::spawn(service.call("read"));
        assert_pending!(call.poll());
        advance(DELAY).await;
        assert_pending!(call.poll());
        leaf.end(first + winner, Ok(1));
        assert_ready_eq!(call.poll(), Ok(1));
    }
    assert_eq!(counts(&layer.handle()), (2, 0, 1));
    assert_eq!(counts(&layer.fresh().handle()), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn the_same_without_tower() {
    let hedging = mainstay_retry::Hedging::new(up_to(2)).unwrap();
    let mut leaf = Leaf::default();
    let runs = leaf.clone();
    let mut numbers = Vec::new();
    let work = |attempt: mainstay_core::Attempt| {
        numbers.push(attempt.number());
        leaf.call("work")
    };
    let mut call = task::spawn(hedging.call_with(classify_fn(class), mainstay_retry::NoBudget, work));
    assert_eq!(runs.calls(), 0, "it starts when it is polled");
    assert_pending!(call.poll());
    advance(DELAY).await;
    assert_pending!(call.poll());
    runs.end(0, Ok(500));
    assert_pending!(call.poll());
    assert_eq!(runs.running(), [1, 2]);
    runs.end(2, Ok(3));
    assert_ready_eq!(call.poll(), Ok(3));
    drop(call);
    assert_eq!((runs.running(), numbers), (vec![], vec![1, 2, 3]));
    assert_eq!(counts(&hedging), (2, 0, 1));
}

/// The most uncertain of the failures, the later of equals.
fn expected(answers: &[Answer]) -> Answer {
    let uncertainty = |answer: &Answer| match answer {
        Err(mainstay_core::Error::Refused(_)) => 0,
        Err(mainstay_core::Error::TimedOut(_)) => 2,
        _ => 1,
    };
    answers.iter().copied().max_by_key(uncertainty).expect("there is one")
}

fn failure() -> impl Strategy<Value = Answer> {
    prop_oneof![Just(refused()), Just(timed_out()), Just(Ok(500)), Just(failed("a")), Just(failed("b"))]
}

proptest! {
    #[test]
    fn one_after_another_the_answer_is_the_most_uncertain(
        first in prop::collection::vec(failure().prop_filter("starts another", |answer| *answer != refused()), 0..7),
        last in failure(),
    ) {
        let answers: Vec<_> = first.into_iter().chain([last]).collect();
        let leaf = Leaf::default();
        let hedges = u32::try_from(answers.len()).unwrap() - 1;
        let mut call = call!(leaf, up_to(hedges.max(1)).delay(Duration::MAX));
        for (number, answer) in answers.iter().enumerate() {
            assert_pending!(call.poll());
            leaf.end(number, *answer);
        }
        if answers.len() == 1 && last != refused() {
            assert_pending!(call.poll());
            leaf.end(1, last);
        }
        assert_ready_eq!(call.poll(), expected(&answers));
    }

    /// Whatever ends in whatever order: an answer comes if and only if there is a success or nothing runs, and then nothing runs.
    #[test]
    fn a_call_is_answered_by_its_first_success_and_by_nothing_else(
        ends in prop::collection::vec((any::<prop::sample::Index>(), prop_oneof![4 => failure(), 1 => Just(Ok(1))]), 5),
    ) {
        let leaf = Leaf::default();
        let mut call = call!(leaf, up_to(4).delay(Duration::ZERO));
        assert_pending!(call.poll());
        let mut ended = Vec::new();
        for (index, answer) in ends {
            let running = leaf.running();
            leaf.end(*index.get(&running), answer);
            ended.push(answer);
            prop_assert!(call.is_woken());
            if answer == Ok(1) {
                assert_ready_eq!(call.poll(), Ok(1));
                prop_assert_eq!(leaf.running(), Vec::<usize>::new());
                return Ok(());
            }
            if running.len() == 1 {
                assert_ready_eq!(call.poll(), expected(&ended));
            } else {
                assert_pending!(call.poll());
            }
        }
    }
}
