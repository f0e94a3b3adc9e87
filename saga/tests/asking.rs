//! Cancel, deadline, signals, timers and operators: what comes from outside, and what is answered.

mod shop;

use mainstay_saga::{
    AskError, CancelAck, Cause, Draft, Effect, Engine, Out, Outcome, ParkReason, Saga, SignalAck, Step, StepCx, UndoCx,
    UndoError, WaitError,
    journal::{Journal, Memory},
    state::Status,
};
use shop::{Do, Shop, act, chains, engine, orders, story, undo};
use std::{sync::Arc, time::Duration};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn cancelled_saga_is_undone_after_what_is_under_way_has_ended() {
    let (shop, journal) = (Shop::new(), Memory::new());
    let engine = engine(&shop, journal.clone()).await;
    shop.plan("charge", [Do::Slow]);
    let handle = engine.start(&orders(), "1", 10).await.unwrap();

    assert_eq!(engine.cancel(handle.id(), "enough").await.unwrap(), CancelAck::Accepted);
    assert_eq!(engine.cancel(handle.id(), "once more").await.unwrap(), CancelAck::Accepted);
    let cause = Cause::Cancelled { reason: "enough".into() };
    assert_eq!(handle.outcome().await.unwrap(), Outcome::Compensated(cause));
    assert_eq!(shop.calls(), ["reserve", "charge", "undo-charge", "undo-reserve"]);
    assert_eq!(engine.cancel(handle.id(), "too late").await.unwrap(), CancelAck::AlreadyEnded);
}

#[tokio::test(start_paused = true)]
async fn cancel_after_the_pivot_is_too_late() {
    let (shop, journal) = (Shop::new(), Memory::new());
    let engine = engine(&shop, journal.clone()).await;
    shop.plan("mail", [Do::Slow]);
    let handle = engine.start(&orders(), "1", 10).await.unwrap();
    tokio::task::yield_now().await;
    assert_eq!(engine.cancel(handle.id(), "enough").await.unwrap(), CancelAck::TooLate);
    assert_eq!(handle.outcome().await.unwrap(), Outcome::Completed(14));
}

#[tokio::test(start_paused = true)]
async fn cancel_while_the_pivot_is_under_way_is_decided_by_its_outcome() {
    for (does, completes) in [(Do::Slow, true), (Do::Reject, false)] {
        let (shop, journal) = (Shop::new(), Memory::new());
        let engine = engine(&shop, journal.clone()).await;
        // The answer of the first attempt is lost, so that the second one is the one that is cancelled.
        shop.plan("confirm", [Do::Hang, does]);
        let handle = engine.start(&orders(), "1", 10).await.unwrap();
        tokio::time::sleep(SECOND).await;
        assert_eq!(engine.cancel(handle.id(), "enough").await.unwrap(), CancelAck::Accepted);
        match handle.outcome().await {
            Ok(Outcome::Completed(14)) => assert!(completes),
            // A rejection of this attempt says nothing of the one whose answer was lost.
            Err(WaitError::Parked(ParkReason::PivotUnknown { .. })) => assert!(!completes),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn deadline_turns_a_saga_back() {
    let (shop, journal) = (Shop::new(), Memory::new());
    let hurried = chains().deadline(3 * SECOND).unwrap();
    let engine = Engine::builder(Arc::clone(&shop), journal.clone()).register(&hurried).start().await.unwrap();
    shop.plan("b", [Do::NotExecute; 4]);
    shop.plan("c", [Do::Hang]);
    let begin = tokio::time::Instant::now();
    let handle = engine.start(&hurried, "1", 10).await.unwrap();
    assert_eq!(handle.outcome().await.unwrap(), Outcome::Compensated(Cause::DeadlinePassed));
    assert!(begin.elapsed() < 40 * SECOND, "the attempt under way has its own limit");
    assert!(shop.standing().is_empty());
}

#[tokio::test(start_paused = true)]
async fn deadline_is_that_of_the_definition_that_is_started() {
    let (shop, journal) = (Shop::new(), Memory::new());
    let (none, long) = (chains(), chains().deadline(500 * SECOND).unwrap());
    for (number, registered) in [none, long].into_iter().enumerate() {
        let engine = Engine::builder(Arc::clone(&shop), journal.clone()).register(&registered).start().await.unwrap();
        shop.plan("a", [Do::Hang]);
        let hurried = registered.clone().deadline(3 * SECOND).unwrap();
        let handle = engine.start(&hurried, &format!("hurried-{number}"), 10).await.unwrap();
        assert_eq!(handle.outcome().await.unwrap(), Outcome::Compensated(Cause::DeadlinePassed));
        shop.plan("a", [Do::Hang]);
        let handle = engine.start(&registered, &format!("{number}"), 10).await.unwrap();
        assert_eq!(handle.outcome().await.unwrap(), Outcome::Completed(13));
    }
}

#[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct Approval {
    by: String,
}

fn approved<'s>(mut s: Draft<'s, Shop>, number: Out<'s, u32>) -> Out<'s, String> {
    let a = s.step("a", number, act, undo);
    let approval = s.signal::<Approval>(Step::named("approval").after(a), 60 * SECOND);
    s.read("who", approval, async |_, approval: Approval| Ok(approval.by))
}

fn approvals() -> Saga<Shop, u32, String> {
    Saga::define("approved", 1, approved).unwrap()
}

async fn approver(shop: &Arc<Shop>, journal: &Memory) -> Engine<Shop> {
    Engine::builder(Arc::clone(shop), journal.clone()).register(&approvals()).start().await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn signal_wakes_a_saga_that_has_left_memory() {
    let (shop, journal) = (Shop::new(), Memory::new());
    let engine = approver(&shop, &journal).await;
    let handle = engine.start(&approvals(), "1", 1).await.unwrap();
    let id = handle.id();
    tokio::time::sleep(10 * SECOND).await;
    assert_eq!(engine.in_memory(), 0);

    let wrong = engine.signal(id, "approval", "mail-1", &7).await.unwrap_err();
    assert!(matches!(wrong, AskError::Unreadable(_)), "{wrong:?}");
    let nobody = engine.signal(id, "a", "mail-1", &7).await.unwrap_err();
    assert!(matches!(nobody, AskError::Illegal(_)), "{nobody:?}");
    let ada = Approval { by: "Ada".to_owned() };
    assert_eq!(engine.signal(id, "approval", "mail-1", &ada).await.unwrap(), SignalAck::Accepted);
    let bob = Approval { by: "Bob".to_owned() };
    let other = engine.signal(id, "approval", "mail-2", &bob).await.unwrap();
    assert!(matches!(other, SignalAck::OtherReceived | SignalAck::TooLate), "{other:?}");
    assert_eq!(handle.outcome().await.unwrap(), Outcome::Completed("Ada".to_owned()));
    assert_eq!(engine.signal(id, "approval", "mail-3", &bob).await.unwrap(), SignalAck::TooLate);
}

#[tokio::test(start_paused = true)]
async fn id_of_a_signal_has_a_length() {
    let (shop, journal) = (Shop::new(), Memory::new());
    let engine = approver(&shop, &journal).await;
    let handle = engine.start(&approvals(), "1", 1).await.unwrap();
    let (id, ada) = (handle.id(), Approval { by: "Ada".to_owned() });
    for signal_id in [String::new(), "i".repeat(257), "é".repeat(129)] {
        let error = engine.signal(id, "approval", &signal_id, &ada).await.unwrap_err();
        assert!(matches!(error, AskError::InvalidSignalId), "{error:?}");
    }
    assert_eq!(engine.signal(id, "approval", &"i".repeat(256), &ada).await.unwrap(), SignalAck::Accepted);
}

#[tokio::test(start_paused = true)]
async fn signal_that_comes_early_is_kept() {
    let (shop, journal) = (Shop::new(), Memory::new());
    let engine = approver(&shop, &journal).await;
    shop.plan("a", [Do::Slow]);
    let handle = engine.start(&approvals(), "1", 1).await.unwrap();
    let ada = Approval { by: "Ada".to_owned() };
    assert_eq!(engine.signal(handle.id(), "approval", "1", &ada).await.unwrap(), SignalAck::Accepted);
    assert_eq!(engine.signal(handle.id(), "approval", "1", &ada).await.unwrap(), SignalAck::AlreadyReceived);
    assert_eq!(handle.outcome().await.unwrap(), Outcome::Completed("Ada".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn rival_signal_is_told_that_another_one_came_first() {
    let (shop, journal) = (Shop::new(), Memory::new());
    let first = approver(&shop, &journal).await;
    shop.plan("a", [Do::Hang]);
    let handle = first.start(&approvals(), "1", 1).await.unwrap();
    let (ada, bob) = (Approval { by: "Ada".to_owned() }, Approval { by: "Bob".to_owned() });
    let send = async |engine: &Engine<Shop>, id, who| engine.signal(handle.id(), "approval", id, who).await.unwrap();
    assert_eq!(send(&first, "mail-1", &ada).await, SignalAck::Accepted);
    assert_eq!(send(&first, "mail-2", &bob).await, SignalAck::OtherReceived);
    assert_eq!(send(&first, "mail-2", &ada).await, SignalAck::OtherReceived, "the id decides");
    assert_eq!(send(&first, "mail-1", &bob).await, SignalAck::AlreadyReceived, "the id decides");
    first.shutdown(Duration::ZERO).await;

    // The next engine knows it by the records.
    shop.plan("a", [Do::Slow]);
    let second = approver(&shop, &journal).await;
    assert_eq!(send(&second, "mail-1", &ada).await, SignalAck::AlreadyReceived);
    assert_eq!(send(&second, "mail-2", &bob).await, SignalAck::OtherReceived);
    let outcome = second.handle(&approvals(), handle.id()).outcome().await.unwrap();
    assert_eq!(outcome, Outcome::Completed("Ada".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn signal_that_does_not_come_turns_the_saga_back() {
    let (shop, journal) = (Shop::new(), Memory::new());
    let engine = approver(&shop, &journal).await;
    let handle = engine.start(&approvals(), "1", 1).await.unwrap();
    let begin = tokio::time::Instant::now();
    assert!(matches!(handle.outcome().await.unwrap(), Outcome::Compensated(Cause::StepFailed { .. })));
    assert!((60..=61).contains(&begin.elapsed().as_secs()));
    assert_eq!(shop.calls(), ["a", "undo-a"]);
}

#[tokio::test(start_paused = true)]
async fn operator_settles_what_the_saga_cannot() {
    let (shop, journal) = (Shop::new(), Memory::new());
    let engine = engine(&shop, journal.clone()).await;
    shop.plan("c", [Do::Reject]);
    shop.plan("undo-b", [Do::NeedHelp, Do::NeedHelp]);
    let handle = engine.start(&chains(), "1", 10).await.unwrap();
    let id = handle.id();
    handle.outcome().await.unwrap_err();
    assert_eq!(engine.in_memory(), 0, "a parked saga leaves memory");

    let ada = engine.operator("ada");
    let inspection = ada.inspect(id).await.unwrap();
    let state = inspection.state.as_ref().unwrap();
    assert_eq!(state.step(1).status(), Status::UndoStuck);
    assert_eq!(state.step(1).error().map(|error| &**error), Some("help"));
    let graph = inspection.graph.as_ref().unwrap();
    assert_eq!(inspection.mermaid(), Some(graph.mermaid_of(state)));
    assert_eq!(inspection.dot(), Some(graph.dot_of(state)));
    let AskError::Illegal(why) = ada.skip(id, "nothing", "why not").await.unwrap_err() else { panic!("no such step") };
    assert_eq!(why, "there is no step \"nothing\"");
    let error = ada.mark_compensated(id, "c", "why not").await.unwrap_err();
    let AskError::Illegal(why) = error else { panic!("{error:?}") };
    assert_eq!(why, "step \"c\": nothing is to be undone");
    assert!(matches!(handle.outcome().await, Err(WaitError::Parked(_))), "nothing has changed");

    ada.mark_compensated(id, "b", "refunded by hand").await.unwrap();
    assert!(matches!(handle.outcome().await.unwrap(), Outcome::Compensated(_)));
    assert_eq!(shop.standing(), ["b"], "it is the operator who vouches for b");
    let stored = journal.load(id).await.unwrap();
    let kept = stored.iter().any(|stored| String::from_utf8_lossy(&stored.bytes).contains("refunded by hand"));
    assert!(kept, "the reason is in the journal");
    assert!(matches!(ada.retry(id, "again").await, Err(AskError::Ended)));
}

#[tokio::test(start_paused = true)]
async fn operator_gives_a_saga_up() {
    let (shop, journal) = (Shop::new(), Memory::new());
    let engine = engine(&shop, journal.clone()).await;
    shop.plan("mail", [Do::Slow, Do::Reject]);
    shop.plan("confirm", [Do::LoseAnswer; 5]);
    let handle = engine.start(&orders(), "1", 10).await.unwrap();
    let ada = engine.operator("ada");
    let error = ada.abandon(handle.id(), "not yet").await.unwrap_err();
    assert!(matches!(error, AskError::Illegal(_)), "only a parked one: {error:?}");

    let WaitError::Parked(reason) = handle.outcome().await.unwrap_err() else { panic!("it is parked") };
    assert_eq!(reason, ParkReason::PivotUnknown { step: "confirm".into() });
    ada.abandon(handle.id(), "the shop is closed").await.unwrap();
    let Outcome::Abandoned(by) = handle.outcome().await.unwrap() else { panic!("it was given up") };
    assert_eq!((&*by.by, &*by.reason), ("ada", "the shop is closed"));
    assert_eq!(story(&journal, handle.id()).await.last().unwrap(), "abandoned");
}

#[tokio::test(start_paused = true)]
async fn operator_vouches_that_the_pivot_has_not_happened() {
    let (shop, journal) = (Shop::new(), Memory::new());
    let engine = engine(&shop, journal.clone()).await;
    shop.plan("confirm", [Do::LoseRequest; 5]);
    let handle = engine.start(&orders(), "1", 10).await.unwrap();
    handle.outcome().await.unwrap_err();
    engine.operator("ada").mark_compensated(handle.id(), "confirm", "looked it up").await.unwrap();
    assert!(matches!(handle.outcome().await.unwrap(), Outcome::Compensated(Cause::Operator(_))));
    assert!(shop.standing().is_empty());
}

async fn forgets(_: StepCx<Shop>, number: u32) -> Result<u32, mainstay_saga::StepError> {
    Ok(number)
}

async fn fails(_: UndoCx<Shop>, _: u32, _: Effect<u32>) -> Result<(), UndoError> {
    Err(UndoError::needs_help("on purpose"))
}

fn stubborn<'s>(mut s: Draft<'s, Shop>, number: Out<'s, u32>) -> Out<'s, u32> {
    let first = s.step("first", number, forgets, fails);
    s.step("last", first, act, undo)
}

#[tokio::test(start_paused = true)]
async fn parked_saga_leaves_others_alone() {
    let (shop, journal) = (Shop::new(), Memory::new());
    let stubborn: Saga<Shop, u32, u32> = Saga::define("stubborn", 1, stubborn).unwrap();
    let builder = Engine::builder(Arc::clone(&shop), journal.clone()).register(&stubborn).register(&chains());
    let engine = builder.start().await.unwrap();
    shop.plan("last", [Do::Reject]);
    let parked = engine.start(&stubborn, "1", 1).await.unwrap();
    let other = engine.start(&chains(), "1", 1).await.unwrap();
    assert!(matches!(parked.outcome().await, Err(WaitError::Parked(_))));
    assert_eq!(other.outcome().await.unwrap(), Outcome::Completed(4));
    engine.operator("ada").skip(parked.id(), "first", "it does no harm").await.unwrap();
    assert!(matches!(parked.outcome().await.unwrap(), Outcome::Compensated(_)));
}

/// Cannot be read at all.
#[derive(serde::Serialize)]
struct Bomb;

impl<'de> serde::Deserialize<'de> for Bomb {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        panic!("on purpose")
    }
}

fn waits_for_a_bomb<'s>(mut s: Draft<'s, Shop>, number: Out<'s, u32>) -> Out<'s, u32> {
    let a = s.step("a", number, act, undo);
    s.signal::<Bomb>(Step::named("bomb").after(a), 60 * SECOND);
    a
}

#[tokio::test(start_paused = true)]
async fn signal_whose_type_panics_is_refused_and_its_saga_goes_on() {
    let shop = Shop::new();
    let saga: Saga<Shop, u32, u32> = Saga::define("bomb", 1, waits_for_a_bomb).unwrap();
    let engine = Engine::builder(Arc::clone(&shop), Memory::new()).register(&saga).start().await.unwrap();
    let handle = engine.start(&saga, "1", 1).await.unwrap();
    let error = engine.signal(handle.id(), "bomb", "1", &7).await.unwrap_err();
    assert!(matches!(error, AskError::Unreadable(_)), "{error:?}");
    let outcome = tokio::time::timeout(100 * SECOND, handle.outcome()).await.expect("its wait has an end");
    assert!(matches!(outcome.unwrap(), Outcome::Compensated(_)));
}

fn unread<'s>(mut s: Draft<'s, Shop>, number: Out<'s, u32>) -> Out<'s, u32> {
    let nothing = s.read("nothing", number, async |_, _: u32| Ok(f64::NAN));
    s.read("reader", nothing, async |_, _: f64| Ok(1));
    s.step(Step::named("slow").after(nothing), number, act, undo)
}

#[tokio::test(start_paused = true)]
async fn saga_that_was_cancelled_is_not_parked_for_what_it_cannot_read() {
    let shop = Shop::new();
    let saga: Saga<Shop, u32, u32> = Saga::define("unread", 1, unread).unwrap();
    let engine = Engine::builder(Arc::clone(&shop), Memory::new()).register(&saga).start().await.unwrap();
    shop.plan("slow", [Do::Slow]);
    let handle = engine.start(&saga, "1", 1).await.unwrap();
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(engine.cancel(handle.id(), "enough").await.unwrap(), CancelAck::Accepted);
    let cause = Cause::Cancelled { reason: "enough".into() };
    assert_eq!(handle.outcome().await.unwrap(), Outcome::Compensated(cause));
    assert!(shop.standing().is_empty());
}

#[tokio::test(start_paused = true)]
async fn who_waits_keeps_the_outcome_whatever_is_asked_of_the_saga() {
    let (shop, journal) = (Shop::new(), Memory::with_ended(0));
    let engine = engine(&shop, journal).await;
    let handle = engine.start(&chains(), "1", 10).await.unwrap();
    handle.outcome().await.unwrap();
    let error = engine.cancel(handle.id(), "too late").await.unwrap_err();
    assert!(matches!(error, AskError::NotFound), "the journal has forgotten it: {error:?}");
    assert_eq!(handle.outcome().await.unwrap(), Outcome::Completed(13));
}

#[tokio::test(start_paused = true)]
async fn parked_saga_may_be_let_go_on_elsewhere() {
    let (shop, journal) = (Shop::new(), Memory::new());
    let (first, second) = (engine(&shop, journal.clone()).await, engine(&shop, journal).await);
    shop.plan("confirm", [Do::LoseAnswer; 5]);
    shop.plan("mail", [Do::Slow]);
    let handle = first.start(&orders(), "1", 10).await.unwrap();
    assert!(matches!(handle.outcome().await, Err(WaitError::Parked(_))));
    second.operator("ada").retry(handle.id(), "the shop is back").await.unwrap();
    assert_eq!(handle.outcome().await.unwrap(), Outcome::Completed(14));
}

#[tokio::test(start_paused = true)]
async fn who_waits_after_an_operator_has_acted_waits_for_the_end() {
    let (shop, journal) = (Shop::new(), Memory::new());
    let engine = engine(&shop, journal.clone()).await;
    shop.plan("c", [Do::Reject]);
    shop.plan("undo-b", [Do::NeedHelp, Do::Slow]);
    let handle = engine.start(&chains(), "1", 10).await.unwrap();
    assert!(matches!(handle.outcome().await, Err(WaitError::Parked(_))));
    engine.operator("ada").retry(handle.id(), "the line is free").await.unwrap();
    let begin = tokio::time::Instant::now();
    assert!(matches!(handle.outcome().await.unwrap(), Outcome::Compensated(_)));
    assert_eq!(begin.elapsed(), SECOND);
}
