//! The cases of several layers: retry around a timeout, and a circuit breaker between them.

use super::{full, leak, retry, timeout::timeout};
use crate::{
    Case, Leaf, at_once,
    circuit_breaker::{circuit, configs},
};
use mainstay_circuit_breaker::{Circuit, CircuitBreakerLayer};
use mainstay_retry::Budget;
use std::{ops::Deref, sync::Arc};
use tower_layer::Layer;

pub(super) fn cases() -> Vec<Case> {
    let [_, (_, last), (_, within), _] = configs();
    vec![
        retry_timeout("retry_timeout/layer", Arc::new(full())),
        retry_timeout("retry_timeout/layer_static", leak(full())),
        retry_breaker_timeout("retry_breaker_timeout/layer", Arc::new(full()), Arc::new(circuit(last.clone()))),
        retry_breaker_timeout("retry_breaker_timeout/layer_static", leak(full()), leak(circuit(last))),
        retry_breaker_timeout("retry_breaker_timeout/layer_within", Arc::new(full()), Arc::new(circuit(within))),
    ]
}

/// Retry with a budget around a timeout.
pub fn retry_timeout<B>(name: &str, budget: B) -> Case
where
    B: Deref<Target = Budget> + Clone + Send + 'static,
{
    at_once(name, retry().budget(budget).layer(timeout().layer(Leaf)))
}

/// Retry with a budget around a circuit breaker around a timeout.
pub fn retry_breaker_timeout<B, H>(name: &str, budget: B, circuit: H) -> Case
where
    B: Deref<Target = Budget> + Clone + Send + 'static,
    H: Deref<Target = Circuit> + Clone + Send + 'static,
{
    let breaker = CircuitBreakerLayer::with_circuit(circuit);
    at_once(name, retry().budget(budget).layer(breaker.layer(timeout().layer(Leaf))))
}
