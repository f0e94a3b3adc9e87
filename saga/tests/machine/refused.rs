//! Records that cannot follow: each is refused with its number, and changes nothing.

use super::{
    forward::{at_pivot, of, order, past_pivot, step},
    saga::{Saga, json, seconds},
};
use mainstay_saga::{
    ByOperator, Cause, FailedAs, Graph, Kind, ParkReason, Payload, Record, Timestamp, journal::Phase, state::State,
};
use std::time::Duration;

fn started(step: &str, attempt: u32) -> Record {
    Record::StepStarted { step: step.into(), attempt }
}

fn succeeded(step: &str) -> Record {
    Record::StepSucceeded { step: step.into(), output: json("7") }
}

fn failed(step: &str, outcome: FailedAs, retry_at: Option<Timestamp>) -> Record {
    Record::StepFailed { step: step.into(), outcome, error: "no".into(), retry_at }
}

fn undo(step: &str, attempt: u32) -> Record {
    Record::UndoStarted { step: step.into(), attempt }
}

fn wait(step: &str, until: Option<Timestamp>) -> Record {
    Record::WaitStarted { step: step.into(), until }
}

fn by() -> ByOperator {
    ByOperator { by: "ann".into(), reason: "I looked".into() }
}

fn park(reason: ParkReason) -> Record {
    Record::Parked { reason }
}

/// Why the record is refused here; nothing changes.
#[track_caller]
fn refusal(saga: &Saga, record: &Record) -> String {
    let mut state = saga.state.clone();
    let error = state.apply(&saga.graph, record).expect_err("the record is legal");
    assert_eq!(error.seq(), saga.state.seq() + 1);
    assert_eq!(format!("{state:?}"), format!("{:?}", saga.state), "a refused record changes nothing");
    error.why().to_owned()
}

#[track_caller]
fn refused(saga: &Saga, records: &[Record]) {
    for record in records {
        refusal(saga, record);
    }
}

#[test]
fn a_saga_is_created_first_and_once() {
    let saga = at_pivot();
    let created = saga.log[0].1.clone();
    assert_eq!(refusal(&saga, &created), "a saga is created first, and once");
    let mut state = State::new(&saga.graph);
    assert!(state.apply(&saga.graph, &started("a", 1)).is_err());
    assert!(state.apply(&saga.graph, &Record::Completed).is_err());
}

#[test]
fn a_saga_of_another_definition_is_refused() {
    let graph = |name: &str, version, nodes| Graph::new(name, version, nodes).unwrap();
    let mine = graph("saga", 1, order());
    let created = |graph: &Graph| Record::created(graph, "key".into(), json("1"), seconds(0));
    let mut fewer = order();
    fewer.pop();
    for other in [graph("other", 1, order()), graph("saga", 2, order()), graph("saga", 1, fewer)] {
        assert!(State::new(&mine).apply(&mine, &created(&other)).is_err());
    }
    State::new(&mine).apply(&mine, &created(&mine)).unwrap();
}

#[test]
fn a_state_of_another_graph_is_refused() {
    let mut saga = at_pivot();
    let other = super::saga::graph(vec![step("a")]);
    assert_eq!(saga.state.plan(&other, seconds(0)), None);
    assert_eq!(saga.state.apply(&other, &started("a", 1)).unwrap_err().why(), "the state is one of another graph");
}

#[test]
fn unknown_steps_are_refused() {
    let saga = at_pivot();
    assert_eq!(refusal(&saga, &started("x", 1)), "there is no step \"x\"");
    refused(&saga, &[succeeded("x"), undo("x", 1), Record::StepLeftOut { step: "x".into() }, wait("x", None)]);
}

#[test]
fn starts_out_of_order_are_refused() {
    let saga = Saga::new(order());
    assert_eq!(refusal(&saga, &started("b", 1)), "something that the step needs is not done");
    for attempt in [0, 2, u32::MAX] {
        assert_eq!(refusal(&saga, &started("a", attempt)), "the attempt has the wrong number");
    }
    let saga = at_pivot();
    assert_eq!(refusal(&saga, &started("a", 2)), "the step has ended");
}

#[test]
fn ends_of_what_does_not_run_are_refused() {
    let saga = at_pivot();
    for step in ["a", "r"] {
        refused(&saga, &[succeeded(step), failed(step, FailedAs::Unknown, None)]);
        refused(&saga, &[Record::UndoSucceeded { step: step.into() }]);
        refused(&saga, &[Record::UndoFailed { step: step.into(), error: "no".into(), retry_at: None }]);
    }
}

#[test]
fn ends_that_the_policy_does_not_know_are_refused() {
    let saga = at_pivot();
    let soon = Some(seconds(1));
    refused(&saga, &[failed("p", FailedAs::Rejected, soon), failed("p", FailedAs::RejectedForKey, soon)]);
    let saga = past_pivot();
    refused(&saga, &[failed("r", FailedAs::Unknown, None), failed("r", FailedAs::NotExecuted, None)]);

    let mut saga = Saga::new(vec![step("a"), step("b")]);
    saga.go();
    saga.fails("a", FailedAs::Rejected);
    refused(&saga, &[failed("b", FailedAs::Unknown, soon)]);
}

#[test]
fn steps_after_the_turn_and_undos_before_it_are_refused() {
    let mut saga = Saga::new(vec![step("a"), step("b"), step("c").needs([0, 1])]);
    saga.go();
    saga.ok("a");
    assert_eq!(refusal(&saga, &undo("a", 1)), "the saga is not turned back");
    saga.fails("b", FailedAs::Rejected);
    refused(&saga, &[started("c", 1), started("b", 2), wait("c", None)]);
    refused(&saga, &[undo("a", 1), undo("a", 3), undo("b", 1), undo("c", 1)]);
}

#[test]
fn undos_out_of_order_are_refused() {
    let mut saga = Saga::new(vec![step("a"), step("b").needs([0]), step("c").needs([1])]);
    saga.go();
    saga.ok("a");
    saga.ok("b");
    saga.fails("c", FailedAs::Rejected);
    assert_eq!(refusal(&saga, &undo("a", 1)), "what came later is to be undone first");
    assert_eq!(refusal(&saga, &Record::Compensated), "not all steps are undone");
    saga.undone("b");
    assert_eq!(refusal(&saga, &undo("b", 2)), "nothing is to be undone");
}

#[test]
fn turns_without_a_cause_are_refused() {
    let turn = |cause| Record::Turned { cause };
    let because =
        |step: &str, outcome, error: &str| turn(Cause::StepFailed { step: step.into(), outcome, error: error.into() });
    let failed = |step: &str| because(step, FailedAs::Rejected, "no");
    let mut saga = Saga::new(order());
    saga.go();
    refused(&saga, &[failed("a"), failed("x"), turn(Cause::DeadlinePassed), turn(Cause::Operator(by()))]);
    refused(&saga, &[turn(Cause::Cancelled { reason: "enough".into() })]);
    saga.cancel();
    refused(&saga, &[turn(Cause::Cancelled { reason: "enough".into() })]);
    refused(&saga, &[Record::CancelRequested { reason: "again".into() }]);

    let mut saga = Saga::new(vec![step("a"), step("b")]);
    saga.go();
    saga.apply(self::failed("b", FailedAs::Rejected, None));
    saga.apply(self::failed("a", FailedAs::Unknown, None));
    refused(&saga, &[because("b", FailedAs::Unknown, "no"), because("b", FailedAs::Rejected, "nothing")]);
    refused(&saga, &[because("a", FailedAs::Unknown, "no")]);
    saga.apply(failed("b"));
}

#[test]
fn turns_while_the_pivot_may_have_happened_are_refused() {
    let mut saga = at_pivot();
    saga.cancel();
    let turn = Record::Turned { cause: Cause::Cancelled { reason: "enough".into() } };
    assert_eq!(refusal(&saga, &turn), "the pivot may have happened");
    saga.ok("p");
    assert_eq!(refusal(&saga, &turn), "the pivot may have happened");
}

#[test]
fn a_second_cancel_is_refused() {
    let mut saga = at_pivot();
    saga.cancel();
    assert_eq!(refusal(&saga, &Record::CancelRequested { reason: "again".into() }), "the saga was cancelled before");
}

#[test]
fn ends_that_come_too_early_are_refused() {
    let mut saga = Saga::new(order());
    refused(&saga, &[Record::Completed, Record::Compensated, Record::Abandoned(by()), Record::Resumed(by())]);
    saga.go();
    refused(&saga, &[Record::Completed, Record::Compensated]);
}

#[test]
fn nothing_follows_the_end() {
    let mut saga = past_pivot();
    saga.ok("r");
    assert_eq!(saga.state.phase(), Phase::Completed);
    for record in [Record::Completed, started("r", 2), Record::CancelRequested { reason: "late".into() }] {
        assert_eq!(refusal(&saga, &record), "the saga has ended");
    }
}

#[test]
fn reasons_to_park_that_are_not_there_are_refused() {
    let saga = past_pivot();
    for step in ["a", "p", "r", "x"] {
        let step: std::sync::Arc<str> = step.into();
        refused(
            &saga,
            &[
                park(ParkReason::PivotUnknown { step: step.clone() }),
                park(ParkReason::StepRejected { step: step.clone() }),
                park(ParkReason::UndoFailed { step: step.clone() }),
                park(ParkReason::NeverEnds { step }),
            ],
        );
    }
    let unreadable = |step: &str| park(ParkReason::Unreadable { step: step.into(), error: "garbage".into() });
    refused(&saga, &[park(ParkReason::TooLong), unreadable("x")]);

    let mut saga = past_pivot();
    saga.fails("r", FailedAs::Rejected);
    refused(&saga, &[park(ParkReason::DefinitionChanged)]);
    let mut saga = past_pivot();
    saga.state.apply(&saga.graph, &failed("r", FailedAs::Rejected, None)).unwrap();
    refused(&saga, &[park(ParkReason::PivotUnknown { step: "r".into() })]);
    let mut saga = at_pivot();
    saga.state.apply(&saga.graph, &failed("p", FailedAs::Unknown, None)).unwrap();
    refused(&saga, &[park(ParkReason::StepRejected { step: "p".into() })]);
}

#[test]
fn a_parked_saga_starts_nothing() {
    let mut saga = past_pivot();
    saga.fails("r", FailedAs::Rejected);
    refused(&saga, &[started("r", 2), Record::Completed, Record::Compensated, undo("a", 1)]);
}

#[test]
fn waits_that_are_none_are_refused() {
    let wait_for = Duration::from_secs(5);
    let timer = Kind::Timer { wait: wait_for };
    let signal = Kind::Signal { at_most: None };
    let nodes = vec![step("a"), of(timer, "t"), of(signal, "s"), of(timer, "late").needs([0])];
    let mut saga = Saga::new(nodes);
    refused(
        &saga,
        &[started("t", 1), started("s", 1), wait("a", None), wait("t", None), wait("late", Some(seconds(1)))],
    );
    let null = |step: &str| Record::StepSucceeded { step: step.into(), output: Payload::encode(&()).unwrap() };
    refused(
        &saga,
        &[null("t"), null("s"), failed("t", FailedAs::Rejected, None), failed("s", FailedAs::Rejected, None)],
    );
    saga.go();
    refused(&saga, &[wait("t", Some(seconds(9))), wait("s", None), succeeded("t"), succeeded("s"), null("late")]);
    refused(&saga, &[failed("s", FailedAs::Rejected, None)]);
    saga.apply(Record::SignalReceived { step: "s".into(), id: "1".into(), payload: json("3") });
    assert_eq!(refusal(&saga, &succeeded("s")), "no such signal is waited for", "the payload is another");
}

#[test]
fn a_wait_with_a_time_ends_without_a_signal_by_its_time_only() {
    let signal = Kind::Signal { at_most: Some(Duration::from_secs(5)) };
    let mut saga = Saga::new(vec![of(signal, "s")]);
    saga.go();
    refused(&saga, &[failed("s", FailedAs::Unknown, None), failed("s", FailedAs::Rejected, Some(seconds(1)))]);
}

#[test]
fn steps_are_left_out_by_their_condition_only() {
    let nodes = vec![of(Kind::ReadOnly, "flag"), step("a"), step("b").when(0)];
    let mut saga = Saga::new(nodes);
    let leave_out = |step: &str| Record::StepLeftOut { step: step.into() };
    refused(&saga, &[leave_out("a"), leave_out("b")]);
    saga.go();
    saga.state.apply(&saga.graph, &Record::StepSucceeded { step: "flag".into(), output: json("true") }).unwrap();
    refused(&saga, &[leave_out("b")]);

    let mut saga = Saga::new(vec![of(Kind::ReadOnly, "flag"), step("b").when(0)]);
    saga.go();
    saga.state.apply(&saga.graph, &Record::StepSucceeded { step: "flag".into(), output: json("false") }).unwrap();
    assert_eq!(refusal(&saga, &started("b", 1)), "the condition of the step is not met");
}

#[test]
fn starts_beyond_those_that_never_ended_are_refused() {
    let mut saga = Saga::new(vec![step("a")]);
    for attempt in 1..=25 {
        saga.state.apply(&saga.graph, &started("a", attempt)).unwrap();
    }
    assert_eq!(refusal(&saga, &started("a", 26)), "it was started too often without an end");
}

#[test]
fn a_step_that_is_done_may_not_be_skipped_although_the_saga_is_parked_for_it() {
    let mut saga = Saga::new(vec![of(Kind::Pivot, "p"), of(Kind::Retriable, "r"), of(Kind::Retriable, "q")]);
    saga.go();
    saga.ok("p");
    saga.ok("r");
    saga.apply(park(ParkReason::Unreadable { step: "r".into(), error: "garbage".into() }));
    refused(&saga, &[Record::Skipped { step: "r".into(), by: by() }]);
}

#[test]
fn a_step_that_is_being_undone_is_not_settled_by_hand() {
    let mut saga = Saga::new(vec![step("a"), step("b").needs([0])]);
    saga.go();
    saga.ok("a");
    saga.fails("b", FailedAs::Rejected);
    assert_eq!(refusal(&saga, &Record::MarkedCompensated { step: "a".into(), by: by() }), "the step is running");
    assert_eq!(refusal(&saga, &Record::Skipped { step: "a".into(), by: by() }), "the step is running");
}

#[test]
fn a_refusal_names_the_record() {
    let mut saga = at_pivot();
    let error = saga.state.apply(&saga.graph, &Record::Completed).unwrap_err();
    assert_eq!(error.to_string(), "record 7 cannot follow: not all steps are done");
}
