//! The crate `tower-resilience-ratelimiter`, with its windows.

use crate::{DAY, call_again};
use mainstay_benches::{Case, Leaf};
use std::time::Duration;
use tower_layer::Layer;
use tower_resilience_ratelimiter::{RateLimiter, RateLimiterConfigBuilder, RateLimiterLayer, WindowType};

pub(super) fn cases() -> Vec<Case> {
    let second = Duration::from_secs(1);
    let checked = |name, kind| case(name, service(kind, 1_000_000_000, second), true);
    vec![
        checked("layer/tower_resilience_fixed", WindowType::Fixed),
        checked("layer/tower_resilience_counter", WindowType::SlidingCounter),
        case("layer/tower_resilience_bucket", bucket(), true),
        case("layer_refused/tower_resilience_fixed", exhausted(), false),
    ]
}

fn service(kind: WindowType, limit: usize, period: Duration) -> RateLimiter<Leaf> {
    build(RateLimiterLayer::builder().window_type(kind).limit_for_period(limit).refresh_period(period))
}

fn bucket() -> RateLimiter<Leaf> {
    let second = Duration::from_secs(1);
    build(RateLimiterLayer::builder().limit_for_period(1_000_000_000).refresh_period(second).burst_size(0))
}

fn build(config: RateLimiterConfigBuilder) -> RateLimiter<Leaf> {
    // With a handle, all clones share one limit.
    let (layer, _handle) =
        config.timeout_duration(Duration::ZERO).build_with_handle().expect("every setting is in its range");
    layer.layer(Leaf)
}

fn exhausted() -> RateLimiter<Leaf> {
    let mut service = service(WindowType::Fixed, 1, DAY);
    assert!(call_again(&mut service, 0).is_ok());
    service
}

fn case(name: &str, service: RateLimiter<Leaf>, expected: bool) -> Case {
    Case::new(name, move || {
        let mut service = service.clone();
        move |number| assert_eq!(call_again(&mut service, number).is_ok(), expected)
    })
    .in_runtime()
}
