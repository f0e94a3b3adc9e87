//! What operators may do, and what becomes of it.

use super::{
    forward::{at_pivot, of, past_pivot, step},
    saga::{Saga, seconds},
};
use mainstay_saga::{
    ByOperator, Cause, FailedAs, Graph, Kind, ParkReason, Record, StepError, UndoError, journal::Phase, state::Status,
};

fn by() -> ByOperator {
    ByOperator { by: "ann".into(), reason: "I called them".into() }
}

fn marked(step: &str) -> Record {
    Record::MarkedCompensated { step: step.into(), by: by() }
}

fn skipped(step: &str) -> Record {
    Record::Skipped { step: step.into(), by: by() }
}

fn refusal(saga: &Saga, record: &Record) -> String {
    saga.state.check(&saga.graph, record).unwrap_err().why().to_owned()
}

/// `a`, then `b`, whose undo has failed for good.
fn undo_stuck() -> Saga {
    let mut saga = Saga::new(vec![step("a"), step("b").needs([0]), step("c").needs([1])]);
    saga.go();
    saga.ok("a");
    saga.ok("b");
    saga.fails("c", FailedAs::Rejected);
    assert_eq!(saga.undo_ended("b", Err(UndoError::needs_help("closed"))), ["park: undo failed b"]);
    saga
}

#[test]
fn a_resumed_undo_has_a_fresh_set_of_attempts() {
    let mut saga = undo_stuck();
    assert_eq!(saga.does(Record::Resumed(by())), ["undo b 2"]);
    assert_eq!(saga.undo_fails("b"), [""; 0], "the first of two");
    let wake = saga.state.next_wake().unwrap();
    assert_eq!(wake, seconds(1), "and the first wait");
    saga.at(wake);
    assert_eq!(saga.undo_fails("b"), ["park: undo failed b"]);
}

#[test]
fn a_step_that_was_marked_is_not_undone_and_what_came_before_it_is() {
    for record in [marked("b"), skipped("b")] {
        let mut saga = undo_stuck();
        assert_eq!(saga.does(record), ["undo a 1"]);
        assert_eq!(saga.undone("a"), ["compensated"]);
    }
}

#[test]
fn a_step_that_waits_for_another_attempt_of_its_undo_may_be_marked_and_one_that_runs_may_not() {
    let mut saga = Saga::new(vec![step("a"), step("b").needs([0])]);
    saga.go();
    saga.ok("a");
    saga.fails("b", FailedAs::Rejected);
    assert_eq!(refusal(&saga, &marked("a")), "the step is running");
    assert_eq!(refusal(&saga, &marked("b")), "nothing is to be undone");
    saga.undo_fails("a");
    assert_eq!(saga.does(marked("a")), ["compensated"]);
}

#[test]
fn one_of_two_stuck_undos_that_is_marked_leaves_the_saga_parked_for_the_other() {
    let mut saga = Saga::new(vec![step("a"), step("b"), step("c").needs([0, 1])]);
    saga.go();
    saga.ok("a");
    saga.ok("b");
    saga.fails("c", FailedAs::Rejected);
    saga.undo_ended("a", Err(UndoError::needs_help("no")));
    assert_eq!(saga.undo_ended("b", Err(UndoError::needs_help("no"))), ["park: undo failed a"]);
    assert_eq!(saga.does(marked("a")), ["park: undo failed b"]);
    assert_eq!(saga.does(skipped("b")), ["compensated"]);
}

/// The order saga, of whose pivot nobody knows.
fn pivot_unknown() -> Saga {
    let mut saga = at_pivot();
    saga.fails("p", FailedAs::Unknown);
    saga.at(seconds(1));
    assert_eq!(saga.fails("p", FailedAs::Rejected), ["park: pivot unknown p"]);
    saga
}

#[test]
fn an_operator_who_vouches_for_the_pivot_turns_the_saga() {
    let mut saga = pivot_unknown();
    let turned = format!("turn: {:?}", Cause::Operator(by()));
    assert_eq!(saga.does(marked("p")), [turned.as_str(), "undo b 1"]);
    assert_eq!(saga.state.cause(), Some(&Cause::Operator(by())));
    assert_eq!(saga.state.step(2).status(), Status::MarkedCompensated);
}

#[test]
fn a_resumed_pivot_has_a_fresh_set_of_attempts_and_keeps_the_doubt() {
    let mut saga = pivot_unknown();
    assert_eq!(saga.does(Record::Resumed(by())), ["start p 3"]);
    assert_eq!(saga.fails("p", FailedAs::NotExecuted), [""; 0]);
    saga.at(seconds(2));
    saga.fails("p", FailedAs::NotExecuted);
    saga.at(seconds(10));
    assert_eq!(
        saga.fails("p", FailedAs::NotExecuted),
        ["park: pivot unknown p"],
        "the attempt before may have happened"
    );
    assert_eq!(saga.does(Record::Resumed(by())), ["start p 6"]);
    assert_eq!(saga.ok("p"), ["start r 1"]);
}

#[test]
fn a_saga_that_is_parked_for_its_pivot_cannot_be_cancelled() {
    let saga = pivot_unknown();
    let cancel = Record::CancelRequested { reason: "enough".into() };
    assert_eq!(refusal(&saga, &cancel), "nobody knows whether the pivot has happened");
}

#[test]
fn a_pivot_may_not_be_skipped_nor_a_step_before_it() {
    let saga = pivot_unknown();
    for step in ["p", "a"] {
        assert_eq!(refusal(&saga, &skipped(step)), "the step has not stuck after the pivot");
    }
    assert_eq!(refusal(&saga, &marked("a")), "the step is not a stuck pivot");
}

#[test]
fn a_pivot_that_runs_may_not_be_marked() {
    let mut saga = at_pivot();
    assert_eq!(refusal(&saga, &marked("p")), "the step is running");
    saga.fails("p", FailedAs::Unknown);
    assert_eq!(refusal(&saga, &marked("p")), "the step is not a stuck pivot");
}

#[test]
fn a_rejected_step_after_the_pivot_is_tried_again_when_it_is_resumed() {
    let mut saga = past_pivot();
    assert_eq!(saga.fails("r", FailedAs::Rejected), ["park: rejected r"]);
    assert_eq!(saga.does(Record::Resumed(by())), ["start r 2"]);
    assert_eq!(saga.ok("r"), ["completed"]);
}

#[test]
fn a_rejected_step_that_nobody_reads_may_be_skipped() {
    let mut saga = Saga::new(vec![of(Kind::Pivot, "p"), of(Kind::Retriable, "r"), of(Kind::Retriable, "q").needs([1])]);
    saga.go();
    saga.ok("p");
    saga.fails("r", FailedAs::Rejected);
    assert_eq!(refusal(&saga, &skipped("q")), "the step has not stuck after the pivot");
    assert_eq!(saga.does(skipped("r")), ["start q 1"]);
    assert_eq!(saga.ok("q"), ["completed"]);
}

#[test]
fn a_step_that_is_tried_without_end_may_be_skipped_between_its_attempts() {
    let mut saga = past_pivot();
    assert_eq!(refusal(&saga, &skipped("r")), "the step is running");
    saga.fails("r", FailedAs::Unknown);
    assert_eq!(saga.does(skipped("r")), ["completed"]);
}

#[test]
fn a_step_that_is_read_may_not_be_skipped() {
    let read = || vec![of(Kind::Pivot, "p"), of(Kind::Retriable, "r"), of(Kind::Retriable, "q").reads([1])];
    let mut saga = Saga::new(read());
    saga.go();
    saga.ok("p");
    saga.fails("r", FailedAs::Rejected);
    assert_eq!(refusal(&saga, &skipped("r")), "its output is read by q");

    let graph = Graph::new("saga", 1, vec![of(Kind::Pivot, "p"), of(Kind::Retriable, "r")]).unwrap();
    let mut saga = Saga::of(graph.with_result(1).unwrap());
    saga.go();
    saga.ok("p");
    saga.fails("r", FailedAs::Rejected);
    assert_eq!(refusal(&saga, &skipped("r")), "the step gives the result of the saga");

    let nodes = vec![of(Kind::Pivot, "p"), of(Kind::ReadOnly, "flag"), of(Kind::Retriable, "q").when(1)];
    let mut saga = Saga::new(nodes);
    saga.go();
    saga.ok("p");
    saga.fails("flag", FailedAs::Rejected);
    assert_eq!(refusal(&saga, &skipped("flag")), "its output is read by q", "a condition is read");
}

#[test]
fn only_a_parked_saga_is_resumed_or_abandoned() {
    let mut saga = at_pivot();
    assert_eq!(refusal(&saga, &Record::Resumed(by())), "the saga is not parked");
    assert_eq!(refusal(&saga, &Record::Abandoned(by())), "only a parked saga is given up");
    saga = undo_stuck();
    saga.does(Record::Abandoned(by()));
    assert_eq!(saga.state.phase(), Phase::Abandoned);
    assert_eq!(refusal(&saga, &Record::Resumed(by())), "the saga has ended");
}

/// One step that was started too often.
fn never_ends(kind: Kind) -> Saga {
    let mut saga = Saga::new(vec![step("a"), of(kind, "n").needs([0])]);
    saga.go();
    saga.ok("a");
    for _ in 0..25 {
        saga.crash();
    }
    assert_eq!(saga.state.park_reason(), Some(&ParkReason::NeverEnds { step: "n".into() }));
    saga
}

#[test]
fn a_step_that_never_ended_is_started_as_often_again_when_it_is_resumed() {
    let mut saga = never_ends(Kind::Compensatable);
    assert_eq!(saga.does(Record::Resumed(by())), ["start n 26"]);
    for _ in 0..24 {
        assert_eq!(saga.crash().len(), 1);
    }
    assert_eq!(saga.crash(), ["park: never ends n"]);
}

#[test]
fn a_parked_saga_may_be_cancelled_before_its_pivot() {
    let mut saga = never_ends(Kind::Compensatable);
    assert_eq!(saga.cancel(), ["turn: cancelled", "undo n 1"], "it may have happened");
    assert_eq!(saga.undone("n"), ["undo a 1"]);
}

#[test]
fn a_pivot_that_never_ended_may_be_vouched_for() {
    let mut saga = never_ends(Kind::Pivot);
    let cancel = Record::CancelRequested { reason: "enough".into() };
    assert!(saga.state.check(&saga.graph, &cancel).is_err());
    assert_eq!(saga.does(marked("n"))[1], "undo a 1");
}

#[test]
fn a_step_that_cannot_read_its_input_is_started_again_when_it_is_resumed() {
    let mut saga = Saga::new(vec![step("a"), step("b")]);
    saga.go();
    let reason = ParkReason::Unreadable { step: "a".into(), error: "not a number".into() };
    assert_eq!(saga.does(Record::Parked { reason }), [""; 0]);
    assert_eq!(saga.ok("b"), [""; 0], "what is running is drained");
    assert_eq!(saga.state.phase(), Phase::Parked);
    assert_eq!(saga.does(Record::Resumed(by())), ["start a 2"]);
    assert_eq!(saga.ok("a"), ["completed"]);
}

#[test]
fn a_step_that_could_not_read_its_input_has_lost_no_attempt_when_it_is_resumed() {
    let mut saga = Saga::new(vec![step("a")]);
    saga.go();
    let failed = saga.state.settle(&saga.graph, 0, Err(StepError::not_executed("it is no number")), saga.now, 0);
    saga.apply(failed);
    let reason = ParkReason::Unreadable { step: "a".into(), error: "it is no number".into() };
    saga.apply(Record::Parked { reason });
    saga.does(Record::Resumed(by()));
    assert_eq!(saga.at(seconds(1)), ["start a 2"]);
    assert_eq!(saga.fails("a", FailedAs::NotExecuted), [""; 0], "the first of three");
    assert_eq!(saga.at(seconds(9)), ["start a 3"]);
    assert_eq!(saga.fails("a", FailedAs::NotExecuted), [""; 0], "the second");
    assert_eq!(saga.at(seconds(99)), ["start a 4"]);
    assert_eq!(saga.fails("a", FailedAs::NotExecuted), ["turn: a", "compensated"]);
}

#[test]
fn a_saga_whose_definition_had_changed_goes_on_where_it_was() {
    for reason in [ParkReason::DefinitionChanged, ParkReason::Corrupt { seq: 3, error: "garbage".into() }] {
        let mut saga = at_pivot();
        saga.reload();
        saga.apply(Record::Parked { reason });
        assert_eq!(saga.crash(), [""; 0]);
        assert_eq!(saga.does(Record::Resumed(by())), ["start p 2"]);
    }
}
