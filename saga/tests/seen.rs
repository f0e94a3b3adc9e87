//! What is seen of sagas from outside: events, spans and counters, with labels from the definition only.
#![cfg(all(feature = "tracing", feature = "metrics"))]

mod shop;

use mainstay_saga::{
    Effect, Engine, Outcome, Saga, SagaId, StepError, Timestamp,
    journal::{Batch, Journal, JournalError, Memory, NewSaga, Phase},
};
use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use shop::{
    Do, Shop, chains, engine,
    odd::{Looks, Odd},
    orders,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{Debug, Write as _},
    sync::{Arc, LazyLock, Mutex},
    time::Duration,
};
use tracing::{
    Dispatch, Event, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id},
};
use tracing_subscriber::{
    layer::{Context, SubscriberExt},
    registry,
    registry::LookupSpan,
};

/// Keeps events and spans as text.
#[derive(Clone, Default)]
struct Capture {
    events: Arc<Mutex<Vec<String>>>,
    spans: Arc<Mutex<BTreeSet<String>>>,
}

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() != "id" {
            let name = Some(field.name()).filter(|name| *name != "message");
            let equals = if name.is_some() { "=" } else { "" };
            write!(self.0, " {}{equals}{value:?}", name.unwrap_or_default()).unwrap();
        }
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> tracing_subscriber::Layer<S> for Capture {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut text = Text(event.metadata().level().to_string());
        event.record(&mut text);
        self.events.lock().unwrap().push(text.0);
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let parent = context.span(id).and_then(|span| span.parent()).map_or("", |parent| parent.name());
        let mut text = Text(format!("{parent} > {}", attributes.metadata().name()));
        attributes.record(&mut text);
        self.spans.lock().unwrap().insert(text.0);
    }
}

/// While there is one subscriber only, an event that is first met in a thread without it is switched off for all.
static ANOTHER: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(registry()));

fn run<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(future)
}

async fn story() {
    let shop = Shop::new();
    let engine = engine(&shop, Memory::new()).await;
    shop.plan("b", [Do::NotExecute, Do::LoseAnswer]);
    shop.plan("c", [Do::Reject]);
    shop.plan("undo-b", [Do::NotExecute, Do::NeedHelp]);
    let parked = engine.start(&chains(), "1", 10).await.unwrap();
    parked.outcome().await.unwrap_err();
    engine.operator("ada").retry(parked.id(), "the line is free").await.unwrap();
    assert!(matches!(parked.outcome().await.unwrap(), Outcome::Compensated(_)));
    let done = engine.start(&orders(), "1", 10).await.unwrap();
    assert_eq!(done.outcome().await.unwrap(), Outcome::Completed(14));
}

#[test]
fn rare_things_are_told_as_sentences() {
    LazyLock::force(&ANOTHER);
    let capture = Capture::default();
    tracing::subscriber::with_default(registry().with(capture.clone()), || run(story()));
    let events = capture.events.lock().unwrap().clone();
    let expected = [
        "DEBUG saga was started engine=\"saga\" saga=\"chain\" key=\"1\"",
        "DEBUG step failed engine=\"saga\" saga=\"chain\" step=\"b\" outcome=NotExecuted error=\"busy\" will_retry=true",
        "DEBUG step failed engine=\"saga\" saga=\"chain\" step=\"b\" outcome=Unknown error=\"lost\" will_retry=true",
        "DEBUG step failed engine=\"saga\" saga=\"chain\" step=\"c\" outcome=Rejected error=\"no\" will_retry=false",
        "INFO saga was turned back engine=\"saga\" saga=\"chain\" cause=StepFailed { step: \"c\", outcome: Rejected, error: \"no\" }",
        "WARN undo failed engine=\"saga\" saga=\"chain\" step=\"b\" error=\"busy\" will_retry=true",
        "WARN undo failed engine=\"saga\" saga=\"chain\" step=\"b\" error=\"help\" will_retry=false",
        "WARN saga was parked engine=\"saga\" saga=\"chain\" reason=UndoFailed { step: \"b\" }",
        "INFO saga was resumed engine=\"saga\" saga=\"chain\" by=\"ada\" reason=\"the line is free\"",
        "INFO saga was compensated engine=\"saga\" saga=\"chain\"",
        "DEBUG saga was started engine=\"saga\" saga=\"order\" key=\"1\"",
        "DEBUG saga was completed engine=\"saga\" saga=\"order\"",
    ];
    assert_eq!(events, expected);
    let spans = capture.spans.lock().unwrap().clone();
    for span in [
        " > saga.run saga=\"chain\" version=1 epoch=1",
        " > saga.run saga=\"chain\" version=1 epoch=2",
        // The first records are kept before there is a saga to run.
        " > saga.append records=2",
        "saga.run > saga.append records=2",
        "saga.run > saga.step step=\"b\" attempt=3 phase=\"undo\"",
        // Never undone, so no span of an undo can stand for it.
        "saga.run > saga.step step=\"c\" attempt=1 phase=\"do\"",
    ] {
        assert!(spans.contains(span), "{span}: {spans:#?}");
    }
}

/// What was counted, by the name and the labels.
fn counted(recorder: &DebuggingRecorder) -> BTreeMap<String, String> {
    let mut counted = BTreeMap::new();
    for (key, _, _, value) in recorder.snapshotter().snapshot().into_vec() {
        let labels: Vec<_> = key.key().labels().map(metrics::Label::value).collect();
        let value = match value {
            DebugValue::Counter(value) => value.to_string(),
            DebugValue::Gauge(value) => value.to_string(),
            DebugValue::Histogram(values) => values.len().to_string(),
        };
        counted.insert(format!("{} {}", key.key().name(), labels.join(" ")), value);
    }
    counted
}

#[test]
fn what_happens_is_counted_by_saga_and_outcome() {
    let recorder = DebuggingRecorder::new();
    metrics::with_local_recorder(&recorder, || run(story()));
    let counted = counted(&recorder);
    let expected = [
        ("mainstay_saga_append_seconds saga chain", "14"),
        ("mainstay_saga_append_seconds saga order", "6"),
        ("mainstay_saga_claimed_total saga chain", "1"),
        ("mainstay_saga_ended_total saga chain compensated", "1"),
        ("mainstay_saga_ended_total saga order completed", "1"),
        ("mainstay_saga_in_memory saga chain", "0"),
        ("mainstay_saga_in_memory saga order", "0"),
        ("mainstay_saga_oldest_active_seconds saga chain", "0"),
        ("mainstay_saga_oldest_active_seconds saga fork", "0"),
        ("mainstay_saga_oldest_active_seconds saga order", "0"),
        ("mainstay_saga_parked_total saga chain undo_failed", "1"),
        ("mainstay_saga_started_total saga chain", "1"),
        ("mainstay_saga_started_total saga order", "1"),
        ("mainstay_saga_step_attempts_total saga chain a do succeeded", "1"),
        ("mainstay_saga_step_attempts_total saga chain a undo succeeded", "1"),
        ("mainstay_saga_step_attempts_total saga chain b do not_executed", "1"),
        ("mainstay_saga_step_attempts_total saga chain b do succeeded", "1"),
        ("mainstay_saga_step_attempts_total saga chain b do unknown", "1"),
        ("mainstay_saga_step_attempts_total saga chain b undo failed", "2"),
        ("mainstay_saga_step_attempts_total saga chain b undo succeeded", "1"),
        ("mainstay_saga_step_attempts_total saga chain c do rejected", "1"),
        ("mainstay_saga_step_attempts_total saga order charge do succeeded", "1"),
        ("mainstay_saga_step_attempts_total saga order confirm do succeeded", "1"),
        ("mainstay_saga_step_attempts_total saga order create do succeeded", "1"),
        ("mainstay_saga_step_attempts_total saga order mail do succeeded", "1"),
        ("mainstay_saga_step_attempts_total saga order reserve do succeeded", "1"),
    ];
    let mut expected: BTreeMap<_, _> =
        expected.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect();
    // Each attempt is counted and timed, with the same labels.
    let timed = |(key, value): (&String, &String)| (key.replace("attempts_total", "seconds"), value.clone());
    let timed: Vec<_> = expected.iter().filter(|(key, _)| key.contains("attempts_total")).map(timed).collect();
    expected.extend(timed);
    assert_eq!(counted, expected);
}

#[test]
fn only_what_another_owner_has_is_called_lost() {
    LazyLock::force(&ANOTHER);
    let fenced: fn() -> JournalError = || JournalError::Fenced { current: 9 };
    for (error, is_lost) in [(fenced, true), (|| JournalError::Closed, false), (|| JournalError::NotFound, false)] {
        let (capture, recorder) = (Capture::default(), DebuggingRecorder::new());
        let story = async {
            let engine = engine(&Shop::new(), Odd { appends_give: Some(error), ..Odd::default() }).await;
            engine.start(&chains(), "1", 10).await.unwrap();
            while engine.in_memory() > 0 {
                tokio::task::yield_now().await;
            }
        };
        let seen = registry().with(capture.clone());
        metrics::with_local_recorder(&recorder, || tracing::subscriber::with_default(seen, || run(story)));
        let logged = capture.events.lock().unwrap().iter().any(|event| event.contains("lost to another owner"));
        let counted = recorder.snapshotter().snapshot().into_vec();
        let counted = counted.iter().any(|(key, ..)| key.key().name() == "mainstay_saga_fenced_total");
        assert_eq!((logged, counted), (is_lost, is_lost), "{}", error());
    }
}

#[test]
fn journal_that_cannot_be_looked_at_for_the_oldest_is_an_event() {
    LazyLock::force(&ANOTHER);
    let (capture, recorder) = (Capture::default(), DebuggingRecorder::new());
    let story = async {
        let journal = Odd::default();
        *journal.looks.lock().unwrap() = Looks::Fail;
        let engine = engine(&Shop::new(), journal).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        engine.shutdown(Duration::from_secs(1)).await;
    };
    let seen = registry().with(capture.clone());
    metrics::with_local_recorder(&recorder, || tracing::subscriber::with_default(seen, || run(story)));
    let expected = "WARN oldest saga could not be looked for engine=\"saga\" error=the journal did nothing: on purpose";
    assert!(capture.events.lock().unwrap().iter().any(|event| event == expected), "{:?}", capture.events);
}

#[test]
fn rejection_of_all_attempts_is_counted_as_a_rejection() {
    let recorder = DebuggingRecorder::new();
    let saga = Saga::<(), u32, u32>::define("refused", 1, |mut s, number| {
        let no = async |_, _: u32| Err(StepError::rejected_for_key("no"));
        s.step("ask", number, no, async |_, _, _: Effect<u32>| Ok(()))
    });
    let saga = saga.unwrap();
    let story = async {
        let engine = Engine::builder(Arc::new(()), Memory::new()).register(&saga).start().await.unwrap();
        engine.start(&saga, "1", 10).await.unwrap().outcome().await.unwrap()
    };
    metrics::with_local_recorder(&recorder, || run(story));
    let attempts: Vec<_> = counted(&recorder).into_iter().filter(|(key, _)| key.contains("attempts_total")).collect();
    let expected = ("mainstay_saga_step_attempts_total saga refused ask do rejected".to_owned(), "1".to_owned());
    assert_eq!(attempts, [expected]);
}

#[test]
fn end_of_a_saga_that_nobody_can_read_is_told() {
    LazyLock::force(&ANOTHER);
    let (capture, recorder) = (Capture::default(), DebuggingRecorder::new());
    let story = async {
        let (journal, at) = (Memory::new(), Timestamp::from_millis(0));
        let id = SagaId::new(at);
        let new = NewSaga { id, saga: "chain".into(), version: 1, key: "1".into(), at };
        journal.create(new, Batch { records: vec![b"?".to_vec()], nonce: 1, phase: Phase::Parked, at }).await.unwrap();
        let engine = engine(&Shop::new(), journal).await;
        engine.operator("ada").abandon(id, "nobody can read it").await.unwrap();
    };
    let seen = registry().with(capture.clone());
    metrics::with_local_recorder(&recorder, || tracing::subscriber::with_default(seen, || run(story)));
    let expected = ["WARN saga was abandoned engine=\"saga\" saga=\"chain\" by=\"ada\" reason=\"nobody can read it\""];
    assert_eq!(*capture.events.lock().unwrap(), expected);
    assert!(capture.spans.lock().unwrap().contains(" > saga.append records=1"));
    let counted = counted(&recorder);
    let ended = counted.get("mainstay_saga_ended_total saga chain abandoned");
    assert_eq!(ended.map(String::as_str), Some("1"), "{counted:#?}");
}
