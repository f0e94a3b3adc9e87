//! The journal keeps 8 KiB of a text, however long it is.

mod shop;

use mainstay_saga::{
    Cause, Data, Draft, Engine, Out, Outcome, ParkReason, Record, Saga, Step, WaitError,
    journal::{Journal, Memory},
};
use shop::{Do, Shop, chains, engine};
use std::{sync::Arc, time::Duration};

/// Longer than what is kept, and cut in the middle of a character if nobody takes care.
fn long() -> String {
    format!("x{}", "ü".repeat(10_000))
}

/// What is kept of it.
fn kept() -> String {
    format!("x{}", "ü".repeat(4_095))
}

#[tokio::test(start_paused = true)]
async fn reason_of_a_cancel_is_cut() {
    let (shop, journal) = (Shop::new(), Memory::new());
    let engine = engine(&shop, journal).await;
    for (key, reason, kept) in [("long", long(), kept()), ("short", "y".repeat(8_192), "y".repeat(8_192))] {
        shop.plan("a", [Do::Slow]);
        let handle = engine.start(&chains(), key, 10).await.unwrap();
        engine.cancel(handle.id(), reason).await.unwrap();
        assert_eq!(handle.outcome().await.unwrap(), Outcome::Compensated(Cause::Cancelled { reason: kept.into() }));
    }
}

#[tokio::test(start_paused = true)]
async fn name_and_reason_of_an_operator_are_cut() {
    let (shop, journal) = (Shop::new(), Memory::new());
    let engine = engine(&shop, journal.clone()).await;
    shop.plan("c", [Do::Reject]);
    shop.plan("undo-b", [Do::NeedHelp]);
    let handle = engine.start(&chains(), "1", 10).await.unwrap();
    handle.outcome().await.unwrap_err();
    engine.operator(long()).skip(handle.id(), "b", &long()).await.unwrap();
    let stored = journal.load(handle.id()).await.unwrap();
    let by = stored.iter().find_map(|stored| match Record::decode(&stored.bytes) {
        Ok(Record::Skipped { by, .. }) => Some(by),
        _ => None,
    });
    let by = by.unwrap();
    assert_eq!((&*by.by, &*by.reason), (&*kept(), &*kept()));
}

/// The graph does not say of which type the input is.
fn late<'s, T: Data>(mut s: Draft<'s, Shop>, input: Out<'s, T>) -> Out<'s, ()> {
    let rest = s.wait("rest", Duration::from_secs(60));
    s.read(Step::named("look").after(rest), input, async |_, _| Ok(()))
}

#[tokio::test(start_paused = true)]
async fn what_a_decoder_says_is_cut() {
    let (shop, journal) = (Shop::new(), Memory::new());
    let texts: Saga<Shop, String, ()> = Saga::define("late", 1, late).unwrap();
    let first = Engine::builder(Arc::clone(&shop), journal.clone()).register(&texts).start().await.unwrap();
    let id = first.start(&texts, "1", long()).await.unwrap().id();
    first.shutdown(Duration::from_secs(1)).await;

    let numbers: Saga<Shop, u32, ()> = Saga::define("late", 1, late).unwrap();
    let second = Engine::builder(shop, journal).register(&numbers).start().await.unwrap();
    let error = second.handle(&numbers, id).outcome().await.unwrap_err();
    let WaitError::Parked(ParkReason::Unreadable { error, .. }) = error else { panic!("{error:?}") };
    // The decoder quotes the whole value.
    assert!((8_191..=8_192).contains(&error.len()), "{} bytes", error.len());
    assert!(error.ends_with("ü"));
}
