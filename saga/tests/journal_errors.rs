//! A journal that fails, loses answers, is full, or gives the saga to somebody else.
#![cfg(feature = "testkit")]

mod shop;

use mainstay_saga::{
    AskError, Outcome, ParkReason, StartError, Timestamp, WaitError,
    journal::{Batch, Grant, Journal, JournalError, Memory, Phase},
    testkit::{Fault, FaultyJournal},
};
use shop::{Do, Shop, chains, engine, odd::Odd, story};
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn failed_append_is_asked_again_and_nothing_starts_meanwhile() {
    for fault in [Fault::Fails, Fault::LosesAnswer, Fault::Full] {
        for write in 2..=4 {
            let (shop, memory) = (Shop::new(), Memory::new());
            let journal = FaultyJournal::new(memory.clone());
            for again in 0..5 {
                journal.fail(write + again, fault);
            }
            let engine = engine(&shop, journal.clone()).await;
            let handle = engine.start(&chains(), "1", 10).await.unwrap();
            assert_eq!(shop.calls().len(), usize::try_from(write).unwrap() - 1, "{fault:?} {write}");
            assert_eq!(handle.outcome().await.unwrap(), Outcome::Completed(13));
            assert_eq!(shop.calls(), ["a", "b", "c"]);
            assert_eq!(story(&memory, handle.id()).await.len(), 8, "each record is there once");
            assert_eq!(journal.writes(), 4 + 5);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn start_tells_what_it_knows_of_a_journal_that_fails() {
    let (shop, memory) = (Shop::new(), Memory::new());
    let journal = FaultyJournal::new(memory.clone());
    journal.fail(1, Fault::Fails);
    journal.fail(2, Fault::Full);
    journal.fail(3, Fault::LosesAnswer);
    let engine = engine(&shop, journal.clone()).await;

    let error = engine.start(&chains(), "1", 10).await.unwrap_err();
    assert!(matches!(error, StartError::Journal(JournalError::Transient(_))), "{error:?}");
    let error = engine.start(&chains(), "1", 10).await.unwrap_err();
    assert!(matches!(error, StartError::Journal(JournalError::Full)), "{error:?}");
    assert_eq!((engine.in_memory(), shop.calls().len()), (0, 0));

    let handle = engine.start(&chains(), "1", 10).await.unwrap();
    assert!(handle.is_new(), "whose answer was lost is asked again");
    assert_eq!(handle.outcome().await.unwrap(), Outcome::Completed(13));
    assert_eq!(shop.calls(), ["a", "b", "c"]);
}

#[tokio::test(start_paused = true)]
async fn saga_that_somebody_else_has_claimed_is_forgotten() {
    let (shop, memory) = (Shop::new(), Memory::new());
    let first = engine(&shop, memory.clone()).await;
    shop.plan("b", [Do::Slow]);
    let handle = first.start(&chains(), "1", 10).await.unwrap();
    tokio::task::yield_now().await;

    let claimed = memory.claim_one(handle.id()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(first.in_memory(), 0);
    assert_eq!(shop.calls(), ["a", "b"], "it starts nothing more");
    assert!(!story(&memory, handle.id()).await.contains(&"b succeeded".to_owned()), "and its result is dropped");

    // Whoever waits hears of the end, whoever brings it about.
    memory.release(claimed.grant, Some(Timestamp::from_millis(0))).await.unwrap();
    assert_eq!(handle.outcome().await.unwrap(), Outcome::Completed(13));
    assert_eq!(shop.calls(), ["a", "b", "b", "c"]);
}

#[tokio::test(start_paused = true)]
async fn records_that_nobody_knows_of_park_the_saga() {
    let (shop, memory) = (Shop::new(), Memory::new());
    let engine = engine(&shop, memory.clone()).await;
    shop.plan("b", [Do::Slow]);
    let handle = engine.start(&chains(), "1", 10).await.unwrap();
    let other = engine.start(&chains(), "2", 10).await.unwrap();
    tokio::task::yield_now().await;

    // Somebody writes under the engine's own epoch.
    let summary = memory.find(handle.id()).await.unwrap().unwrap();
    let grant = Grant { id: handle.id(), epoch: summary.epoch, seq: summary.seq };
    let batch = Batch { records: vec![b"?".to_vec()], nonce: 1, phase: Phase::Forward, at: Timestamp::from_millis(0) };
    memory.append(grant, batch).await.unwrap();

    let error = handle.outcome().await.unwrap_err();
    assert!(matches!(error, WaitError::Parked(ParkReason::Corrupt { .. })), "{error:?}");
    assert_eq!(other.outcome().await.unwrap(), Outcome::Completed(13));
}

#[tokio::test(start_paused = true)]
async fn shutdown_does_not_wait_for_a_journal_that_is_gone() {
    let (shop, memory) = (Shop::new(), Memory::new());
    let journal = FaultyJournal::new(memory.clone());
    let engine = engine(&shop, journal.clone()).await;
    shop.plan("b", [Do::Slow]);
    let handle = engine.start(&chains(), "1", 10).await.unwrap();
    tokio::task::yield_now().await;
    journal.cut_off();
    let begin = tokio::time::Instant::now();
    let left = engine.shutdown(Duration::from_secs(5)).await;
    assert_eq!(left.interrupted, [handle.id()]);
    assert_eq!(begin.elapsed().as_secs(), 5);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(engine.in_memory(), 0);
}

#[tokio::test(start_paused = true)]
async fn wish_is_answered_after_it_is_kept() {
    let (shop, memory) = (Shop::new(), Memory::new());
    let journal = FaultyJournal::new(memory.clone());
    let engine = engine(&shop, journal.clone()).await;
    shop.plan("b", [Do::Hang]);
    let handle = engine.start(&chains(), "1", 10).await.unwrap();
    tokio::task::yield_now().await;
    journal.fail(journal.writes() + 1, Fault::DiesBefore);

    let answer = tokio::time::timeout(Duration::from_secs(20), engine.cancel(handle.id(), "enough")).await;
    assert!(answer.is_err(), "{answer:?}");
    assert!(!story(&memory, handle.id()).await.contains(&"cancel requested".to_owned()));
    let waiting = tokio::spawn(async move { engine.cancel(handle.id(), "enough").await.map(|_| engine) });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
}

#[tokio::test(start_paused = true)]
async fn task_that_panics_leaves_nobody_waiting() {
    let shop = Shop::new();
    let engine = engine(&shop, Odd { appends_panic: true, ..Odd::default() }).await;
    shop.plan("a", [Do::Slow]);
    let handle = engine.start(&chains(), "1", 10).await.unwrap();
    tokio::task::yield_now().await;
    let error = engine.cancel(handle.id(), "enough").await.unwrap_err();
    assert!(matches!(error, AskError::Journal(JournalError::Ambiguous(_))), "the engine runs: {error:?}");
    assert_eq!(engine.in_memory(), 0);
    engine.shutdown(Duration::from_secs(1)).await;
    assert!(matches!(handle.outcome().await, Err(WaitError::Stopped)));
}
