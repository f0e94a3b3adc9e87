//! Steps that are left out, from their definition to their undo.

use mainstay_saga::{
    Cause, Conditional, Draft, Effect, Engine, Out, Outcome, Saga, Step, StepCx, StepError, UndoCx, UndoError,
    journal::Memory,
};
use std::sync::{Arc, Mutex};

/// Writes down what is called; which steps are rejected.
#[derive(Default)]
struct App {
    calls: Mutex<Vec<String>>,
    rejected: Option<&'static str>,
}

impl App {
    fn note(&self, line: String) {
        self.calls.lock().unwrap().push(line);
    }
}

async fn act(cx: StepCx<App>, n: u32) -> Result<u32, StepError> {
    cx.app().note(format!("{} {n}", cx.step()));
    if cx.app().rejected == Some(cx.step()) { Err(StepError::rejected("no")) } else { Ok(n + 1) }
}

async fn undo(cx: UndoCx<App>, n: u32, effect: Effect<u32>) -> Result<(), UndoError> {
    cx.app().note(format!("undo {} {n} {effect:?}", cx.step()));
    Ok(())
}

/// `b` and `d` are left out unless the input is above 100.
fn definition<'s>(mut s: Draft<'s, App>, n: Out<'s, u32>) -> Out<'s, Vec<Conditional<u32>>> {
    let is_big = s.read("is-big", n, async |_, n| Ok(n > 100));
    let first = s.step("a", n, act, undo);
    let second = s.when(is_big).step(Step::named("b").after(first), n, act, undo);
    let third =
        s.step("c", second, |cx, second| act(cx, second.ran().unwrap_or(0)), |cx, _, effect| undo(cx, 0, effect));
    let (mut s, _) = s.pivot("p", third, act);
    let fourth = s.when(is_big).retriable("d", third, act);
    s.read("all", &[second, fourth][..], async |_, all| Ok(all))
}

async fn ran(n: u32, rejected: Option<&'static str>) -> (Outcome<Vec<Conditional<u32>>>, Vec<String>) {
    let saga = Saga::define("conditional", 1, definition).unwrap();
    let app = Arc::new(App { rejected, ..App::default() });
    let engine = Engine::builder(Arc::clone(&app), Memory::new()).register(&saga).start().await.unwrap();
    let outcome = engine.start(&saga, "key", n).await.unwrap().outcome().await.unwrap();
    let calls = std::mem::take(&mut *app.calls.lock().unwrap());
    (outcome, calls)
}

#[tokio::test(start_paused = true)]
async fn a_condition_that_is_met_changes_nothing() {
    let (outcome, calls) = ran(200, None).await;
    assert_eq!(outcome, Outcome::Completed(vec![Conditional::Ran(201), Conditional::Ran(203)]));
    assert_eq!(calls, ["a 200", "b 200", "c 201", "p 202", "d 202"]);
}

#[tokio::test(start_paused = true)]
async fn a_condition_that_is_not_met_leaves_its_steps_out() {
    let (outcome, calls) = ran(5, None).await;
    assert_eq!(outcome, Outcome::Completed(vec![Conditional::LeftOut, Conditional::LeftOut]));
    assert_eq!(calls, ["a 5", "c 0", "p 1"]);
}

#[tokio::test(start_paused = true)]
async fn an_undo_of_a_conditional_step_knows_the_output_itself() {
    let (outcome, calls) = ran(200, Some("p")).await;
    assert!(matches!(outcome, Outcome::Compensated(Cause::StepFailed { step, .. }) if *step == *"p"));
    assert_eq!(calls[3..], ["p 202", "undo c 0 Known(202)", "undo b 200 Known(201)", "undo a 200 Known(201)"]);
}

#[tokio::test(start_paused = true)]
async fn what_was_left_out_is_not_undone() {
    let (_, calls) = ran(5, Some("p")).await;
    assert_eq!(calls[2..], ["p 1", "undo c 0 Known(1)", "undo a 5 Known(6)"]);
}
