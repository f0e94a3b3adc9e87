//! This collection.

use mainstay_benches::{
    Case, Leaf, at_once,
    attempts::{
        earning, fallback, fixed, full, hedge_without_tower, hedged, leak, percentile, retries, retry,
        stack::{retry_breaker_timeout, retry_timeout},
        timeout, without_tower,
    },
    circuit_breaker::{circuit, configs},
};
use mainstay_circuit_breaker::Config;
use std::sync::Arc;
use tower_layer::Layer;

pub(super) fn cases() -> Vec<Case> {
    let [_, (_, last), (_, within), _] = configs();
    vec![
        at_once("retry/mainstay_layer", retry().layer(Leaf)),
        without_tower("retry/mainstay_call", retries()),
        at_once("retry_budget/mainstay_layer", retry().budget(Arc::new(full())).layer(Leaf)),
        at_once("retry_budget/mainstay_layer_static", retry().budget(leak(full())).layer(Leaf)),
        // As the budgets of the others are, that of ours is then written to by each call.
        at_once("retry_budget/mainstay_layer_earning", retry().budget(Arc::new(earning())).layer(Leaf)),
        at_once("hedge/mainstay_layer", hedged(Arc::new(fixed()))),
        at_once("hedge/mainstay_layer_static", hedged(leak(fixed()))),
        hedge_without_tower("hedge/mainstay_call", leak(fixed())),
        at_once("hedge_percentile/mainstay_layer", hedged(Arc::new(percentile()))),
        at_once("hedge_percentile/mainstay_layer_static", hedged(leak(percentile()))),
        at_once("timeout/mainstay_layer", timeout::timeout().layer(Leaf)),
        timeout::without_tower("timeout/mainstay_call"),
        timeout::awaited("timeout_awaited/mainstay_layer"),
        at_once("fallback_value/mainstay_layer", fallback::value()),
        at_once("fallback_function/mainstay_layer", fallback::function()),
        fallback::without_tower("fallback_function/mainstay_call"),
        retry_timeout("retry_timeout/mainstay_layer", Arc::new(full())),
        retry_timeout("retry_timeout/mainstay_layer_static", leak(full())),
        // The window of tower-resilience, and that of seatbelt.
        with_breaker("retry_breaker_timeout/mainstay_layer_last_100", last),
        with_breaker("retry_breaker_timeout/mainstay_layer_within_10s", within),
    ]
}

fn with_breaker(name: &str, config: Config) -> Case {
    retry_breaker_timeout(name, Arc::new(full()), Arc::new(circuit(config)))
}
