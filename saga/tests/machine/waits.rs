//! Signals and timers.

use super::{
    forward::{of, step},
    saga::{Saga, json, seconds},
};
use mainstay_saga::{ByOperator, FailedAs, Kind, Record, journal::Phase, state::Status};
use std::time::Duration;

fn signal(at_most: Option<u64>) -> Kind {
    Kind::Signal { at_most: at_most.map(Duration::from_secs) }
}

fn arrives(step: &str, payload: &str) -> Record {
    Record::SignalReceived { step: step.into(), id: "mail-1".into(), payload: json(payload) }
}

#[test]
fn a_signal_is_waited_for_and_its_payload_is_the_output() {
    let mut saga = Saga::new(vec![step("a"), of(signal(Some(60)), "approved").needs([0]), step("b").reads([1])]);
    saga.go();
    assert_eq!(saga.ok("a"), ["wait for approved until 60000"]);
    assert_eq!(saga.state.next_wake(), Some(seconds(60)));
    assert_eq!(saga.does(arrives("approved", "{\"by\":\"ann\"}")), ["ok approved", "start b 1"]);
    assert_eq!(saga.state.outputs()[2], Some(json("{\"by\":\"ann\"}")));
}

#[test]
fn a_signal_may_come_before_anybody_waits() {
    let mut saga = Saga::new(vec![step("a"), of(signal(Some(60)), "approved").needs([0])]);
    saga.go();
    assert_eq!(saga.does(arrives("approved", "3")), [""; 0]);
    assert!(saga.state.step(1).signal_id().is_some());
    assert_eq!(saga.ok("a"), ["ok approved", "completed"], "it is not waited for");
}

#[test]
fn a_second_signal_is_refused() {
    let mut saga = Saga::new(vec![step("a"), of(signal(None), "approved").needs([0])]);
    saga.go();
    saga.apply(arrives("approved", "3"));
    assert_eq!(
        saga.state.check(&saga.graph, &arrives("approved", "4")).unwrap_err().why(),
        "a signal has arrived before"
    );
    saga.ok("a");
    assert!(saga.state.check(&saga.graph, &arrives("approved", "4")).is_err());
}

#[test]
fn a_signal_for_another_kind_of_step_is_refused() {
    let mut saga = Saga::new(vec![step("a"), of(Kind::Timer { wait: Duration::from_secs(1) }, "t")]);
    saga.go();
    for step in ["a", "t", "nobody"] {
        assert!(saga.state.check(&saga.graph, &arrives(step, "3")).is_err(), "{step}");
    }
}

#[test]
fn a_signal_that_does_not_come_in_time_turns_the_saga() {
    let mut saga = Saga::new(vec![step("a"), of(signal(Some(60)), "approved")]);
    saga.go();
    saga.ok("a");
    assert_eq!(saga.at(seconds(59)), [""; 0]);
    assert_eq!(saga.at(seconds(60)), ["failed approved", "turn: approved", "undo a 1"]);
    assert!(saga.state.check(&saga.graph, &arrives("approved", "3")).is_err(), "too late");
    assert_eq!(&**saga.state.step(1).error().unwrap(), "no signal in time");
}

#[test]
fn after_the_pivot_it_parks_the_saga_and_a_late_signal_helps_once_it_is_resumed() {
    let mut saga = Saga::new(vec![of(Kind::Pivot, "p"), of(signal(Some(60)), "approved")]);
    saga.go();
    assert_eq!(saga.ok("p"), ["wait for approved until 60000"]);
    assert_eq!(saga.at(seconds(60)), ["failed approved", "park: rejected approved"]);
    let resumed = || Record::Resumed(ByOperator { by: "ann".into(), reason: "they will".into() });
    assert_eq!(saga.does(resumed()), ["wait for approved until 120000"]);
    assert_eq!(saga.at(seconds(120)).len(), 2);
    assert_eq!(saga.does(arrives("approved", "3")), [""; 0], "it is parked");
    assert_eq!(saga.does(resumed()), ["ok approved", "completed"]);
}

#[test]
fn a_signal_without_a_time_is_waited_for_without_end() {
    let mut saga = Saga::new(vec![of(signal(None), "approved")]);
    assert_eq!(saga.go(), ["wait for approved"]);
    assert_eq!((saga.state.next_wake(), saga.at(seconds(1_000_000))), (None, vec![]));
    assert_eq!(saga.state.phase(), Phase::Forward);
}

#[test]
fn a_signal_without_a_time_does_not_hold_up_the_parking() {
    let mut saga = Saga::new(vec![of(Kind::Pivot, "p"), of(signal(None), "approved"), of(Kind::Retriable, "r")]);
    saga.go();
    saga.ok("p");
    assert_eq!(saga.fails("r", FailedAs::Rejected), ["park: rejected r"]);
}

#[test]
fn a_signal_with_a_time_does() {
    let mut saga = Saga::new(vec![of(Kind::Pivot, "p"), of(signal(Some(60)), "approved"), of(Kind::Retriable, "r")]);
    saga.go();
    saga.ok("p");
    assert_eq!(saga.fails("r", FailedAs::Rejected), [""; 0]);
    assert_eq!(saga.does(arrives("approved", "3")), ["ok approved", "park: rejected r"]);
}

#[test]
fn a_timer_fires_at_its_time() {
    let mut saga = Saga::new(vec![step("a"), of(Kind::Timer { wait: Duration::from_secs(60) }, "t").needs([0])]);
    saga.go();
    saga.now = seconds(5);
    assert_eq!(saga.ok("a"), ["wait for t until 65000"]);
    assert_eq!(saga.crash(), [""; 0], "it is not begun anew");
    assert_eq!(saga.at(seconds(64)), [""; 0]);
    assert_eq!(saga.at(seconds(65)), ["ok t", "completed"]);
    assert_eq!(saga.state.step(1).output(), Some(&json("null")));
}

#[test]
fn waits_end_when_the_saga_turns() {
    let timer = Kind::Timer { wait: Duration::from_secs(60) };
    let mut saga = Saga::new(vec![of(timer, "t"), of(signal(Some(5)), "approved"), step("a")]);
    saga.go();
    assert_eq!(saga.fails("a", FailedAs::Rejected), ["turn: a", "compensated"]);
    assert!(matches!(saga.state.step(0).status(), Status::Waiting { .. }));
}

#[test]
fn waits_are_left_out_like_any_step() {
    let timer = Kind::Timer { wait: Duration::from_secs(60) };
    let mut saga = Saga::new(vec![of(Kind::ReadOnly, "flag"), of(timer, "t").when(0), of(signal(None), "s").when(0)]);
    saga.go();
    saga.apply(arrives("s", "3"));
    assert_eq!(saga.gives("flag", "false"), ["leave out t", "leave out s", "completed"]);
}

#[test]
fn times_beyond_all_measure_do_not_overflow() {
    let mut saga = Saga::new(vec![of(Kind::Timer { wait: Duration::MAX }, "t"), of(signal(Some(u64::MAX)), "s")]);
    assert_eq!(saga.go().len(), 2);
    assert_eq!(saga.state.next_wake(), Some(mainstay_saga::Timestamp::from_millis(u64::MAX)));
}
