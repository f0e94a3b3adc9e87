//! The layer over whatever decides: what it says, and what it holds meanwhile.

use mainstay_core::{Error, Reason};
use mainstay_rate_limit::{
    ByValue, CostTooLarge, Decision, KeyedLimiter, Limit, LimitLayer, Limiter, Quota, ReserveError,
};
use std::{
    convert::Infallible,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};
use tokio::sync::{Semaphore, oneshot};
use tokio_test::{assert_pending, assert_ready, task};
use tower::{Layer, Service, ServiceExt, limit::ConcurrencyLimit, service_fn};

type Answer = Result<u64, Error<Infallible>>;

fn echo() -> impl Service<u64, Response = u64, Error = Error<Infallible>, Future = impl Future<Output = Answer>> + Clone
{
    service_fn(|request: u64| std::future::ready(Answer::Ok(request)))
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "a layer gives it a reference")]
const fn key(_: &u64) {}

/// Decides when it is told to.
#[derive(Clone)]
struct Told(Arc<std::sync::Mutex<Option<oneshot::Receiver<Decision>>>>);

impl Limit<()> for Told {
    type Decide = std::pin::Pin<Box<dyn Future<Output = Result<Decision, CostTooLarge>> + Send>>;

    fn decide(&self, (): &(), _: u64) -> Self::Decide {
        let told = self.0.lock().unwrap().take().unwrap();
        Box::pin(async { Ok(told.await.unwrap()) })
    }
}

#[tokio::test(start_paused = true)]
async fn refusal_has_the_name_of_the_layer() {
    let limiter = Arc::new(Limiter::new(Quota::per_second(10).unwrap()).unwrap());
    let layer =
        LimitLayer::new("store", Arc::clone(&limiter), ByValue::new(key)).unwrap().cost(|request: &u64| *request);
    let service = layer.layer(echo());
    assert_eq!(service.clone().oneshot(9).await, Ok(9));
    let Err(Error::Refused(refused)) = service.clone().oneshot(2).await else { panic!("one too many") };
    assert_eq!((refused.reason(), refused.by()), (Reason::RateLimited, "store"));
    assert_eq!(refused.retry_after(), Some(Duration::from_millis(100)));
    let Err(Error::Refused(refused)) = service.oneshot(11).await else { panic!("never") };
    assert_eq!(refused.retry_after(), None);
    for (length, is_allowed) in [(0, false), (1, true), (128, true), (129, false)] {
        let layer = LimitLayer::new(&"n".repeat(length), Arc::clone(&limiter), ByValue::new(key));
        assert_eq!(layer.is_ok(), is_allowed, "{length}");
    }
}

#[tokio::test(start_paused = true)]
async fn readiness_is_kept_while_it_is_asked_and_free_before_the_answer_is_no() {
    let limiter = Limiter::new(Quota::per_second(1).unwrap()).unwrap();
    for allowed in [true, false] {
        let decision = limiter.check();
        assert_eq!(decision.allowed, allowed);
        let slots = Arc::new(Semaphore::new(1));
        let (tell, told) = oneshot::channel();
        let told = Told(Arc::new(std::sync::Mutex::new(Some(told))));
        let layer = LimitLayer::new("told", told, ByValue::new(key)).unwrap();
        let mut service = layer.layer(ConcurrencyLimit::with_semaphore(echo(), Arc::clone(&slots)));
        let mut call = task::spawn(service.ready().await.unwrap().call(1));
        assert_pending!(call.poll());
        assert_eq!(slots.available_permits(), 0, "the call will need it");
        tell.send(decision).unwrap();
        assert!(call.is_woken());
        assert_eq!(assert_ready!(call.poll()).is_ok(), allowed);
        if !allowed {
            assert_eq!(slots.available_permits(), 1);
        }
        drop(call);
        assert_eq!(slots.available_permits(), 1, "and the one left behind holds nothing");
    }
}

#[tokio::test(start_paused = true)]
async fn call_that_is_dropped_while_it_is_asked_does_not_reach_the_service() {
    let (_tell, told) = oneshot::channel();
    let layer = LimitLayer::new("told", Told(Arc::new(std::sync::Mutex::new(Some(told)))), ByValue::new(key)).unwrap();
    let mut service = layer.layer(service_fn(|_: u64| -> std::future::Ready<Answer> { panic!("it was called") }));
    let mut call = task::spawn(service.ready().await.unwrap().call(1));
    assert_pending!(call.poll());
}

#[tokio::test(start_paused = true)]
async fn call_without_readiness_panics_and_asks_nobody() {
    let limiter = Arc::new(Limiter::new(Quota::per_second(10).unwrap()).unwrap());
    let layer = LimitLayer::new("store", Arc::clone(&limiter), ByValue::new(key)).unwrap();
    let mut service = layer.layer(echo());
    assert!(catch_unwind(AssertUnwindSafe(|| drop(service.call(1)))).is_err());
    service.ready().await.unwrap();
    let mut clone = service.clone();
    assert!(catch_unwind(AssertUnwindSafe(|| drop(clone.call(1)))).is_err());
    assert_eq!(limiter.peek().remaining, 10);
    assert_eq!(service.call(1).await, Ok(1));
    assert!(catch_unwind(AssertUnwindSafe(|| drop(service.call(1)))).is_err(), "ready for one call");
    assert_eq!(limiter.peek().remaining, 9);
}

#[cfg(feature = "governor")]
#[tokio::test]
async fn limiters_of_governor_stand_behind_it() {
    use governor::{RateLimiter, clock::FakeRelativeClock};
    use mainstay_rate_limit::{Governed, GovernedKeys};
    use std::num::NonZeroU32;
    let (quota, clock) = (governor::Quota::per_hour(NonZeroU32::new(2).unwrap()), FakeRelativeClock::default());

    let all = Arc::new(Governed::new(RateLimiter::direct_with_clock(quota, clock.clone())));
    let service = LimitLayer::new("governor", all, ByValue::new(key)).unwrap().layer(echo());
    for allowed in [true, true, false] {
        assert_eq!(service.clone().oneshot(1).await.is_ok(), allowed);
    }

    let each = Arc::new(GovernedKeys::new(RateLimiter::hashmap_with_clock(quota, clock)));
    let layer = LimitLayer::new("governor", each, ByValue::new(|request: &u64| *request)).unwrap();
    for (request, allowed) in [(1, true), (1, true), (1, false), (2, true)] {
        assert_eq!(layer.layer(echo()).oneshot(request).await.is_ok(), allowed);
    }
}

#[tokio::test(start_paused = true)]
async fn limiters_of_this_crate_stand_behind_it_too() {
    let limits = Arc::new(KeyedLimiter::<u64>::new(Quota::per_second(1).unwrap()).unwrap());
    let layer = LimitLayer::new("keys", limits, ByValue::new(|request: &u64| *request)).unwrap();
    for (request, allowed) in [(1, true), (1, false), (2, true)] {
        assert_eq!(layer.layer(echo()).oneshot(request).await.is_ok(), allowed);
    }
}

#[tokio::test(start_paused = true)]
async fn refusal_for_ever_has_no_time_to_come_back() {
    let never = Decision::new(false, 10, 10).retry_after(Duration::MAX);
    let refused = never.refused("store").expect("it is not allowed");
    assert_eq!(refused.retry_after(), None);
    assert_eq!(ReserveError::TooLate(never).refused("store").retry_after(), None);

    let (tell, told) = oneshot::channel();
    tell.send(never).unwrap();
    let limit = Told(Arc::new(std::sync::Mutex::new(Some(told))));
    let service = LimitLayer::new("store", limit, ByValue::new(key)).unwrap().layer(echo());
    let Err(Error::Refused(refused)) = service.oneshot(1).await else { panic!("never") };
    assert_eq!((refused.by(), refused.retry_after()), ("store", None));
}
