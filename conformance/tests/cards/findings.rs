//! What does not hold, shown over tower alone.

use futures_util::FutureExt as _;
use std::{
    convert::Infallible,
    future::{Pending, pending},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};
use tokio::{sync::Semaphore, task::yield_now};
use tower::{
    Service, ServiceExt as _,
    balance::p2c::Balance,
    buffer::{Buffer, error::Closed},
    discover::ServiceList,
    hedge::Hedge,
    limit::ConcurrencyLimit,
    load::Constant,
    service_fn,
    timeout::{Timeout, error::Elapsed},
};

const SECOND: Duration = Duration::from_secs(1);

/// A service that is never ready, and holds something.
#[derive(Debug)]
struct NeverReady {
    _held: Arc<()>,
}

impl Service<Arc<()>> for NeverReady {
    type Response = ();
    type Error = Infallible;
    type Future = Pending<Result<(), Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Pending
    }

    fn call(&mut self, _request: Arc<()>) -> Self::Future {
        pending()
    }
}

async fn let_others_run() {
    for _ in 0..10 {
        yield_now().await;
    }
}

#[tokio::test]
async fn buffer_keeps_a_request_that_nobody_waits_for_until_the_inner_service_wakes_it() {
    let (held, request) = (Arc::new(()), Arc::new(()));
    let mut buffer = Buffer::new(NeverReady { _held: Arc::clone(&held) }, 4);
    let call = buffer.ready().await.expect("there is room").call(Arc::clone(&request));
    let_others_run().await;
    drop((call, buffer));
    let_others_run().await;
    assert_eq!(Arc::strong_count(&request), 2, "the request is still there");
    assert_eq!(Arc::strong_count(&held), 2, "and so is the inner service");
}

#[tokio::test]
async fn buffer_is_closed_for_every_handle_after_a_panic_of_the_inner_service() {
    let inner = service_fn(|request: &'static str| {
        if request == "bad" {
            std::panic::resume_unwind(Box::new("planted"));
        }
        async { Ok::<_, Infallible>(()) }
    });
    let mut one = Buffer::new(inner, 4);
    let mut other = one.clone();
    other.ready().await.expect("the worker runs").call("good").await.expect("it works");
    one.ready().await.expect("the worker runs").call("bad").await.expect_err("the call panicked");
    let error = other.ready().await.map(drop).expect_err("another handle");
    assert!(error.is::<Closed>());
}

/// Says when it is dropped.
#[derive(Debug)]
struct Flag(Arc<AtomicBool>);

impl Drop for Flag {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[tokio::test(start_paused = true)]
async fn timeout_keeps_the_inner_future_until_its_own_is_dropped() {
    let gone = Arc::new(AtomicBool::new(false));
    let of_the_call = Arc::clone(&gone);
    let inner = service_fn(move |(): ()| {
        let flag = Flag(Arc::clone(&of_the_call));
        async move {
            // The flag lives as long as the future that has it.
            let never = pending::<Result<(), Infallible>>().await;
            drop(flag);
            never
        }
    });
    let mut timeout = Timeout::new(inner, SECOND);
    let mut call = Box::pin(timeout.ready().await.expect("it is ready").call(()));
    assert!(call.as_mut().await.expect_err("the inner service never answers").is::<Elapsed>());
    assert!(!gone.load(Ordering::Relaxed), "the answer is there, and the inner future too");
    drop(call);
    assert!(gone.load(Ordering::Relaxed), "it is gone with the outer one");
}

/// Every request may be hedged.
#[derive(Clone, Copy, Debug)]
struct Always;

impl tower::hedge::Policy<()> for Always {
    fn clone_request(&self, (): &()) -> Option<()> {
        Some(())
    }

    fn can_retry(&self, (): &()) -> bool {
        true
    }
}

#[tokio::test(start_paused = true)]
async fn hedge_keeps_the_losing_future_until_its_own_is_dropped() {
    let (attempts, gone) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let of_the_first = Arc::clone(&gone);
    let inner = service_fn(move |(): ()| {
        let is_first = attempts.fetch_add(1, Ordering::Relaxed) == 0;
        let flag = is_first.then(|| Flag(Arc::clone(&of_the_first)));
        async move {
            // The first attempt never answers, the second does at once.
            if flag.is_some() { pending().await } else { Ok::<_, Infallible>(()) }
        }
    });
    let mut hedge = Hedge::new_with_mock_latencies(inner, Always, 1, 0.9, 60 * SECOND, &[500; 10]);
    let mut call = Box::pin(hedge.ready().await.expect("it is ready").call(()));
    call.as_mut().await.expect("the second attempt answers");
    assert!(!gone.load(Ordering::Relaxed), "the answer is there, and the first attempt too");
    drop(call);
    assert!(gone.load(Ordering::Relaxed), "it is gone with the outer one");
}

#[tokio::test]
async fn balance_readies_a_second_endpoint_when_asked_again() {
    let slots = Arc::new(Semaphore::new(1));
    let inner = service_fn(|(): ()| async { Ok::<_, Infallible>(()) });
    let endpoint = || Constant::new(ConcurrencyLimit::with_semaphore(inner, Arc::clone(&slots)), 1);
    let mut balance = Balance::new(ServiceList::new(vec![endpoint(), endpoint()]));
    assert!(balance.ready().now_or_never().is_some(), "the first endpoint has the only slot");
    slots.add_permits(1);
    assert!(balance.ready().now_or_never().is_some(), "asked again, without a call in between");
    assert_eq!(slots.available_permits(), 0, "two slots are taken for one call");
}
