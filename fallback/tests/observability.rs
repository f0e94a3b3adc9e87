//! What is seen from outside.
#![cfg(any(feature = "metrics", feature = "tracing"))]

mod support;

use mainstay_fallback::FallbackLayer;
use std::sync::Mutex;
use support::{Answer, E, From500, Leaf, failed, refused, timed_out};
use tokio_test::task;
use tower::{Layer, Service};

/// One test at a time: whether anybody listens to an event is remembered for all threads, and found out anew while a listener
/// begins.
static ALONE: Mutex<()> = Mutex::new(());

/// A success, one failure of each kind, a veto, one that is left alone, and two that fall back to a service that fails too.
fn calls() {
    let layer = FallbackLayer::function(|_: Answer| Ok(7)).name("price").classify(From500);
    let layer = layer.only_if(|failed: Result<&u32, _>| failed != Ok(&501));
    for answer in [Ok(1), Ok(500), Ok(501), failed("no"), timed_out(), refused()] {
        let _ = task::spawn(layer.layer(Leaf::answering(answer)).call(1)).poll();
    }
    let left_alone = FallbackLayer::on_error(|_: E| 7).classify(From500);
    let _ = task::spawn(left_alone.layer(Leaf::answering(Ok(500))).call(1)).poll();
    let other = FallbackLayer::service(Leaf::answering(failed("neither")));
    for answer in [Ok(1), refused()] {
        let _ = task::spawn(other.layer(Leaf::answering(answer)).call(1)).poll();
    }
    let other = FallbackLayer::service(Leaf::answering(Ok(7)));
    let _ = task::spawn(other.layer(Leaf::answering(timed_out())).call(1)).poll();
}

#[cfg(feature = "metrics")]
#[test]
fn what_fell_back_is_counted_by_name_and_outcome() {
    use metrics_util::debugging::{DebugValue, DebuggingRecorder};

    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    // Before there is a recorder.
    calls();
    metrics::with_local_recorder(&recorder, || {
        calls();
        calls();
    });
    let seen = snapshotter.snapshot().into_vec().into_iter().map(|(key, _, _, value)| {
        let labels: Vec<_> = key.key().labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        let DebugValue::Counter(count) = value else { panic!("only counters") };
        format!("{} {} {count}", key.key().name(), labels.join(" "))
    });
    let mut seen: Vec<_> = seen.collect();
    seen.sort();
    assert_eq!(
        seen,
        [
            "mainstay_fallback_failed_total fallback=fallback outcome=failed 2",
            "mainstay_fallback_used_total fallback=fallback outcome=refused 2",
            "mainstay_fallback_used_total fallback=fallback outcome=timed out 2",
            "mainstay_fallback_used_total fallback=price outcome=failed 2",
            "mainstay_fallback_used_total fallback=price outcome=failed response 2",
            "mainstay_fallback_used_total fallback=price outcome=refused 2",
            "mainstay_fallback_used_total fallback=price outcome=timed out 2",
        ]
    );
}

#[cfg(feature = "tracing")]
mod events {
    use super::{ALONE, calls};
    use std::{
        fmt::{Debug, Write},
        sync::{Arc, Mutex},
    };
    use tracing::{Event, Subscriber, field::Field, field::Visit};
    use tracing_subscriber::{Layer, Registry, layer::Context, prelude::*};

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<String>>>);

    struct Line(String);

    impl Visit for Line {
        fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
            write!(self.0, " {field}={value:?}").expect("a string takes all");
        }
    }

    impl<S: Subscriber> Layer<S> for Lines {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            let mut line = Line(event.metadata().level().to_string());
            event.record(&mut line);
            self.0.lock().expect("no test panicked").push(line.0);
        }
    }

    #[test]
    fn what_fell_back_is_an_event() {
        let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let lines = Lines::default();
        tracing::subscriber::with_default(Registry::default().with(lines.clone()), calls);
        let lines = lines.0.lock().unwrap();
        assert_eq!(
            *lines,
            [
                r#"DEBUG message=call fell back fallback="price" outcome="failed response""#,
                r#"DEBUG message=call fell back fallback="price" outcome="failed""#,
                r#"DEBUG message=call fell back fallback="price" outcome="timed out""#,
                r#"DEBUG message=call fell back fallback="price" outcome="refused""#,
                r#"DEBUG message=call fell back fallback="fallback" outcome="refused""#,
                r#"DEBUG message=fallback failed fallback="fallback" outcome="failed""#,
                r#"DEBUG message=call fell back fallback="fallback" outcome="timed out""#,
            ]
        );
    }
}
