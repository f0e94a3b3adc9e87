//! A saga: `cargo run -p mainstay-examples --example saga`
//!
//! A trip: a seat and a room are kept, the card is charged, the ticket is issued, and a mail says so. If something fails before
//! the ticket is issued, what was done is undone; afterwards all that is left is done until it works.

use mainstay::{
    BoxError,
    saga::{
        Cause, Draft, Effect, Engine, FailedAs, Out, Outcome, Saga, Step, StepCx, StepError, UndoCx, UndoError, journal,
    },
};
use std::{collections::BTreeSet, sync::Arc};
use tokio::sync::Mutex;

/// What the services have done: each knows the keys that it was sent.
#[derive(Debug, Default)]
struct World(Mutex<BTreeSet<String>>);

//  keep-seat ──┐
//              ├──▶ charge ──▶ TICKET ──▶ mail
//  keep-room ──┘   ↺ refund   (no way back)
//   ↺ let-go
fn trip<'s>(mut s: Draft<'s, World>, cents: Out<'s, u32>) -> Out<'s, String> {
    // Nobody waits for anybody here: both run at once.
    let seat = s.step("keep-seat", (), keep, let_go);
    let room = s.step("keep-room", (), keep, let_go);
    let paid = s.step(Step::named("charge").after((seat, room)).attempts(3), cents, charge, refund);
    // The point of no return. There is no undo, and after it no step that would need one: that would not compile.
    let (mut s, ticket) = s.pivot("ticket", paid, async |cx, paid| {
        keep(cx, ()).await?;
        Ok(format!("ticket for {paid}"))
    });
    // Tried until it works, whatever that takes.
    s.retriable("mail", ticket, async |cx, _| match cx.attempt() {
        1 | 2 => Err(StepError::unknown("the mail server is away")),
        _ => keep(cx, ()).await,
    });
    ticket
}

/// The key is the same in every attempt, also after a crash: who is asked twice does it once.
async fn keep(cx: StepCx<World>, (): ()) -> Result<(), StepError> {
    cx.app().0.lock().await.insert(cx.key().to_owned());
    Ok(())
}

async fn let_go(cx: UndoCx<World>, (): (), _: Effect<()>) -> Result<(), UndoError> {
    cx.app().0.lock().await.remove(cx.do_key());
    Ok(())
}

async fn charge(cx: StepCx<World>, cents: u32) -> Result<String, StepError> {
    // It did nothing, and to try again will not help.
    if cents < 100 {
        return Err(StepError::rejected("too little for the card"));
    }
    keep(cx, ()).await?;
    // The money was taken, and the answer got lost: nobody knows. Of other errors `?` would say the same.
    if cents > 100_000 {
        return Err(StepError::unknown("the connection broke"));
    }
    Ok(format!("{cents} cents"))
}

/// Whether it is known that the money was taken or only feared: what was taken with that key is given back.
async fn refund(cx: UndoCx<World>, _: u32, _: Effect<String>) -> Result<(), UndoError> {
    cx.app().0.lock().await.remove(cx.do_key());
    Ok(())
}

// The clock of the example is virtual: whatever waits is done at once.
#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), BoxError> {
    let trip = Saga::define("trip", 1, trip)?;
    println!("{}", trip.mermaid());
    let world = Arc::new(World::default());
    // In memory. With `journal::Embedded::open("trips.redb")` a new process goes on with what the last one has left.
    let engine = Engine::builder(Arc::clone(&world), journal::Memory::new()).register(&trip).start().await?;

    let ada = engine.start(&trip, "ada's trip", 49_900).await?;
    assert_eq!(ada.outcome().await?, Outcome::Completed("ticket for 49900 cents".to_owned()));
    // The key tells a repeated start from a new one.
    let again = engine.start(&trip, "ada's trip", 49_900).await?;
    assert!(!again.is_new() && again.id() == ada.id());

    for (key, cents, why) in [("bob's trip", 99, FailedAs::Rejected), ("eve's trip", 100_001, FailedAs::Unknown)] {
        let ended = engine.start(&trip, key, cents).await?.outcome().await?;
        let Outcome::Compensated(Cause::StepFailed { step, outcome, error }) = ended else { unreachable!() };
        println!("{key}: {step}: {error}");
        assert!(*step == *"charge" && outcome == why);
    }

    // Of Ada's trip all five steps are there, and of the others nothing.
    let done = world.0.lock().await;
    assert!(done.len() == 5 && done.iter().all(|key| key.starts_with(&ada.id().to_string())));
    Ok(())
}
