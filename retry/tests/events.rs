//! What is seen of retries from outside: events and counters, and none for a call that succeeds at once.
#![cfg(all(feature = "tracing", feature = "metrics"))]

mod support;

use mainstay_core::{Reason, Refused};
use mainstay_retry::{Budget, BudgetConfig, Config, Retries, RetryLayer, repeat_fn};
use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use std::{
    collections::BTreeMap,
    fmt::{Debug, Write as _},
    sync::{Arc, LazyLock, Mutex},
};
use support::{End, FAILED, Leaf, REFUSED, Readiness, SECOND, at_once, doubling};
use tokio_test::block_on;
use tower::{Layer, ServiceExt};
use tracing::{
    Dispatch, Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    layer::{Context, SubscriberExt},
    registry,
};

/// Keeps the events as text.
#[derive(Clone, Default)]
struct Capture(Arc<Mutex<Vec<String>>>);

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let name = Some(field.name()).filter(|name| *name != "message");
        let equals = if name.is_some() { "=" } else { "" };
        write!(self.0, " {}{equals}{value:?}", name.unwrap_or_default()).unwrap();
    }
}

impl<S: Subscriber> tracing_subscriber::Layer<S> for Capture {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut text = Text(event.metadata().level().to_string());
        event.record(&mut text);
        self.0.lock().unwrap().push(text.0);
    }
}

/// While there is one subscriber only, an event that is first met in a thread without it is switched off for all.
static ANOTHER: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(registry()));

fn events(act: impl FnOnce()) -> Vec<String> {
    LazyLock::force(&ANOTHER);
    let capture = Capture::default();
    tracing::subscriber::with_default(registry().with(capture.clone()), act);
    capture.0.lock().unwrap().clone()
}

/// What was counted: each counter by its name and its labels but that of the policy.
fn counted(recorder: &DebuggingRecorder, name: &str) -> BTreeMap<String, u64> {
    let mut counted = BTreeMap::new();
    for (key, _, _, value) in recorder.snapshotter().snapshot().into_vec() {
        let key = key.key();
        let DebugValue::Counter(value) = value else { continue };
        if value == 0 || !key.labels().any(|label| label.key() == "retry" && label.value() == name) {
            continue;
        }
        let cause: String = key.labels().filter(|label| label.key() != "retry").map(metrics::Label::value).collect();
        counted.insert(format!("{} {cause}", key.name()).trim().to_owned(), value);
    }
    counted
}

fn layer(config: Config) -> RetryLayer<mainstay_retry::Cloned<mainstay_retry::Marked>> {
    RetryLayer::new(config).unwrap().idempotent()
}

/// One call for each way a retry ends, each followed by `look`.
fn all_ways(config: impl Fn(Config) -> Config, mut look: impl FnMut()) {
    let at_once = config(at_once());
    let spent = Budget::new(BudgetConfig::default().initial(0)).unwrap();
    let once = repeat_fn(|_: &u32, attempt| attempt.is_first().then_some(1)).idempotent();
    block_on(async {
        tokio::time::pause();
        let _ = layer(at_once).layer(Leaf::new([])).oneshot(1).await;
        look();
        let _ = layer(at_once).layer(Leaf::new([FAILED])).oneshot(1).await;
        look();
        let _ = layer(at_once.max_attempts(2)).layer(Leaf::new([REFUSED, FAILED])).oneshot(1).await;
        look();
        let _ = layer(at_once).budget(&spent).layer(Leaf::new([FAILED])).oneshot(1).await;
        look();
        let _ = layer(config(doubling().deadline(SECOND))).layer(Leaf::new([FAILED])).oneshot(1).await;
        look();
        let _ = layer(at_once).repeat(once).layer(Leaf::new([FAILED])).oneshot(1).await;
        look();
        let broken = Leaf::new([FAILED]).readiness([Readiness::Ready, Readiness::Broken]);
        let _ = layer(at_once).layer(broken).oneshot(1).await;
        look();
        let refused = Refused::new(Reason::CircuitOpen, "test").with_retry_after(1_000 * SECOND);
        let _ = layer(at_once).layer(Leaf::new([End::With(Err(refused.into()))])).oneshot(1).await;
        look();
    });
}

#[test]
fn each_retry_and_each_that_does_not_come_is_an_event() {
    let seen = events(|| all_ways(|config| config.name("seen"), || {}));
    assert_eq!(
        seen,
        [
            r#"DEBUG retry was scheduled retry="seen" attempt=2 wait=0ns"#,
            r#"DEBUG retry was scheduled retry="seen" attempt=2 wait=0ns"#,
            r#"DEBUG attempts were used up retry="seen" attempt=3"#,
            r#"DEBUG retry was not paid for retry="seen" attempt=2"#,
            r#"DEBUG no time was left for a retry retry="seen" attempt=2"#,
            r#"DEBUG retry was scheduled retry="seen" attempt=2 wait=0ns"#,
            r#"DEBUG request could not be sent again retry="seen" attempt=2"#,
            r#"DEBUG retry was scheduled retry="seen" attempt=2 wait=0ns"#,
            r#"DEBUG service was not ready for a retry retry="seen" attempt=2"#,
            r#"DEBUG service asked for too long a wait retry="seen" attempt=2"#,
        ]
    );
}

fn expected() -> BTreeMap<String, u64> {
    let given_up = ["attempts", "budget", "deadline", "request", "retry_after", "unready"];
    let given_up = given_up.map(|cause| (format!("mainstay_retries_given_up_total {cause}"), 1));
    given_up.into_iter().chain([("mainstay_retries_total".to_owned(), 2)]).collect()
}

#[test]
fn they_are_counted_by_the_name_of_the_policy() {
    let recorder = DebuggingRecorder::new();
    let mut each = Vec::new();
    // Reading takes what was added since the last time.
    let look = || each.push(counted(&recorder, "counted").into_keys().collect::<Vec<_>>().join(" + "));
    metrics::with_local_recorder(&recorder, || all_ways(|config| config.name("counted"), look));
    assert_eq!(
        each,
        [
            "",
            "mainstay_retries_total",
            "mainstay_retries_given_up_total attempts + mainstay_retries_total",
            "mainstay_retries_given_up_total budget",
            "mainstay_retries_given_up_total deadline",
            "mainstay_retries_given_up_total request",
            "mainstay_retries_given_up_total unready",
            "mainstay_retries_given_up_total retry_after",
        ]
    );
}

#[test]
fn the_plain_form_is_seen_too() {
    let recorder = DebuggingRecorder::new();
    let retries = Retries::new(at_once().name("plain").max_attempts(3)).unwrap();
    let seen = events(|| {
        metrics::with_local_recorder(&recorder, || {
            let failed = || std::future::ready(Err::<(), _>(mainstay_core::Error::Inner("reset")));
            assert!(block_on(retries.call_idempotent(|_| failed())).is_err());
        });
    });
    assert_eq!(seen.len(), 3);
    let counted = counted(&recorder, "plain");
    assert_eq!(counted.into_values().collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn a_recorder_that_comes_later_counts_after_rebinding() {
    let (early, late) = (DebuggingRecorder::new(), DebuggingRecorder::new());
    let config = |config: Config| config.name("rebound");
    metrics::with_local_recorder(&early, || all_ways(config, || {}));
    metrics::with_local_recorder(&late, || all_ways(config, || {}));
    assert_eq!(counted(&late, "rebound"), BTreeMap::new(), "the counters are looked up once");
    metrics::with_local_recorder(&late, || layer(config(at_once())).rebind_metrics());
    all_ways(config, || {});
    assert_eq!(counted(&late, "rebound"), expected());
}
