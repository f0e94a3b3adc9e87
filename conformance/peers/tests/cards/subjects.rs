//! The layers of tower-resilience, each with what its documentation says about it.

use mainstay_conformance::{Probe, ProbeError, Profile, Reply, Report, Request, Subject, check, subject_types};
use std::{error, time::Duration};
use tower_layer::layer_fn;
use tower_resilience_adaptive::{AdaptiveLimiterLayer, Aimd};
use tower_resilience_bulkhead::{BulkheadLayer, BulkheadServiceError};
use tower_resilience_cache::CacheLayer;
use tower_resilience_chaos::ChaosLayer;
use tower_resilience_circuitbreaker::{CircuitBreakerError, CircuitBreakerLayer};
use tower_resilience_coalesce::CoalesceLayer;
use tower_resilience_executor::ExecutorLayer;
use tower_resilience_fallback::FallbackLayer;
use tower_resilience_hedge::HedgeLayer;
use tower_resilience_outlier::{OutlierDetectionLayer, OutlierDetectionServiceError, OutlierDetector};
use tower_resilience_ratelimiter::{RateLimiterLayer, RateLimiterServiceError};
use tower_resilience_retry::RetryLayer;
use tower_resilience_timelimiter::TimeLimiterLayer;

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_hours(24);

type AnyError = dyn error::Error + 'static;

fn circuit_is_open(error: &AnyError) -> bool {
    matches!(error.downcast_ref(), Some(CircuitBreakerError::<ProbeError>::OpenCircuit))
}

fn breaker()
-> tower_resilience_circuitbreaker::CircuitBreakerConfigBuilder<tower_resilience_circuitbreaker::DefaultClassifier> {
    CircuitBreakerLayer::builder().sliding_window_size(1).failure_rate_threshold(0.5)
}

pub(crate) fn circuit_breaker() -> Report {
    let make = || breaker().wait_duration_in_open(DAY).build_with_handle().expect("it is valid").0;
    let subject = Subject::new("CircuitBreaker", make).on_tokio().refusal(circuit_is_open);
    check(subject_types!(subject.profile(Profile::pass_through().may_refuse())))
}

pub(crate) fn circuit_breaker_half_open() -> Report {
    let make = || breaker().wait_duration_in_open(Duration::ZERO).build_with_handle().expect("it is valid").0;
    let subject = Subject::new("CircuitBreaker, open for no time", make).on_tokio().refusal(circuit_is_open);
    check(subject_types!(subject.profile(Profile::pass_through().may_refuse())))
}

pub(crate) fn circuit_breaker_backpressure() -> Report {
    let make = || breaker().wait_duration_in_open(DAY).backpressure().build_with_handle().expect("it is valid").0;
    let subject = Subject::new("CircuitBreaker with backpressure", make).on_tokio().refusal(circuit_is_open);
    check(subject_types!(subject.profile(Profile::pass_through().may_refuse().backpressure())))
}

fn bulkhead_is_full(error: &AnyError) -> bool {
    matches!(error.downcast_ref(), Some(BulkheadServiceError::<ProbeError>::Bulkhead(_)))
}

pub(crate) fn bulkhead() -> Report {
    let make = || BulkheadLayer::builder().max_concurrent_calls(2).build_with_handle().expect("it is valid").0;
    let subject = Subject::new("Bulkhead", make).on_tokio().refusal(bulkhead_is_full);
    check(subject_types!(subject.profile(Profile::pass_through().may_refuse().owns_permits(2))))
}

pub(crate) fn bulkhead_rejecting() -> Report {
    let make = || {
        let builder = BulkheadLayer::builder().max_concurrent_calls(2).reject_when_full();
        builder.build_with_handle().expect("it is valid").0
    };
    let subject = Subject::new("Bulkhead that rejects when full", make).on_tokio().refusal(bulkhead_is_full);
    check(subject_types!(subject.profile(Profile::pass_through().may_refuse().owns_permits(2))))
}

pub(crate) fn bulkhead_backpressure() -> Report {
    let make =
        || BulkheadLayer::builder().max_concurrent_calls(2).backpressure().build_with_handle().expect("it is valid").0;
    let subject = Subject::new("Bulkhead with backpressure", make).on_tokio().refusal(bulkhead_is_full);
    check(subject_types!(subject.profile(Profile::pass_through().owns_permits(2))))
}

fn rate_is_exceeded(error: &AnyError) -> bool {
    matches!(error.downcast_ref(), Some(RateLimiterServiceError::<ProbeError>::RateLimited))
}

pub(crate) fn rate_limiter() -> Report {
    let make = || {
        let builder = RateLimiterLayer::builder().limit_for_period(2).refresh_period(SECOND).timeout_duration(SECOND);
        builder.build_with_handle().expect("it is valid").0
    };
    let subject = Subject::new("RateLimiter", make).on_tokio().refusal(rate_is_exceeded);
    check(subject_types!(subject.profile(Profile::pass_through().may_refuse())))
}

pub(crate) fn rate_limiter_backpressure() -> Report {
    let make = || {
        let builder = RateLimiterLayer::builder().limit_for_period(2).refresh_period(SECOND).backpressure();
        builder.build_with_handle().expect("it is valid").0
    };
    let subject = Subject::new("RateLimiter with backpressure", make).on_tokio().refusal(rate_is_exceeded);
    check(subject_types!(subject.profile(Profile::pass_through().backpressure())))
}

pub(crate) fn retry() -> Report {
    let make = || {
        RetryLayer::<Request, Reply, ProbeError>::builder()
            .max_attempts(3)
            .fixed_backoff(Duration::from_millis(100))
            .build()
    };
    let subject = Subject::new("Retry", make).on_tokio();
    check(subject_types!(subject.profile(Profile::pass_through().max_inner_calls(3))))
}

pub(crate) fn time_limiter() -> Report {
    let make = || TimeLimiterLayer::builder().timeout_duration(SECOND).build();
    let subject = Subject::new("TimeLimiter", make).on_tokio();
    check(subject_types!(subject.profile(Profile::pass_through().may_fail())))
}

pub(crate) fn time_limiter_detached() -> Report {
    let make = || TimeLimiterLayer::builder().timeout_duration(SECOND).cancel_running_future(false).build();
    let subject = Subject::new("TimeLimiter that does not cancel", make).on_tokio();
    check(subject_types!(subject.profile(Profile::pass_through().may_fail().detaches())))
}

pub(crate) fn hedge() -> Report {
    let make = || HedgeLayer::builder().delay(Duration::from_millis(500)).max_hedged_attempts(2).build();
    let subject = Subject::new("Hedge", make).on_tokio();
    check(subject_types!(subject.profile(Profile::pass_through().max_inner_calls(2))))
}

pub(crate) fn fallback_value() -> Report {
    let make = || FallbackLayer::<Request, Reply, ProbeError>::value(Reply::made_up());
    let subject = Subject::new("Fallback to a value", make);
    check(subject_types!(subject.profile(Profile::pass_through().may_answer_without_inner())))
}

pub(crate) fn fallback_service() -> Report {
    let make = || {
        layer_fn(|probe: Probe| {
            let layer = FallbackLayer::<Request, Reply, ProbeError>::tower_service(probe.clone());
            tower_layer::Layer::layer(&layer, probe)
        })
    };
    let subject = Subject::new("Fallback to a service", make).on_tokio();
    check(subject_types!(subject.profile(Profile::pass_through().max_inner_calls(2))))
}

pub(crate) fn adaptive() -> Report {
    let make = || {
        let limit = Aimd::builder().initial_limit(2).min_limit(2).max_limit(2).build().expect("it is valid");
        AdaptiveLimiterLayer::new(limit)
    };
    let subject = Subject::new("AdaptiveLimiter", make).on_tokio();
    check(subject_types!(subject.profile(Profile::pass_through().owns_permits(2))))
}

pub(crate) fn coalesce() -> Report {
    let make = || CoalesceLayer::new(|_: &Request| 0);
    let subject = Subject::new("Coalesce", make);
    check(subject_types!(subject.profile(Profile::pass_through().may_fail().may_answer_without_inner())))
}

pub(crate) fn cache() -> Report {
    let make = || {
        let builder = CacheLayer::<Request, u32>::builder().key_extractor(|request: &Request| request.id() / 2);
        builder.build().expect("it is valid").shared::<Reply>()
    };
    let subject = Subject::new("Cache", make);
    check(subject_types!(subject.profile(Profile::pass_through().may_answer_without_inner())))
}

pub(crate) fn executor() -> Report {
    let subject = Subject::new("Executor", ExecutorLayer::current).on_tokio();
    check(subject_types!(subject.profile(Profile::pass_through().may_fail().detaches())))
}

fn is_ejected(error: &AnyError) -> bool {
    matches!(error.downcast_ref(), Some(OutlierDetectionServiceError::<ProbeError>::OutlierDetection(_)))
}

fn detector() -> OutlierDetector {
    let detector = OutlierDetector::new().max_ejection_percent(100).base_ejection_duration(DAY);
    detector.register("one", 1);
    detector
}

pub(crate) fn outlier() -> Report {
    let make =
        || OutlierDetectionLayer::builder().detector(detector()).instance_name("one").build().expect("it is valid");
    let subject = Subject::new("OutlierDetection", make).on_tokio();
    check(subject_types!(subject.profile(Profile::pass_through().backpressure())))
}

pub(crate) fn outlier_error() -> Report {
    let make = || {
        let builder = OutlierDetectionLayer::builder().detector(detector()).instance_name("one").error_on_ejection();
        builder.build().expect("it is valid")
    };
    let subject = Subject::new("OutlierDetection with errors", make).refusal(is_ejected);
    check(subject_types!(subject.profile(Profile::pass_through().may_refuse())))
}

pub(crate) fn chaos() -> Report {
    let make = || ChaosLayer::builder().latency_rate(0.5).min_latency(SECOND).max_latency(SECOND).seed(1).build();
    check(subject_types!(Subject::new("Chaos with latency", make).on_tokio()))
}
