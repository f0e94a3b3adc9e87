//! What is seen from outside: watchers, events, metrics.

use mainstay_circuit_breaker::{Circuit, Config, Outcome, State, Window};
use std::time::{Duration, Instant};
use tokio_test::{assert_pending, assert_ready_err, assert_ready_ok, task};

/// Something that changes the state.
type Step = fn(&Circuit);

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Two failures open, for thirty seconds; one probe closes.
fn circuit(name: &'static str) -> Circuit {
    Circuit::new(Config::default().name(name).window(Window::Consecutive(2)).probes(1)).unwrap()
}

fn open(circuit: &Circuit, at: Instant) {
    for _ in 0..2 {
        circuit.settle(circuit.admit(at).unwrap(), Outcome::Failure, at);
    }
    assert_eq!(circuit.state(), State::Open);
}

/// Opens, is re-opened by a failed probe, and is closed by another; five transitions.
fn open_reopen_and_close(circuit: &Circuit) {
    let at = now();
    open(circuit, at);
    for (seconds, outcome) in [(30, Outcome::Failure), (60, Outcome::Success)] {
        let later = at + Duration::from_secs(seconds);
        circuit.settle(circuit.admit(later).unwrap(), outcome, later);
    }
    assert_eq!(circuit.state(), State::Closed);
}

/// Two failures open; one probe and two stages close.
fn recovering(name: &'static str) -> Circuit {
    let config = Config::default().name(name).window(Window::Consecutive(2)).probes(1);
    Circuit::new(config.gradual([0.1, 0.5], Duration::from_secs(10))).unwrap()
}

/// Opens and closes; five transitions.
#[cfg(any(feature = "metrics", feature = "tracing"))]
fn recover(circuit: &Circuit) {
    let at = now();
    open(circuit, at);
    for seconds in [30, 30, 40] {
        let later = at + Duration::from_secs(seconds);
        circuit.settle(circuit.admit(later).unwrap(), Outcome::Success, later);
        assert_eq!(circuit.state(), State::Recovering);
    }
    let snapshot = circuit.snapshot_at(at + Duration::from_secs(50));
    assert_eq!((snapshot.state, snapshot.generation), (State::Closed, 5));
}

/// A hundred calls that change nothing.
fn accept_a_hundred(circuit: &Circuit) {
    for _ in 0..100 {
        circuit.settle(circuit.admit(now()).unwrap(), Outcome::Success, now());
    }
}

// ===== watch =====

#[test]
fn a_watcher_is_woken_once_and_sees_the_latest_generation() {
    let circuit = circuit("watched");
    let mut watch = circuit.watch();
    assert_eq!((watch.borrow().state, watch.borrow().generation), (State::Closed, 0));
    let mut changed = task::spawn(watch.changed());
    assert_pending!(changed.poll());
    accept_a_hundred(&circuit);
    assert!(!changed.is_woken(), "calls are not transitions");

    open_reopen_and_close(&circuit);
    assert!(changed.is_woken());
    assert_ready_ok!(changed.poll());
    drop(changed);
    let status = *watch.borrow_and_update();
    assert_eq!((status.state, status.generation), (State::Closed, 5));
    assert_pending!(task::spawn(watch.changed()).poll(), "the states between are not replayed");
}

#[test]
fn a_watcher_who_comes_late_sees_the_present_state() {
    let circuit = circuit("watched late");
    circuit.isolate();
    let watch = circuit.watch();
    assert_eq!((watch.borrow().state, watch.borrow().generation), (State::Isolated, 1));
    assert!(!watch.has_changed().unwrap());
}

#[test]
fn each_transition_is_one_generation_for_the_watcher() {
    let circuit = circuit("watched by steps");
    let mut watch = circuit.watch();
    let steps: [(Step, State); 4] = [
        (|circuit| open(circuit, now()), State::Open),
        (Circuit::isolate, State::Isolated),
        (Circuit::disable, State::Disabled),
        (Circuit::reset, State::Closed),
    ];
    for ((step, state), generation) in steps.into_iter().zip(1..) {
        step(&circuit);
        assert!(watch.has_changed().unwrap());
        let status = *watch.borrow_and_update();
        assert_eq!((status.state, status.generation), (state, generation));
        assert_eq!(circuit.snapshot().generation, generation);
    }
}

#[test]
fn a_watcher_sees_each_stage_of_a_recovery() {
    let circuit = recovering("watched recovery");
    let mut watch = circuit.watch();
    let at = now();
    open(&circuit, at);
    let mut seen = Vec::new();
    for seconds in [30, 30, 40, 50] {
        let later = at + Duration::from_secs(seconds);
        circuit.settle(circuit.admit(later).unwrap(), Outcome::Success, later);
        seen.push((watch.borrow_and_update().state, circuit.snapshot_at(later).stage));
    }
    let (recovering, closed) = (State::Recovering, State::Closed);
    assert_eq!(seen, [(recovering, Some(0)), (recovering, Some(0)), (recovering, Some(1)), (closed, None)]);
}

#[test]
fn a_watcher_learns_that_the_circuit_is_gone() {
    let circuit = circuit("watched to the end");
    let mut watch = circuit.watch();
    let mut changed = task::spawn(watch.changed());
    assert_pending!(changed.poll());
    drop(circuit);
    assert!(changed.is_woken());
    assert_ready_err!(changed.poll());
}

// ===== tracing =====

#[cfg(feature = "tracing")]
mod events {
    use super::*;
    use std::{
        collections::BTreeMap,
        fmt::Debug,
        sync::{Arc, LazyLock, Mutex},
    };
    use tracing::{
        Dispatch, Event, Level, Subscriber,
        field::{Field, Visit},
        span::{Attributes, Id},
    };
    use tracing_subscriber::{
        layer::{Context, Layer, SubscriberExt},
        registry,
    };

    #[derive(Debug, PartialEq)]
    struct Seen {
        level: Level,
        fields: BTreeMap<&'static str, String>,
    }

    #[derive(Clone, Default)]
    struct Capture(Arc<Mutex<Vec<Seen>>>);

    struct Fields(BTreeMap<&'static str, String>);

    impl Visit for Fields {
        fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
            self.0.insert(field.name(), format!("{value:?}"));
        }

        fn record_str(&mut self, field: &Field, value: &str) {
            self.0.insert(field.name(), value.into());
        }
    }

    impl<S: Subscriber> Layer<S> for Capture {
        fn on_new_span(&self, attributes: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
            let mut fields = Fields(BTreeMap::from([("span", "opened".into())]));
            attributes.record(&mut fields);
            self.0.lock().unwrap().push(Seen { level: *attributes.metadata().level(), fields: fields.0 });
        }

        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            let mut fields = Fields(BTreeMap::new());
            event.record(&mut fields);
            self.0.lock().unwrap().push(Seen { level: *event.metadata().level(), fields: fields.0 });
        }
    }

    /// While there is one subscriber only, an event that is first met in a thread without it is switched off for all.
    static ANOTHER: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(registry()));

    fn seen(act: impl FnOnce()) -> Vec<Seen> {
        LazyLock::force(&ANOTHER);
        let capture = Capture::default();
        tracing::subscriber::with_default(registry().with(capture.clone()), act);
        let mut seen = capture.0.lock().unwrap();
        std::mem::take(&mut *seen)
    }

    fn transition(level: Level, message: &str, circuit: &str, from: &str, cause: &str, generation: u64) -> Seen {
        let generation = generation.to_string();
        let fields = [("message", message), ("circuit", circuit), ("from", from), ("cause", cause)];
        let fields = fields.into_iter().chain([("generation", &*generation)]);
        Seen { level, fields: fields.map(|(name, value)| (name, value.into())).collect() }
    }

    #[test]
    fn each_transition_is_one_event_that_says_whence_why_and_which() {
        let circuit = circuit("traced");
        let events = seen(|| {
            open_reopen_and_close(&circuit);
            circuit.isolate();
            circuit.disable();
            circuit.reset();
        });
        let (warn, info) = (Level::WARN, Level::INFO);
        let expected = [
            (warn, "circuit opened", "closed", "failures in a row"),
            (info, "circuit let probes pass", "open", "the open time is over"),
            (warn, "circuit opened", "half_open", "failure rate"),
            (info, "circuit let probes pass", "open", "the open time is over"),
            (info, "circuit closed", "half_open", "probes succeeded"),
            (warn, "circuit was isolated", "closed", "an operator"),
            (warn, "circuit was disabled", "isolated", "an operator"),
            (info, "circuit closed", "disabled", "an operator"),
        ];
        let expected = expected.into_iter().zip(1..);
        let expected: Vec<_> = expected
            .map(|((level, message, from, cause), generation)| {
                transition(level, message, "traced", from, cause, generation)
            })
            .collect();
        assert_eq!(events, expected);
    }

    #[test]
    fn the_stages_of_a_recovery_are_events() {
        let circuit = recovering("traced recovery");
        let events = seen(|| recover(&circuit));
        let expected = [
            ("circuit opened", "closed", "failures in a row"),
            ("circuit let probes pass", "open", "the open time is over"),
            ("circuit let a share of calls pass", "half_open", "probes succeeded"),
            ("circuit let a share of calls pass", "recovering", "calls of the stage succeeded"),
            ("circuit closed", "recovering", "calls of the stage succeeded"),
        ];
        let expected = expected.into_iter().zip(1..).map(|((message, from, cause), generation)| {
            let level = if message == "circuit opened" { Level::WARN } else { Level::INFO };
            transition(level, message, "traced recovery", from, cause, generation)
        });
        assert_eq!(events, expected.collect::<Vec<_>>());
    }

    #[test]
    fn a_refusal_is_an_event_for_those_who_debug() {
        let circuit = circuit("traced refusal");
        circuit.isolate();
        let events = seen(|| assert!(circuit.admit(now()).is_err()));
        let fields = [
            ("message", "call was refused"),
            ("circuit", "traced refusal"),
            ("retry_after", "None"),
            ("shadow", "false"),
        ];
        let fields = fields.map(|(name, value)| (name, value.to_owned()));
        assert_eq!(events, [Seen { level: Level::DEBUG, fields: fields.into() }]);
    }

    #[test]
    fn what_shadow_mode_would_have_refused_is_an_event_too() {
        let circuit = Circuit::new(Config::default().name("traced shadow").shadow(true)).unwrap();
        circuit.isolate();
        let events = seen(|| assert!(circuit.admit(now()).is_ok()));
        assert_eq!(events.len(), 1);
        assert_eq!(events[0].fields["shadow"], "true");
    }

    #[test]
    fn an_accepted_call_is_no_event_and_opens_no_span() {
        let circuit = circuit("traced silence");
        assert_eq!(
            seen(|| {
                accept_a_hundred(&circuit);
                circuit.settle(circuit.admit(now()).unwrap(), Outcome::Failure, now());
                circuit.settle(circuit.admit(now()).unwrap(), Outcome::Abandoned, now());
                circuit.snapshot();
            }),
            []
        );
    }
}

// ===== metrics =====

#[cfg(feature = "metrics")]
mod metrics {
    use super::*;
    use ::metrics::with_local_recorder;
    use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
    use std::{collections::BTreeMap, sync::Arc};

    /// A recorder, and the sums of what it was told.
    struct Recorder {
        sink: Arc<DebuggingRecorder>,
        reader: Snapshotter,
        sums: BTreeMap<String, f64>,
    }

    impl Recorder {
        fn new() -> Self {
            let sink = Arc::new(DebuggingRecorder::new());
            let reader = sink.snapshotter();
            Self { sink, reader, sums: BTreeMap::new() }
        }

        fn during<R>(&self, act: impl FnOnce() -> R) -> R {
            with_local_recorder(&*self.sink, act)
        }

        /// Everything that is not zero, as `name label=value …`.
        fn read(&mut self) -> Vec<(&str, f64)> {
            // Reading takes what was added since the last time.
            for (key, _, _, value) in self.reader.snapshot().into_vec() {
                let key = key.key();
                let labels = key.labels().map(|label| format!(" {}={}", label.key(), label.value()));
                let key = format!("{}{}", key.name(), labels.collect::<String>());
                *self.sums.entry(key).or_default() += match value {
                    #[expect(clippy::cast_precision_loss, reason = "small counts")]
                    DebugValue::Counter(count) => count as f64,
                    DebugValue::Gauge(value) => value.0,
                    DebugValue::Histogram(_) => panic!("there are no histograms"),
                };
            }
            self.sums.iter().filter(|(_, value)| **value != 0.0).map(|(key, value)| (&**key, *value)).collect()
        }

        fn gauges(&mut self) -> Vec<(&str, f64)> {
            let mut read = self.read();
            read.retain(|(key, _)| key.starts_with("mainstay_circuits"));
            read
        }
    }

    #[test]
    fn a_recovering_circuit_stands_in_a_gauge_of_its_own_and_each_stage_is_a_transition() {
        let mut recorder = Recorder::new();
        let circuit = recovering("gauged recovery");
        recorder.during(|| recover(&circuit));
        assert_eq!(recorder.gauges(), [("mainstay_circuits circuit=gauged recovery state=closed", 1.0)]);
        let to_stages = ("mainstay_circuit_transitions_total circuit=gauged recovery to=recovering", 2.0);
        assert!(recorder.read().contains(&to_stages));
        recorder.during(|| {
            let at = now() + Duration::from_secs(100);
            open(&circuit, at);
            let later = at + Duration::from_secs(30);
            circuit.settle(circuit.admit(later).unwrap(), Outcome::Success, later);
        });
        assert_eq!(recorder.gauges(), [("mainstay_circuits circuit=gauged recovery state=recovering", 1.0)]);
    }

    #[test]
    fn the_circuit_stands_in_the_gauge_of_its_state_and_nowhere_when_dropped() {
        let mut recorder = Recorder::new();
        let circuit = circuit("gauged");
        let steps: [(Step, &str); 4] = [
            (|circuit| open(circuit, now()), "open"),
            (Circuit::isolate, "isolated"),
            (Circuit::disable, "disabled"),
            (Circuit::reset, "closed"),
        ];
        for (step, state) in steps {
            recorder.during(|| step(&circuit));
            let gauge = format!("mainstay_circuits circuit=gauged state={state}");
            assert_eq!(recorder.gauges(), [(&*gauge, 1.0)]);
        }
        // Dropped where another recorder, or none, is installed.
        drop(circuit);
        assert_eq!(recorder.gauges(), []);
    }

    #[test]
    fn a_circuit_dropped_in_any_state_leaves_nothing_in_the_gauges() {
        let ends: [Step; 4] =
            [|circuit| open(circuit, now()), Circuit::isolate, Circuit::disable, open_reopen_and_close];
        for end in ends {
            let mut recorder = Recorder::new();
            let circuit = circuit("given back");
            recorder.during(|| end(&circuit));
            assert_eq!(recorder.gauges().len(), 1);
            drop(circuit);
            assert_eq!(recorder.gauges(), []);
        }
    }

    #[test]
    fn two_circuits_of_one_name_add_up() {
        let mut recorder = Recorder::new();
        let (one, two) = (circuit("twin"), circuit("twin"));
        recorder.during(|| [&one, &two].map(Circuit::isolate));
        assert_eq!(recorder.gauges(), [("mainstay_circuits circuit=twin state=isolated", 2.0)]);
        recorder.during(|| one.reset());
        let both = [
            ("mainstay_circuits circuit=twin state=closed", 1.0),
            ("mainstay_circuits circuit=twin state=isolated", 1.0),
        ];
        assert_eq!(recorder.gauges(), both);
        drop(two);
        assert_eq!(recorder.gauges(), [("mainstay_circuits circuit=twin state=closed", 1.0)]);
    }

    #[test]
    fn transitions_are_counted_by_where_they_lead() {
        let mut recorder = Recorder::new();
        let circuit = circuit("counted");
        recorder.during(|| open_reopen_and_close(&circuit));
        let mut read = recorder.read();
        read.retain(|(key, _)| key.starts_with("mainstay_circuit_transitions_total"));
        let expected = [
            ("mainstay_circuit_transitions_total circuit=counted to=closed", 1.0),
            ("mainstay_circuit_transitions_total circuit=counted to=half_open", 2.0),
            ("mainstay_circuit_transitions_total circuit=counted to=open", 2.0),
        ];
        assert_eq!(read, expected);
    }

    #[test]
    fn refusals_are_brought_up_to_date_with_each_transition_and_at_the_end() {
        let mut recorder = Recorder::new();
        let circuit = circuit("refusing");
        let refused = |recorder: &mut Recorder| {
            recorder.read();
            recorder.sums.get("mainstay_circuit_refused_total circuit=refusing").copied()
        };
        for (refusals, sum) in [(3, 3.0), (4, 7.0)] {
            recorder.during(|| {
                open(&circuit, now());
                for _ in 0..refusals {
                    circuit.admit(now()).unwrap_err();
                }
                circuit.reset();
            });
            assert_eq!(refused(&mut recorder), Some(sum));
        }
        recorder.during(|| circuit.reset());
        assert_eq!(refused(&mut recorder), Some(7.0), "none is counted twice");
        assert_eq!(circuit.snapshot().refused, 7);

        recorder.during(move || {
            circuit.isolate();
            circuit.admit(now()).unwrap_err();
        });
        assert_eq!(refused(&mut recorder), Some(8.0), "the rest is told when the circuit is dropped");
    }

    #[test]
    fn a_recorder_installed_after_the_circuit_was_made_is_found() {
        let circuit = circuit("early");
        accept_a_hundred(&circuit);
        let mut recorder = Recorder::new();
        recorder.during(|| circuit.isolate());
        assert_eq!(recorder.gauges(), [("mainstay_circuits circuit=early state=isolated", 1.0)]);
    }

    #[test]
    fn a_circuit_is_moved_to_another_recorder() {
        let (mut old, mut new) = (Recorder::new(), Recorder::new());
        let circuit = circuit("moved");
        old.during(|| circuit.isolate());
        new.during(|| circuit.rebind_metrics());
        assert_eq!(old.gauges(), []);
        assert_eq!(new.gauges(), [("mainstay_circuits circuit=moved state=isolated", 1.0)]);

        old.during(|| circuit.reset());
        assert_eq!(new.gauges(), [("mainstay_circuits circuit=moved state=closed", 1.0)], "whichever is installed");
        drop(circuit);
        assert_eq!((old.gauges(), new.gauges()), (vec![], vec![]));
    }

    #[test]
    fn a_circuit_that_met_no_recorder_while_it_changed_is_found_by_rebinding() {
        let circuit = circuit("too early");
        circuit.isolate();
        circuit.admit(now()).unwrap_err();
        let mut recorder = Recorder::new();
        recorder.during(|| circuit.rebind_metrics());
        assert_eq!(recorder.gauges(), [("mainstay_circuits circuit=too early state=isolated", 1.0)]);
        recorder.during(|| circuit.reset());
        assert!(recorder.read().contains(&("mainstay_circuit_refused_total circuit=too early", 1.0)));
    }

    #[test]
    fn a_circuit_without_any_transition_can_be_made_visible_by_rebinding() {
        let circuit = circuit("quiet");
        let mut recorder = Recorder::new();
        recorder.during(|| accept_a_hundred(&circuit));
        assert_eq!(recorder.read(), []);
        recorder.during(|| circuit.rebind_metrics());
        assert_eq!(recorder.read(), [("mainstay_circuits circuit=quiet state=closed", 1.0)]);
    }

    #[test]
    fn names_and_labels_come_from_the_configuration_alone() {
        let mut recorder = Recorder::new();
        let circuit = circuit("labelled");
        recorder.during(|| open_reopen_and_close(&circuit));
        recorder.read();
        // Six gauges, six counters of transitions, one of refusals: whatever the traffic is.
        assert_eq!(recorder.sums.len(), 13);
        assert!(
            recorder.sums.keys().all(|key| key.starts_with("mainstay_circuit") && key.contains(" circuit=labelled"))
        );
    }

    /// A recorder that notes each word spoken to it.
    mod spoken_to {
        use super::*;
        use ::metrics::{
            Counter, CounterFn, Gauge, GaugeFn, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit,
        };
        use std::{
            cell::RefCell,
            sync::{
                atomic::{AtomicU32, Ordering},
                mpsc::channel,
            },
            thread,
        };

        /// Counts how often it is spoken to, and by the names of what.
        #[derive(Default)]
        struct Touched {
            touches: Arc<Touches>,
            by: RefCell<Vec<String>>,
        }

        #[derive(Default)]
        struct Touches(AtomicU32);

        impl Touches {
            fn touch(&self) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }

            fn count(&self) -> u32 {
                self.0.load(Ordering::Relaxed)
            }
        }

        impl CounterFn for Touches {
            fn increment(&self, _: u64) {
                self.touch();
            }

            fn absolute(&self, _: u64) {
                self.touch();
            }
        }

        impl GaugeFn for Touches {
            fn increment(&self, _: f64) {
                self.touch();
            }

            fn decrement(&self, _: f64) {
                self.touch();
            }

            fn set(&self, _: f64) {
                self.touch();
            }
        }

        impl Recorder for Touched {
            fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

            fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

            fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

            fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
                self.by.borrow_mut().push(key.name().into());
                Counter::from_arc(Arc::clone(&self.touches))
            }

            fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
                self.by.borrow_mut().push(key.name().into());
                Gauge::from_arc(Arc::clone(&self.touches))
            }

            fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
                panic!("there are no histograms")
            }
        }

        /// Hands everything on, and does something after the second word to a gauge.
        struct Interrupted<'a> {
            recorder: &'a DebuggingRecorder,
            interrupt: Interrupt,
        }

        #[derive(Clone)]
        struct Interrupt {
            words: Arc<AtomicU32>,
            act: Arc<dyn Fn() + Send + Sync>,
        }

        struct InterruptedGauge {
            gauge: Gauge,
            interrupt: Interrupt,
        }

        impl GaugeFn for InterruptedGauge {
            fn increment(&self, more: f64) {
                self.gauge.increment(more);
                if self.interrupt.words.fetch_add(1, Ordering::Relaxed) == 1 {
                    (self.interrupt.act)();
                }
            }

            fn decrement(&self, less: f64) {
                self.increment(-less);
            }

            fn set(&self, _: f64) {
                panic!("circuits of one name would overwrite each other")
            }
        }

        impl Recorder for Interrupted<'_> {
            fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

            fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

            fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

            fn register_counter(&self, key: &Key, metadata: &Metadata<'_>) -> Counter {
                self.recorder.register_counter(key, metadata)
            }

            fn register_gauge(&self, key: &Key, metadata: &Metadata<'_>) -> Gauge {
                let gauge = self.recorder.register_gauge(key, metadata);
                Gauge::from_arc(Arc::new(InterruptedGauge { gauge, interrupt: self.interrupt.clone() }))
            }

            fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
                panic!("there are no histograms")
            }
        }

        /// Isolates a circuit, moves it to `new` while it tells `old` of that, and drops nothing.
        fn move_amid_a_transition(old: &DebuggingRecorder, new: &Arc<DebuggingRecorder>) -> Arc<Circuit> {
            let circuit = Arc::new(circuit("moved amid"));
            // The first word says where the circuit stood, the second that it left there.
            let act = Arc::new({
                let (circuit, recorder) = (Arc::clone(&circuit), Arc::clone(new));
                move || with_local_recorder(&*recorder, || circuit.rebind_metrics())
            });
            let interrupt = Interrupt { words: Arc::default(), act };
            with_local_recorder(&Interrupted { recorder: old, interrupt }, || circuit.isolate());
            circuit
        }

        #[test]
        fn a_circuit_that_is_moved_amid_a_transition_stands_in_one_gauge_of_the_new_recorder() {
            let (mut old, mut new) = (super::Recorder::new(), super::Recorder::new());
            // In a thread, so that a deadlock fails instead of hanging.
            let (done, wait) = channel();
            thread::spawn({
                let (old, new) = (Arc::clone(&old.sink), Arc::clone(&new.sink));
                move || done.send(move_amid_a_transition(&old, &new))
            });
            let _circuit = wait.recv_timeout(Duration::from_secs(10)).expect("deadlock");

            assert_eq!(new.gauges(), [("mainstay_circuits circuit=moved amid state=isolated", 1.0)]);
            assert_eq!(old.gauges(), []);
        }

        #[test]
        fn accepted_and_refused_calls_touch_no_metric() {
            let recorder = Touched::default();
            let circuit = circuit("untouched");
            with_local_recorder(&recorder, || {
                accept_a_hundred(&circuit);
                assert_eq!((recorder.touches.count(), recorder.by.borrow().len()), (0, 0));
                circuit.reset();
                let (touches, registered) = (recorder.touches.count(), recorder.by.borrow().len());
                assert!(touches > 0 && registered == 13);
                accept_a_hundred(&circuit);
                assert_eq!(recorder.touches.count(), touches);
                open(&circuit, now());
                let touches = recorder.touches.count();
                circuit.admit(now()).unwrap_err();
                assert_eq!((recorder.touches.count(), recorder.by.borrow().len()), (touches, registered));
            });
        }
    }
}
