//! Room, rest and shutdown: what is in memory, and what leaves it.

mod shop;

use mainstay_core::Reason;
use mainstay_saga::{
    CancelAck, Config, Draft, Engine, EngineError, Out, Outcome, Saga, StartError, Step, WaitError,
    journal::{Journal, Memory},
};
use shop::{Do, Shop, act, chains, engine, forks, odd::Odd, story, undo};
use std::{sync::Arc, time::Duration};

fn patient<'s>(mut s: Draft<'s, Shop>, number: Out<'s, u32>) -> Out<'s, u32> {
    let a = s.step("a", number, act, undo);
    s.wait(Step::named("rest").after(a), Duration::from_secs(60));
    a
}

fn patients() -> Saga<Shop, u32, u32> {
    Saga::define("patient", 1, patient).unwrap()
}

#[tokio::test(start_paused = true)]
async fn start_beyond_the_room_is_refused_and_starts_nothing() {
    let (shop, journal) = (Shop::new(), Memory::new());
    let builder = Engine::builder(Arc::clone(&shop), journal).register(&chains());
    let engine = builder.config(Config::default().name("orders").max_in_memory(2)).start().await.unwrap();
    shop.plan("a", [Do::Slow, Do::Slow]);
    let first = engine.start(&chains(), "1", 1).await.unwrap();
    let second = engine.start(&chains(), "2", 1).await.unwrap();
    assert_eq!(engine.in_memory(), 2);

    let error = engine.start(&chains(), "3", 1).await.unwrap_err();
    let StartError::Refused(refused) = error else { panic!("{error:?}") };
    assert_eq!((refused.reason(), refused.by()), (Reason::BulkheadFull, "orders"));

    first.outcome().await.unwrap();
    let third = engine.start(&chains(), "3", 1).await.expect("there is room before the end is heard of");
    assert!(third.is_new());
    second.outcome().await.unwrap();
    third.outcome().await.unwrap();
    assert_eq!(engine.in_memory(), 0);
}

#[tokio::test(start_paused = true)]
async fn saga_that_waits_leaves_memory_and_comes_back_in_time() {
    let (shop, journal) = (Shop::new(), Memory::new());
    let engine = Engine::builder(Arc::clone(&shop), journal.clone()).register(&patients()).start().await.unwrap();
    let begin = tokio::time::Instant::now();
    let handle = engine.start(&patients(), "1", 1).await.unwrap();

    tokio::time::sleep(Duration::from_millis(4_900)).await;
    assert_eq!(engine.in_memory(), 1);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(engine.in_memory(), 0);

    assert_eq!(handle.outcome().await.unwrap(), Outcome::Completed(2));
    let took = begin.elapsed();
    assert!((60..=61).contains(&took.as_secs()), "late by less than one poll: {took:?}");
    assert_eq!(shop.calls(), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn short_wait_is_spent_in_memory() {
    let (shop, journal) = (Shop::new(), Memory::new());
    let builder = Engine::builder(Arc::clone(&shop), journal.clone()).register(&patients());
    let engine = builder.config(Config::default().idle_after(Duration::from_secs(100))).start().await.unwrap();
    let begin = tokio::time::Instant::now();
    let handle = engine.start(&patients(), "1", 1).await.unwrap();
    assert_eq!(handle.outcome().await.unwrap(), Outcome::Completed(2));
    assert_eq!(begin.elapsed().as_secs(), 60);
    assert_eq!(journal.find(handle.id()).await.unwrap().unwrap().epoch, 1, "it was never given back");
}

#[tokio::test(start_paused = true)]
async fn shutdown_waits_for_what_is_under_way_and_begins_nothing() {
    let (shop, journal) = (Shop::new(), Memory::new());
    let first = engine(&shop, journal.clone()).await;
    shop.plan("b", [Do::Slow]);
    let handle = first.start(&chains(), "1", 10).await.unwrap();
    let begin = tokio::time::Instant::now();

    let left = first.shutdown(Duration::from_secs(30)).await;
    assert!(left.interrupted.is_empty());
    assert_eq!(begin.elapsed().as_secs(), 1);
    assert_eq!(shop.calls(), ["a", "b"]);
    assert_eq!(story(&journal, handle.id()).await.last().unwrap(), "b succeeded");
    assert!(matches!(handle.outcome().await, Err(WaitError::Stopped)));
    assert!(matches!(first.start(&chains(), "2", 1).await, Err(StartError::Stopped)));

    // It was given back: the next engine needs no crash to go on.
    let second = engine(&shop, journal.clone()).await;
    assert_eq!(second.handle(&chains(), handle.id()).outcome().await.unwrap(), Outcome::Completed(13));
    assert_eq!(shop.calls(), ["a", "b", "c"]);
}

#[tokio::test(start_paused = true)]
async fn shutdown_drops_at_its_deadline_what_does_not_end() {
    let (shop, journal) = (Shop::new(), Memory::new());
    let first = engine(&shop, journal.clone()).await;
    shop.plan("b", [Do::Hang]);
    let handle = first.start(&chains(), "1", 10).await.unwrap();
    let begin = tokio::time::Instant::now();

    let left = first.shutdown(Duration::from_secs(3)).await;
    assert_eq!(left.interrupted, [handle.id()]);
    assert_eq!(begin.elapsed().as_secs(), 3);
    tokio::task::yield_now().await;
    assert_eq!(first.in_memory(), 0);

    let second = engine(&shop, journal.clone()).await;
    assert_eq!(second.handle(&chains(), handle.id()).outcome().await.unwrap(), Outcome::Completed(13));
    assert_eq!(shop.count("b"), 2);
}

#[tokio::test(start_paused = true)]
async fn last_clone_of_an_engine_takes_it_along() {
    let (shop, journal) = (Shop::new(), Memory::new());
    let first = engine(&shop, journal.clone()).await;
    shop.plan("b", [Do::Slow]);
    let handle = first.start(&chains(), "1", 10).await.unwrap();
    let other = first.clone();
    drop(first);
    tokio::time::sleep(Duration::from_millis(100)).await;
    drop(other);
    assert!(matches!(handle.outcome().await, Err(WaitError::Stopped)));
    assert_eq!(shop.calls(), ["a", "b"]);

    let second = engine(&shop, journal).await;
    assert_eq!(second.handle(&chains(), handle.id()).outcome().await.unwrap(), Outcome::Completed(13));
}

#[tokio::test(start_paused = true)]
async fn settings_out_of_range_are_refused() {
    let zero = Config::default().max_in_memory(0);
    let huge = Config::default().max_in_memory(usize::MAX);
    let never = Config::default().poll_interval(Duration::ZERO);
    let always = Config::default().poll_interval(Duration::MAX);
    let idle = Config::default().idle_after(Duration::MAX);
    let nameless = Config::default().name("");
    let verbose = Config::default().name("é".repeat(65).leak());
    for config in [zero, huge, never, always, idle, nameless, verbose] {
        let started = Engine::builder((), Memory::new()).config(config).start().await;
        assert!(matches!(started, Err(EngineError::Config(_))), "{config:?}");
    }
}

fn other<'s>(mut s: Draft<'s, Shop>, number: Out<'s, u32>) -> Out<'s, u32> {
    s.read("other", number, act)
}

#[tokio::test(start_paused = true)]
async fn two_definitions_of_one_version_are_refused() {
    let other_graph: Saga<Shop, u32, u32> = Saga::define("chain", 1, other).unwrap();
    // The graph is the same, and nobody can tell whether the code is.
    for changed in [other_graph, chains()] {
        let builder = Engine::builder(Shop::new(), Memory::new()).register(&chains());
        let error = builder.register(&changed).start().await.unwrap_err();
        let EngineError::SameVersion { saga, version } = error else { panic!("{error:?}") };
        assert_eq!((&*saga, version), ("chain", 1));
    }
}

#[tokio::test(start_paused = true)]
async fn one_definition_is_registered_as_often_as_one_likes() {
    let chains = chains();
    let builder = Engine::builder(Shop::new(), Memory::new()).register(&chains).register(&chains);
    let engine = builder.register(&chains.clone()).start().await.unwrap();
    assert_eq!(engine.start(&chains, "1", 10).await.unwrap().outcome().await.unwrap(), Outcome::Completed(13));
}

#[tokio::test(start_paused = true)]
async fn definition_that_was_not_registered_is_not_started() {
    let shop = Shop::new();
    let engine = engine(&shop, Memory::new()).await;
    let error = engine.start(&patients(), "1", 1).await.unwrap_err();
    assert!(matches!(error, StartError::NotRegistered { .. }), "{error:?}");
    for key in [String::new(), "k".repeat(257)] {
        assert!(matches!(engine.start(&chains(), &key, 1).await, Err(StartError::InvalidKey)));
    }
    assert!(engine.start(&chains(), &"k".repeat(256), 1).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn claim_of_a_saga_that_is_about_to_leave_waits_for_its_task() {
    let shop = Shop::new();
    let journal = Odd { release_takes: Duration::from_secs(65), ..Odd::default() };
    let builder = Engine::builder(Arc::clone(&shop), journal).register(&patients());
    let engine = builder.config(Config::default().idle_after(Duration::ZERO)).start().await.unwrap();
    let handle = engine.start(&patients(), "1", 1).await.unwrap();
    let begin = tokio::time::Instant::now();
    // It is due after 60 s, and its task still waits for the answer of the journal.
    assert_eq!(handle.outcome().await.unwrap(), Outcome::Completed(2));
    assert_eq!(begin.elapsed().as_secs(), 65);
    assert_eq!(engine.in_memory(), 0);
}

/// While it ran, the loop asked again and again for the time of what it would not start: the test would not end.
#[tokio::test(start_paused = true)]
async fn shutdown_does_not_look_again_and_again_at_what_is_due() {
    let shop = Shop::new();
    let engine = engine(&shop, Memory::new()).await;
    shop.plan("left", [Do::Hang]);
    shop.plan("right", [Do::NotExecute, Do::NotExecute, Do::NotExecute]);
    let _handle = engine.start(&forks(), "1", 10).await.unwrap();
    let begin = tokio::time::Instant::now();
    engine.shutdown(Duration::from_secs(100)).await;
    assert_eq!(begin.elapsed().as_secs(), 30);
}

#[tokio::test(start_paused = true)]
async fn wish_that_comes_while_a_saga_leaves_is_granted() {
    let shop = Shop::new();
    let journal = Odd { release_takes: Duration::from_secs(5), ..Odd::default() };
    let builder = Engine::builder(Arc::clone(&shop), journal).register(&patients());
    let engine = builder.config(Config::default().idle_after(Duration::ZERO)).start().await.unwrap();
    let handle = engine.start(&patients(), "1", 1).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(engine.in_memory(), 1, "it waits for the answer of the journal");
    let cancelled = tokio::time::timeout(Duration::from_secs(10), engine.cancel(handle.id(), "enough")).await;
    assert!(matches!(cancelled, Ok(Ok(CancelAck::Accepted))), "{cancelled:?}");
    assert!(matches!(handle.outcome().await.unwrap(), Outcome::Compensated(_)));
}

#[tokio::test(start_paused = true)]
async fn parked_saga_is_given_back_and_an_ended_one_needs_not_be() {
    let shop = Shop::new();
    let journal = Odd::default();
    let released = Arc::clone(&journal.released);
    let engine = engine(&shop, journal).await;
    shop.plan("c", [Do::Reject]);
    shop.plan("undo-b", [Do::NeedHelp]);
    let parked = engine.start(&chains(), "1", 1).await.unwrap();
    assert!(matches!(parked.outcome().await, Err(WaitError::Parked(_))));
    assert_eq!(*released.lock().unwrap(), [None]);
    engine.start(&chains(), "2", 1).await.unwrap().outcome().await.unwrap();
    assert_eq!(*released.lock().unwrap(), [None]);
}

#[tokio::test(start_paused = true)]
async fn saga_that_is_asked_does_not_wait_for_room() {
    let shop = Shop::new();
    let builder = Engine::builder(Arc::clone(&shop), Memory::new()).register(&patients()).register(&chains());
    let engine = builder.config(Config::default().max_in_memory(1)).start().await.unwrap();
    let away = engine.start(&patients(), "1", 1).await.unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(engine.in_memory(), 0);
    shop.plan("b", [Do::Slow]);
    shop.plan("undo-a", [Do::Slow]);
    let other = engine.start(&chains(), "2", 10).await.unwrap();
    assert_eq!(engine.cancel(away.id(), "enough").await.unwrap(), CancelAck::Accepted);
    assert_eq!(engine.in_memory(), 2);
    assert!(matches!(engine.start(&chains(), "3", 10).await, Err(StartError::Refused(_))));
    assert!(matches!(away.outcome().await.unwrap(), Outcome::Compensated(_)));
    assert_eq!(other.outcome().await.unwrap(), Outcome::Completed(13));
}

#[test]
fn dropped_runtime_leaves_its_sagas_to_whoever_asks_for_them() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let (shop, journal) = (Shop::new(), Memory::new());
    let first = runtime();
    let (left, id) = first.block_on(async {
        let left = engine(&shop, journal.clone()).await;
        shop.plan("b", [Do::Hang]);
        let id = left.start(&chains(), "1", 10).await.unwrap().id();
        tokio::time::sleep(Duration::from_secs(1)).await;
        (left, id)
    });
    drop((first, left));
    assert_eq!(shop.calls(), ["a", "b"]);

    runtime().block_on(async {
        let second = engine(&shop, journal.clone()).await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(shop.calls(), ["a", "b"], "it is taken for owned");
        assert_eq!(second.cancel(id, "enough").await.unwrap(), CancelAck::Accepted);
        let outcome = second.handle(&chains(), id).outcome().await.unwrap();
        assert!(matches!(outcome, Outcome::Compensated(_)), "{outcome:?}");
        assert!(shop.standing().is_empty());
    });
}
