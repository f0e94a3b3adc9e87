//! The saga is turned back: what is drained, what is undone and in which order, where it stops.

use super::{
    forward::{at_pivot, of, order, past_pivot, step},
    graphs::tries,
    saga::{Saga, seconds},
};
use mainstay_saga::{Cause, FailedAs, Graph, Kind, Node, Record, StepError, UndoError, journal::Phase, state::Status};
use std::time::Duration;

/// A diamond: `a`, then `b` and `c` side by side, then `d`.
fn diamond() -> Vec<Node> {
    vec![step("a"), step("b").needs([0]), step("c").needs([0]), step("d").needs([1, 2])]
}

fn because(step: &str, outcome: FailedAs, error: &str) -> Cause {
    Cause::StepFailed { step: step.into(), outcome, error: error.into() }
}

// ===== order =====

#[test]
fn steps_are_undone_in_the_opposite_order() {
    let mut saga = Saga::new(diamond());
    saga.go();
    saga.ok("a");
    saga.ok("b");
    saga.ok("c");
    assert_eq!(saga.fails("d", FailedAs::Rejected), ["turn: d", "undo b 1", "undo c 1"], "side by side");
    assert_eq!(saga.undone("c"), [""; 0], "the other one is not undone yet");
    assert_eq!(saga.undone("b"), ["undo a 1"]);
    assert_eq!(saga.undone("a"), ["compensated"]);
    assert_eq!(saga.state.cause(), Some(&because("d", FailedAs::Rejected, "no")));
}

#[test]
fn of_two_failures_the_first_is_the_cause() {
    for [first, second] in [["b", "c"], ["c", "b"]] {
        let mut saga = Saga::new(diamond());
        saga.go();
        saga.ok("a");
        // Both end before anybody asks what comes next.
        for step in [first, second] {
            let end = Err(StepError::rejected(step));
            let record = saga.state.settle(&saga.graph, saga.position(step), end, saga.now, 0);
            saga.apply(record);
        }
        assert_eq!(saga.go(), [&format!("turn: {first}"), "undo a 1"]);
        assert_eq!(saga.state.cause(), Some(&because(first, FailedAs::Rejected, first)));
    }
}

#[test]
fn the_cause_is_what_is_known_of_the_last_attempt() {
    use FailedAs::{NotExecuted, Rejected, RejectedForKey, Unknown};
    for [first, last] in
        [[Unknown, Rejected], [NotExecuted, Unknown], [Unknown, NotExecuted], [Unknown, RejectedForKey]]
    {
        let mut saga = Saga::new(vec![step("a").retry(tries(2))]);
        saga.go();
        saga.fails("a", first);
        saga.at(saga.state.next_wake().unwrap());
        let next = if last == RejectedForKey { "compensated" } else { "undo a 1" };
        assert_eq!(saga.fails("a", last), ["turn: a", next], "what may have happened before is undone");
        assert_eq!(saga.state.cause(), Some(&because("a", last, "no")));
        saga.reload();
        assert_eq!(saga.state.cause(), Some(&because("a", last, "no")), "it is in the journal");
    }
}

#[test]
fn a_signal_that_is_late_is_a_rejection() {
    let mut saga = Saga::new(vec![of(Kind::Signal { at_most: Some(Duration::from_secs(60)) }, "approved")]);
    saga.go();
    assert_eq!(saga.at(seconds(60)), ["failed approved", "turn: approved", "compensated"]);
    assert_eq!(saga.state.cause(), Some(&because("approved", FailedAs::Rejected, "no signal in time")));
}

#[test]
fn a_step_that_may_have_happened_is_undone_and_one_that_did_nothing_is_not() {
    let mut saga = Saga::new(vec![step("a"), step("b").needs([0]).retry(super::graphs::tries(1))]);
    saga.go();
    saga.ok("a");
    assert_eq!(saga.fails("b", FailedAs::Unknown), ["turn: b", "undo b 1"]);
    assert_eq!(saga.undone("b"), ["undo a 1"]);

    let mut saga = Saga::new(vec![step("a"), step("b").needs([0])]);
    saga.go();
    saga.ok("a");
    assert_eq!(saga.fails("b", FailedAs::Rejected), ["turn: b", "undo a 1"]);
}

#[test]
fn a_read_in_between_does_not_loosen_the_order() {
    let nodes = vec![step("a"), of(Kind::ReadOnly, "x").needs([0]), step("b").needs([1]), step("c").needs([2])];
    let mut saga = Saga::new(nodes);
    saga.go();
    saga.ok("a");
    saga.ok("x");
    saga.ok("b");
    assert_eq!(saga.fails("c", FailedAs::Rejected), ["turn: c", "undo b 1"], "and not a beside it");
    assert_eq!(saga.undone("b"), ["undo a 1"]);
}

#[test]
fn a_step_that_was_left_out_does_not_loosen_the_order() {
    let nodes = vec![
        of(Kind::ReadOnly, "flag"),
        step("a"),
        step("x").when(0).needs([1]),
        step("b").needs([2]),
        step("c").needs([3]),
    ];
    let mut saga = Saga::new(nodes);
    saga.go();
    saga.gives("flag", "false");
    saga.ok("a");
    saga.ok("b");
    assert_eq!(saga.fails("c", FailedAs::Rejected), ["turn: c", "undo b 1"]);
    assert_eq!(saga.undone("b"), ["undo a 1"]);
}

// ===== what is running =====

#[test]
fn what_is_running_is_drained_and_not_tried_again() {
    let mut saga = Saga::new(vec![step("a"), step("b"), step("c")]);
    saga.go();
    assert_eq!(saga.fails("a", FailedAs::Rejected), ["turn: a"]);
    assert_eq!(saga.ok("b"), ["undo b 1"]);
    assert_eq!(saga.fails("c", FailedAs::NotExecuted), [""; 0], "it has no other attempt");
    assert_eq!(saga.state.next_wake(), None);
    assert_eq!(saga.undone("b"), ["compensated"]);
}

#[test]
fn what_is_drained_and_may_have_happened_is_undone() {
    let mut saga = Saga::new(vec![step("a"), step("b")]);
    saga.go();
    saga.fails("a", FailedAs::Rejected);
    assert_eq!(saga.fails("b", FailedAs::Unknown), ["undo b 1"]);
}

#[test]
fn a_read_that_is_running_holds_up_what_it_needs() {
    let mut saga = Saga::new(vec![step("a"), step("b").needs([0]), of(Kind::ReadOnly, "x").reads([0])]);
    saga.go();
    saga.ok("a");
    assert_eq!(saga.fails("b", FailedAs::Rejected), ["turn: b"]);
    assert_eq!(saga.ok("x"), ["undo a 1"]);
}

#[test]
fn waits_between_attempts_end_at_once() {
    let mut saga = Saga::new(vec![step("a"), step("b"), step("c")]);
    saga.go();
    saga.fails("b", FailedAs::NotExecuted);
    saga.fails("c", FailedAs::Unknown);
    assert_eq!(saga.fails("a", FailedAs::Rejected), ["turn: a", "undo c 1"], "only one of them may have happened");
    assert_eq!(saga.undone("c"), ["compensated"]);
}

#[test]
fn what_was_running_when_the_process_died_is_undone_and_not_started_again() {
    let mut saga = Saga::new(vec![step("a"), step("b"), of(Kind::ReadOnly, "x")]);
    saga.go();
    saga.fails("a", FailedAs::Rejected);
    assert_eq!(saga.crash(), ["undo b 1"]);
    assert_eq!(saga.crash(), ["undo b 2"]);
    assert_eq!(saga.undone("b"), ["compensated"]);
}

#[test]
fn a_read_that_was_running_when_the_process_died_holds_up_nothing() {
    let mut saga = Saga::new(vec![step("a"), of(Kind::ReadOnly, "x").needs([0]), step("b").needs([0])]);
    saga.go();
    saga.ok("a");
    assert_eq!(saga.fails("b", FailedAs::Rejected), ["turn: b"]);
    assert_eq!(saga.crash(), ["undo a 1"]);
    assert_eq!(saga.crash(), ["undo a 2"], "the log can be read again");
}

// ===== undos that fail =====

/// `a` and then `b`, which is being undone beside `z`.
fn unwinding() -> Saga {
    let mut saga = Saga::new(vec![step("a"), step("b").needs([0]), step("z"), step("c").needs([1, 2])]);
    saga.go();
    saga.ok("a");
    saga.ok("b");
    saga.ok("z");
    assert_eq!(saga.fails("c", FailedAs::Rejected), ["turn: c", "undo b 1", "undo z 1"]);
    saga
}

#[test]
fn an_undo_is_tried_again_after_its_wait() {
    let mut saga = unwinding();
    assert_eq!(saga.undo_fails("b"), [""; 0]);
    assert_eq!(saga.state.step(1).error().map(|error| &**error), Some("no"), "what the undo said");
    assert_eq!(saga.state.next_wake(), Some(seconds(1)));
    assert_eq!(saga.at(seconds(1)), ["undo b 2"]);
    assert_eq!(saga.undone("b"), ["undo a 1"]);
}

#[test]
fn an_undo_that_cannot_succeed_parks_the_saga_after_all_else_is_undone() {
    let mut saga = unwinding();
    assert_eq!(saga.undo_ended("b", Err(UndoError::needs_help("the account is closed"))), [""; 0]);
    assert_eq!(saga.state.step(1).status(), Status::UndoStuck);
    assert_eq!(saga.undo_fails("z"), [""; 0]);
    assert_eq!(saga.state.phase(), Phase::Backward, "the other one waits for its time");
    assert_eq!(saga.at(seconds(1)), ["undo z 2"]);
    assert_eq!(saga.undone("z"), ["park: undo failed b"], "and a is not undone before b");
}

#[test]
fn an_undo_whose_attempts_are_spent_parks_the_saga() {
    let mut saga = unwinding();
    saga.undone("z");
    saga.undo_fails("b");
    saga.at(seconds(1));
    assert_eq!(saga.undo_fails("b"), ["park: undo failed b"]);
}

#[test]
fn an_undo_that_never_ends_parks_the_saga() {
    let mut saga = unwinding();
    saga.undone("z");
    for starts in 2..=25 {
        assert_eq!(saga.crash(), [format!("undo b {starts}")]);
    }
    assert_eq!(saga.crash(), ["park: never ends b"]);
}

#[test]
fn starts_of_the_step_do_not_count_for_its_undo() {
    let mut saga = Saga::new(vec![step("a"), step("b")]);
    saga.go();
    for _ in 0..20 {
        saga.crash();
    }
    assert_eq!(saga.fails("a", FailedAs::Rejected), ["turn: a", "undo a 1"], "a crash is an unknown end");
    assert_eq!(saga.crash(), ["undo a 2", "undo b 1"]);
    for _ in 0..20 {
        assert_eq!(saga.crash().len(), 2);
    }
}

// ===== cancel and deadline =====

#[test]
fn a_cancelled_saga_is_undone() {
    let mut saga = Saga::new(order());
    saga.go();
    saga.ok("a");
    assert_eq!(saga.cancel(), ["turn: cancelled"]);
    assert_eq!(saga.ok("b"), ["undo b 1"], "what is running is drained");
    assert_eq!(saga.undone("b"), ["undo a 1"]);
}

/// The order saga with a deadline of a minute.
fn with_deadline() -> Saga {
    let graph = Graph::new("saga", 1, order()).unwrap().with_deadline(Duration::from_secs(60)).unwrap();
    let mut saga = Saga::of(graph);
    saga.go();
    saga
}

#[test]
fn a_saga_that_is_past_its_deadline_is_undone() {
    let mut saga = with_deadline();
    saga.ok("a");
    assert_eq!(saga.state.next_wake(), Some(seconds(60)));
    assert_eq!(saga.at(seconds(59)), [""; 0]);
    assert_eq!(saga.at(seconds(60)), ["turn: deadline"]);
    assert_eq!(saga.state.next_wake(), None, "an undo knows no deadline");
    assert_eq!(saga.ok("b"), ["undo b 1"]);
    assert_eq!(saga.state.cause(), Some(&Cause::DeadlinePassed));
}

#[test]
fn a_pivot_that_is_running_decides_about_a_cancel() {
    let mut saga = at_pivot();
    assert_eq!(saga.cancel(), [""; 0]);
    assert_eq!(saga.ok("p"), ["start r 1"], "too late");
    assert_eq!(saga.ok("r"), ["completed"]);

    let mut saga = at_pivot();
    saga.cancel();
    assert_eq!(saga.fails("p", FailedAs::NotExecuted), ["turn: cancelled", "undo b 1"], "it is not tried again");

    let mut saga = at_pivot();
    saga.cancel();
    assert_eq!(saga.fails("p", FailedAs::Unknown), [""; 0]);
    assert_eq!(saga.at(seconds(1)), ["start p 2"], "it is tried again, until somebody knows");
    assert_eq!(saga.fails("p", FailedAs::RejectedForKey)[0], "turn: p");
}

#[test]
fn a_pivot_that_is_running_decides_about_the_deadline() {
    let mut saga = with_deadline();
    saga.ok("a");
    saga.ok("b");
    assert_eq!(saga.state.next_wake(), None, "the deadline cannot do anything now");
    assert_eq!(saga.at(seconds(60)), [""; 0]);
    assert_eq!(saga.ok("p"), ["start r 1"]);

    let mut saga = with_deadline();
    saga.ok("a");
    saga.ok("b");
    saga.at(seconds(60));
    assert_eq!(saga.fails("p", FailedAs::NotExecuted), ["turn: deadline", "undo b 1"]);

    let mut saga = with_deadline();
    saga.ok("a");
    saga.ok("b");
    saga.at(seconds(60));
    assert_eq!(saga.fails("p", FailedAs::Unknown), [""; 0]);
    assert_eq!(saga.state.next_wake(), Some(seconds(61)), "the next attempt");
    assert_eq!(saga.at(seconds(61)), ["start p 2"]);
}

#[test]
fn a_cancel_finds_a_pivot_that_waits_and_has_done_nothing() {
    let mut saga = at_pivot();
    saga.fails("p", FailedAs::NotExecuted);
    assert_eq!(saga.cancel(), ["turn: cancelled", "undo b 1"]);
}

#[test]
fn after_the_pivot_nothing_turns() {
    let mut saga = past_pivot();
    let cancel = Record::CancelRequested { reason: "enough".into() };
    assert_eq!(saga.state.check(&saga.graph, &cancel).unwrap_err().why(), "the pivot has succeeded");
    let turned = Record::Turned { cause: Cause::DeadlinePassed };
    assert!(saga.state.apply(&saga.graph, &turned).is_err());

    let mut saga = with_deadline();
    for step in ["a", "b", "p"] {
        saga.ok(step);
    }
    assert_eq!((saga.state.next_wake(), saga.at(seconds(99))), (None, vec![]));
}

#[test]
fn without_a_pivot_the_end_is_the_point_of_no_return() {
    let mut saga = Saga::new(vec![step("a"), step("b").needs([0])]);
    saga.go();
    saga.ok("a");
    assert_eq!(saga.cancel(), ["turn: cancelled"]);

    let mut saga = Saga::new(vec![step("a")]);
    saga.go();
    let ended = saga.state.settle(&saga.graph, 0, Ok(super::saga::json("7")), saga.now, 0);
    saga.apply(ended);
    assert_eq!(saga.cancel(), ["turn: cancelled", "undo a 1"], "in the same moment");

    let graph = Graph::new("saga", 1, vec![step("a")]).unwrap().with_deadline(Duration::from_secs(1)).unwrap();
    let mut saga = Saga::of(graph);
    saga.go();
    saga.now = seconds(2);
    assert_eq!(saga.ok("a"), ["completed"], "all was done before somebody looked at the time");
}

#[test]
fn undos_go_on_after_the_deadline_and_a_cancel_while_they_run_is_refused() {
    let mut saga = unwinding();
    saga.undo_fails("b");
    saga.undone("z");
    let cancel = Record::CancelRequested { reason: "enough".into() };
    assert!(saga.state.check(&saga.graph, &cancel).is_err());
    assert_eq!(saga.at(seconds(10_000)), ["undo b 2"]);
}
