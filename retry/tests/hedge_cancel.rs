//! Losers are gone before the answer, and nothing is left of a call that is dropped, or that panics.

mod hedge_support;

use hedge_support::{DELAY, Leaf, Req, advance, config, counts, failed, layer};
use mainstay_core::Error;
use mainstay_retry::{Budget, BudgetConfig, HedgeLayer};
use std::{
    future::{Future, pending},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};
use tokio_test::{assert_pending, assert_ready_eq, task};
use tower::{Layer, Service, limit::ConcurrencyLimitLayer, service_fn};

fn noop() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

fn budget(tokens: u32) -> Arc<Budget> {
    Arc::new(Budget::new(BudgetConfig::default().initial(tokens).cap(tokens.max(10)).ratio(0.0)).unwrap())
}

#[tokio::test(start_paused = true)]
async fn losers_are_dropped_before_the_answer_is_given() {
    for winner in 0..4 {
        let leaf = Leaf::default();
        let mut service = layer(config().max_hedges(3).delay(Duration::ZERO)).layer(leaf.clone());
        let mut call = task::spawn(service.call("read"));
        assert_pending!(call.poll());
        assert_eq!(leaf.running(), [0, 1, 2, 3]);
        leaf.end(winner, Ok(1));
        assert_ready_eq!(call.poll(), Ok(1));
        // The future itself is still there.
        assert_eq!(leaf.running(), Vec::<usize>::new());
        drop(call);
    }
}

#[tokio::test(start_paused = true)]
async fn permits_of_losers_are_free_when_the_answer_is_given() {
    let leaf = Leaf::default();
    let limited = ConcurrencyLimitLayer::new(2).layer(leaf.clone());
    let mut probe = limited.clone();
    let mut service = layer(config()).layer(limited);
    assert!(service.poll_ready(&mut noop()).is_ready());
    let mut call = task::spawn(service.call("read"));
    assert_pending!(call.poll());
    advance(DELAY).await;
    assert_pending!(call.poll());
    assert!(probe.poll_ready(&mut noop()).is_pending(), "both permits are taken");
    leaf.end(1, Ok(1));
    assert_ready_eq!(call.poll(), Ok(1));
    assert!(probe.poll_ready(&mut noop()).is_ready());
    let mut other = probe.clone();
    assert!(other.poll_ready(&mut noop()).is_ready(), "both are free");
    drop(call);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_drops_its_attempts_and_takes_back_what_has_not_started() {
    // How often the call is polled, a delay apart; one permit is left for hedges, the other hedge waits for it.
    for polls in 0..4_u64 {
        let leaf = Leaf::default();
        let tokens = budget(10);
        let limited = ConcurrencyLimitLayer::new(2).layer(leaf.clone());
        let mut probes = [limited.clone(), limited.clone()];
        let layer = HedgeLayer::new(config().max_hedges(3)).unwrap().idempotent().budget(Arc::clone(&tokens));
        let mut service = layer.layer(limited);
        assert!(service.poll_ready(&mut noop()).is_ready());
        let mut call = task::spawn(service.call("read"));
        for _ in 0..polls {
            assert_pending!(call.poll());
            advance(DELAY).await;
        }
        let charged = polls.saturating_sub(1).min(2);
        assert_eq!(tokens.snapshot().withdrawn, charged, "{polls} polls");
        drop(call);
        assert_eq!(leaf.running(), Vec::<usize>::new());
        let given_back = u64::from(polls == 3);
        assert_eq!(tokens.snapshot().given_back, given_back, "the second hedge was waiting for a permit");
        assert_eq!(counts(&layer.handle()), (charged - given_back, 0, 0));
        for probe in &mut probes {
            assert!(probe.poll_ready(&mut noop()).is_ready(), "all permits are home");
        }
    }
}

/// Ends as it is told: pending, or a panic, in `call` or in the second poll; and counts those alive.
#[derive(Clone)]
struct Fragile {
    calls: Arc<AtomicUsize>,
    alive: Arc<()>,
    panics: &'static str,
}

struct FragileFuture {
    _alive: Arc<()>,
    panics: bool,
    polled: bool,
}

impl Service<u32> for Fragile {
    type Response = u32;
    type Error = Error<()>;
    type Future = FragileFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error<()>>> {
        assert!(self.panics != "ready" || self.calls.load(Ordering::SeqCst) == 0, "planned");
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: u32) -> FragileFuture {
        let number = self.calls.fetch_add(1, Ordering::SeqCst);
        assert!(self.panics != "call" || number == 0, "planned");
        let panics = (self.panics == "first" && number == 0) || (self.panics == "hedge" && number == 1);
        FragileFuture { _alive: Arc::clone(&self.alive), panics, polled: false }
    }
}

impl Future for FragileFuture {
    type Output = Result<u32, Error<()>>;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        assert!(!(self.panics && self.polled), "planned");
        self.polled = true;
        Poll::Pending
    }
}

#[test]
fn a_panic_of_one_attempt_goes_on_and_ends_the_others() {
    for panics in ["ready", "call", "first", "hedge"] {
        let fragile = Fragile { calls: Arc::default(), alive: Arc::default(), panics };
        let alive = Arc::downgrade(&fragile.alive);
        let tokens = budget(1);
        let hedges = HedgeLayer::new(config().delay(Duration::ZERO)).unwrap().idempotent();
        let mut service = hedges.budget(Arc::clone(&tokens)).layer(fragile);
        assert!(service.poll_ready(&mut noop()).is_ready());
        let mut call = Box::pin(service.call(1));
        let caught = catch_unwind(AssertUnwindSafe(|| {
            for _ in 0..2 {
                assert!(call.as_mut().poll(&mut noop()).is_pending());
            }
        }));
        assert!(caught.is_err(), "{panics}");
        drop(call);
        assert_eq!(alive.strong_count(), 1, "{panics}: only the service is left");
        let back = u64::from(panics == "ready");
        assert_eq!(tokens.snapshot().given_back, back, "{panics}: what never reached the service is given back");
    }
}

#[test]
#[should_panic(expected = "polled after its answer")]
fn a_future_that_is_polled_after_its_answer_panics() {
    let mut service = layer(config()).layer(service_fn(async |_: u32| Ok::<_, Error<()>>(1)));
    assert!(service.poll_ready(&mut noop()).is_ready());
    let mut call = Box::pin(service.call(1));
    assert!(call.as_mut().poll(&mut noop()).is_ready());
    let _ = call.as_mut().poll(&mut noop());
}

#[tokio::test(start_paused = true)]
async fn a_poll_polls_each_attempt_once_and_an_attempt_that_has_ended_no_more() {
    let leaf = Leaf::default();
    let mut service = layer(config().max_hedges(3).delay(Duration::ZERO)).layer(leaf.clone());
    let mut call = task::spawn(service.call("read"));
    assert_pending!(call.poll());
    assert_eq!([0, 1, 2, 3].map(|number| leaf.polls(number)), [1; 4]);
    leaf.end(1, failed("no"));
    assert_pending!(call.poll());
    assert_eq!([0, 1, 2, 3].map(|number| leaf.polls(number)), [2; 4]);
    assert_pending!(call.poll());
    assert_eq!([0, 1, 2, 3].map(|number| leaf.polls(number)), [3, 2, 3, 3]);
}

#[tokio::test(start_paused = true)]
async fn each_attempt_wakes_the_task_that_polled_last() {
    let leaf = Leaf::default();
    let mut service = layer(config()).layer(leaf.clone());
    let mut call = Box::pin(service.call("read"));
    let (first, later) = (task::spawn(pending::<()>()), task::spawn(pending::<()>()));
    let mut first = first;
    let mut later = later;
    first.enter(|cx, _| assert!(call.as_mut().poll(cx).is_pending()));
    advance(DELAY).await;
    assert!(first.is_woken());
    later.enter(|cx, _| assert!(call.as_mut().poll(cx).is_pending()));
    leaf.end(1, failed("no"));
    assert!(later.is_woken());
    later.enter(|cx, _| assert!(call.as_mut().poll(cx).is_pending()));
    leaf.end(0, Ok(1));
    assert!(later.is_woken());
    later.enter(|cx, _| assert_eq!(call.as_mut().poll(cx), Poll::Ready(Ok(1))));
}

const fn is_send<T: Send>(_: &T) {}

#[test]
fn a_call_can_be_spawned() {
    let leaf = Leaf::default();
    let mut service = layer(config()).layer(leaf);
    let call: mainstay_retry::HedgeFuture<Leaf, Req, _, _, _, _> = service.call("read");
    is_send(&call);
}
