//! What a crash leaves is gone on with, by whoever comes next.

mod shop;

use mainstay_saga::{
    AskError, CancelAck, Config, Draft, Effect, Engine, Out, Outcome, ParkReason, Saga, SagaId, SignalAck, Step,
    Timestamp, WaitError,
    journal::{Batch, Filter, Journal, Memory, Phase},
};
use shop::{Do, Shop, act, chains, engine, orders, story, undo};
use std::{sync::Arc, time::Duration};

/// Lets an engine die: nothing of it runs any more, and nobody owns its sagas.
async fn crash(engine: Engine<Shop>, journal: &Memory) {
    engine.shutdown(Duration::ZERO).await;
    drop(engine);
    tokio::task::yield_now().await;
    journal.forget_owners();
}

#[tokio::test(start_paused = true)]
async fn step_under_way_at_a_crash_is_started_again_with_the_same_key() {
    let (shop, journal) = (Shop::new(), Memory::new());
    let first = engine(&shop, journal.clone()).await;
    shop.plan("b", [Do::Hang]);
    let id = first.start(&chains(), "1", 10).await.unwrap().id();
    tokio::time::sleep(Duration::from_secs(1)).await;
    crash(first, &journal).await;

    let second = engine(&shop, journal.clone()).await;
    assert_eq!(second.handle(&chains(), id).outcome().await.unwrap(), Outcome::Completed(13));
    assert_eq!(shop.calls(), ["a", "b", "b", "c"]);
    let story = story(&journal, id).await;
    assert!(story.contains(&"b started 2".to_owned()), "{story:?}");
}

#[tokio::test(start_paused = true)]
async fn undo_under_way_at_a_crash_is_started_again() {
    let (shop, journal) = (Shop::new(), Memory::new());
    let first = engine(&shop, journal.clone()).await;
    shop.plan("c", [Do::Reject]);
    shop.plan("undo-b", [Do::Hang]);
    let id = first.start(&chains(), "1", 10).await.unwrap().id();
    tokio::time::sleep(Duration::from_secs(1)).await;
    crash(first, &journal).await;

    let second = engine(&shop, journal.clone()).await;
    assert!(matches!(second.handle(&chains(), id).outcome().await.unwrap(), Outcome::Compensated(_)));
    assert_eq!(shop.calls(), ["a", "b", "c", "undo-b", "undo-b", "undo-a"]);
}

#[tokio::test(start_paused = true)]
async fn repeated_start_after_a_crash_finds_the_saga() {
    let (shop, journal) = (Shop::new(), Memory::new());
    let first = engine(&shop, journal.clone()).await;
    let handle = first.start(&orders(), "1", 10).await.unwrap();
    handle.outcome().await.unwrap();
    let id = handle.id();
    crash(first, &journal).await;

    let second = engine(&shop, journal.clone()).await;
    let again = second.start(&orders(), "1", 99).await.unwrap();
    assert_eq!((again.id(), again.is_new()), (id, false));
    assert_eq!(again.outcome().await.unwrap(), Outcome::Completed(14));
    assert_eq!(shop.count("reserve"), 1);
}

#[tokio::test(start_paused = true)]
async fn saga_whose_definition_is_missing_waits_for_it() {
    let (shop, journal) = (Shop::new(), Memory::new());
    let first = engine(&shop, journal.clone()).await;
    shop.plan("b", [Do::Hang]);
    let id = first.start(&chains(), "1", 10).await.unwrap().id();
    tokio::time::sleep(Duration::from_secs(1)).await;
    crash(first, &journal).await;

    let other = Engine::builder(Arc::clone(&shop), journal.clone()).register(&orders()).start().await.unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(shop.calls(), ["a", "b"], "it is not touched");
    let error = other.cancel(id, "enough").await.unwrap_err();
    assert!(matches!(error, AskError::NotRegistered { version: 1, .. }), "{error:?}");
    crash(other, &journal).await;

    let third = engine(&shop, journal.clone()).await;
    assert_eq!(third.handle(&chains(), id).outcome().await.unwrap(), Outcome::Completed(13));
}

fn renamed<'s>(mut s: Draft<'s, Shop>, number: Out<'s, u32>) -> Out<'s, u32> {
    s.read("other", number, act)
}

#[tokio::test(start_paused = true)]
async fn saga_of_another_graph_is_parked_before_anything_runs() {
    let (shop, journal) = (Shop::new(), Memory::new());
    let first = engine(&shop, journal.clone()).await;
    shop.plan("b", [Do::Hang]);
    let id = first.start(&chains(), "1", 10).await.unwrap().id();
    tokio::time::sleep(Duration::from_secs(1)).await;
    crash(first, &journal).await;

    let changed: Saga<Shop, u32, u32> = Saga::define("chain", 1, renamed).unwrap();
    let second = Engine::builder(Arc::clone(&shop), journal.clone()).register(&changed).start().await.unwrap();
    let error = second.handle(&changed, id).outcome().await.unwrap_err();
    assert!(matches!(error, WaitError::Parked(ParkReason::DefinitionChanged)), "{error:?}");
    assert_eq!(shop.calls(), ["a", "b"]);
    let error = second.operator("ada").retry(id, "again").await.unwrap_err();
    assert!(matches!(error, AskError::Corrupt(_)), "{error:?}");
    crash(second, &journal).await;

    let third = engine(&shop, journal.clone()).await;
    third.operator("ada").retry(id, "the old definition is back").await.unwrap();
    assert_eq!(third.handle(&chains(), id).outcome().await.unwrap(), Outcome::Completed(13));
}

#[tokio::test(start_paused = true)]
async fn record_that_cannot_be_read_parks_its_saga_and_no_other() {
    let (shop, journal) = (Shop::new(), Memory::new());
    let first = engine(&shop, journal.clone()).await;
    shop.plan("b", [Do::Hang, Do::Hang]);
    let broken = first.start(&chains(), "1", 10).await.unwrap().id();
    let sound = first.start(&chains(), "2", 10).await.unwrap().id();
    tokio::time::sleep(Duration::from_secs(1)).await;
    crash(first, &journal).await;
    let grant = journal.claim_one(broken).await.unwrap().grant;
    let garbage = Batch {
        records: vec![b"{\"format\":9,\"record\":\"later\"}".to_vec()],
        nonce: 1,
        phase: Phase::Forward,
        at: Timestamp::from_millis(0),
    };
    let grant = journal.append(grant, garbage).await.unwrap();
    journal.release(grant, Some(Timestamp::from_millis(0))).await.unwrap();

    let second = engine(&shop, journal.clone()).await;
    assert_eq!(second.handle(&chains(), sound).outcome().await.unwrap(), Outcome::Completed(13));
    let error = second.handle(&chains(), broken).outcome().await.unwrap_err();
    let WaitError::Parked(ParkReason::Corrupt { seq, .. }) = error else { panic!("{error:?}") };
    assert_eq!(seq, grant.seq);

    let parked = Filter { phases: vec![Phase::Parked], ..Filter::default() };
    let listed = second.operator("ada").list(parked, None, 10).await.unwrap();
    assert_eq!(listed.iter().map(|summary| summary.id).collect::<Vec<_>>(), [broken]);
    let inspection = second.operator("ada").inspect(broken).await.unwrap();
    assert!(inspection.state.is_err());
    assert_eq!(inspection.records().filter(Result::is_err).count(), 1, "the bytes are kept");

    let ada = second.operator("ada");
    assert!(matches!(ada.skip(broken, "b", "why not").await, Err(AskError::Corrupt(_))));
    let (given_up, late) = tokio::join!(ada.abandon(broken, "nobody can read it"), second.cancel(broken, "late"));
    given_up.unwrap();
    assert_eq!(late.unwrap(), CancelAck::AlreadyEnded);
    let handle = second.handle(&chains(), broken);
    let Outcome::Abandoned(by) = handle.outcome().await.unwrap() else { panic!("it was given up") };
    assert_eq!(&*by.reason, "nobody can read it");
    drop(handle);
    let again = second.handle(&chains(), broken).outcome().await.unwrap();
    assert!(matches!(again, Outcome::Abandoned(_)), "also by the journal: {again:?}");
}

#[tokio::test(start_paused = true)]
async fn step_that_kills_its_process_again_and_again_is_parked() {
    let (shop, journal) = (Shop::new(), Memory::new());
    shop.plan("b", [Do::Hang; 30]);
    let mut id = None;
    for _ in 0..30 {
        let engine = engine(&shop, journal.clone()).await;
        if id.is_none() {
            id = Some(engine.start(&chains(), "1", 10).await.unwrap().id());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        crash(engine, &journal).await;
    }
    let engine = engine(&shop, journal.clone()).await;
    let error = engine.handle(&chains(), id.unwrap()).outcome().await.unwrap_err();
    assert!(matches!(error, WaitError::Parked(ParkReason::NeverEnds { .. })), "{error:?}");
    assert_eq!(shop.count("b"), 25);
}

#[tokio::test(start_paused = true)]
async fn many_sagas_are_recovered_through_little_room() {
    let (shop, journal) = (Shop::new(), Memory::new());
    let first = engine(&shop, journal.clone()).await;
    shop.plan("b", [Do::Hang; 50]);
    let mut ids = Vec::new();
    for key in 0..50 {
        ids.push(first.start(&chains(), &key.to_string(), 10).await.unwrap().id());
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    crash(first, &journal).await;

    let config = Config::default().max_in_memory(3);
    let second = Engine::builder(Arc::clone(&shop), journal.clone()).register(&chains()).config(config);
    let second = second.start().await.unwrap();
    for id in ids {
        assert_eq!(second.handle(&chains(), id).outcome().await.unwrap(), Outcome::Completed(13));
        assert!(second.in_memory() <= 3);
    }
}

#[tokio::test(start_paused = true)]
async fn saga_that_is_not_there_has_no_outcome() {
    let (shop, journal) = (Shop::new(), Memory::new());
    let engine = engine(&shop, journal).await;
    let id = SagaId::from_u128(7);
    assert!(matches!(engine.handle(&chains(), id).outcome().await, Err(WaitError::NotFound)));
    assert!(matches!(engine.cancel(id, "enough").await, Err(AskError::NotFound)));
    assert!(matches!(engine.operator("ada").inspect(id).await, Err(AskError::NotFound)));
}

fn of_numbers<'s>(mut s: Draft<'s, Shop>, number: Out<'s, u32>) -> Out<'s, u32> {
    let a = s.step("a", number, act, undo);
    s.step("b", a, act, undo)
}

fn of_texts<'s>(mut s: Draft<'s, Shop>, number: Out<'s, u32>) -> Out<'s, u32> {
    let a = s.step("a", number, async |_, _| Ok(String::new()), async |_, _, _: Effect<String>| Ok(()));
    s.step("b", a, async |_, _: String| Ok(7), async |_, _, _| Ok(()))
}

#[tokio::test(start_paused = true)]
async fn value_of_another_type_parks_the_saga_and_is_no_attempt() {
    let (shop, journal) = (Shop::new(), Memory::new());
    let numbers: Saga<Shop, u32, u32> = Saga::define("typed", 1, of_numbers).unwrap();
    let texts: Saga<Shop, u32, u32> = Saga::define("typed", 1, of_texts).unwrap();
    assert_eq!(numbers.fingerprint(), texts.fingerprint(), "types are not seen");
    let first = Engine::builder(Arc::clone(&shop), journal.clone()).register(&numbers).start().await.unwrap();
    shop.plan("b", [Do::NotExecute]);
    let id = first.start(&numbers, "1", 10).await.unwrap().id();
    tokio::task::yield_now().await;
    crash(first, &journal).await;

    let second = Engine::builder(Arc::clone(&shop), journal.clone()).register(&texts).start().await.unwrap();
    let error = second.handle(&texts, id).outcome().await.unwrap_err();
    let WaitError::Parked(ParkReason::Unreadable { step, error }) = error else { panic!("{error:?}") };
    assert_eq!(&*step, "b");
    assert!(error.contains("\"a\""), "{error}");
    crash(second, &journal).await;

    let third = Engine::builder(Arc::clone(&shop), journal.clone()).register(&numbers).start().await.unwrap();
    shop.plan("b", [Do::Reject]);
    third.operator("ada").retry(id, "the old code is back").await.unwrap();
    assert!(matches!(third.handle(&numbers, id).outcome().await.unwrap(), Outcome::Compensated(_)));
    assert_eq!(shop.count("undo-b"), 0, "nobody can have done b");
    assert_eq!(shop.count("undo-a"), 1);
}

fn acknowledged<'s>(s: Draft<'s, Shop>, number: Out<'s, u32>) -> Out<'s, u32> {
    let (mut s, done) = s.pivot("pay", number, act);
    s.retriable("mail", done, act);
    s.signal::<bool>(Step::named("receipt").after(done), None);
    done
}

#[tokio::test(start_paused = true)]
async fn parked_saga_that_was_sent_something_still_says_why() {
    let (shop, journal) = (Shop::new(), Memory::new());
    let saga: Saga<Shop, u32, u32> = Saga::define("acknowledged", 1, acknowledged).unwrap();
    let first = Engine::builder(Arc::clone(&shop), journal.clone()).register(&saga).start().await.unwrap();
    shop.plan("mail", [Do::Reject]);
    let handle = first.start(&saga, "1", 10).await.unwrap();
    let rejected = |error| matches!(error, WaitError::Parked(ParkReason::StepRejected { step }) if *step == *"mail");
    assert!(rejected(handle.outcome().await.unwrap_err()));
    assert_eq!(first.signal(handle.id(), "receipt", "1", &true).await.unwrap(), SignalAck::Accepted);
    assert!(rejected(handle.outcome().await.unwrap_err()));
    crash(first, &journal).await;

    let second = Engine::builder(Arc::clone(&shop), journal.clone()).register(&saga).start().await.unwrap();
    let handle = second.handle(&saga, handle.id());
    assert!(rejected(handle.outcome().await.unwrap_err()));
    second.operator("ada").retry(handle.id(), "the address was wrong").await.unwrap();
    assert_eq!(handle.outcome().await.unwrap(), Outcome::Completed(11));
}

fn unread<'s>(mut s: Draft<'s, Shop>, number: Out<'s, u32>) -> Out<'s, u32> {
    let nothing = s.read("nothing", number, async |_, _: u32| Ok(f64::NAN));
    s.read("reader", nothing, async |_, _: f64| Ok(1));
    s.step("long", number, act, undo);
    let short = s.step("short", number, act, undo);
    s.step("later", short, act, undo)
}

#[tokio::test(start_paused = true)]
async fn nothing_is_begun_any_more_beside_what_cannot_be_read() {
    let (shop, journal) = (Shop::new(), Memory::new());
    let saga: Saga<Shop, u32, u32> = Saga::define("unread", 1, unread).unwrap();
    let engine = Engine::builder(Arc::clone(&shop), journal.clone()).register(&saga).start().await.unwrap();
    shop.plan("long", [Do::Hang]);
    shop.plan("short", [Do::Slow]);
    let handle = engine.start(&saga, "1", 10).await.unwrap();
    let error = handle.outcome().await.unwrap_err();
    assert!(matches!(error, WaitError::Parked(ParkReason::Unreadable { .. })), "{error:?}");
    assert_eq!(shop.calls(), ["long", "short"]);
    let story = story(&journal, handle.id()).await;
    assert_eq!(story.iter().filter(|told| told.starts_with("reader started")).count(), 1, "{story:?}");
    let ends = ["short succeeded", "long failed Unknown, again", "parked"];
    assert!(story.ends_with(&ends.map(str::to_owned)), "what is under way ends: {story:?}");
}
