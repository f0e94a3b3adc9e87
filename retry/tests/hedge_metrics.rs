//! Which recorder hedges are counted by.

#![cfg(feature = "metrics")]

#[path = "hedge_support/counts.rs"]
mod counts;
mod hedge_support;

use counts::counts;
use hedge_support::{Leaf, advance, config};
use mainstay_retry::HedgeLayer;
use metrics_util::debugging::DebuggingRecorder;
use std::time::Duration;
use tokio_test::{assert_pending, task};
use tower::{Layer, Service};

#[tokio::test(start_paused = true)]
async fn a_recorder_that_is_installed_later_is_met_by_the_first_hedge_or_by_rebinding() {
    let hedges = HedgeLayer::new(config().name("late").delay(Duration::ZERO)).unwrap().idempotent();
    let leaf = Leaf::default();
    let mut service = hedges.layer(leaf.clone());
    let mut hedge = || {
        let mut call = task::spawn(service.call("read"));
        assert_pending!(call.poll());
    };
    let (first, second) = (DebuggingRecorder::new(), DebuggingRecorder::new());
    let (first_seen, second_seen) = (first.snapshotter(), second.snapshotter());
    metrics::with_local_recorder(&first, &mut hedge);
    metrics::with_local_recorder(&second, &mut hedge);
    assert_eq!(counts(&first_seen).get("hedge=late,event=started"), Some(&2), "handles are kept");
    metrics::with_local_recorder(&second, || hedges.handle().rebind_metrics());
    hedge();
    assert_eq!(counts(&second_seen).get("hedge=late,event=started"), Some(&1));
    advance(Duration::ZERO).await;
}
