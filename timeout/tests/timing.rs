//! When the time starts, when it ends, and who is woken.

mod support;

use mainstay_core::Error;
use std::{
    future::{Future, pending},
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};
use support::{Answer, Job, Leaf, NANO, layer, ms, timed_out};
use tokio::time::advance;
use tokio_test::{assert_pending, assert_ready, assert_ready_eq, task};
use tower::{Layer, Service};

fn call(leaf: &Leaf, timeout: Duration) -> impl Future<Output = Answer> + use<> {
    layer(timeout).layer(leaf.clone()).call(Job::default())
}

#[tokio::test(start_paused = true)]
async fn a_call_ends_when_its_time_is_over_and_not_before() {
    let leaf = Leaf::default();
    let mut call = task::spawn(call(&leaf, ms(250)));
    assert_pending!(call.poll());
    advance(ms(249)).await;
    assert!(!call.is_woken());
    assert_pending!(call.poll());
    advance(ms(1)).await;
    assert!(call.is_woken(), "the timer wakes");
    assert_ready_eq!(call.poll(), timed_out(ms(250)));
}

#[tokio::test(start_paused = true)]
async fn the_time_starts_at_the_first_poll() {
    let leaf = Leaf::default();
    let mut call = task::spawn(call(&leaf, ms(100)));
    advance(ms(1_000)).await;
    assert_pending!(call.poll());
    advance(ms(99)).await;
    assert_pending!(call.poll());
    advance(ms(1)).await;
    assert_ready_eq!(call.poll(), timed_out(ms(100)));
}

#[tokio::test(start_paused = true)]
async fn a_later_poll_does_not_start_it_again() {
    let leaf = Leaf::default();
    let mut call = task::spawn(call(&leaf, ms(100)));
    for _ in 0..4 {
        assert_pending!(call.poll());
        advance(ms(25)).await;
    }
    assert_ready_eq!(call.poll(), timed_out(ms(100)));
}

#[tokio::test(start_paused = true)]
async fn the_latest_waker_is_woken() {
    let leaf = Leaf::default();
    let mut call = pin!(call(&leaf, ms(100)));
    let mut first = task::spawn(());
    let mut second = task::spawn(());
    first.enter(|cx, _| assert_pending!(call.as_mut().poll(cx)));
    second.enter(|cx, _| assert_pending!(call.as_mut().poll(cx)));
    advance(ms(100)).await;
    assert!(!first.is_woken() && second.is_woken());
}

#[test]
fn an_answer_at_the_first_poll_needs_no_timer() {
    for answer in [Ok(7), Err(Error::Inner("out of stock"))] {
        let leaf = Leaf::answering(answer);
        // There is no runtime here: a timer would panic.
        assert_eq!(pin!(call(&leaf, ms(1))).poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(answer));
    }
}

#[test]
#[should_panic = "no reactor running"]
fn to_wait_needs_a_runtime() {
    let _ = pin!(call(&Leaf::default(), ms(1))).poll(&mut Context::from_waker(Waker::noop()));
}

#[tokio::test(start_paused = true)]
async fn an_answer_in_time_is_passed_on() {
    for answer in [Ok(7), Err(Error::Inner("out of stock")), timed_out(ms(3))] {
        let leaf = Leaf::default();
        let mut call = task::spawn(call(&leaf, ms(100)));
        assert_pending!(call.poll());
        advance(ms(99)).await;
        leaf.0.answer.set(Some(answer));
        assert_ready_eq!(call.poll(), answer);
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_there_when_the_time_ends_counts() {
    let leaf = Leaf::default();
    let mut call = task::spawn(call(&leaf, ms(100)));
    assert_pending!(call.poll());
    advance(ms(500)).await;
    assert!(call.is_woken());
    leaf.0.answer.set(Some(Ok(7)));
    assert_ready_eq!(call.poll(), Ok(7));
}

#[tokio::test(start_paused = true)]
async fn the_inner_future_is_gone_when_the_answer_is_given() {
    let leaf = Leaf::default();
    let mut call = task::spawn(call(&leaf, ms(100)));
    assert_pending!(call.poll());
    advance(ms(100)).await;
    assert_eq!(leaf.0.alive.get(), 1);
    let _ = assert_ready!(call.poll());
    assert_eq!(leaf.0.alive.get(), 0, "the future of the timeout is still there, the inner one is not");
}

#[tokio::test(start_paused = true)]
async fn a_dropped_call_drops_the_inner_one_however_far_it_was() {
    let leaf = Leaf::default();
    drop(call(&leaf, ms(100)));
    assert_eq!((leaf.0.alive.get(), leaf.0.polls.get()), (0, 0));
    let mut waiting = task::spawn(call(&leaf, ms(100)));
    assert_pending!(waiting.poll());
    drop(waiting);
    assert_eq!(leaf.0.alive.get(), 0);
    let mut late = task::spawn(call(&leaf, ms(100)));
    assert_pending!(late.poll());
    advance(ms(100)).await;
    drop(late);
    assert_eq!(leaf.0.alive.get(), 0);
}

#[tokio::test(start_paused = true)]
#[should_panic = "polled after its answer"]
async fn a_call_that_timed_out_is_not_polled_again() {
    let mut call = task::spawn(call(&Leaf::default(), ms(1)));
    assert_pending!(call.poll());
    advance(ms(1)).await;
    let _ = assert_ready!(call.poll());
    let _ = call.poll();
}

/// Uses up the budget that tokio gives to each poll of a task.
async fn greedy() -> Answer {
    loop {
        tokio::task::consume_budget().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_inner_future_that_uses_up_the_budget_is_ended_too() {
    let call = tokio::spawn(mainstay_timeout::timeout("test", ms(100), greedy()));
    // The greedy task keeps the runtime busy, so the paused clock moves only by hand.
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert!(!call.is_finished());
    advance(ms(100)).await;
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert!(call.is_finished());
    assert_eq!(call.await.unwrap(), timed_out(ms(100)));
}

#[tokio::test(start_paused = true)]
async fn calls_that_time_out_at_once_let_others_run() {
    const CALLS: u32 = 10_000;
    let ended = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&ended);
    tokio::spawn(async move {
        for _ in 0..CALLS {
            let _ = mainstay_timeout::timeout("test", Duration::ZERO, pending::<Answer>()).await;
            count.fetch_add(1, Ordering::Relaxed);
        }
    });
    tokio::task::yield_now().await;
    assert!((1..CALLS).contains(&ended.load(Ordering::Relaxed)), "{ended:?}");
}

/// Panics in the poll that comes when the time is over.
struct Bomb(tokio::time::Instant);

impl Future for Bomb {
    type Output = Answer;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Answer> {
        assert!(tokio::time::Instant::now() < self.0, "boom");
        Poll::Pending
    }
}

#[tokio::test(start_paused = true)]
#[should_panic = "boom"]
async fn a_panic_of_the_inner_future_goes_on_to_the_caller() {
    let end = tokio::time::Instant::now() + ms(100);
    let _ = mainstay_timeout::timeout("test", ms(100), Bomb(end)).await;
}

#[tokio::test(start_paused = true)]
async fn what_the_clock_cannot_count_is_for_ever() {
    let most = longest();
    for time in [
        Duration::MAX,
        Duration::MAX / 2,
        most + NANO,
        most,
        most.saturating_sub(ms(1)),
        most.saturating_sub(ms(2)),
        Duration::from_hours(1 << 30),
    ] {
        let leaf = Leaf::default();
        let mut call = task::spawn(call(&leaf, time));
        assert_pending!(call.poll());
        assert_pending!(call.poll());
        leaf.0.answer.set(Some(Ok(7)));
        assert_ready_eq!(call.poll(), Ok(7));
    }
}

/// The longest time that can be added to now.
fn longest() -> Duration {
    let now = tokio::time::Instant::now();
    let seconds = (0..64).rev().map(|bit| Duration::from_secs(1 << bit));
    let nanos = (0..30).rev().map(|bit| Duration::from_nanos(1 << bit));
    seconds.chain(nanos).fold(Duration::ZERO, |sum, step| match sum.checked_add(step) {
        Some(more) if now.checked_add(more).is_some() => more,
        _ => sum,
    })
}

#[tokio::test(start_paused = true)]
async fn the_shortest_time_ends() {
    let leaf = Leaf::default();
    let mut call = task::spawn(call(&leaf, NANO));
    assert_pending!(call.poll());
    advance(ms(1)).await;
    assert_ready_eq!(call.poll(), timed_out(NANO));
}

#[tokio::test(start_paused = true)]
async fn an_answer_at_the_first_poll_is_in_time_for_a_time_of_zero() {
    let leaf = Leaf::answering(Ok(7));
    assert_eq!(mainstay_timeout::timeout("test", Duration::ZERO, leaf.future()).await, Ok(7));
    let leaf = Leaf::default();
    assert_eq!(mainstay_timeout::timeout("test", Duration::ZERO, leaf.future()).await, timed_out(Duration::ZERO));
    assert!(leaf.0.polls.get() >= 1);
}

#[tokio::test(start_paused = true)]
async fn the_length_of_the_first_poll_does_not_count() {
    // A poll that blocks its thread, as the clock of the test sees it.
    let blocks = async {
        advance(ms(60)).await;
        pending::<Answer>().await
    };
    let start = tokio::time::Instant::now();
    assert_eq!(mainstay_timeout::timeout("test", ms(50), blocks).await, timed_out(ms(50)));
    assert_eq!(start.elapsed(), ms(110));
}

#[tokio::test(start_paused = true)]
async fn a_first_attempt_that_hangs_takes_all_the_time_of_an_outer_timeout() {
    let calls = std::cell::Cell::new(0);
    let attempts = async {
        let mut last = Ok(0);
        for _ in 0..3 {
            calls.set(calls.get() + 1);
            last = mainstay_timeout::timeout("test", ms(2_000), pending::<Answer>()).await;
        }
        last
    };
    assert_eq!(mainstay_timeout::timeout("test", ms(1_000), attempts).await, timed_out(ms(1_000)));
    assert_eq!(calls.get(), 1, "so each attempt needs a time of its own");
}

#[tokio::test(start_paused = true)]
async fn inside_a_retry_it_bounds_an_attempt_and_outside_the_total() {
    // Three attempts of two seconds each, as a retry makes them.
    let attempts = async || {
        let mut last = Ok(0);
        for _ in 0..3 {
            last = mainstay_timeout::timeout("test", ms(2_000), pending::<Answer>()).await;
        }
        last
    };
    let start = tokio::time::Instant::now();
    assert_eq!(attempts().await, timed_out(ms(2_000)));
    assert_eq!(start.elapsed(), ms(6_000));
    let start = tokio::time::Instant::now();
    assert_eq!(mainstay_timeout::timeout("test", ms(5_000), attempts()).await, timed_out(ms(5_000)));
    assert_eq!(start.elapsed(), ms(5_000));
}
