//! Each invariant of the checker, broken by a log that a wrong engine could have written.

use super::{
    forward::{of, order, step},
    saga::{graph, json, seconds},
};
use mainstay_saga::{ByOperator, Cause, FailedAs, Graph, Kind, Node, ParkReason, Record, testkit};

/// Few words for records.
fn log(graph: &Graph, lines: &[&str]) -> Vec<(u64, Record)> {
    let mut epoch = 1;
    let mut records = vec![(epoch, Record::created(graph, "key".into(), json("1"), seconds(0)))];
    for line in lines {
        if *line == "crash" {
            epoch += 1;
        } else if *line == "an older epoch" {
            epoch -= 1;
        } else {
            records.push((epoch, record(line)));
        }
    }
    records
}

fn record(line: &str) -> Record {
    let by = || ByOperator { by: "ann".into(), reason: "I looked".into() };
    let words: Vec<&str> = line.split(' ').collect();
    let step = || words[1].into();
    let failed = |outcome| Record::StepFailed { step: step(), outcome, error: "no".into(), retry_at: None };
    match words[0] {
        "create" => Record::created(&graph(vec![]), "key".into(), json("1"), seconds(0)),
        "start" => Record::StepStarted { step: step(), attempt: words[2].parse().unwrap() },
        "ok" => Record::StepSucceeded { step: step(), output: json(words.get(2).unwrap_or(&"7")) },
        "rejected" => failed(FailedAs::Rejected),
        "rejected-for-key" => failed(FailedAs::RejectedForKey),
        "unknown" => failed(FailedAs::Unknown),
        "retry" => Record::StepFailed {
            step: step(),
            outcome: FailedAs::NotExecuted,
            error: "no".into(),
            retry_at: Some(seconds(1)),
        },
        "leave-out" => Record::StepLeftOut { step: step() },
        "wait" => Record::WaitStarted { step: step(), until: Some(seconds(1)) },
        "cancel" => Record::CancelRequested { reason: "enough".into() },
        "turn" => Record::Turned { cause: Cause::Cancelled { reason: "enough".into() } },
        "turn-by" => turn_by(&step(), words.get(2).copied().unwrap_or("rejected"), "no"),
        "turn-saying" => turn_by(&step(), "rejected", words[2]),
        "turn-late" => Record::Turned { cause: Cause::DeadlinePassed },
        "undo" => Record::UndoStarted { step: step(), attempt: words[2].parse().unwrap() },
        "undone" => Record::UndoSucceeded { step: step() },
        "undo-failed" => Record::UndoFailed { step: step(), error: "no".into(), retry_at: None },
        "park" => Record::Parked { reason: ParkReason::DefinitionChanged },
        "resume" => Record::Resumed(by()),
        "mark" => Record::MarkedCompensated { step: step(), by: by() },
        "completed" => Record::Completed,
        "compensated" => Record::Compensated,
        other => panic!("the test says {other}"),
    }
}

fn turn_by(step: &str, outcome: &str, error: &str) -> Record {
    let outcome = match outcome {
        "rejected" => FailedAs::Rejected,
        "rejected-for-key" => FailedAs::RejectedForKey,
        "unknown" => FailedAs::Unknown,
        other => panic!("the test says {other}"),
    };
    Record::Turned { cause: Cause::StepFailed { step: step.into(), outcome, error: error.into() } }
}

/// Which invariant the last of these records breaks; all before it are in order.
#[track_caller]
fn breaks(nodes: Vec<Node>, lines: &[&str], invariant: &str) {
    let graph = graph(nodes);
    let records = log(&graph, lines);
    let before = &records[..records.len() - 1];
    assert_eq!(testkit::check(&graph, before), Ok(()), "what comes before is in order");
    let violation = testkit::check(&graph, &records).expect_err("the last one is not");
    assert_eq!((violation.invariant, violation.seq), (invariant, records.len()), "{violation}");
}

#[track_caller]
fn keeps(nodes: Vec<Node>, lines: &[&str]) {
    let graph = graph(nodes);
    assert_eq!(testkit::check(&graph, &log(&graph, lines)), Ok(()));
}

fn two() -> Vec<Node> {
    vec![step("a"), step("b").needs([0])]
}

fn beside() -> Vec<Node> {
    vec![step("a"), step("b"), step("c").needs([0])]
}

#[test]
fn i_1_a_saga_is_created_once_and_epochs_never_fall() {
    breaks(two(), &["start a 1", "create"], "I-1");
    breaks(two(), &["start a 1", "crash", "start a 2", "an older epoch", "ok a"], "I-1");
    let graph = graph(two());
    assert_eq!(testkit::check(&graph, &[(1, record("start a 1"))]).unwrap_err().invariant, "I-1");
    assert_eq!(testkit::check(&graph, &[]), Ok(()));
}

#[test]
fn i_2_what_ends_was_started_in_the_same_epoch() {
    breaks(two(), &["ok a"], "I-2");
    breaks(two(), &["start a 1", "crash", "ok a"], "I-2");
    breaks(two(), &["start a 1", "start a 2"], "I-2");
    breaks(two(), &["start a 1", "ok a", "rejected a"], "I-2");
    breaks(two(), &["undone a"], "I-2");
    breaks(two(), &["start a 1", "ok a", "cancel", "turn", "undo a 1", "crash", "undone a"], "I-2");
    breaks(two(), &["start a 1", "cancel", "turn", "undo a 1"], "I-2");
    breaks(vec![of(Kind::Signal { at_most: None }, "s")], &["ok s"], "I-2");
    breaks(vec![of(Kind::Timer { wait: std::time::Duration::ZERO }, "t")], &["ok t"], "I-2");
    let read = vec![step("a"), of(Kind::ReadOnly, "x").needs([0])];
    breaks(read, &["start a 1", "ok a", "start x 1", "cancel", "turn", "undo a 1"], "I-2");
    let read = vec![of(Kind::ReadOnly, "x")];
    breaks(read, &["start x 1", "cancel", "turn", "compensated"], "I-2");
    keeps(two(), &["start a 1", "crash", "start a 2", "ok a", "start b 1"]);
}

#[test]
fn i_3_a_step_starts_when_all_that_it_needs_is_done() {
    breaks(two(), &["start b 1"], "I-3");
    breaks(two(), &["start a 1", "start b 1"], "I-3");
    breaks(two(), &["start a 1", "ok a", "start a 2"], "I-3");
    breaks(two(), &["start x 1"], "I-3");
    let flagged = || vec![of(Kind::ReadOnly, "flag"), step("a").when(0)];
    breaks(flagged(), &["start flag 1", "ok flag false", "start a 1"], "I-3");
    breaks(flagged(), &["start flag 1", "ok flag true", "leave-out a"], "I-3");
    breaks(flagged(), &["leave-out a"], "I-3");
    let timer = of(Kind::Timer { wait: std::time::Duration::ZERO }, "t").when(0);
    breaks(vec![of(Kind::ReadOnly, "flag"), timer], &["start flag 1", "ok flag false", "wait t"], "I-3");
    keeps(flagged(), &["start flag 1", "ok flag false", "leave-out a", "completed"]);
}

#[test]
fn i_4_a_saga_turns_once_for_a_cause_before_the_first_undo() {
    breaks(two(), &["turn"], "I-4");
    breaks(two(), &["turn-late"], "I-4");
    breaks(two(), &["start a 1", "retry a", "turn-by a"], "I-4");
    breaks(two(), &["start a 1", "rejected a", "turn-by a unknown"], "I-4");
    breaks(two(), &["start a 1", "unknown a", "turn-by a"], "I-4");
    breaks(two(), &["start a 1", "rejected a", "turn-saying a nothing"], "I-4");
    keeps(two(), &["start a 1", "unknown a", "turn-by a unknown"]);
    // The last word counts.
    let pivot = ["start p 1", "unknown p", "park", "resume", "start p 2", "rejected-for-key p"];
    breaks(vec![of(Kind::Pivot, "p")], &[&pivot[..], &["turn-by p unknown"]].concat(), "I-4");
    keeps(vec![of(Kind::Pivot, "p")], &[&pivot[..], &["turn-by p rejected-for-key"]].concat());
    breaks(two(), &["cancel", "turn", "turn"], "I-4");
    breaks(two(), &["cancel", "turn", "start a 1"], "I-4");
    breaks(two(), &["start a 1", "ok a", "undo a 1"], "I-4");
}

#[test]
fn i_5_at_the_end_all_is_done_or_undone() {
    breaks(two(), &["start a 1", "ok a", "completed"], "I-5");
    breaks(two(), &["start a 1", "ok a", "start b 1", "ok b", "cancel", "turn", "completed"], "I-5");
    breaks(two(), &["start a 1", "ok a", "cancel", "turn", "compensated"], "I-5");
    breaks(two(), &["compensated"], "I-5");
    breaks(two(), &["start a 1", "cancel", "turn", "unknown a", "compensated"], "I-5");
    breaks(two(), &["start a 1", "cancel", "turn", "crash", "compensated"], "I-5");
    keeps(two(), &["start a 1", "cancel", "turn", "rejected a", "compensated"]);
}

#[test]
fn i_6_what_came_later_is_undone_first() {
    let turned = ["start a 1", "ok a", "start b 1", "ok b", "cancel", "turn"];
    breaks(two(), &[&turned[..], &["undo a 1"]].concat(), "I-6");
    breaks(two(), &[&turned[..], &["undo b 1", "undo a 1"]].concat(), "I-6");
    keeps(two(), &[&turned[..], &["undo b 1", "undone b", "undo a 1"]].concat());
    let through = vec![step("a"), of(Kind::ReadOnly, "b").needs([0]), step("c").needs([1])];
    breaks(
        through,
        &["start a 1", "ok a", "start b 1", "ok b", "start c 1", "ok c", "cancel", "turn", "undo a 1"],
        "I-6",
    );
}

#[test]
fn i_7_nothing_turns_once_the_pivot_may_have_happened() {
    let at_pivot = ["start a 1", "ok a", "start b 1", "ok b", "start p 1"];
    breaks(order(), &[&at_pivot[..], &["ok p", "cancel", "turn"]].concat(), "I-7");
    breaks(order(), &[&at_pivot[..], &["cancel", "turn"]].concat(), "I-7");
    breaks(order(), &[&at_pivot[..], &["unknown p", "cancel", "turn"]].concat(), "I-7");
    breaks(order(), &[&at_pivot[..], &["crash", "start p 2", "rejected p", "turn-by p"]].concat(), "I-7");
    keeps(order(), &[&at_pivot[..], &["rejected p", "turn-by p"]].concat());
    keeps(order(), &[&at_pivot[..], &["unknown p", "park", "mark p", "cancel", "turn"]].concat());
}

#[test]
fn i_8_nothing_follows_the_end_and_nothing_starts_while_it_is_parked() {
    breaks(vec![], &["completed", "completed"], "I-8");
    breaks(two(), &["cancel", "turn", "compensated", "cancel"], "I-8");
    breaks(two(), &["park", "start a 1"], "I-8");
    breaks(vec![], &["park", "completed"], "I-8");
    breaks(two(), &["start a 1", "ok a", "cancel", "turn", "park", "undo a 1"], "I-8");
    breaks(two(), &["cancel", "turn", "park", "compensated"], "I-8");
    keeps(two(), &["park", "resume", "start a 1"]);
}

#[test]
fn i_10_attempts_count_from_one() {
    breaks(two(), &["start a 2"], "I-10");
    breaks(two(), &["start a 1", "retry a", "start a 1"], "I-10");
    breaks(two(), &["start a 1", "ok a", "cancel", "turn", "undo a 2"], "I-10");
}

#[test]
fn i_11_what_may_have_happened_is_undone_and_nothing_else() {
    breaks(beside(), &["start a 1", "start b 1", "rejected a", "turn-by a", "undo a 1"], "I-11");
    breaks(beside(), &["cancel", "turn", "undo a 1"], "I-11");
    breaks(beside(), &["start a 1", "rejected a", "start a 2"], "I-11");
    let undone = ["start a 1", "ok a", "cancel", "turn", "undo a 1", "undone a"];
    breaks(beside(), &[&undone[..], &["undo a 2"]].concat(), "I-11");
    breaks(beside(), &[&undone[..5], &["undo-failed a", "undo a 2"]].concat(), "I-11");
    keeps(beside(), &[&undone[..5], &["undo-failed a", "park", "resume", "undo a 2"]].concat());
    keeps(two(), &["start a 1", "crash", "start a 2", "rejected a", "turn-by a", "undo a 1"]);
    breaks(
        two(),
        &["start a 1", "crash", "start a 2", "rejected-for-key a", "turn-by a rejected-for-key", "undo a 1"],
        "I-11",
    );
    breaks(two(), &["start a 1", "ok a", "cancel", "turn", "park", "mark a", "undo a 1"], "I-11");
}

#[test]
fn a_violation_says_what_and_where() {
    let graph = graph(two());
    let violation = testkit::check(&graph, &log(&graph, &["start b 1"])).unwrap_err();
    assert_eq!(violation.to_string(), "record 2 breaks I-3: b needs a, which is not done");
}
