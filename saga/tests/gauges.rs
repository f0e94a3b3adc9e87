//! The gauges, on virtual time: the age of the oldest saga that has not ended, and how many are in memory.
#![cfg(feature = "metrics")]

mod shop;

use mainstay_saga::{
    Draft, Engine, Out, Saga, SagaId, Step, Timestamp,
    journal::{Batch, Filter, Journal, Memory, NewSaga, Phase},
};
use metrics::{Counter, Gauge, GaugeFn, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use shop::{
    Do, Shop, chains, engine,
    odd::{Looks, Odd},
};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    time::Duration,
};
use tokio::{runtime::Runtime, time::sleep};

const SECOND: Duration = Duration::from_secs(1);

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

/// The ages by the names of the sagas, in milliseconds, and how many sagas are in memory. What was read is not forgotten, unlike with the
/// recorders of `metrics_util`.
#[derive(Default)]
struct Gauges {
    ages: Mutex<BTreeMap<String, Arc<AtomicU64>>>,
    in_memory: Arc<AtomicU64>,
    /// In its place.
    held: Option<Arc<Held>>,
}

impl Gauges {
    fn ages(&self) -> BTreeMap<String, u128> {
        // Relaxed: one thread does all of this.
        let seconds = |gauge: &Arc<AtomicU64>| f64::from_bits(gauge.load(Ordering::Relaxed));
        let age = |gauge| Duration::from_secs_f64(seconds(gauge)).as_millis();
        self.ages.lock().unwrap().iter().map(|(saga, gauge)| (saga.clone(), age(gauge))).collect()
    }

    fn age(&self, saga: &str) -> u128 {
        self.ages()[saga]
    }

    fn in_memory(&self) -> f64 {
        // Relaxed: one thread does all of this.
        f64::from_bits(self.in_memory.load(Ordering::Relaxed))
    }
}

impl Recorder for Gauges {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::noop()
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        if key.name() == "mainstay_saga_in_memory" {
            let plain = || Gauge::from_arc(Arc::clone(&self.in_memory));
            return self.held.clone().map_or_else(plain, Gauge::from_arc);
        }
        assert_eq!(key.name(), "mainstay_saga_oldest_active_seconds");
        let labels: Vec<_> = key.labels().map(|label| (label.key(), label.value())).collect();
        let [("engine", "saga"), ("saga", saga)] = labels[..] else { panic!("{labels:?}") };
        Gauge::from_arc(Arc::clone(self.ages.lock().unwrap().entry(saga.to_owned()).or_default()))
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

fn run<F: Future>(recorder: &Gauges, future: F) -> F::Output {
    metrics::with_local_recorder(recorder, || runtime().block_on(future))
}

/// Ends after a minute.
fn nap<'s>(mut s: Draft<'s, Shop>, number: Out<'s, u32>) -> Out<'s, u32> {
    s.wait(Step::named("nap"), 60 * SECOND);
    number
}

fn naps(version: u32) -> Saga<Shop, u32, u32> {
    Saga::define("nap", version, nap).unwrap()
}

async fn napping(journal: impl Journal) -> Engine<Shop> {
    let builder = Engine::builder(Shop::new(), journal).register(&naps(1)).register(&naps(2)).register(&chains());
    builder.start().await.unwrap()
}

async fn start(engine: &Engine<Shop>, saga: &Saga<Shop, u32, u32>, key: &str) -> SagaId {
    engine.start(saga, key, 1).await.unwrap().id()
}

#[test]
fn age_is_that_of_the_oldest_that_has_not_ended() {
    let recorder = Gauges::default();
    run(&recorder, async {
        let engine = napping(Memory::new()).await;
        let age = || recorder.age("nap");
        sleep(SECOND / 2).await;
        assert_eq!(recorder.ages(), BTreeMap::from([("nap".to_owned(), 0), ("chain".to_owned(), 0)]));
        // At 0.5 s and 10.5 s, and they end at 61 s and 71 s: out of memory, they are found by the next poll. The age is as of the last.
        start(&engine, &naps(1), "1").await;
        sleep(10 * SECOND).await;
        assert_eq!((age(), recorder.age("chain")), (9_500, 0));
        start(&engine, &naps(2), "2").await;
        sleep(10 * SECOND).await;
        assert_eq!(age(), 19_500, "of all versions");
        sleep(39 * SECOND).await;
        assert_eq!(age(), 58_500);
        sleep(3 * SECOND).await;
        assert_eq!(age(), 51_500, "the first has ended");
        sleep(20 * SECOND).await;
        assert_eq!(age(), 0, "all have ended");
    });
}

#[test]
fn sagas_that_run_and_those_that_are_parked_have_not_ended() {
    let recorder = Gauges::default();
    run(&recorder, async {
        let shop = Shop::new();
        let engine = engine(&shop, Memory::new()).await;
        let age = || recorder.age("chain");
        shop.plan("a", [Do::Hang]);
        shop.plan("c", [Do::Reject]);
        shop.plan("undo-b", [Do::Hang, Do::NeedHelp]);
        let id = start(&engine, &chains(), "1").await;
        sleep(20 * SECOND + SECOND / 2).await;
        assert_eq!((shop.calls().last().unwrap().as_str(), age()), ("a", 20_000));
        sleep(20 * SECOND).await;
        assert_eq!((shop.calls().last().unwrap().as_str(), age()), ("undo-b", 40_000));
        sleep(60 * SECOND).await;
        assert_eq!((engine.in_memory(), age()), (0, 100_000), "it is parked");
        engine.operator("ada").abandon(id, "it is too late").await.unwrap();
        sleep(SECOND).await;
        assert_eq!(age(), 0);
    });
}

/// Puts one into the journal. It belongs to nobody here, so it stays as it is.
async fn put(memory: &Memory, phase: Phase, at: Timestamp) {
    let key = at.as_millis().to_string().into();
    let new = NewSaga { id: SagaId::new(at), saga: "nap".into(), version: 1, key, at };
    memory.create(new, Batch { records: vec![b"?".to_vec()], nonce: 1, phase, at }).await.unwrap();
}

#[test]
fn saga_that_was_there_before_is_found_unless_it_has_ended() {
    let active = [Phase::Forward, Phase::Backward, Phase::Parked].map(|phase| (phase, true));
    let ended = [Phase::Completed, Phase::Compensated, Phase::Abandoned].map(|phase| (phase, false));
    for (phase, is_active) in active.into_iter().chain(ended) {
        let recorder = Gauges::default();
        run(&recorder, async {
            let memory = Memory::new();
            put(&memory, phase, Timestamp::from_millis(0)).await;
            let _engine = napping(memory).await;
            sleep(SECOND / 2).await;
            // It is from 1970.
            assert_eq!(recorder.age("nap") > 1_000_000_000_000, is_active, "{phase:?}");
        });
    }
}

#[test]
fn engine_that_has_stopped_has_no_age() {
    let recorder = Gauges::default();
    run(&recorder, async {
        let engine = napping(Memory::new()).await;
        start(&engine, &naps(1), "1").await;
        sleep(10 * SECOND).await;
        assert!(recorder.age("nap") > 8_000);
        engine.shutdown(SECOND).await;
        sleep(SECOND / 10).await;
        assert_eq!(recorder.age("nap"), 0);

        let engine = napping(Memory::new()).await;
        start(&engine, &naps(1), "1").await;
        sleep(10 * SECOND).await;
        assert!(recorder.age("nap") > 8_000);
        drop(engine);
        sleep(SECOND / 10).await;
        assert_eq!(recorder.age("nap"), 0);
    });
}

#[test]
fn runtime_that_ends_leaves_no_age() {
    let recorder = Gauges::default();
    metrics::with_local_recorder(&recorder, || {
        let runtime = runtime();
        let engine = runtime.block_on(async {
            let engine = napping(Memory::new()).await;
            start(&engine, &naps(1), "1").await;
            sleep(10 * SECOND).await;
            engine
        });
        assert!(recorder.age("nap") > 8_000);
        drop(runtime);
        assert_eq!(recorder.age("nap"), 0);
        drop(engine);
    });
}

#[test]
fn what_was_rebound_leaves_no_age() {
    let (first, second, runtime) = (Gauges::default(), Gauges::default(), runtime());
    let engine = metrics::with_local_recorder(&first, || {
        runtime.block_on(async {
            let engine = napping(Memory::new()).await;
            start(&engine, &naps(1), "1").await;
            sleep(10 * SECOND + SECOND / 2).await;
            engine
        })
    });
    assert_eq!((first.age("nap"), second.ages().len()), (10_000, 0));
    metrics::with_local_recorder(&second, || {
        engine.rebind_metrics();
        assert_eq!(first.age("nap"), 0);
        runtime.block_on(async { sleep(SECOND).await });
    });
    assert_eq!((first.age("nap"), second.age("nap")), (0, 11_000));
    metrics::with_local_recorder(&second, || drop((engine, runtime)));
}

#[test]
fn journal_that_cannot_be_looked_at_disturbs_nobody_and_hides_nothing() {
    for flaw in [Looks::Fail, Looks::Panic, Looks::Hang] {
        let recorder = Gauges::default();
        run(&recorder, async {
            let journal = Odd::default();
            let (looks, memory) = (Arc::clone(&journal.looks), journal.inner.clone());
            let engine = napping(journal).await;
            let id = start(&engine, &naps(1), "1").await;
            sleep(10 * SECOND + SECOND / 2).await;
            *looks.lock().unwrap() = flaw;
            sleep(100 * SECOND).await;
            let found = memory.find(id).await.unwrap().unwrap();
            assert_eq!(found.phase, Phase::Completed, "{flaw:?}: it was claimed at its time");
            // Nobody knows that it has ended. A look that is never answered is given up after five seconds.
            let expected = if matches!(flaw, Looks::Hang) { 105_000..=110_000 } else { 110_000..=110_000 };
            assert!(expected.contains(&recorder.age("nap")), "{flaw:?}: {}", recorder.age("nap"));
            *looks.lock().unwrap() = Looks::Work;
            sleep(7 * SECOND).await;
            assert_eq!(recorder.age("nap"), 0, "{flaw:?}");
        });
    }
}

#[test]
fn closed_journal_does_not_silence_the_alarm() {
    let recorder = Gauges::default();
    run(&recorder, async {
        let journal = Odd::default();
        let looks = Arc::clone(&journal.looks);
        let engine = napping(journal).await;
        start(&engine, &naps(1), "1").await;
        sleep(10 * SECOND + SECOND / 2).await;
        *looks.lock().unwrap() = Looks::Closed;
        sleep(100 * SECOND).await;
        assert_eq!(recorder.age("nap"), 110_000);
    });
}

#[test]
fn one_look_for_each_poll_passes_what_has_ended_once() {
    let recorder = Gauges::default();
    run(&recorder, async {
        let journal = Odd::default();
        let (listed, memory) = (Arc::clone(&journal.listed), journal.inner.clone());
        let builder = Engine::builder(Shop::new(), journal).register(&naps(1)).register(&naps(2));
        let engine = builder.start().await.unwrap();
        let first = start(&engine, &naps(1), "1").await;
        sleep(SECOND * 3 / 2).await;
        let before = listed.lock().unwrap().len();
        sleep(50 * SECOND).await;
        assert_eq!(listed.lock().unwrap().len(), before, "while it has not ended it is the oldest");
        assert_eq!(listed.lock().unwrap()[0], None);

        sleep(3_600 * SECOND).await;
        let last = start(&engine, &naps(1), "2").await;
        sleep(2 * SECOND).await;
        assert_eq!(recorder.age("nap"), 1_500);
        let after = listed.lock().unwrap().last().copied().unwrap();
        assert!(Some(first) < after && after < Some(last), "{after:?} is behind {first} and before {last}");
        assert_eq!(memory.find(first).await.unwrap().unwrap().phase, Phase::Completed);
    });
}

#[test]
fn saga_that_comes_late_to_the_journal_is_seen() {
    let recorder = Gauges::default();
    run(&recorder, async {
        let memory = Memory::new();
        let engine = napping(memory.clone()).await;
        let younger = start(&engine, &naps(1), "1").await;
        sleep(SECOND).await;
        let created_at = memory.find(younger).await.unwrap().unwrap().created_at;
        sleep(99 * SECOND + SECOND / 2).await;
        assert_eq!(recorder.age("nap"), 0);
        // Of another process, whose clock is five minutes behind.
        put(&memory, Phase::Parked, Timestamp::from_millis(created_at.as_millis() - 300_000)).await;
        sleep(SECOND).await;
        assert_eq!(recorder.age("nap"), 401_000);
    });
}

#[test]
fn before_the_journal_has_answered_there_is_no_age() {
    for flaw in [Looks::Fail, Looks::Panic, Looks::Hang] {
        let recorder = Gauges::default();
        run(&recorder, async {
            let journal = Odd::default();
            let looks = Arc::clone(&journal.looks);
            *looks.lock().unwrap() = flaw;
            let _engine = napping(journal).await;
            sleep(100 * SECOND).await;
            assert_eq!(recorder.ages(), BTreeMap::new(), "{flaw:?}: 0 would mean that there is none");
            *looks.lock().unwrap() = Looks::Work;
            sleep(7 * SECOND).await;
            assert_eq!(recorder.age("nap"), 0, "{flaw:?}");
        });
    }
}

#[test]
fn sagas_in_memory_move_to_the_new_recorder() {
    let (first, second, runtime) = (Gauges::default(), Gauges::default(), runtime());
    let counted = || (first.in_memory(), second.in_memory());
    let shop = Shop::new();
    shop.plan("a", [Do::Slow, Do::Slow]);
    let engine = metrics::with_local_recorder(&first, || {
        runtime.block_on(async {
            let engine = engine(&shop, Memory::new()).await;
            start(&engine, &chains(), "1").await;
            start(&engine, &chains(), "2").await;
            engine
        })
    });
    assert_eq!(counted(), (2.0, 0.0));
    metrics::with_local_recorder(&second, || {
        engine.rebind_metrics();
        assert_eq!(counted(), (0.0, 2.0));
        runtime.block_on(async {
            shop.plan("a", [Do::Slow]);
            start(&engine, &chains(), "3").await;
            assert_eq!(counted(), (0.0, 3.0));
            sleep(3 * SECOND).await;
        });
        assert_eq!((engine.in_memory(), counted()), (0, (0.0, 0.0)));
        drop((engine, runtime));
    });
}

/// A gauge whose first decrement waits for a word.
struct Held(Arc<AtomicU64>, Mutex<Option<(Sender<()>, Receiver<()>)>>);

impl GaugeFn for Held {
    fn increment(&self, by: f64) {
        if by < 0.0
            && let Some((here, go_on)) = self.1.lock().unwrap().take()
        {
            here.send(()).unwrap();
            go_on.recv().unwrap();
        }
        self.0.increment(by);
    }

    fn decrement(&self, by: f64) {
        self.increment(-by);
    }

    fn set(&self, to: f64) {
        self.0.set(to);
    }
}

#[test]
fn sagas_in_memory_are_counted_once_though_two_rebind_at_a_time() {
    let (is_here, here) = channel();
    let (goes_on, go_on) = channel();
    let (mut first, second, third) = (Gauges::default(), Gauges::default(), Gauges::default());
    first.held = Some(Arc::new(Held(Arc::clone(&first.in_memory), Mutex::new(Some((is_here, go_on))))));
    let runtime = runtime();
    let engine = metrics::with_local_recorder(&first, || {
        runtime.block_on(async {
            let engine = napping(Memory::new()).await;
            start(&engine, &naps(1), "1").await;
            engine
        })
    });
    std::thread::scope(|scope| {
        scope.spawn(|| metrics::with_local_recorder(&second, || engine.rebind_metrics()));
        // It is with the recorder before, which is told of less, and is overtaken.
        here.recv().unwrap();
        metrics::with_local_recorder(&third, || {
            engine.rebind_metrics();
            runtime.block_on(start(&engine, &naps(1), "2"));
        });
        goes_on.send(()).unwrap();
    });
    assert_eq!((first.in_memory(), second.in_memory(), third.in_memory()), (0.0, 0.0, 2.0));
    metrics::with_local_recorder(&third, || drop((engine, runtime)));
}

#[test]
fn old_saga_behind_the_oldest_is_seen_once_that_has_ended() {
    let recorder = Gauges::default();
    run(&recorder, async {
        let memory = Memory::new();
        put(&memory, Phase::Parked, Timestamp::from_millis(0)).await;
        put(&memory, Phase::Parked, Timestamp::from_millis(1_000_000_000)).await;
        let oldest = memory.list(Filter::default(), None, 1).await.unwrap()[0].id;
        let _engine = napping(memory.clone()).await;
        sleep(SECOND / 2).await;
        let before = recorder.age("nap");
        let (grant, at) = (memory.claim_one(oldest).await.unwrap().grant, Timestamp::from_millis(0));
        let end = Batch { records: vec![b"?".to_vec()], nonce: 2, phase: Phase::Abandoned, at };
        memory.append(grant, end).await.unwrap();
        sleep(SECOND).await;
        assert_eq!(recorder.age("nap"), before + 1_000 - 1_000_000_000);
    });
}

#[test]
fn versions_of_a_name_are_looked_for_together() {
    let recorder = Gauges::default();
    run(&recorder, async {
        let journal = Odd::default();
        let listed = Arc::clone(&journal.listed);
        let builder = Engine::builder(Shop::new(), journal).register(&naps(1)).register(&naps(2));
        let _engine = builder.start().await.unwrap();
        sleep(SECOND / 2).await;
        assert_eq!(listed.lock().unwrap().len(), 1);
    });
}
