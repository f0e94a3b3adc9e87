//! Waiting in `poll_ready`: in order, woken at the moment, and nothing lost by those who leave.

use futures_util::future::join_all;
use mainstay_core::{Error, Reason};
use mainstay_rate_limit::{Config, Limiter, Quota, RateLimitLayer, WaitingRateLimit};
use std::{
    convert::Infallible,
    future::{Ready, ready},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};
use tokio::time::{Instant, advance};
use tokio_test::{assert_pending, assert_ready_err, assert_ready_ok, task};
use tower::{Layer, Service, ServiceExt, service_fn};

const MILLI: Duration = Duration::from_millis(1);

type Failure = Error<&'static str>;

/// Ready unless it is told otherwise.
#[derive(Clone, Debug, Default)]
struct Leaf {
    busy: Arc<AtomicBool>,
    dead: Arc<AtomicBool>,
    panics: Arc<AtomicBool>,
}

impl Service<u32> for Leaf {
    type Response = u32;
    type Error = Failure;
    type Future = Ready<Result<u32, Failure>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        // Relaxed: one thread.
        assert!(!self.panics.load(Ordering::Relaxed), "planted");
        match (self.busy.load(Ordering::Relaxed), self.dead.load(Ordering::Relaxed)) {
            (true, _) => Poll::Pending,
            (_, true) => Poll::Ready(Err(Error::Inner("dead"))),
            _ => Poll::Ready(Ok(())),
        }
    }

    fn call(&mut self, request: u32) -> Self::Future {
        ready(Ok(request))
    }
}

/// One unit at once, and one each 100 ms.
fn limiter() -> Arc<Limiter> {
    Arc::new(Limiter::new(Quota::per_second(10).unwrap().burst(1).unwrap()).unwrap())
}

type Waiting = WaitingRateLimit<Leaf, Arc<Limiter>>;

fn service(limiter: &Arc<Limiter>, wait_at_most: Duration) -> Waiting {
    RateLimitLayer::with_limiter(Arc::clone(limiter)).wait_at_most(wait_at_most).layer(Leaf::default())
}

fn poll_once(service: &mut Waiting) -> Poll<Result<(), Failure>> {
    service.poll_ready(&mut Context::from_waker(Waker::noop()))
}

fn call(service: &mut Waiting, request: u32) -> Result<u32, Failure> {
    let mut future = task::spawn(service.call(request));
    let Poll::Ready(answer) = future.poll() else { panic!("the leaf answers at once") };
    answer
}

#[tokio::test(start_paused = true)]
async fn waiter_is_woken_at_its_moment_and_not_before() {
    let limiter = limiter();
    let mut first = service(&limiter, Duration::MAX);
    assert_ready_ok!(poll_once(&mut first));
    assert_eq!(call(&mut first, 1), Ok(1));

    let mut second = task::spawn(service(&limiter, Duration::MAX));
    assert_pending!(second.enter(|cx, mut service| service.poll_ready(cx)));
    advance(99 * MILLI).await;
    assert!(!second.is_woken());
    assert_pending!(second.enter(|cx, mut service| service.poll_ready(cx)));
    advance(MILLI).await;
    assert!(second.is_woken());
    assert_ready_ok!(second.enter(|cx, mut service| service.poll_ready(cx)));
    assert_eq!(second.enter(|_, mut service| call(&mut service, 2)), Ok(2));
    assert_eq!(limiter.snapshot().refused, 0);
}

#[tokio::test(start_paused = true)]
async fn latest_waker_is_woken() {
    let limiter = limiter();
    assert!(limiter.check().allowed);
    let mut waiting = service(&limiter, Duration::MAX);
    let (mut early, mut late) = (task::spawn(()), task::spawn(()));
    assert_pending!(early.enter(|cx, _| waiting.poll_ready(cx)));
    assert_pending!(late.enter(|cx, _| waiting.poll_ready(cx)));
    advance(100 * MILLI).await;
    assert!(late.is_woken() && !early.is_woken());
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_go_on_in_order_and_evenly() {
    let limiter = limiter();
    let start = Instant::now();
    let turns = join_all((0..10).map(|turn| {
        let mut service = service(&limiter, Duration::MAX);
        async move {
            service.ready().await.unwrap().call(turn).await.unwrap();
            start.elapsed()
        }
    }));
    let expected: Vec<_> = (0..10).map(|turn| turn * 100 * MILLI).collect();
    assert_eq!(turns.await, expected);
}

#[tokio::test(start_paused = true)]
async fn nobody_barges_past_those_who_wait() {
    let limiter = limiter();
    assert!(limiter.check().allowed);
    let mut waiting = service(&limiter, Duration::MAX);
    assert_pending!(poll_once(&mut waiting));
    advance(100 * MILLI).await;
    assert!(!limiter.check().allowed, "the unit belongs to the one who waits");
    assert_ready_ok!(poll_once(&mut waiting));
    assert!(!limiter.check().allowed, "and to the one who is ready");
}

#[tokio::test(start_paused = true)]
async fn ready_service_that_is_dropped_loses_nothing() {
    let limiter = limiter();
    for _ in 0..10 {
        let mut ready = service(&limiter, Duration::MAX);
        assert_ready_ok!(poll_once(&mut ready));
        assert_eq!(limiter.peek().remaining, 0);
        drop(ready);
        assert_eq!(limiter.peek().remaining, 1);
    }
    let mut ready = service(&limiter, Duration::MAX);
    assert_ready_ok!(poll_once(&mut ready));
    drop(ready.into_inner());
    assert_eq!(limiter.peek().remaining, 1, "nor one that is taken apart");
}

#[tokio::test(start_paused = true)]
async fn waiter_that_is_dropped_leaves_the_queue() {
    let limiter = limiter();
    assert!(limiter.check().allowed);
    let mut waiters: Vec<_> = (0..10).map(|_| service(&limiter, Duration::MAX)).collect();
    for waiter in &mut waiters {
        assert_pending!(poll_once(waiter));
    }
    assert_eq!(limiter.snapshot().waiting, 10);
    drop(waiters);
    assert_eq!(limiter.snapshot().waiting, 0);
    assert_eq!(limiter.peek().retry_after, 100 * MILLI, "as if they had never been there");
}

#[tokio::test(start_paused = true)]
async fn woken_waiter_that_is_dropped_lets_the_next_one_keep_its_moment() {
    let limiter = limiter();
    assert!(limiter.check().allowed);
    let [mut first, mut second] = [(); 2].map(|()| task::spawn(service(&limiter, Duration::MAX)));
    for waiter in [&mut first, &mut second] {
        assert_pending!(waiter.enter(|cx, mut service| service.poll_ready(cx)));
    }
    advance(100 * MILLI).await;
    assert!(first.is_woken() && !second.is_woken());
    drop(first);
    advance(100 * MILLI).await;
    assert!(second.is_woken());
    assert_ready_ok!(second.enter(|cx, mut service| service.poll_ready(cx)));
}

#[tokio::test(start_paused = true)]
async fn unit_that_has_come_back_meanwhile_is_not_given_back_twice() {
    let limiter = limiter();
    let mut idle = service(&limiter, Duration::MAX);
    assert_ready_ok!(poll_once(&mut idle));
    advance(100 * MILLI).await;
    assert!(limiter.check().allowed, "it has come back by itself");
    drop(idle);
    assert!(!limiter.check().allowed);
}

#[tokio::test(start_paused = true)]
async fn ready_stays_ready_and_takes_one_unit() {
    let limiter = Arc::new(Limiter::new(Quota::per_second(10).unwrap()).unwrap());
    let mut ready = service(&limiter, Duration::MAX);
    for _ in 0..5 {
        assert_ready_ok!(poll_once(&mut ready));
    }
    assert_eq!(limiter.peek().remaining, 9);
    assert_eq!(call(&mut ready, 1), Ok(1));
    assert_eq!(limiter.peek().remaining, 9, "the call takes what was reserved");
}

#[tokio::test(start_paused = true)]
async fn too_long_a_wait_is_refused_in_call_with_the_exact_time() {
    let limiter = limiter();
    assert!(limiter.check().allowed);
    let mut impatient = service(&limiter, 99 * MILLI);
    assert_ready_ok!(poll_once(&mut impatient));
    assert_eq!(limiter.snapshot().refused, 0, "nothing is refused yet");
    advance(10 * MILLI).await;
    let Err(Error::Refused(refused)) = call(&mut impatient, 1) else { panic!("it is too early") };
    assert_eq!((refused.reason(), refused.by()), (Reason::RateLimited, "rate-limit"));
    assert_eq!(refused.retry_after(), Some(90 * MILLI));
    assert_eq!(limiter.snapshot().refused, 1);

    // As long as the bound is exactly what a waiter is ready to wait.
    let mut patient = service(&limiter, 90 * MILLI);
    assert_pending!(poll_once(&mut patient));
}

#[tokio::test(start_paused = true)]
async fn one_who_was_to_be_refused_is_admitted_if_there_is_a_unit_by_then() {
    let limiter = limiter();
    assert!(limiter.check().allowed);
    let [mut first, mut second] = [(); 2].map(|()| service(&limiter, Duration::ZERO));
    assert_ready_ok!(poll_once(&mut first));
    assert_ready_ok!(poll_once(&mut second));
    // Asked again, it would have to wait now; but it has said that it is ready.
    assert_ready_ok!(poll_once(&mut second));
    advance(100 * MILLI).await;
    assert_eq!(call(&mut first, 1), Ok(1));
    assert_ready_ok!(poll_once(&mut second));
    assert!(call(&mut second, 2).is_err());
    assert_eq!(limiter.snapshot().refused, 1);
}

#[tokio::test(start_paused = true)]
async fn one_who_was_to_be_refused_does_not_go_back_to_waiting() {
    let limiter = limiter();
    assert!(limiter.check().allowed);
    let mut impatient = service(&limiter, 50 * MILLI);
    assert_ready_ok!(poll_once(&mut impatient));
    advance(60 * MILLI).await;
    assert_ready_ok!(poll_once(&mut impatient));
    assert_eq!(limiter.snapshot().waiting, 0);
    let Err(Error::Refused(refused)) = call(&mut impatient, 1) else { panic!("it is too early") };
    assert_eq!(refused.retry_after(), Some(40 * MILLI));
    // The next call may wait.
    assert_pending!(poll_once(&mut impatient));
}

#[tokio::test(start_paused = true)]
async fn same_service_waits_anew_for_each_call() {
    let limiter = limiter();
    let start = Instant::now();
    let mut service = service(&limiter, Duration::MAX);
    for request in 0..10 {
        assert_eq!(service.ready().await.unwrap().call(request).await, Ok(request));
        assert_eq!(start.elapsed(), request * 100 * MILLI);
    }
}

#[tokio::test(start_paused = true)]
async fn unit_is_reserved_only_when_the_inner_service_is_ready() {
    let limiter = limiter();
    let mut waiting = service(&limiter, Duration::MAX);
    let leaf = waiting.get_ref().clone();
    leaf.busy.store(true, Ordering::Relaxed); // Relaxed: one thread.
    assert_pending!(poll_once(&mut waiting));
    assert_eq!(limiter.peek().remaining, 1);
    leaf.busy.store(false, Ordering::Relaxed); // Relaxed: one thread.
    assert_ready_ok!(poll_once(&mut waiting));
    assert_eq!(limiter.peek().remaining, 0);
    // An inner service that is not ready after all does not cost the unit.
    leaf.busy.store(true, Ordering::Relaxed); // Relaxed: one thread.
    assert_pending!(poll_once(&mut waiting));
    leaf.busy.store(false, Ordering::Relaxed); // Relaxed: one thread.
    assert_ready_ok!(poll_once(&mut waiting));
    assert_eq!(call(&mut waiting, 1), Ok(1));
    assert_eq!(limiter.peek().retry_after, 100 * MILLI, "one unit in all");
}

#[tokio::test(start_paused = true)]
async fn error_or_panic_of_the_inner_readiness_gives_the_unit_back() {
    let limiter = limiter();
    let mut waiting = service(&limiter, Duration::MAX);
    let leaf = waiting.get_ref().clone();
    assert_ready_ok!(poll_once(&mut waiting));
    leaf.dead.store(true, Ordering::Relaxed); // Relaxed: one thread.
    assert_eq!(assert_ready_err!(poll_once(&mut waiting)), Error::Inner("dead"));
    assert_eq!(limiter.peek().remaining, 1);

    let mut waiting = service(&limiter, Duration::MAX);
    assert_ready_ok!(poll_once(&mut waiting));
    waiting.get_ref().panics.store(true, Ordering::Relaxed); // Relaxed: one thread.
    let polled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| poll_once(&mut waiting)));
    assert!(polled.is_err());
    let called = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(waiting.call(1))));
    assert!(called.is_err(), "it is not ready any more");
    drop(waiting);
    assert_eq!(limiter.peek().remaining, 1);
}

#[tokio::test(start_paused = true)]
async fn clone_is_not_ready_and_has_nothing_reserved() {
    let limiter = Arc::new(Limiter::new(Quota::per_second(10).unwrap()).unwrap());
    let mut ready = service(&limiter, Duration::MAX);
    assert_ready_ok!(poll_once(&mut ready));
    let mut clone = ready.clone();
    assert_eq!(limiter.peek().remaining, 9);
    let called = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(clone.call(1))));
    assert!(called.is_err());
    assert_eq!(call(&mut ready, 1), Ok(1));
}

#[tokio::test(start_paused = true)]
#[should_panic = "needs a `poll_ready` that returned ready"]
async fn call_panics_while_it_is_not_its_turn() {
    let limiter = limiter();
    assert!(limiter.check().allowed);
    let mut waiting = service(&limiter, Duration::MAX);
    assert_pending!(poll_once(&mut waiting));
    drop(waiting.call(1));
}

#[tokio::test(start_paused = true)]
async fn bound_holds_whoever_waits_and_leaves() {
    let limiter = Arc::new(Limiter::new(Quota::per_second(10).unwrap().burst(3).unwrap()).unwrap());
    let start = Instant::now();
    let mut calls = Vec::new();
    let mut waiters: Vec<Waiting> = Vec::new();
    let mut random: u64 = 7;
    for _ in 0..3_000 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let dice = usize::try_from(random >> 33).unwrap();
        match dice % 4 {
            0 if waiters.len() < 20 => waiters.push(service(&limiter, Duration::MAX)),
            // Some of them are ready.
            1 if !waiters.is_empty() => drop(waiters.swap_remove(dice / 4 % waiters.len())),
            _ => advance(50 * MILLI).await,
        }
        // Each is polled at its moment; of those that are ready some are called, and the others dropped.
        for at in (0..waiters.len()).rev() {
            if poll_once(&mut waiters[at]).is_ready() {
                let mut ready = waiters.swap_remove(at);
                if (dice + at).is_multiple_of(2) {
                    assert_eq!(call(&mut ready, 1), Ok(1));
                    calls.push(start.elapsed());
                }
            }
        }
    }
    for (first, from) in calls.iter().enumerate() {
        for (last, to) in calls.iter().enumerate().skip(first) {
            let bound = to.saturating_sub(*from).as_millis() / 100 + 3;
            assert!((last - first + 1) as u128 <= bound, "{from:?} to {to:?}");
        }
    }
    assert!(calls.len() > 300, "{}", calls.len());
    drop(waiters);
    assert_eq!(limiter.snapshot().waiting, 0);
    advance(300 * MILLI).await;
    assert_eq!(limiter.peek().remaining, 3, "nothing is lost");
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_in_shadow_mode() {
    for wait in [Duration::ZERO, 50 * MILLI, Duration::MAX] {
        let quota = Quota::per_second(10).unwrap().burst(1).unwrap();
        let limiter = Arc::new(Limiter::new(Config::new(quota).shadow(true)).unwrap());
        let mut shadowed = service(&limiter, wait);
        for request in 0..5 {
            assert_ready_ok!(poll_once(&mut shadowed));
            assert_eq!(call(&mut shadowed, request), Ok(request));
        }
        assert_eq!(limiter.snapshot().refused, 4, "{wait:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn fresh_layer_shares_nothing_and_clones_share_all() {
    let layer =
        RateLimitLayer::new(Quota::per_second(10).unwrap().burst(1).unwrap()).unwrap().wait_at_most(Duration::MAX);
    let ready = |service: &mut Waiting| poll_once(service).is_ready();
    let mut one = layer.layer(Leaf::default());
    assert!(ready(&mut one));
    assert!(!ready(&mut layer.clone().layer(Leaf::default())));
    assert!(!ready(&mut one.clone()));
    let fresh = layer.fresh();
    let mut first = fresh.layer(Leaf::default());
    assert!(ready(&mut first));
    assert!(!ready(&mut fresh.layer(Leaf::default())), "it waits as long");
}

const _: fn() = || {
    // What cannot fail can be lifted, too.
    fn takes<S: Service<u32>>(_: S) {}
    let _ = |limiter: &'static Limiter| {
        let layer = RateLimitLayer::with_limiter(limiter).wait_at_most(Duration::ZERO);
        takes(layer.layer(tower::service_fn(async |request: u32| Ok::<_, Error<Infallible>>(request))));
    };
};

#[tokio::test(start_paused = true)]
async fn calls_with_a_timeout_in_front_are_served_at_the_rate() {
    let layer = RateLimitLayer::new(Quota::per_second(10).unwrap()).unwrap().wait_at_most(Duration::from_secs(60));
    let shop = layer.layer(service_fn(async |(): ()| Ok::<_, Error<Infallible>>(())));
    let served = Arc::new(AtomicU64::new(0));
    // Twelve callers per second; each gives up after 5 s.
    for second in 0..300 {
        if second == 200 {
            served.store(0, Ordering::Relaxed); // Relaxed: one thread.
        }
        for _ in 0..12 {
            let (shop, served) = (shop.clone(), served.clone());
            tokio::spawn(async move {
                if let Ok(Ok(())) = tokio::time::timeout(Duration::from_secs(5), shop.oneshot(())).await {
                    served.fetch_add(1, Ordering::Relaxed); // Relaxed: one thread.
                }
            });
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let served = served.load(Ordering::Relaxed); // Relaxed: one thread.
    assert!(served >= 990, "served {served} of 1000 in the last 100 s");
}
