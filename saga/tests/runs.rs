//! Sagas run to their end, forward and backward, each step after its record and each record once.

mod shop;

use mainstay_saga::{Cause, Outcome, ParkReason, WaitError, journal::Memory};
use shop::{Do, Shop, chains, engine, forks, orders, story};

#[tokio::test(start_paused = true)]
async fn saga_completes_in_one_more_commit_than_it_has_steps() {
    let (shop, journal) = (Shop::new(), Memory::new());
    let engine = engine(&shop, journal.clone()).await;

    let handle = engine.start(&orders(), "1", 10).await.unwrap();
    assert!(handle.is_new());
    assert_eq!(handle.outcome().await.unwrap(), Outcome::Completed(14));

    assert_eq!(shop.calls(), ["reserve", "charge", "create", "confirm", "mail"]);
    assert_eq!(
        story(&journal, handle.id()).await,
        [
            "created",
            "reserve started 1",
            "reserve succeeded",
            "charge started 1",
            "charge succeeded",
            "create started 1",
            "create succeeded",
            "confirm started 1",
            "confirm succeeded",
            "mail started 1",
            "mail succeeded",
            "completed",
        ]
    );
    assert_eq!(engine.in_memory(), 0);
}

#[tokio::test(start_paused = true)]
async fn rejected_step_undoes_those_before_it() {
    let (shop, journal) = (Shop::new(), Memory::new());
    let engine = engine(&shop, journal.clone()).await;
    shop.plan("create", [Do::Reject]);

    let handle = engine.start(&orders(), "1", 10).await.unwrap();
    let outcome = handle.outcome().await.unwrap();
    let cause = Cause::StepFailed { step: "create".into(), error: "no".into() };
    assert_eq!(outcome, Outcome::Compensated(cause));
    assert_eq!(shop.calls(), ["reserve", "charge", "create", "undo-charge", "undo-reserve"]);
    assert!(shop.standing().is_empty());
}

#[tokio::test(start_paused = true)]
async fn unknown_step_is_tried_again_and_then_undone() {
    let (shop, journal) = (Shop::new(), Memory::new());
    let engine = engine(&shop, journal.clone()).await;
    shop.plan("b", [Do::LoseAnswer; 5]);

    let handle = engine.start(&chains(), "1", 10).await.unwrap();
    assert!(matches!(handle.outcome().await.unwrap(), Outcome::Compensated(_)));
    assert_eq!(shop.calls(), ["a", "b", "b", "b", "b", "b", "undo-b", "undo-a"]);
    assert!(shop.standing().is_empty());
}

#[tokio::test(start_paused = true)]
async fn step_that_panics_may_have_happened() {
    let (shop, journal) = (Shop::new(), Memory::new());
    let engine = engine(&shop, journal.clone()).await;
    shop.plan("b", [Do::Panic, Do::Succeed]);

    let handle = engine.start(&chains(), "1", 10).await.unwrap();
    assert_eq!(handle.outcome().await.unwrap(), Outcome::Completed(13));
    assert!(story(&journal, handle.id()).await.contains(&"b failed Unknown, again".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn step_that_hangs_ends_by_its_limit() {
    let (shop, journal) = (Shop::new(), Memory::new());
    let engine = engine(&shop, journal.clone()).await;
    shop.plan("b", [Do::Hang, Do::Succeed]);
    let begin = tokio::time::Instant::now();

    let handle = engine.start(&chains(), "1", 10).await.unwrap();
    assert_eq!(handle.outcome().await.unwrap(), Outcome::Completed(13));
    let took = begin.elapsed().as_secs();
    assert!((30..=31).contains(&took), "the attempt has 30 s, and the wait is at most 200 ms: {took}");
    assert!(story(&journal, handle.id()).await.contains(&"b failed Unknown, again".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn steps_without_an_edge_run_side_by_side() {
    let (shop, journal) = (Shop::new(), Memory::new());
    let engine = engine(&shop, journal.clone()).await;
    shop.plan("left", [Do::Slow]);
    shop.plan("right", [Do::Slow]);
    let begin = tokio::time::Instant::now();

    let handle = engine.start(&forks(), "1", 10).await.unwrap();
    assert_eq!(handle.outcome().await.unwrap(), Outcome::Completed(12));
    assert_eq!(begin.elapsed().as_secs(), 1);
}

#[tokio::test(start_paused = true)]
async fn branch_under_way_is_waited_for_and_then_undone() {
    let (shop, journal) = (Shop::new(), Memory::new());
    let engine = engine(&shop, journal.clone()).await;
    shop.plan("left", [Do::Slow]);
    shop.plan("right", [Do::Reject]);

    let handle = engine.start(&forks(), "1", 10).await.unwrap();
    assert!(matches!(handle.outcome().await.unwrap(), Outcome::Compensated(_)));
    assert_eq!(shop.calls(), ["left", "right", "undo-left"]);
}

#[tokio::test(start_paused = true)]
async fn undo_is_tried_again_until_a_person_has_to_help() {
    let (shop, journal) = (Shop::new(), Memory::new());
    let engine = engine(&shop, journal.clone()).await;
    shop.plan("c", [Do::Reject]);
    shop.plan("undo-b", [Do::NotExecute, Do::Panic, Do::Hang, Do::NeedHelp]);

    let handle = engine.start(&chains(), "1", 10).await.unwrap();
    let WaitError::Parked(reason) = handle.outcome().await.unwrap_err() else { panic!("it is parked") };
    assert_eq!(reason, ParkReason::UndoFailed { step: "b".into() });
    assert_eq!(shop.count("undo-b"), 4);
    assert_eq!(shop.count("undo-a"), 0, "what came before stays until b is undone");

    engine.operator("ada").retry(handle.id(), "the account is open again").await.unwrap();
    assert!(matches!(handle.outcome().await.unwrap(), Outcome::Compensated(_)));
    assert_eq!(shop.count("undo-a"), 1);
    assert!(shop.standing().is_empty());
}

#[tokio::test(start_paused = true)]
async fn step_after_the_pivot_is_tried_without_end() {
    let (shop, journal) = (Shop::new(), Memory::new());
    let engine = engine(&shop, journal.clone()).await;
    shop.plan("mail", [Do::LoseRequest; 50]);

    let handle = engine.start(&orders(), "1", 10).await.unwrap();
    assert_eq!(handle.outcome().await.unwrap(), Outcome::Completed(14));
    assert_eq!(shop.count("mail"), 51);
}
