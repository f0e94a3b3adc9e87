//! The layer that refuses: what it takes, what it says, and what is shared.

use mainstay_core::{Error, Reason};
use mainstay_rate_limit::{
    ByValue, Config, KeyedConfig, KeyedLimiter, KeyedRateLimitLayer, LimitLayer, Limiter, Quota, RateLimitLayer, Rule,
};
use std::{
    convert::Infallible,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};
use tokio::time::advance;
use tower::{Layer, Service, ServiceExt, service_fn};

type Answer = Result<u64, Error<Infallible>>;

fn leaf() -> impl Service<u64, Response = u64, Error = Error<Infallible>, Future = impl Future<Output = Answer>> + Clone
{
    service_fn(|request: u64| std::future::ready(Answer::Ok(request)))
}

fn quota() -> Quota {
    Quota::per_second(10).unwrap()
}

#[tokio::test(start_paused = true)]
async fn refusal_says_who_why_and_exactly_how_long() {
    let layer = RateLimitLayer::new(Config::new(quota()).name("partner")).unwrap();
    let mut service = layer.layer(leaf());
    for request in 0..10 {
        assert_eq!(service.ready().await.unwrap().call(request).await, Ok(request));
    }
    advance(Duration::from_millis(30)).await;
    let Err(Error::Refused(refused)) = service.ready().await.unwrap().call(10).await else { panic!("one too many") };
    assert_eq!((refused.reason(), refused.by()), (Reason::RateLimited, "partner"));
    assert_eq!(refused.retry_after(), Some(Duration::from_millis(70)));
    advance(refused.retry_after().unwrap()).await;
    assert_eq!(service.ready().await.unwrap().call(11).await, Ok(11));
    assert_eq!(layer.handle().snapshot().refused, 1);
}

#[tokio::test(start_paused = true)]
async fn request_takes_its_cost_or_nothing() {
    let layer = RateLimitLayer::new(quota()).unwrap().cost(|request: &u64| *request);
    let ask = |request| layer.layer(leaf()).oneshot(request);
    assert_eq!(ask(7).await, Ok(7));
    let Err(Error::Refused(refused)) = ask(4).await else { panic!("too much") };
    assert_eq!(refused.retry_after(), Some(Duration::from_millis(100)));
    assert_eq!(ask(3).await, Ok(3));
    assert_eq!(ask(0).await, Ok(0), "nothing is always there");
    let Err(Error::Refused(refused)) = ask(5_000_000_000).await else { panic!("far too much") };
    assert_eq!(refused.retry_after(), None, "it will never be there");
}

#[tokio::test(start_paused = true)]
async fn several_rules_are_charged_together_or_not_at_all() {
    let minute = Rule::sliding_log(Quota::per_minute(12).unwrap());
    let layer = RateLimitLayer::new([Rule::token_bucket(quota()), minute]).unwrap();
    let ask = || layer.layer(leaf()).oneshot(1);
    for _ in 0..10 {
        assert!(ask().await.is_ok());
    }
    for _ in 0..50 {
        assert!(ask().await.is_err(), "refused by the bucket, not charged to the log");
    }
    advance(Duration::from_secs(1)).await;
    assert!(ask().await.is_ok());
    assert!(ask().await.is_ok());
    let Err(Error::Refused(refused)) = ask().await else { panic!("the log is full") };
    assert_eq!(refused.retry_after(), Some(Duration::from_secs(59)));
}

#[tokio::test(start_paused = true)]
async fn shadow_mode_admits_and_counts() {
    let layer = RateLimitLayer::new(Config::new(quota()).shadow(true)).unwrap();
    for request in 0..15 {
        assert_eq!(layer.layer(leaf()).oneshot(request).await, Ok(request));
    }
    assert_eq!(layer.handle().snapshot().refused, 5);
}

#[tokio::test(start_paused = true)]
async fn clones_and_services_share_one_limit_and_fresh_layers_do_not() {
    let layer = RateLimitLayer::new(Quota::per_second(1).unwrap()).unwrap();
    let service = layer.layer(leaf());
    assert!(service.clone().oneshot(1).await.is_ok());
    assert!(service.oneshot(1).await.is_err());
    assert!(layer.clone().layer(leaf()).oneshot(1).await.is_err());
    assert!(layer.fresh().layer(leaf()).oneshot(1).await.is_ok());

    let keyed = KeyedRateLimitLayer::by_value(Quota::per_second(1).unwrap(), |request: &u64| *request).unwrap();
    assert!(keyed.layer(leaf()).oneshot(1).await.is_ok());
    assert!(keyed.clone().layer(leaf()).oneshot(1).await.is_err());
    assert!(keyed.layer(leaf()).oneshot(2).await.is_ok());
    assert!(keyed.fresh().layer(leaf()).oneshot(1).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn limiter_can_be_static() {
    static LIMITER: LazyLock<Limiter> = LazyLock::new(|| Limiter::new(Quota::per_minute(1).unwrap()).unwrap());
    let layer = RateLimitLayer::with_limiter(&*LIMITER);
    assert!(layer.layer(leaf()).oneshot(1).await.is_ok());
    assert!(!LIMITER.check().allowed);
}

#[tokio::test(start_paused = true)]
async fn keys_that_are_parts_of_the_request_are_not_copied() {
    let limits = Arc::new(KeyedLimiter::<str>::new(KeyedConfig::new(quota())).unwrap());
    let layer = RateLimitLayer::keyed(Arc::clone(&limits), |request: &String| request.as_str());
    let echo = layer.layer(service_fn(async |request: String| Ok::<_, Error<Infallible>>(request)));
    assert!(echo.clone().oneshot("alice".to_owned()).await.is_ok());
    assert_eq!((limits.peek("alice").remaining, limits.peek("bob").remaining), (9, 10));

    let computed = Arc::new(KeyedLimiter::<usize>::new(quota()).unwrap());
    let layer = RateLimitLayer::keyed_by_value(Arc::clone(&computed), |request: &String| request.len())
        .cost(|request: &String| request.len() as u64);
    let echo = layer.layer(service_fn(async |request: String| Ok::<_, Error<Infallible>>(request)));
    assert!(echo.oneshot("bob".to_owned()).await.is_ok());
    assert_eq!(computed.peek(&3).remaining, 7);
}

#[tokio::test(start_paused = true)]
async fn functions_of_the_user_that_panic_take_nothing() {
    let cost = RateLimitLayer::new(quota()).unwrap().cost(|_: &u64| panic!("planted"));
    let mut service = cost.layer(leaf());
    assert!(service.poll_ready(&mut Context::from_waker(Waker::noop())).is_ready());
    assert!(catch_unwind(AssertUnwindSafe(|| drop(service.call(1)))).is_err());
    assert_eq!(cost.handle().peek().remaining, 10);
    assert!(service.poll_ready(&mut Context::from_waker(Waker::noop())).is_ready());
}

#[tokio::test(start_paused = true)]
async fn call_without_readiness_panics_and_takes_nothing() {
    let layer = RateLimitLayer::new(quota()).unwrap();
    let keyed = KeyedRateLimitLayer::by_value(quota(), |request: &u64| *request).unwrap();
    let (mut plain, mut keyed_service) = (layer.layer(leaf()), keyed.layer(leaf()));
    assert!(catch_unwind(AssertUnwindSafe(|| drop(plain.call(1)))).is_err());
    assert!(catch_unwind(AssertUnwindSafe(|| drop(keyed_service.call(1)))).is_err());
    assert_eq!((layer.handle().peek().remaining, keyed.handle().peek(&1).remaining), (10, 10));
    // Not even when the one that was cloned is ready.
    let mut cx = Context::from_waker(Waker::noop());
    assert!(plain.poll_ready(&mut cx).is_ready() && keyed_service.poll_ready(&mut cx).is_ready());
    let (mut clone, mut keyed_clone) = (plain.clone(), keyed_service.clone());
    assert!(catch_unwind(AssertUnwindSafe(|| drop(clone.call(1)))).is_err());
    assert!(catch_unwind(AssertUnwindSafe(|| drop(keyed_clone.call(1)))).is_err());
    // And it is ready for one call.
    drop((plain.call(1), keyed_service.call(1)));
    assert!(catch_unwind(AssertUnwindSafe(|| drop(plain.call(1)))).is_err());
    assert!(catch_unwind(AssertUnwindSafe(|| drop(keyed_service.call(1)))).is_err());
    assert_eq!((layer.handle().peek().remaining, keyed.handle().peek(&1).remaining), (9, 9));
}

#[tokio::test(start_paused = true)]
async fn cancelled_call_has_used_its_unit() {
    let layer = RateLimitLayer::new(quota()).unwrap();
    let mut service = layer.layer(service_fn(|_: u64| std::future::pending::<Answer>()));
    assert!(matches!(service.poll_ready(&mut Context::from_waker(Waker::noop())), Poll::Ready(Ok(()))));
    drop(service.call(1));
    assert_eq!(layer.handle().peek().remaining, 9);
}

#[tokio::test(start_paused = true)]
async fn shadow_mode_refuses_nobody_whatever_it_costs() {
    let layer = RateLimitLayer::new(Config::new(quota()).shadow(true)).unwrap().cost(|cost: &u64| *cost);
    let service = layer.layer(leaf());
    assert_eq!(service.oneshot(11).await, Ok(11));
}

#[tokio::test(start_paused = true)]
async fn refusal_for_a_cost_that_never_fits_is_counted() {
    let layer = RateLimitLayer::new(quota()).unwrap().cost(|cost: &u64| *cost);
    let service = layer.layer(leaf());
    assert!(service.oneshot(11).await.is_err());
    assert_eq!(layer.handle().snapshot().refused, 1);
}

/// Ready, broken, busy, or worse.
#[derive(Clone)]
struct Moody(Arc<AtomicU8>);

impl Service<u64> for Moody {
    type Response = u64;
    type Error = Error<&'static str>;
    type Future = std::future::Ready<Result<u64, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        // Relaxed: one thread.
        match self.0.load(Ordering::Relaxed) {
            0 => Poll::Ready(Ok(())),
            1 => Poll::Ready(Err(Error::Inner("broken"))),
            2 => Poll::Pending,
            _ => panic!("planted"),
        }
    }

    fn call(&mut self, request: u64) -> Self::Future {
        std::future::ready(Ok(request))
    }
}

fn readiness_ends_with_that_of_the_inner_service<L>(layer: &L)
where
    L: Layer<Moody, Service: Service<u64>>,
{
    for mood in 1..4 {
        let inner = Moody(Arc::default());
        let mut service = layer.layer(inner.clone());
        let mut poll = |mood| {
            inner.0.store(mood, Ordering::Relaxed); // Relaxed: one thread.
            let mut cx = Context::from_waker(Waker::noop());
            let _ = catch_unwind(AssertUnwindSafe(|| service.poll_ready(&mut cx).is_ready()));
        };
        poll(0);
        poll(mood);
        assert!(catch_unwind(AssertUnwindSafe(|| drop(service.call(1)))).is_err(), "{mood}");
    }
}

#[tokio::test(start_paused = true)]
async fn call_after_readiness_that_has_ended_panics_and_takes_nothing() {
    let layer = RateLimitLayer::new(quota()).unwrap();
    readiness_ends_with_that_of_the_inner_service(&layer);
    assert_eq!(layer.handle().peek().remaining, 10);

    let keyed = KeyedRateLimitLayer::by_value(quota(), |request: &u64| *request).unwrap();
    readiness_ends_with_that_of_the_inner_service(&keyed);
    readiness_ends_with_that_of_the_inner_service(&keyed.clone().wait_at_most(Duration::MAX));
    assert_eq!(keyed.handle().peek(&1).remaining, 10);

    let limit = layer.handle();
    readiness_ends_with_that_of_the_inner_service(
        &LimitLayer::new("limit", limit, ByValue::new(|_: &u64| ())).unwrap(),
    );
    assert_eq!(layer.handle().peek().remaining, 10);
}
