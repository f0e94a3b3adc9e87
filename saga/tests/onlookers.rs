//! Those who only look on stop no saga, whatever they do.
#![cfg(all(feature = "tracing", feature = "metrics", feature = "testkit"))]

mod shop;

use mainstay_saga::{
    Draft, Engine, Out, Outcome, Saga,
    testkit::{Fault, FaultyJournal},
};
use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};
use shop::{
    Do, Shop, chains,
    odd::{Looks, Odd},
    orders,
};
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};
use tracing::{Dispatch, Event, Subscriber};
use tracing_subscriber::{layer::Context, layer::SubscriberExt, registry};

/// Panics at whatever it is told, with a lock held.
#[derive(Clone, Default)]
struct Breaks(Arc<Mutex<BTreeSet<String>>>);

impl Breaks {
    fn told(&self, what: String) {
        let mut told = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        told.insert(what);
        panic!("on purpose");
    }
}

impl<S: Subscriber> tracing_subscriber::Layer<S> for Breaks {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        self.told(event.metadata().level().to_string());
    }
}

impl CounterFn for Breaks {
    fn increment(&self, _: u64) {
        self.told("increment of a counter".to_owned());
    }

    fn absolute(&self, _: u64) {}
}

impl GaugeFn for Breaks {
    fn increment(&self, by: f64) {
        self.told(format!("increment of a gauge by {by}"));
    }

    fn decrement(&self, _: f64) {}

    fn set(&self, _: f64) {
        self.told("set of a gauge".to_owned());
    }
}

impl HistogramFn for Breaks {
    fn record(&self, _: f64) {
        self.told("record of a histogram".to_owned());
    }
}

impl Recorder for Breaks {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(Arc::new(self.clone()))
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(Arc::new(self.clone()))
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(Arc::new(self.clone()))
    }
}

fn patient<'s>(mut s: Draft<'s, Shop>, number: Out<'s, u32>) -> Out<'s, u32> {
    s.wait("pause", Duration::from_secs(60));
    number
}

/// One that ends though an append has failed, one that is undone at the second attempt, and one that has to be claimed, which at first fails.
async fn three_sagas() {
    let patients = Saga::<_, u32, u32>::define("patient", 1, patient).unwrap();
    let (shop, journal) = (Shop::new(), Odd::default());
    let looks = Arc::clone(&journal.looks);
    let journal = FaultyJournal::new(journal);
    // That the first step has ended is kept when it is asked again.
    journal.fail(2, Fault::Fails);
    let builder = Engine::builder(Arc::clone(&shop), journal);
    let engine = builder.register(&orders()).register(&chains()).register(&patients).start().await.unwrap();
    shop.plan("c", [Do::Reject]);
    shop.plan("undo-b", [Do::LoseAnswer]);

    let ordered = engine.start(&orders(), "1", 10).await.unwrap();
    assert_eq!(ordered.outcome().await.unwrap(), Outcome::Completed(14));
    assert_eq!(shop.count("reserve"), 1, "its task did not break");
    let turned = engine.start(&chains(), "2", 10).await.unwrap();
    assert!(matches!(turned.outcome().await.unwrap(), Outcome::Compensated(_)));
    assert_eq!(shop.count("undo-b"), 2);

    *looks.lock().unwrap() = Looks::NoClaims;
    let waits = engine.start(&patients, "3", 10).await.unwrap();
    tokio::time::sleep(Duration::from_secs(30)).await;
    *looks.lock().unwrap() = Looks::Work;
    let outcome = tokio::time::timeout(Duration::from_secs(100), waits.outcome()).await.expect("it is claimed");
    assert_eq!(outcome.unwrap(), Outcome::Completed(10));
    assert_eq!(engine.in_memory(), 0);
}

#[test]
fn neither_a_subscriber_nor_a_recorder_that_panics_stops_a_saga() {
    let (subscriber, recorder) = (Breaks::default(), Breaks::default());
    let dispatch = Dispatch::new(registry().with(subscriber.clone()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    metrics::with_local_recorder(&recorder, || {
        tracing::dispatcher::with_default(&dispatch, || runtime.block_on(three_sagas()));
    });
    let told = |breaks: &Breaks| breaks.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
    for level in ["WARN", "INFO", "DEBUG"] {
        assert!(told(&subscriber).contains(level), "{level}");
    }
    assert_eq!(told(&recorder).len(), 5, "{:?}", told(&recorder));
}
