//! Foreign code that calls back into the circuit: nothing of it runs under a lock of ours.
//!
//! Each test runs in a thread of its own and is waited for with a bound, so that a deadlock fails instead of hanging.

use mainstay_circuit_breaker::{Circuit, CircuitBreakerLayer, Config, Guard, Outcome, State, Window};
use mainstay_core::{Class, Error, Failure, Now, classify_fn};
use std::{
    panic::resume_unwind,
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicBool, AtomicU32, Ordering},
        mpsc::{RecvTimeoutError, channel},
    },
    task::{Context, Wake, Waker},
    thread,
    time::{Duration, Instant},
};
use tower::{Layer, Service, service_fn};

fn in_time<R: Send + 'static>(what: impl FnOnce() -> R + Send + 'static) -> R {
    let (done, wait) = channel();
    let thread = thread::spawn(move || done.send(what()));
    match wait.recv_timeout(Duration::from_secs(10)) {
        Ok(result) => result,
        Err(RecvTimeoutError::Disconnected) => resume_unwind(thread.join().unwrap_err()),
        Err(RecvTimeoutError::Timeout) => panic!("deadlock"),
    }
}

/// Calls everything a circuit has, but not from within such a call.
#[derive(Default)]
struct Poker {
    circuit: OnceLock<Weak<Circuit>>,
    busy: AtomicBool,
    pokes: AtomicU32,
}

impl Poker {
    fn of(circuit: &Arc<Circuit>) -> Arc<Self> {
        let poker = Arc::new(Self::default());
        poker.aim_at(circuit);
        poker
    }

    fn aim_at(&self, circuit: &Arc<Circuit>) {
        self.circuit.set(Arc::downgrade(circuit)).unwrap();
    }

    fn poke(&self) {
        let Some(circuit) = self.circuit.get().and_then(Weak::upgrade) else { return };
        if self.busy.swap(true, Ordering::SeqCst) {
            return;
        }
        circuit.reset();
        Guard::admit(&*circuit).unwrap().settle(Outcome::Failure);
        assert_eq!(circuit.state(), State::Open, "one failure opens");
        assert!(circuit.check(now()).is_err() && circuit.admit(now()).is_err());
        assert_eq!(circuit.watch().borrow().state, circuit.snapshot().state);
        circuit.reconfigure(circuit.config()).unwrap();
        drop(circuit.fresh());
        circuit.isolate();
        circuit.disable();
        circuit.reset();
        self.pokes.fetch_add(1, Ordering::SeqCst);
        self.busy.store(false, Ordering::SeqCst);
    }

    fn pokes(&self) -> u32 {
        self.pokes.load(Ordering::SeqCst)
    }
}

impl Wake for Poker {
    fn wake(self: Arc<Self>) {
        self.poke();
    }
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// One failure opens.
fn circuit() -> Arc<Circuit> {
    Arc::new(Circuit::new(Config::default().window(Window::Consecutive(1)).probes(1)).unwrap())
}

/// Opens, lets a probe pass, closes, and everything an operator can do.
fn through_all_transitions(circuit: &Circuit) {
    let mut at = now();
    for outcome in [Outcome::Failure, Outcome::Success] {
        circuit.reset();
        circuit.settle(circuit.admit(at).unwrap(), Outcome::Failure, at);
        let _ = circuit.admit(at);
        at += Duration::from_secs(30);
        if let Ok(probe) = circuit.admit(at) {
            circuit.settle(probe, outcome, at);
        }
    }
    circuit.isolate();
    circuit.disable();
    circuit.reset();
}

#[test]
fn a_classifier_may_call_the_circuit() {
    let poked = in_time(|| {
        let circuit = circuit();
        let poker = Poker::of(&circuit);
        let classify = classify_fn({
            let poker = Arc::clone(&poker);
            move |_: Result<&(), &Error<u8>>| {
                poker.poke();
                Class::Failure(Failure::Transient)
            }
        });
        let leaf = service_fn(async |(): ()| Err::<(), _>(Error::Inner(1)));
        let mut service = CircuitBreakerLayer::with_circuit(Arc::clone(&circuit)).classify(classify).layer(leaf);
        let mut cx = Context::from_waker(Waker::noop());
        assert!(service.poll_ready(&mut cx).is_ready());
        let call = Box::pin(service.call(())).as_mut().poll(&mut cx).is_ready();
        assert!(call);
        assert_eq!(circuit.state(), State::Closed, "the failure belongs to a generation that is over");
        poker.pokes()
    });
    assert_eq!(poked, 1);
}

#[test]
fn a_watchers_waker_may_call_the_circuit() {
    let poked = in_time(|| {
        let circuit = circuit();
        let poker = Poker::of(&circuit);
        let waker = Waker::from(Arc::clone(&poker));
        let mut watch = circuit.watch();
        let mut changed = Box::pin(watch.changed());
        assert!(changed.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        through_all_transitions(&circuit);
        assert!(changed.as_mut().poll(&mut Context::from_waker(&waker)).is_ready());
        poker.pokes()
    });
    assert_eq!(poked, 1);
}

#[test]
fn a_watcher_sees_the_later_state_though_the_earlier_is_told_after_it() {
    let (seen, latest) = in_time(|| {
        let config = Config::default().window(Window::Consecutive(1)).probes(1).open_for(Duration::from_secs(1));
        let circuit = Arc::new(Circuit::new(config.probe_deadline(Duration::from_secs(1))).unwrap());
        let start = now();
        circuit.settle(circuit.admit(start).unwrap(), Outcome::Failure, start);
        let probe = circuit.admit(start + Duration::from_secs(1));
        let poker = Poker::of(&circuit);
        let waker = Waker::from(Arc::clone(&poker));
        let mut watch = circuit.watch();
        let mut changed = Box::pin(watch.changed());
        assert!(changed.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        // Two transitions at once: the silent probe re-opens the circuit, and this call is the next probe. The waker goes
        // on from there when only the first is told.
        let next = circuit.admit(start + Duration::from_secs(3));
        assert!(probe.is_ok() && next.is_ok() && poker.pokes() == 1);
        drop(changed);
        let seen = watch.borrow().generation;
        (seen, circuit.snapshot().generation)
    });
    assert_eq!(seen, latest);
}

/// A clock that calls the circuit before it says the time.
struct PokingClock<'a>(&'a Poker);

impl Now for PokingClock<'_> {
    fn now(self) -> Instant {
        self.0.poke();
        now()
    }
}

#[test]
fn a_clock_may_call_the_circuit() {
    let poked = in_time(|| {
        let circuit = circuit();
        let poker = Poker::of(&circuit);
        let clock = || PokingClock(&poker);
        circuit.isolate();
        let _ = circuit.admit(clock());
        circuit.isolate();
        let _ = circuit.check(clock());
        let permit = circuit.admit(now()).unwrap();
        circuit.settle(permit, Outcome::Failure, clock());
        circuit.snapshot_at(clock());
        circuit.reconfigure_at(circuit.config(), clock()).unwrap();
        drop(circuit.fresh_at(clock()));
        poker.pokes()
    });
    assert!(poked >= 5);
}

#[cfg(feature = "tracing")]
mod tracing_subscriber_calls_back {
    use super::*;
    use std::sync::LazyLock;
    use tracing::{
        Dispatch, Event, Metadata, Subscriber,
        span::{Attributes, Id, Record},
    };

    struct Poking(Arc<Poker>);

    impl Subscriber for Poking {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }

        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }

        fn record(&self, _: &Id, _: &Record<'_>) {}

        fn record_follows_from(&self, _: &Id, _: &Id) {}

        fn event(&self, _: &Event<'_>) {
            self.0.poke();
        }

        fn enter(&self, _: &Id) {}

        fn exit(&self, _: &Id) {}
    }

    /// While there is one subscriber only, an event that is first met in a thread without it is switched off for all.
    static ANOTHER: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(Poking(Arc::default())));

    #[test]
    fn a_tracing_subscriber_may_call_the_circuit() {
        let poked = in_time(|| {
            let circuit = circuit();
            let poker = Poker::of(&circuit);
            LazyLock::force(&ANOTHER);
            tracing::subscriber::with_default(Poking(Arc::clone(&poker)), || through_all_transitions(&circuit));
            poker.pokes()
        });
        assert!(poked >= 5);
    }
}

#[cfg(feature = "metrics")]
mod metrics_recorder_calls_back {
    use super::*;
    use metrics::{
        Counter, CounterFn, Gauge, GaugeFn, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit,
    };

    /// Pokes at each registration and at each update.
    #[derive(Clone)]
    struct Poking(Arc<Poker>);

    impl CounterFn for Poking {
        fn increment(&self, _: u64) {
            self.0.poke();
        }

        fn absolute(&self, _: u64) {
            self.0.poke();
        }
    }

    impl GaugeFn for Poking {
        fn increment(&self, _: f64) {
            self.0.poke();
        }

        fn decrement(&self, _: f64) {
            self.0.poke();
        }

        fn set(&self, _: f64) {
            self.0.poke();
        }
    }

    impl Recorder for Poking {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
            self.0.poke();
            Counter::from_arc(Arc::new(self.clone()))
        }

        fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
            self.0.poke();
            Gauge::from_arc(Arc::new(self.clone()))
        }

        fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::noop()
        }
    }

    #[test]
    fn a_metrics_recorder_may_call_the_circuit() {
        let poked = in_time(|| {
            let circuit = circuit();
            let poker = Poker::of(&circuit);
            metrics::with_local_recorder(&Poking(Arc::clone(&poker)), || {
                through_all_transitions(&circuit);
                circuit.rebind_metrics();
                through_all_transitions(&circuit);
            });
            // The gauges are given back, to a recorder that finds no circuit any more.
            drop(circuit);
            poker.pokes()
        });
        assert!(poked >= 5);
    }
}

#[test]
fn a_waker_may_drop_the_last_handle() {
    struct Dropping(OnceLock<()>, std::sync::Mutex<Option<Arc<Circuit>>>);
    impl Wake for Dropping {
        fn wake(self: Arc<Self>) {
            self.0.set(()).unwrap();
            drop(self.1.lock().unwrap().take());
        }
    }
    in_time(|| {
        let circuit = circuit();
        let dropping = Arc::new(Dropping(OnceLock::new(), std::sync::Mutex::new(Some(Arc::clone(&circuit)))));
        let waker = Waker::from(Arc::clone(&dropping));
        let mut watch = circuit.watch();
        let mut changed = Box::pin(watch.changed());
        assert!(changed.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        // The guard's handle is the last one once the waker has dropped its own.
        let guard = Guard::admit(circuit).unwrap();
        guard.settle(Outcome::Failure);
        assert!(dropping.0.get().is_some());
        drop(changed);
        assert!(watch.has_changed().is_err(), "the circuit is gone");
    });
}
