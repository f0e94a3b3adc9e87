//! What does not hold, shown over tower-resilience alone.

use std::{
    convert::Infallible,
    error::Error,
    fmt,
    future::{Future, Ready, pending, poll_fn, ready},
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};
use tower::{Layer as _, Service, ServiceExt as _, service_fn};
use tower_resilience_adaptive::AdaptiveError;
use tower_resilience_bulkhead::BulkheadServiceError;
use tower_resilience_cache::CacheError;
use tower_resilience_circuitbreaker::{CircuitBreakerError, CircuitBreakerLayer};
use tower_resilience_coalesce::{CoalesceError, CoalesceLayer};
use tower_resilience_executor::ExecutorError;
use tower_resilience_fallback::{FallbackError, FallbackLayer};
use tower_resilience_hedge::HedgeError;
use tower_resilience_outlier::{OutlierDetectionLayer, OutlierDetectionServiceError, OutlierDetector};
use tower_resilience_ratelimiter::RateLimiterServiceError;
use tower_resilience_timelimiter::TimeLimiterError;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Failed;

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("failed")
    }
}

impl Error for Failed {}

/// Counts how often it is woken.
#[derive(Debug, Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Bell {
    fn rung(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

fn bell() -> (Arc<Bell>, Waker) {
    let bell = Arc::new(Bell::default());
    (Arc::clone(&bell), Waker::from(bell))
}

/// The first value is always ready, and its clones never are. Each call fails.
#[derive(Debug)]
struct First {
    is_ready: bool,
}

impl Clone for First {
    fn clone(&self) -> Self {
        Self { is_ready: false }
    }
}

impl Service<()> for First {
    type Response = ();
    type Error = Failed;
    type Future = Ready<Result<(), Failed>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        if self.is_ready { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    fn call(&mut self, (): ()) -> Self::Future {
        ready(Err(Failed))
    }
}

#[test]
fn inner_error_is_a_variant_and_not_the_source() {
    let errors: [Box<dyn Error>; 11] = [
        Box::new(CircuitBreakerError::Inner(Failed)),
        Box::new(BulkheadServiceError::Inner(Failed)),
        Box::new(RateLimiterServiceError::Inner(Failed)),
        Box::new(TimeLimiterError::Inner(Failed)),
        Box::new(HedgeError::Inner(Failed)),
        Box::new(FallbackError::<Failed>::Inner(Failed)),
        Box::new(AdaptiveError::Service(Failed)),
        Box::new(CoalesceError::Service(Failed)),
        Box::new(CacheError::Inner(Failed)),
        Box::new(ExecutorError::Service(Failed)),
        Box::new(OutlierDetectionServiceError::Inner(Failed)),
    ];
    for error in errors {
        assert!(!error.is::<Failed>() && error.source().is_none(), "{error}");
    }
}

#[tokio::test]
async fn circuit_breaker_does_not_wake_who_waits_for_the_inner_service_when_it_begins_to_refuse() {
    let (layer, _handle) =
        CircuitBreakerLayer::builder().sliding_window_size(1).build_with_handle().expect("it is valid");
    let mut one = layer.layer(First { is_ready: true });
    let mut other = one.clone();
    let (bell, waker) = bell();
    let cx = &mut Context::from_waker(&waker);
    assert!(other.poll_ready(cx).is_pending(), "its inner service is not ready");
    one.ready().await.expect("it is ready").call(()).await.expect_err("the call fails");
    assert!(one.is_open());
    assert_eq!(bell.rung(), 0, "nobody is woken");
    assert!(other.poll_ready(cx).is_ready(), "and polling again gets further: it is ready to refuse");
}

#[tokio::test]
async fn circuit_breaker_with_backpressure_goes_back_from_ready_to_pending() {
    let builder = CircuitBreakerLayer::builder().sliding_window_size(1).backpressure();
    let (layer, _handle) = builder.build_with_handle().expect("it is valid");
    let mut one = layer.layer(service_fn(|(): ()| ready(Err::<(), _>(Failed))));
    let mut other = one.clone();
    other.ready().await.expect("it is ready");
    one.ready().await.expect("it is ready").call(()).await.expect_err("the call fails");
    let again = poll_fn(|cx| Poll::Ready(other.poll_ready(cx).is_pending())).await;
    assert!(again, "it was ready, and was not called");
}

/// Fails when it is asked for readiness, and counts how often it is asked.
#[derive(Debug)]
struct Defunct {
    asked: Arc<AtomicUsize>,
}

impl Service<()> for Defunct {
    type Response = ();
    type Error = Failed;
    type Future = Ready<Result<(), Failed>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        Poll::Ready(Err(Failed))
    }

    fn call(&mut self, (): ()) -> Self::Future {
        ready(Err(Failed))
    }
}

#[tokio::test]
async fn fallback_asks_a_backup_again_whose_readiness_has_failed() {
    let asked = Arc::new(AtomicUsize::new(0));
    let layer = FallbackLayer::<(), (), Failed>::tower_service(Defunct { asked: Arc::clone(&asked) });
    let mut service = layer.layer(service_fn(|(): ()| ready(Err::<(), _>(Failed))));
    for _ in 0..2 {
        let error = service.ready().await.expect("it is ready").call(()).await;
        assert!(matches!(error, Err(FallbackError::FallbackFailed(Failed))));
    }
    assert_eq!(asked.load(Ordering::Relaxed), 2, "the same value, after it had failed");
}

#[tokio::test]
async fn coalesce_wakes_itself_at_each_poll_of_who_waits_for_another_call() {
    let inner = service_fn(|(): ()| pending::<Result<(), Infallible>>());
    let mut service = CoalesceLayer::new(|(): &()| 0).layer(inner);
    let _leader = service.ready().await.expect("it is ready").call(());
    let mut follower = pin!(service.ready().await.expect("it is ready").call(()));
    let (bell, waker) = bell();
    for polls in 1..=100 {
        assert!(follower.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        assert_eq!(bell.rung(), polls);
    }
}

#[tokio::test]
async fn coalesce_waits_for_a_call_that_panicked_before_it_began() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let inner = service_fn(move |(): ()| {
        if counted.fetch_add(1, Ordering::Relaxed) == 0 {
            resume_unwind(Box::new("planted"));
        }
        ready(Ok::<_, Infallible>(()))
    });
    let mut service = CoalesceLayer::new(|(): &()| 0).layer(inner);
    let mut other = service.clone();
    let ready = service.ready().await.expect("it is ready");
    let called = catch_unwind(AssertUnwindSafe(|| ready.call(())));
    assert!(called.is_err(), "the first inner call panics");
    let mut next = pin!(other.ready().await.expect("it is ready").call(()));
    for _ in 0..100 {
        assert!(poll_fn(|cx| Poll::Ready(next.as_mut().poll(cx).is_pending())).await, "it waits for the first one");
    }
    assert_eq!(calls.load(Ordering::Relaxed), 1, "there was no second inner call");
}

fn outlier_detection() -> OutlierDetectionLayer<tower_resilience_outlier::DefaultClassifier> {
    let detector = OutlierDetector::new().max_ejection_percent(100);
    detector.register("one", 1);
    OutlierDetectionLayer::builder().detector(detector).instance_name("one").build().expect("it is valid")
}

#[tokio::test]
async fn outlier_detection_goes_back_from_ready_to_pending() {
    let mut one = outlier_detection().layer(service_fn(|(): ()| ready(Err::<(), _>(Failed))));
    let mut other = one.clone();
    other.ready().await.expect("it is ready");
    one.ready().await.expect("it is ready").call(()).await.expect_err("the call fails");
    let again = poll_fn(|cx| Poll::Ready(other.poll_ready(cx).is_pending())).await;
    assert!(again, "it was ready, and was not called");
}

#[tokio::test]
async fn outlier_detection_wakes_itself_at_each_poll_while_the_instance_is_ejected() {
    let mut service = outlier_detection().layer(service_fn(|(): ()| ready(Err::<(), _>(Failed))));
    service.ready().await.expect("it is ready").call(()).await.expect_err("the call fails");
    let (bell, waker) = bell();
    for polls in 1..=100 {
        assert!(service.poll_ready(&mut Context::from_waker(&waker)).is_pending());
        assert_eq!(bell.rung(), polls);
    }
}
