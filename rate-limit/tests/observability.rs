//! What logs and metrics say of a refusal.
#![cfg(all(feature = "metrics", feature = "tracing"))]

use mainstay_core::Error;
use mainstay_rate_limit::{Config, KeyedLimiter, Limiter, Quota, RateLimitLayer, Rule};
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use std::{
    convert::Infallible,
    fmt::{self, Write},
    sync::{Arc, Mutex},
};
use tower::ServiceExt;
use tracing::{Event, Level, Subscriber, field::Visit, subscriber::with_default};
use tracing_subscriber::{Layer, layer::Context, prelude::*, registry};

fn config() -> Config {
    Config::new(Quota::per_second(1).unwrap()).name("checkout")
}

/// Refusals as metrics have them, by the labels.
fn refusals(snapshotter: &Snapshotter) -> Vec<(String, u64)> {
    let all = snapshotter.snapshot().into_vec();
    let refusals = all.into_iter().filter(|(key, ..)| key.key().name() == "mainstay_rate_limit_refused_total");
    refusals
        .map(|(key, _, _, value)| {
            let labels: Vec<_> = key.key().labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
            let DebugValue::Counter(count) = value else { panic!("it is a counter") };
            (labels.join(" "), count)
        })
        .collect()
}

#[test]
fn metrics_count_refusals_by_the_configured_name() {
    let _one = ONE.lock();
    let now = tokio::time::Instant::now().into_std();
    let limiter = Limiter::new_at(config(), now).unwrap();
    let keyed = KeyedLimiter::<str>::new_at(config().shadow(true), now).unwrap();
    // Installed later than the limiters were made.
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    metrics::with_local_recorder(&recorder, || {
        for _ in 0..4 {
            let _ = limiter.check_at(now);
            let _ = limiter.peek_at(now);
            let _ = keyed.check_at("a client", now);
        }
    });
    assert_eq!(refusals(&snapshotter), [("limiter=checkout".to_owned(), 6)]);

    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    metrics::with_local_recorder(&recorder, || {
        let _ = limiter.check_at(now);
        assert_eq!(refusals(&snapshotter), [], "it knows the first recorder");
        limiter.rebind_metrics();
        let _ = limiter.check_at(now);
    });
    assert_eq!(refusals(&snapshotter), [("limiter=checkout".to_owned(), 1)]);
}

/// One test at a time: whether an event is wanted is remembered for the process, by the first thread that comes.
static ONE: Mutex<()> = Mutex::new(());

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl<S: Subscriber> Layer<S> for Log {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut text = event.metadata().level().to_string();
        event.record(&mut Fields(&mut text));
        self.0.lock().unwrap().push(text);
    }
}

struct Fields<'a>(&'a mut String);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn fmt::Debug) {
        write!(self.0, " {field}={value:?}").unwrap();
    }
}

#[test]
fn refusal_is_one_event_at_debug_level_without_the_key() {
    let _one = ONE.lock();
    let now = tokio::time::Instant::now().into_std();
    let limiter = KeyedLimiter::<str>::new_at(config(), now).unwrap();
    let log = Log::default();
    with_default(registry().with(log.clone()), || {
        for _ in 0..2 {
            let _ = limiter.check_at("secret", now);
        }
    });
    let expected =
        format!("{} message=call was refused limiter=\"checkout\" rule=0 retry_after=1s shadow=false", Level::DEBUG);
    assert_eq!(*log.0.lock().unwrap(), [expected]);
}

#[test]
fn refusal_of_the_layer_is_the_same_event() {
    let _one = ONE.lock();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let [second, hour] = [Quota::per_second(1), Quota::per_hour(1)].map(Result::unwrap);
    let layer =
        RateLimitLayer::new(Config::from([Rule::from(second), Rule::fixed_window(hour)]).name("checkout")).unwrap();
    let service = tower::Layer::layer(&layer, tower::service_fn(async |(): ()| Ok::<(), Error<Infallible>>(())));
    let log = Log::default();
    with_default(registry().with(log.clone()), || {
        runtime.block_on(async {
            assert!(service.clone().oneshot(()).await.is_ok());
            assert!(service.clone().oneshot(()).await.is_err());
        });
    });
    let expected =
        format!("{} message=call was refused limiter=\"checkout\" rule=1 retry_after=3600s shadow=false", Level::DEBUG);
    assert_eq!(*log.0.lock().unwrap(), [expected]);
}
