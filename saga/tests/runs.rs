//! Sagas run to their end, forward and backward, each step after its record and each record once.

mod shop;

use mainstay_saga::{
    Cause, Draft, Engine, FailedAs, Out, Outcome, ParkReason, Saga, Step, StepCx, StepError, UndoCx, UndoError,
    WaitError, journal::Memory,
};
use shop::{Do, Shop, chains, engine, forks, orders, story};
use std::sync::{Arc, Mutex};

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
    let cause = Cause::StepFailed { step: "create".into(), outcome: FailedAs::Rejected, error: "no".into() };
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

/// What attempts are told of themselves.
#[derive(Default)]
struct Told(Mutex<Vec<String>>);

fn telling<'s>(mut s: Draft<'s, Told>, fails: Out<'s, u32>) -> Out<'s, ()> {
    let told = s.step(
        Step::named("tell").attempts(3),
        fails,
        async |cx: StepCx<Told>, fails| {
            let told = format!("{} {} {}", cx.attempt(), cx.maybe_done(), cx.key().starts_with(&cx.saga().to_string()));
            cx.app().0.lock().unwrap().push(told);
            match cx.attempt() {
                1 => Err(StepError::not_executed("busy")),
                attempt if attempt <= fails => Err(StepError::unknown("lost")),
                _ => Ok(7_u32),
            }
        },
        async |cx: UndoCx<Told>, _, effect| {
            cx.app().0.lock().unwrap().push(format!("undo {} {effect:?}", cx.attempt()));
            if cx.attempt() == 1 { Err(UndoError::try_again("busy")) } else { Ok(()) }
        },
    );
    s.read(Step::named("no").after(told), (), async |_, ()| Err(StepError::rejected("no")))
}

#[tokio::test(start_paused = true)]
async fn attempts_are_told_what_is_known_of_those_before() {
    let saga = Saga::define("telling", 1, telling).unwrap();
    for (fails, last) in [(2, "Known(7)"), (3, "Maybe")] {
        let told = Arc::new(Told::default());
        let builder = Engine::builder(Arc::clone(&told), Memory::new()).register(&saga);
        let engine = builder.start().await.unwrap();
        let handle = engine.start(&saga, "1", fails).await.unwrap();
        assert!(matches!(handle.outcome().await.unwrap(), Outcome::Compensated(_)));
        let told = told.0.lock().unwrap().clone();
        let undo = [format!("undo 1 {last}"), format!("undo 2 {last}")];
        assert_eq!(told[..3], ["1 false true", "2 false true", "3 true true"]);
        assert_eq!(told[3..], undo);
    }
}

/// Panics whenever it can.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("in a destructor");
    }
}

fn bombs<'s>(mut s: Draft<'s, ()>, number: Out<'s, u32>) -> Out<'s, u32> {
    let at_limit = s.read(Step::named("at-limit").attempts(2), number, |cx: StepCx<()>, number| {
        let bomb = (cx.attempt() == 1).then(|| Bomb);
        async move {
            let _bomb = bomb;
            if cx.attempt() == 1 {
                std::future::pending::<()>().await;
            }
            Ok::<u32, StepError>(number + 1)
        }
    });
    let at_call = s.read("at-call", at_limit, |cx: StepCx<()>, number| {
        assert!(cx.attempt() > 1, "before the first await");
        std::future::ready(Ok::<u32, StepError>(number + 1))
    });
    s.read(Step::named("at-end").attempts(2), at_call, |_, number| {
        let bomb = Bomb;
        async move {
            let _bomb = bomb;
            Ok::<u32, StepError>(number)
        }
    })
}

#[tokio::test(start_paused = true)]
async fn panics_in_destructors_and_calls_are_ends_of_attempts() {
    let saga = Saga::define("bombs", 1, bombs).unwrap();
    let engine = Engine::builder((), Memory::new()).register(&saga).start().await.unwrap();
    let handle = engine.start(&saga, "1", 1).await.unwrap();
    // The last step never ends well: its bomb goes off whenever it has its result.
    let Outcome::Compensated(Cause::StepFailed { step, outcome, error }) = handle.outcome().await.unwrap() else {
        panic!("it failed")
    };
    assert_eq!((&*step, outcome, &*error), ("at-end", FailedAs::Unknown, "panicked: in a destructor"));
    assert_eq!(engine.in_memory(), 0);
}
