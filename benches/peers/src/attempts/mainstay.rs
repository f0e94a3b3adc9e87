//! This collection.

use mainstay_benches::{
    Case, Leaf, at_once,
    attempts::{earning, fixed, full, hedge_without_tower, hedged, leak, percentile, retries, retry, without_tower},
};
use std::sync::Arc;
use tower_layer::Layer;

pub(super) fn cases() -> Vec<Case> {
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
    ]
}
