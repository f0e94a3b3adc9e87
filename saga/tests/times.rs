//! How long attempts and appends take, on virtual time.
#![cfg(feature = "metrics")]

mod shop;

use mainstay_saga::{
    Draft, Engine, Out, Outcome, Saga,
    journal::{JournalError, Memory},
};
use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use serde::{Deserialize, Serialize};
use shop::{Do, Shop, chains, engine, fork, odd::Odd};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::runtime::Runtime;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

fn run<F: Future>(recorder: &DebuggingRecorder, future: F) -> F::Output {
    metrics::with_local_recorder(recorder, || runtime().block_on(future))
}

/// What each histogram of this name was given since it was last looked at, by its labels but the engine's.
fn seconds(recorder: &DebuggingRecorder, name: &str) -> BTreeMap<String, Vec<f64>> {
    let all = recorder.snapshotter().snapshot().into_vec();
    let named = all.into_iter().filter(|(key, ..)| key.key().name() == name);
    let seconds = named.map(|(key, _, _, value)| {
        let labels: Vec<_> = key.key().labels().map(metrics::Label::value).collect();
        let DebugValue::Histogram(values) = value else { panic!("{name} is no histogram") };
        assert_eq!(labels[0], "saga");
        (labels[1..].join(" "), values.into_iter().map(f64::from).collect())
    });
    seconds.collect()
}

fn expected<const N: usize>(of: [(&str, &[f64]); N]) -> BTreeMap<String, Vec<f64>> {
    of.into_iter().map(|(labels, seconds)| (labels.to_owned(), seconds.to_vec())).collect()
}

#[test]
fn attempts_are_timed_by_how_they_end() {
    let recorder = DebuggingRecorder::new();
    run(&recorder, async {
        let shop = Shop::new();
        let engine = engine(&shop, Memory::new()).await;
        shop.plan("a", [Do::NotExecute, Do::Slow]);
        shop.plan("b", [Do::Hang, Do::Panic, Do::Slow]);
        shop.plan("c", [Do::Reject]);
        shop.plan("undo-b", [Do::Hang, Do::Slow]);
        let outcome = engine.start(&chains(), "1", 10).await.unwrap().outcome().await.unwrap();
        assert!(matches!(outcome, Outcome::Compensated(_)));
    });
    let expected = expected([
        ("chain a do not_executed", &[0.0]),
        ("chain a do succeeded", &[1.0]),
        ("chain b do unknown", &[30.0, 0.0]),
        ("chain b do succeeded", &[1.0]),
        ("chain c do rejected", &[0.0]),
        ("chain b undo failed", &[30.0]),
        ("chain b undo succeeded", &[1.0]),
        ("chain a undo succeeded", &[0.0]),
    ]);
    assert_eq!(seconds(&recorder, "mainstay_saga_step_seconds"), expected);
}

/// An attempt is timed when its record is counted, so that there are as many of both.
#[test]
fn attempt_is_timed_when_its_end_is_durable() {
    let recorder = DebuggingRecorder::new();
    run(&recorder, async {
        let (shop, fenced) = (Shop::new(), || JournalError::Fenced { current: 9 });
        let engine = engine(&shop, Odd { appends_give: Some(fenced), ..Odd::default() }).await;
        engine.start(&chains(), "1", 10).await.unwrap();
        while engine.in_memory() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(shop.calls(), ["a"]);
    });
    assert_eq!(seconds(&recorder, "mainstay_saga_step_seconds"), expected([]));
}

/// Written as a number, and read as a text.
#[derive(Clone, Serialize, Deserialize)]
#[serde(into = "u32", from = "String")]
struct OneWay;

impl From<OneWay> for u32 {
    fn from(_: OneWay) -> Self {
        7
    }
}

impl From<String> for OneWay {
    fn from(_: String) -> Self {
        Self
    }
}

fn unreadable<'s>(mut s: Draft<'s, Shop>, number: Out<'s, u32>) -> Out<'s, u32> {
    let given = s.read("give", number, async |_, _| Ok(OneWay));
    s.read("take", given, async |_, _: OneWay| Ok(1))
}

#[test]
fn attempt_that_does_not_begin_takes_no_time() {
    let recorder = DebuggingRecorder::new();
    run(&recorder, async {
        let saga = Saga::define("unreadable", 1, unreadable).unwrap();
        let engine = Engine::builder(Shop::new(), Memory::new()).register(&saga).start().await.unwrap();
        engine.start(&saga, "1", 10).await.unwrap().outcome().await.unwrap_err();
    });
    let expected = expected([("unreadable give do succeeded", &[0.0])]);
    assert_eq!(seconds(&recorder, "mainstay_saga_step_seconds"), expected);
}

#[test]
fn appends_are_timed_each() {
    let recorder = DebuggingRecorder::new();
    run(&recorder, async {
        let engine = engine(&Shop::new(), Odd { appends_take: Duration::from_secs(2), ..Odd::default() }).await;
        engine.start(&chains(), "1", 10).await.unwrap().outcome().await.unwrap();
        // The key is taken: nothing is kept.
        engine.start(&chains(), "1", 10).await.unwrap();
    });
    // The first one makes the saga, which takes no time here.
    let expected = expected([("chain", &[0.0, 2.0, 2.0, 2.0])]);
    assert_eq!(seconds(&recorder, "mainstay_saga_append_seconds"), expected);
}

#[test]
fn what_the_journal_does_not_keep_is_not_timed() {
    let recorder = DebuggingRecorder::new();
    run(&recorder, async {
        let fenced = || JournalError::Fenced { current: 9 };
        let engine = engine(&Shop::new(), Odd { appends_give: Some(fenced), ..Odd::default() }).await;
        engine.start(&chains(), "1", 10).await.unwrap();
        while engine.in_memory() > 0 {
            tokio::task::yield_now().await;
        }
    });
    assert_eq!(seconds(&recorder, "mainstay_saga_append_seconds"), expected([("chain", &[0.0])]));
}

#[test]
fn record_that_parks_an_unknown_saga_is_timed() {
    let (first, second) = (DebuggingRecorder::new(), DebuggingRecorder::new());
    let (shop, memory) = (Shop::new(), Memory::new());
    shop.plan("a", [Do::Hang]);
    run(&first, async {
        let engine = engine(&shop, memory.clone()).await;
        engine.start(&chains(), "1", 10).await.unwrap();
        engine.shutdown(Duration::ZERO).await;
    });
    memory.forget_owners();
    run(&second, async {
        let other = Saga::define("chain", 1, fork).unwrap();
        let journal = Odd { inner: memory, appends_take: Duration::from_secs(2), ..Odd::default() };
        let engine = Engine::builder(Arc::clone(&shop), journal).register(&other).start().await.unwrap();
        while engine.in_memory() > 0 {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    assert_eq!(seconds(&second, "mainstay_saga_append_seconds"), expected([("chain", &[2.0])]));
}

#[cfg(feature = "testkit")]
#[test]
fn repetitions_of_an_append_are_part_of_it() {
    use mainstay_saga::testkit::{Fault, FaultyJournal};

    let recorder = DebuggingRecorder::new();
    let took = run(&recorder, async {
        let journal = FaultyJournal::new(Odd { appends_take: Duration::from_secs(2), ..Odd::default() });
        for (write, fault) in [(1, Fault::LosesAnswer), (3, Fault::Fails), (4, Fault::LosesAnswer)] {
            journal.fail(write, fault);
        }
        let engine = engine(&Shop::new(), journal).await;
        let begin = tokio::time::Instant::now();
        engine.start(&chains(), "1", 10).await.unwrap().outcome().await.unwrap();
        begin.elapsed().as_secs_f64()
    });
    let appends = seconds(&recorder, "mainstay_saga_append_seconds").remove("chain").unwrap();
    assert_eq!(appends.len(), 4);
    assert!(took > 8.0, "one of them was written twice");
    // All other things take no time.
    assert!((appends.iter().sum::<f64>() - took).abs() < 1e-6, "{appends:?} {took}");
}

/// How many values all histograms of a name were given since they were last looked at.
fn samples(recorder: &DebuggingRecorder) -> BTreeMap<String, usize> {
    let mut samples = BTreeMap::new();
    for (key, _, _, value) in recorder.snapshotter().snapshot().into_vec() {
        if let DebugValue::Histogram(values) = value
            && !values.is_empty()
        {
            *samples.entry(key.key().name().to_owned()).or_default() += values.len();
        }
    }
    samples
}

#[test]
fn what_was_rebound_goes_to_the_new_recorder() {
    let (first, second, runtime) = (DebuggingRecorder::new(), DebuggingRecorder::new(), runtime());
    let engine = runtime.block_on(engine(&Shop::new(), Memory::new()));
    let run = |recorder, key| {
        let started = async { engine.start(&chains(), key, 1).await.unwrap().outcome().await.unwrap() };
        metrics::with_local_recorder(recorder, || runtime.block_on(started));
        [samples(&first), samples(&second)]
    };
    let of_one = [("mainstay_saga_append_seconds".to_owned(), 4), ("mainstay_saga_step_seconds".to_owned(), 3)];
    let (of_one, none) = (BTreeMap::from(of_one), BTreeMap::new());
    // The recorder was installed after the engine was made.
    assert_eq!(run(&first, "1"), [of_one.clone(), none.clone()]);
    assert_eq!(run(&second, "2"), [of_one.clone(), none.clone()]);
    engine.rebind_metrics();
    assert_eq!(run(&second, "3"), [none, of_one]);
    runtime.block_on(engine.shutdown(Duration::from_secs(1)));
}
