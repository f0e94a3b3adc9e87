//! What is seen from outside: events and metrics, of hedges and of nothing else.
//!
//! One test, in a file of its own: whether anybody listens to an event is remembered for the whole process, and another test
//! without a listener could be the first to ask.

#![cfg(all(feature = "metrics", feature = "tracing"))]

#[path = "hedge_support/counts.rs"]
mod counts;
mod hedge_support;

use counts::counts;
use hedge_support::{Leaf, config};
use mainstay_retry::{Budget, BudgetConfig, HedgeLayer};
use metrics_util::debugging::DebuggingRecorder;
use std::{
    collections::BTreeMap,
    fmt::{self, Write},
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio_test::{assert_pending, assert_ready_eq, task};
use tower::{Layer, Service};
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{layer::Context, prelude::*, registry::LookupSpan};

/// Collects events as text.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> tracing_subscriber::Layer<S> for Log {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if !event.metadata().target().starts_with("mainstay_retry") {
            return;
        }
        assert_eq!(*event.metadata().level(), Level::DEBUG);
        let mut text = Text(String::new());
        event.record(&mut text);
        self.0.lock().unwrap().push(text.0);
    }
}

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let separator = if self.0.is_empty() { "" } else { " " };
        let written = match field.name() {
            "message" => write!(self.0, "{separator}{value:?}"),
            name => write!(self.0, "{separator}{name}={value:?}"),
        };
        written.expect("a text takes any");
    }
}

#[test]
fn hedges_are_told_and_counted_and_first_attempts_are_not() {
    let log = Log::default();
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let budget = Arc::new(Budget::new(BudgetConfig::default().initial(1).ratio(0.0)).unwrap());
    let hedges = HedgeLayer::new(config().name("seen").max_hedges(2).delay(Duration::ZERO)).unwrap();
    let hedges = hedges.idempotent().budget(budget);
    let leaf = Leaf::default();
    let mut service = hedges.layer(leaf.clone());

    let count = |event: &str, times: u64| (format!("hedge=seen,event={event}"), times);

    let subscriber = tracing_subscriber::registry().with(log.clone());
    tracing::subscriber::with_default(subscriber, || {
        metrics::with_local_recorder(&recorder, || {
            let mut call = task::spawn(service.call("read"));
            assert!(log.take().is_empty());
            assert!(counts(&snapshotter).is_empty());
            assert_pending!(call.poll());
            let told = log.take();
            assert_eq!(told[0], "hedge was started hedge=\"seen\" attempt=2");
            assert_eq!(told[1], "hedge was not paid for hedge=\"seen\" attempt=3");
            assert_eq!(told.len(), 2);
            // Reading takes what was added since the last time.
            assert_eq!(
                counts(&snapshotter),
                BTreeMap::from([count("started", 1), count("suppressed", 1), count("won", 0)])
            );
            leaf.end(1, Ok(1));
            assert_ready_eq!(call.poll(), Ok(1));
            assert_eq!(log.take(), ["hedge answered first hedge=\"seen\" attempt=2"]);
        });
    });
    assert_eq!(counts(&snapshotter), BTreeMap::from([count("started", 0), count("suppressed", 0), count("won", 1)]));
}
