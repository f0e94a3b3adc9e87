//! No attempt starts at the deadline or later, nobody waits for one that could not, and later attempts earn their readiness.

mod support;

use mainstay_core::{Attempt, Class, Deadline, Error, Failure, Now, classify_fn};
use mainstay_retry::{Backoff, Budget, BudgetConfig, Clock, Config, Jitter, Repeat, Retries, RetryLayer};
use std::{
    cell::Cell,
    future::{self, Future, poll_fn, ready},
    pin::pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use support::{
    Answer, End, FAILED, Leaf, OK, REFUSED,
    Readiness::{Pending, Ready},
    SECOND, at_once, doubling,
};
use tokio::{
    task::{
        coop::{consume_budget, has_budget_remaining},
        yield_now,
    },
    time::{Instant, advance, sleep},
};
use tokio_test::{assert_pending, assert_ready_err, assert_ready_ok, task};
use tower::{Layer, Service, ServiceExt};

fn layer(config: Config) -> RetryLayer<mainstay_retry::Cloned<mainstay_retry::Marked>> {
    RetryLayer::new(config).unwrap().idempotent()
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_would_end_too_late_is_not_begun() {
    // Retries would come after 1, 3 and 7 seconds.
    for (deadline, attempts, ended) in [(1, 1, 0), (2, 2, 1), (3, 2, 1), (4, 3, 3), (7, 3, 3), (8, 4, 7)] {
        let start = Instant::now();
        let leaf = Leaf::new([FAILED; 9]);
        let config = doubling().max_attempts(9).deadline(deadline * SECOND);
        assert!(layer(config).layer(leaf.handle()).oneshot(1).await.is_err());
        assert_eq!((leaf.calls(), start.elapsed()), (attempts, ended * SECOND), "{deadline}");

        let (start, calls) = (Instant::now(), Cell::new(0));
        let work = |_| {
            calls.set(calls.get() + 1);
            ready(Err::<(), _>(Error::Inner("reset")))
        };
        assert!(Retries::new(config).unwrap().call_idempotent(work).await.is_err());
        assert_eq!((calls.get(), start.elapsed()), (attempts, ended * SECOND), "{deadline}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_time_begins_with_the_first_poll() {
    let leaf = Leaf::new([FAILED]);
    let mut service = layer(doubling().deadline(2 * SECOND)).layer(leaf.handle());
    let call = service.ready().await.unwrap().call(1);
    sleep(5 * SECOND).await;
    assert!(call.await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn the_time_of_a_slow_attempt_counts() {
    let calls = Cell::new(0);
    let slow = tower::service_fn(|_: u32| async {
        calls.set(calls.get() + 1);
        // Two polls and more.
        sleep(SECOND).await;
        sleep(SECOND).await;
        Err::<u32, _>(Error::Inner("slow"))
    });
    let answer = layer(doubling().deadline(3 * SECOND)).layer(slow).oneshot(1).await;
    assert_eq!((answer, calls.get()), (Err(Error::Inner("slow")), 1), "the next would start after three seconds");
    assert!(layer(doubling().deadline(4 * SECOND)).layer(slow).oneshot(1).await.is_err());
    assert_eq!(calls.get(), 1 + 2);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_runs_is_not_cut_short() {
    let mut attempts = 0;
    let work = |_| {
        attempts += 1;
        async {
            sleep(10 * SECOND).await;
            Err::<(), _>(Error::Inner("late"))
        }
    };
    let retries = Retries::new(at_once().deadline(SECOND)).unwrap();
    assert_eq!(retries.call_idempotent(work).await, Err(Error::Inner("late")));
    assert_eq!(attempts, 1);
}

/// A timer can be late; what was decided before it may be wrong after it.
#[tokio::test(start_paused = true)]
async fn a_timer_that_is_late_starts_nothing_late() {
    let leaf = Leaf::new([FAILED]);
    let mut service = layer(doubling().deadline(3 * SECOND)).layer(leaf.handle());
    let mut call = task::spawn(service.ready().await.unwrap().call(1));
    assert_pending!(call.poll());
    advance(3 * SECOND).await;
    assert_eq!(call.await, Err(Error::Inner("reset")));
    assert_eq!(leaf.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_ready_at_the_deadline_is_ready_too_late() {
    let leaf = Leaf::new([FAILED]).readiness([Ready, Pending, Ready]);
    let mut service = layer(at_once().deadline(SECOND)).layer(leaf.handle());
    let mut call = task::spawn(service.ready().await.unwrap().call(1));
    assert_pending!(call.poll());
    advance(SECOND).await;
    assert_eq!(call.await, Err(Error::Inner("reset")));
    assert_eq!(leaf.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn readiness_is_waited_for_and_earned_on_the_value_that_is_called() {
    // The leaf checks which of its clones is called.
    let leaf = Leaf::new([REFUSED, REFUSED]).readiness([Ready, Pending, Pending, Ready, Pending, Ready]);
    let mut service = layer(at_once()).layer(leaf.handle());
    assert_ready_ok!(task::spawn(()).enter(|cx, _| service.poll_ready(cx)));
    let mut call = task::spawn(service.call(1));
    for calls in [1, 1, 2] {
        assert_pending!(call.poll());
        assert_eq!(leaf.calls(), calls);
        assert!(!call.is_woken());
        leaf.script().wakers.pop().expect("it waits for the service").wake();
        assert!(call.is_woken());
    }
    assert_eq!(call.await, Ok("espresso"));
    assert_eq!(leaf.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn no_readiness_is_reserved_for_a_retry_that_may_never_come() {
    let leaf = Leaf::new([FAILED]).readiness([Ready, Pending]);
    let mut service = layer(doubling()).layer(leaf.handle());
    let mut call = task::spawn(service.ready().await.unwrap().call(1));
    assert_pending!(call.poll());
    assert!(leaf.script().wakers.is_empty(), "in the wait the service is not asked");
    advance(SECOND).await;
    assert_pending!(call.poll());
    assert_eq!(leaf.script().wakers.len(), 1);
}

/// Sends the number of the attempt, and has a deadline.
#[derive(Clone, Copy)]
struct Until(Deadline);

impl Repeat<()> for Until {
    type Request = u32;
    type Kept = ();
    type Seen = ();

    fn first(&self, (): ()) -> (u32, Option<()>) {
        (1, Some(()))
    }

    fn again(&self, (): &mut (), attempt: Attempt) -> Option<u32> {
        Some(attempt.number())
    }

    fn is_idempotent(&self, (): &()) -> bool {
        true
    }

    fn deadline(&self, (): &()) -> Option<Deadline> {
        Some(self.0)
    }

    fn seen<'a>(&self, kept: &'a ()) -> &'a () {
        kept
    }
}

#[tokio::test(start_paused = true)]
async fn the_deadline_of_the_request_counts_if_it_is_the_earlier() {
    for (own, of_request, calls) in [(None, 4, 3), (Some(2), 4, 2), (Some(4), 2, 2), (Some(100), 2, 2)] {
        let leaf = Leaf::new([FAILED; 9]);
        let config = own.map_or(doubling(), |own: u32| doubling().deadline(own * SECOND)).max_attempts(9);
        let until = Until(Deadline::after(Clock.now(), of_request * SECOND));
        assert!(layer(config).repeat(until).layer(leaf.handle()).oneshot(()).await.is_err());
        assert_eq!(leaf.calls(), calls);
        assert_eq!(leaf.script().calls.last().unwrap().1, u32::try_from(calls).unwrap(), "each attempt is made anew");
    }
}

#[tokio::test(start_paused = true)]
async fn the_earlier_deadline_ends_the_wait_for_readiness() {
    for (own, of_request) in [(None, 2), (Some(100), 2), (Some(2), 100)] {
        let leaf = Leaf::new([FAILED]).readiness([Ready, Pending, Pending]);
        let start = Instant::now();
        let config = own.map_or(at_once(), |own: u32| at_once().deadline(own * SECOND));
        let until = Until(Deadline::after(Clock.now(), of_request * SECOND));
        assert!(layer(config).repeat(until).layer(leaf.handle()).oneshot(()).await.is_err());
        assert_eq!((leaf.calls(), start.elapsed()), (1, 2 * SECOND));
    }
}

#[tokio::test(start_paused = true)]
async fn cancelled_anywhere_nothing_follows_and_nothing_is_left() {
    for polls in 0..5 {
        let leaf = Leaf::new([FAILED, FAILED, End::Never]).readiness([Ready, Pending, Ready]);
        let request = Arc::new(1);
        let kept = Arc::clone(&request);
        let repeat = mainstay_retry::repeat_fn(move |_: &Arc<u32>, _| Some(Arc::clone(&kept))).idempotent();
        let inner = leaf.handle().map_request(|request: Arc<u32>| *request);
        let mut service = RetryLayer::new(doubling()).unwrap().repeat(repeat).layer(inner);
        let mut call = task::spawn(service.ready().await.unwrap().call(Arc::clone(&request)));
        for _ in 0..polls {
            assert_pending!(call.poll());
            advance(2 * SECOND).await;
        }
        drop((call, service));
        let calls = leaf.calls();
        advance(100 * SECOND).await;
        assert_eq!((leaf.calls(), leaf.script().alive, Arc::strong_count(&request)), (calls, 0, 1), "{polls}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answered_call_holds_nothing() {
    let leaf = Leaf::new([FAILED, OK]);
    let request = Arc::new(1);
    let inner = leaf.handle().map_request(|request: Arc<u32>| *request);
    let mut service = layer(Config::default().backoff(Backoff::constant(SECOND).jitter(Jitter::None))).layer(inner);
    let mut call = task::spawn(service.ready().await.unwrap().call(Arc::clone(&request)));
    assert_pending!(call.poll());
    assert_eq!(Arc::strong_count(&request), 2);
    advance(SECOND).await;
    assert_ready_ok!(call.poll());
    assert_eq!(Arc::strong_count(&request), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_ready_too_late_is_not_called_though_the_timer_is_not_due() {
    let limit = Duration::from_micros(10_200);
    let leaf = Leaf::new([FAILED]).readiness([Ready, Pending]);
    let mut call = task::spawn(layer(at_once().deadline(limit)).layer(leaf.handle()).oneshot(1));
    assert_pending!(call.poll());
    // tokio's timer would come at 11 ms.
    advance(Duration::from_micros(10_200)).await;
    leaf.script().wakers.pop().expect("it waits for the service").wake();
    assert_eq!(assert_ready_err!(call.poll()), Error::Inner("reset"));
    assert_eq!(leaf.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_ready_just_in_time_is_called() {
    let leaf = Leaf::new([FAILED]).readiness([Ready, Pending]);
    let mut call = task::spawn(layer(at_once().deadline(SECOND)).layer(leaf.handle()).oneshot(1));
    assert_pending!(call.poll());
    advance(Duration::from_nanos(999_999_999)).await;
    assert_ready_ok!(call.poll());
    assert_eq!(leaf.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_is_ready_too_late_is_not_called_though_the_task_has_used_up_its_turn() {
    let leaf = Leaf::new([FAILED]).readiness([Ready, Pending]);
    let mut call = task::spawn(layer(at_once().deadline(SECOND)).layer(leaf.handle()).oneshot(1));
    assert_pending!(call.poll());
    advance(3 * SECOND).await;
    // Other work of the same task, as in a `join!`. From now on timers say nothing.
    poll_fn(|cx| {
        while has_budget_remaining() {
            std::task::ready!(pin!(consume_budget()).poll(cx));
        }
        let _ = call.poll();
        Poll::Ready(())
    })
    .await;
    assert_eq!(leaf.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_at_the_last_moment_that_there_is_panics_nowhere() {
    let mut moment = Clock.now();
    for exponent in (0..63).rev() {
        moment = moment.checked_add(Duration::from_secs(1 << exponent)).unwrap_or(moment);
    }
    for exponent in (0..30).rev() {
        moment = moment.checked_add(Duration::from_nanos(1 << exponent)).unwrap_or(moment);
    }
    let leaf = Leaf::new([FAILED]).readiness([Ready, Pending]);
    let layer = layer(at_once()).repeat(Until(Deadline::at(moment)));
    let mut call = task::spawn(layer.layer(leaf.handle()).oneshot(()));
    assert_pending!(call.poll());
    leaf.script().wakers.pop().expect("it waits for the service").wake();
    assert_ready_ok!(call.poll());
}

/// Fails at once, with a response or an error, and is ready once.
#[derive(Clone)]
struct ReadyOnce(Answer, Cell<bool>);

impl Service<u32> for ReadyOnce {
    type Response = &'static str;
    type Error = Error<&'static str>;
    type Future = future::Ready<Answer>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        if self.1.replace(true) { Poll::Pending } else { Poll::Ready(Ok(())) }
    }

    fn call(&mut self, _: u32) -> Self::Future {
        ready(self.0)
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_holds_a_failed_response_does_not_wait_for_readiness() {
    let every = classify_fn(|_: Result<&&str, &Error<&str>>| Class::Failure(Failure::Transient));
    let budget = Budget::new(BudgetConfig::default()).unwrap();
    for (answer, waits) in [(Ok("busy"), false), (Err(Error::Inner("reset")), true)] {
        let paid = layer(doubling()).classify(every).budget(&budget);
        let mut call = task::spawn(paid.layer(ReadyOnce(answer, Cell::default())).oneshot(1));
        assert_pending!(call.poll());
        advance(SECOND).await;
        let polled = call.poll();
        assert_eq!(polled, if waits { Poll::Pending } else { Poll::Ready(answer) }, "it may hold what is waited for");
    }
    assert_eq!((budget.snapshot().withdrawn, budget.snapshot().given_back), (2, 2));
}

/// Answers `busy` once and then well, and is ready as far as tokio lets its task ask.
#[derive(Clone)]
struct AsksTokio(Cell<bool>);

impl Service<u32> for AsksTokio {
    type Response = &'static str;
    type Error = Error<&'static str>;
    type Future = future::Ready<Answer>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        pin!(consume_budget()).poll(cx).map(Ok)
    }

    fn call(&mut self, _: u32) -> Self::Future {
        ready(Ok(if self.0.replace(true) { "espresso" } else { "busy" }))
    }
}

/// What a call answers in the second turn of its task, if it does not in the first, where other work has left it so much.
async fn answer_with<S>(left: usize, service: S) -> Poll<Answer>
where
    S: Service<u32, Response = &'static str, Error = Error<&'static str>> + Clone,
{
    let busy = classify_fn(|answer: Result<&&str, &Error<&str>>| match answer {
        Ok(&"busy") => Class::Failure(Failure::Transient),
        _ => Class::Success,
    });
    let mut call = task::spawn(layer(at_once()).classify(busy).layer(service).oneshot(1));
    yield_now().await;
    let units = poll_fn(|cx| Poll::Ready(spend(usize::MAX, cx))).await;
    yield_now().await;
    let answer = poll_fn(|cx| {
        spend(units - left, cx);
        Poll::Ready(call.poll())
    })
    .await;
    if answer.is_ready() {
        return answer;
    }
    // Tokio wakes those whom it has held back when the turn is over.
    yield_now().await;
    assert!(call.is_woken());
    call.poll()
}

/// Uses up some of what tokio lets the task do, or all of it, and says how much that was.
fn spend(most: usize, cx: &mut Context<'_>) -> usize {
    (0..most).take_while(|_| has_budget_remaining() && pin!(consume_budget()).poll(cx).is_ready()).count()
}

#[tokio::test(start_paused = true)]
async fn a_service_that_could_not_be_asked_is_asked_in_the_next_turn_of_the_task() {
    for left in 0..5 {
        assert_eq!(answer_with(left, AsksTokio(Cell::default())).await, Poll::Ready(Ok("espresso")), "{left}");
        let held = ReadyOnce(Ok("busy"), Cell::default());
        assert_eq!(answer_with(left, held).await, Poll::Ready(Ok("busy")), "{left}");
    }
}
