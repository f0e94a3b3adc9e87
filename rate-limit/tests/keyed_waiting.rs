//! Keyed calls that wait in the future: in order for each key, and without holding what other keys could use.

use mainstay_core::{Error, Reason};
use mainstay_rate_limit::{
    ByValue, KeyedConfig, KeyedLimiter, KeyedRateLimitLayer, KeyedWaitingRateLimit, One, Quota, RateLimitLayer,
};
use std::{
    convert::Infallible,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    sync::Semaphore,
    time::{Instant, advance},
};
use tokio_test::{assert_pending, assert_ready, task};
use tower::{Layer, Service, ServiceExt, limit::ConcurrencyLimit, service_fn};

const MILLI: Duration = Duration::from_millis(1);

type Failure = Error<&'static str>;
type Key = fn(&u64) -> u64;
type Limits = Arc<KeyedLimiter<u64>>;

/// The last digit.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "a layer gives it a reference")]
fn key(request: &u64) -> u64 {
    request % 10
}

/// One call at once, and one each 100 ms, for each key.
fn limits() -> Limits {
    Arc::new(KeyedLimiter::new(Quota::per_second(10).unwrap().burst(1).unwrap()).unwrap())
}

fn over<S>(inner: S, limits: &Limits, wait: Duration) -> KeyedWaitingRateLimit<S, ByValue<Key>, Limits, One> {
    RateLimitLayer::keyed_by_value(Arc::clone(limits), key as Key).wait_at_most(wait).layer(inner)
}

fn echo()
-> impl Service<u64, Response = u64, Error = Failure, Future = impl Future<Output = Result<u64, Failure>>> + Clone {
    service_fn(|request: u64| std::future::ready(Ok(request)))
}

async fn called<S: Service<u64> + Clone>(service: &S, request: u64) -> S::Future {
    let mut service = service.clone();
    let Ok(ready) = service.ready().await else { panic!("the service is ready") };
    ready.call(request)
}

#[tokio::test(start_paused = true)]
async fn call_is_woken_at_its_moment_and_not_before() {
    let limits = limits();
    let service = over(echo(), &limits, Duration::MAX);
    let mut first = task::spawn(called(&service, 1).await);
    assert_eq!(assert_ready!(first.poll()), Ok(1));
    let mut second = task::spawn(called(&service, 11).await);
    assert_pending!(second.poll());
    let mut other = task::spawn(called(&service, 2).await);
    assert_eq!(assert_ready!(other.poll()), Ok(2), "another key does not wait");
    advance(99 * MILLI).await;
    assert!(!second.is_woken());
    advance(MILLI).await;
    assert!(second.is_woken());
    assert_eq!(assert_ready!(second.poll()), Ok(11));
}

#[tokio::test(start_paused = true)]
async fn order_is_that_of_the_calls() {
    let limits = limits();
    let service = over(echo(), &limits, Duration::MAX);
    let start = Instant::now();
    let mut calls = Vec::new();
    for request in [1, 11, 21, 31] {
        calls.push(called(&service, request).await);
    }
    // Whoever is polled first does not come first by that.
    calls.reverse();
    let answers = futures_util::future::join_all(calls.into_iter().map(async |call| (call.await, start.elapsed())));
    let expected = [(31, 300), (21, 200), (11, 100), (1, 0)].map(|(request, at)| (Ok(request), at * MILLI));
    assert_eq!(answers.await, expected);
}

#[tokio::test(start_paused = true)]
async fn too_long_a_wait_is_refused_at_once_with_the_exact_time() {
    let limits = limits();
    let service = over(echo(), &limits, 199 * MILLI);
    let mut waiting = Vec::new();
    for request in [1, 11] {
        waiting.push(called(&service, request).await);
    }
    let mut third = task::spawn(called(&service, 21).await);
    let Err(Error::Refused(refused)) = assert_ready!(third.poll()) else { panic!("it would be 200 ms") };
    assert_eq!((refused.reason(), refused.retry_after()), (Reason::RateLimited, Some(200 * MILLI)));
}

#[tokio::test(start_paused = true)]
async fn cancelled_calls_lose_nothing() {
    for woken in [false, true] {
        let limits = limits();
        let calls = Arc::new(AtomicU32::new(0));
        let counted = {
            let calls = Arc::clone(&calls);
            service_fn(move |request: u64| {
                calls.fetch_add(1, Ordering::Relaxed); // Relaxed: one thread.
                std::future::ready(Ok::<_, Failure>(request))
            })
        };
        let service = over(counted, &limits, Duration::MAX);
        drop(called(&service, 1).await);
        assert_eq!(limits.peek(&1).retry_after, 100 * MILLI, "that one had called the service");
        let mut waiting = Vec::new();
        for request in [11, 21, 31] {
            waiting.push(task::spawn(called(&service, request).await));
        }
        if woken {
            for call in &mut waiting {
                assert_pending!(call.poll());
            }
            advance(300 * MILLI).await;
            assert!(waiting.iter().all(task::Spawn::is_woken));
        }
        drop(waiting);
        assert_eq!(limits.peek(&1).retry_after, if woken { Duration::ZERO } else { 100 * MILLI });
        assert_eq!(calls.load(Ordering::Relaxed), 1); // Relaxed: one thread.
    }
}

#[tokio::test(start_paused = true)]
async fn calls_behind_a_cancelled_one_are_woken_and_come_sooner() {
    let limits = limits();
    let service = over(echo(), &limits, Duration::MAX);
    drop(called(&service, 1).await);
    let [first, second] = [called(&service, 11).await, called(&service, 21).await];
    let mut second = task::spawn(second);
    assert_pending!(second.poll());
    drop(first);
    assert!(second.is_woken());
    assert_pending!(second.poll());
    advance(99 * MILLI).await;
    assert!(!second.is_woken());
    advance(MILLI).await;
    assert_eq!(assert_ready!(second.poll()), Ok(21));
}

#[tokio::test(start_paused = true)]
async fn call_that_waits_holds_no_slot_of_the_inner_service() {
    let limits = limits();
    let slots = Arc::new(Semaphore::new(1));
    let inner = ConcurrencyLimit::with_semaphore(echo(), Arc::clone(&slots));
    let mut service = over(inner, &limits, Duration::MAX);
    assert_eq!(service.ready().await.unwrap().call(1).await, Ok(1));
    let waiting = service.ready().await.unwrap().call(11);
    assert_eq!(slots.available_permits(), 1, "not even the one that was reserved for it");
    let mut waiting = task::spawn(waiting);
    assert_pending!(waiting.poll());
    assert_eq!(service.ready().await.unwrap().call(2).await, Ok(2), "so that another key goes on");

    // Nor does the one who is ready and waits for the answer stop it for ever.
    advance(100 * MILLI).await;
    assert_eq!(waiting.await, Ok(11));
}

#[tokio::test(start_paused = true)]
async fn after_the_wait_it_waits_for_readiness_and_keeps_its_units() {
    let limits = limits();
    let slots = Arc::new(Semaphore::new(1));
    let inner = ConcurrencyLimit::with_semaphore(echo(), Arc::clone(&slots));
    let service = over(inner, &limits, Duration::MAX);
    assert_eq!(called(&service, 1).await.await, Ok(1));
    let mut waiting = task::spawn(called(&service, 11).await);
    assert_pending!(waiting.poll());
    let held = slots.acquire().await.unwrap();
    advance(100 * MILLI).await;
    assert!(waiting.is_woken());
    assert_pending!(waiting.poll());
    assert!(!limits.check(&1).allowed);
    drop(held);
    assert!(waiting.is_woken(), "by the inner service");
    assert_eq!(assert_ready!(waiting.poll()), Ok(11));
}

/// Ready until it is told to fail or to panic.
#[derive(Clone, Default)]
struct Broken {
    fails: Arc<AtomicBool>,
    panics: Arc<AtomicBool>,
}

impl Service<u64> for Broken {
    type Response = u64;
    type Error = Failure;
    type Future = std::future::Ready<Result<u64, Failure>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        // Relaxed: one thread.
        assert!(!self.panics.load(Ordering::Relaxed), "planted");
        Poll::Ready(if self.fails.load(Ordering::Relaxed) { Err(Error::Inner("dead")) } else { Ok(()) })
    }

    fn call(&mut self, request: u64) -> Self::Future {
        std::future::ready(Ok(request))
    }
}

#[tokio::test(start_paused = true)]
async fn service_that_fails_after_the_wait_costs_nothing() {
    for panics in [false, true] {
        let limits = limits();
        let broken = Broken::default();
        let service = over(broken.clone(), &limits, Duration::MAX);
        drop(called(&service, 1).await);
        let mut waiting = task::spawn(called(&service, 11).await);
        assert_pending!(waiting.poll());
        advance(100 * MILLI).await;
        if panics {
            broken.panics.store(true, Ordering::Relaxed); // Relaxed: one thread.
            assert!(catch_unwind(AssertUnwindSafe(|| waiting.poll())).is_err());
            drop(waiting);
            assert!(limits.check(&1).allowed);
        } else {
            broken.fails.store(true, Ordering::Relaxed); // Relaxed: one thread.
            assert_eq!(assert_ready!(waiting.poll()), Err(Error::Inner("dead")));
            assert!(limits.check(&1).allowed, "given back although the future is still there");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn cost_is_that_of_the_request() {
    let limits = Arc::new(KeyedLimiter::<u64>::new(Quota::per_second(10).unwrap()).unwrap());
    let layer = KeyedRateLimitLayer::with_limiter(Arc::clone(&limits), ByValue::new(|_: &u64| 0));
    let layer = layer.cost(|request: &u64| *request).wait_at_most(Duration::from_secs(5));
    let service = layer.layer(service_fn(async |request: u64| Ok::<_, Error<Infallible>>(request)));
    let start = Instant::now();
    for (request, at) in [(10, 0), (4, 400), (0, 400), (6, 1_000)] {
        assert_eq!(service.clone().oneshot(request).await, Ok(request));
        assert_eq!(start.elapsed(), at * MILLI);
    }
    let Err(Error::Refused(refused)) = service.clone().oneshot(11).await else { panic!("never") };
    assert_eq!(refused.retry_after(), None);
    let layer = layer.fresh();
    assert_eq!(layer.handle().peek(&0).remaining, 10);
    let (service, start) = (layer.layer(echo()), Instant::now());
    for (request, at) in [(10, 0), (4, 400)] {
        assert_eq!(service.clone().oneshot(request).await, Ok(request));
        assert_eq!(start.elapsed(), at * MILLI, "it waits as long");
    }
}

#[tokio::test(start_paused = true)]
async fn call_of_a_key_without_room_is_woken_when_one_before_it_leaves() {
    let config = KeyedConfig::new(Quota::per_second(10).unwrap().burst(1).unwrap()).max_keys(1);
    let limits = Arc::new(KeyedLimiter::new(config).unwrap());
    let service = over(echo(), &limits, Duration::MAX);
    for request in [0, 1] {
        drop(called(&service, request).await);
    }
    let first = called(&service, 2).await;
    let mut second = task::spawn(called(&service, 3).await);
    assert_pending!(second.poll());
    drop(first);
    assert!(second.is_woken());
    assert_pending!(second.poll());
    advance(100 * MILLI).await;
    assert_eq!(assert_ready!(second.poll()), Ok(3));
}

#[tokio::test(start_paused = true)]
async fn call_is_woken_when_the_function_raises_the_quota_of_its_key() {
    let rate = Arc::new(AtomicU32::new(1));
    let quota = |rate: u32| Quota::per_second(rate.into()).unwrap().burst(1).unwrap();
    let present = Arc::clone(&rate);
    // Relaxed: one thread.
    let limits = KeyedLimiter::with_quotas(quota(1), move |_| quota(present.load(Ordering::Relaxed))).unwrap();
    let limits = Arc::new(limits);
    let service = over(echo(), &limits, Duration::MAX);
    drop(called(&service, 1).await);
    let mut waiter = task::spawn(called(&service, 11).await);
    assert_pending!(waiter.poll());
    rate.store(10, Ordering::Relaxed); // Relaxed: one thread.
    assert!(!limits.check(&1).allowed);
    assert!(waiter.is_woken());
    assert_pending!(waiter.poll());
    advance(100 * MILLI).await;
    assert_eq!(assert_ready!(waiter.poll()), Ok(11));
}
