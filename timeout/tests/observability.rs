//! What is seen from outside.
#![cfg(any(feature = "metrics", feature = "tracing"))]

mod support;

use mainstay_core::Deadline;
use mainstay_timeout::{InMeta, TimeoutLayer, timeout, within};
use std::{
    future::{Future, pending, ready},
    sync::{Mutex, PoisonError},
};
use support::{Answer, Leaf, config, ms, now};
use tower::{Layer, ServiceExt};

/// Runs one test at a time: whether anybody listens to an event is remembered for all threads, and found out anew while a
/// listener begins.
fn alone(test: impl Future<Output = ()>) {
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(test);
}

/// A call that is answered, one that times out, one that is refused; then the last two without tower.
async fn calls() {
    let service = |leaf| TimeoutLayer::with_deadlines(config(ms(100)), InMeta).unwrap().layer(leaf);
    let job = |wait| support::Job { due: Some(Deadline::after(now(), wait)) };
    let _ = service(Leaf::answering(Ok(7))).oneshot(job(ms(50))).await;
    let _ = service(Leaf::default()).oneshot(job(ms(50))).await;
    let _ = service(Leaf::default()).oneshot(job(ms(0))).await;
    let _ = timeout("plain", ms(1), ready(Answer::Ok(7))).await;
    let _ = timeout("plain", ms(1), pending::<Answer>()).await;
    let _ = within("plain", Deadline::at(now()), pending::<Answer>()).await;
}

#[cfg(feature = "metrics")]
mod counters {
    use super::{alone, calls};
    use metrics_util::debugging::{DebugValue, DebuggingRecorder};

    #[test]
    fn what_was_ended_or_refused_is_counted_by_name() {
        alone(async {
            let recorder = DebuggingRecorder::new();
            let snapshotter = recorder.snapshotter();
            // Before there is a recorder.
            calls().await;
            let guard = metrics::set_default_local_recorder(&recorder);
            calls().await;
            calls().await;
            drop(guard);
            let mut seen: Vec<_> = snapshotter
                .snapshot()
                .into_vec()
                .into_iter()
                .map(|(key, _, _, value)| {
                    let labels: Vec<_> =
                        key.key().labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
                    let DebugValue::Counter(count) = value else { panic!("only counters") };
                    (key.key().name().to_owned(), labels.join(","), count)
                })
                .collect();
            seen.sort();
            let expected = [
                ("mainstay_timeout_refused_total", "timeout=plain", 2),
                ("mainstay_timeout_refused_total", "timeout=test", 2),
                ("mainstay_timeout_timed_out_total", "timeout=plain", 2),
                ("mainstay_timeout_timed_out_total", "timeout=test", 2),
            ];
            assert_eq!(seen, expected.map(|(name, labels, count)| (name.to_owned(), labels.to_owned(), count)));
        });
    }
}

#[cfg(feature = "tracing")]
mod events {
    use super::{alone, calls};
    use std::{
        fmt::{Debug, Write},
        sync::{Arc, Mutex},
    };
    use tracing::{Event, Subscriber, field::Field, field::Visit, instrument::WithSubscriber};
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
            if event.metadata().target().starts_with("mainstay") {
                let mut line = Line(event.metadata().level().to_string());
                event.record(&mut line);
                self.0.lock().expect("no test panicked").push(line.0);
            }
        }
    }

    #[test]
    fn what_was_ended_or_refused_is_an_event() {
        alone(async {
            let lines = Lines::default();
            calls().with_subscriber(Registry::default().with(lines.clone())).await;
            let lines = lines.0.lock().unwrap();
            assert_eq!(
                *lines,
                [
                    r#"DEBUG message=call timed out timeout="test" after=50ms"#,
                    r#"DEBUG message=call was refused timeout="test" reason=the deadline has passed"#,
                    r#"DEBUG message=call timed out timeout="plain" after=1ms"#,
                    r#"DEBUG message=call was refused timeout="plain" reason=the deadline has passed"#,
                ]
            );
        });
    }
}
