//! The saga goes forward: order, attempts, doubts, the pivot.

use super::{
    graphs::tries,
    saga::{Saga, json, seconds},
};
use mainstay_saga::{Effect, FailedAs, Graph, Kind, Node, Record, Retry, StepError, journal::Phase, state::Status};
use std::time::Duration;

pub(crate) fn step(name: &str) -> Node {
    Node::new(name, Kind::Compensatable).retry(tries(3)).undo_retry(tries(2))
}

pub(crate) fn of(kind: Kind, name: &str) -> Node {
    Node::new(name, kind).retry(tries(3))
}

/// Two steps, the pivot, and one after it.
pub(crate) fn order() -> Vec<Node> {
    vec![step("a"), step("b").needs([0]), of(Kind::Pivot, "p"), of(Kind::Retriable, "r")]
}

fn effect(saga: &Saga, step: &str) -> Option<Effect<String>> {
    let known = |output: &mainstay_saga::Payload| output.as_str().to_owned();
    saga.state.step(saga.position(step)).effect().map(|effect| match effect {
        Effect::Known(output) => Effect::Known(known(output)),
        Effect::Maybe => Effect::Maybe,
    })
}

// ===== order =====

#[test]
fn a_line_of_steps_takes_one_append_more_than_it_has_steps() {
    let mut saga = Saga::new(order());
    assert_eq!(saga.go(), ["start a 1"]);
    assert_eq!(saga.ok("a"), ["start b 1"]);
    assert_eq!(saga.ok("b"), ["start p 1"]);
    assert_eq!(saga.ok("p"), ["start r 1"]);
    assert_eq!(saga.ok("r"), ["completed"]);
    assert_eq!(saga.state.phase(), Phase::Completed);
    assert_eq!(saga.go(), [""; 0]);
}

#[test]
fn a_saga_without_steps_completes_at_once_and_gives_its_input() {
    let mut saga = Saga::new(vec![]);
    assert_eq!(saga.go(), ["completed"]);
    assert_eq!(saga.state.result(&saga.graph), Some(&json("1")));
}

#[test]
fn steps_that_need_nothing_of_each_other_run_side_by_side() {
    let mut saga = Saga::new(vec![step("a"), step("b"), step("c").reads([0, 1]), step("d").needs([0])]);
    assert_eq!(saga.go(), ["start a 1", "start b 1"]);
    assert_eq!(saga.ok("a"), ["start d 1"]);
    assert_eq!(saga.ok("b"), ["start c 1"]);
    assert_eq!(saga.ok("d"), [""; 0]);
    assert_eq!(saga.ok("c"), ["completed"]);
}

#[test]
fn the_pivot_waits_for_all_before_it_and_all_after_wait_for_it() {
    let nodes =
        vec![step("a"), step("b"), of(Kind::Pivot, "p"), of(Kind::Retriable, "r"), of(Kind::ReadOnly, "x").reads([0])];
    let mut saga = Saga::new(nodes);
    assert_eq!(saga.go(), ["start a 1", "start b 1"]);
    assert_eq!(saga.ok("b"), [""; 0]);
    assert_eq!(saga.ok("a"), ["start p 1"]);
    assert_eq!(saga.ok("p"), ["start r 1", "start x 1"]);
}

#[test]
fn nothing_comes_before_the_saga_is_created() {
    let graph = super::saga::graph(order());
    let state = mainstay_saga::state::State::new(&graph);
    assert_eq!(state.plan(&graph, seconds(0)), None);
}

#[test]
fn the_result_is_the_output_of_the_step_that_gives_it() {
    let graph = Graph::new("saga", 1, vec![step("a"), step("b")]).unwrap().with_result(1).unwrap();
    let mut saga = Saga::of(graph);
    saga.go();
    assert_eq!(saga.state.result(&saga.graph), None);
    saga.gives("b", "\"done\"");
    assert_eq!(saga.state.result(&saga.graph), Some(&json("\"done\"")));
}

// ===== conditions =====

#[test]
fn a_step_is_left_out_unless_its_condition_is_true() {
    for (output, then) in
        [("true", "start b 1"), ("false", "leave out b"), ("1", "leave out b"), ("null", "leave out b")]
    {
        let mut saga = Saga::new(vec![of(Kind::ReadOnly, "flag"), step("b").when(0)]);
        saga.go();
        assert_eq!(saga.gives("flag", output)[0], then, "{output}");
    }
}

#[test]
fn what_was_left_out_counts_as_done_and_says_so() {
    let mut saga = Saga::new(vec![of(Kind::ReadOnly, "flag"), step("b").when(0), step("c").reads([1])]);
    saga.go();
    assert_eq!(saga.gives("flag", "false"), ["leave out b", "start c 1"]);
    assert_eq!(saga.state.step(1).output(), Some(&json("\"left_out\"")));
    assert_eq!(effect(&saga, "b"), None);
    assert_eq!(saga.ok("c"), ["completed"]);
}

#[test]
fn a_condition_that_was_left_out_is_not_met() {
    let mut saga = Saga::new(vec![of(Kind::ReadOnly, "x"), of(Kind::ReadOnly, "y").when(0), step("z").when(1)]);
    saga.go();
    assert_eq!(saga.gives("x", "false"), ["leave out y", "leave out z", "completed"]);
}

// ===== attempts =====

#[test]
fn a_step_is_tried_again_after_its_wait_until_its_attempts_are_spent() {
    for outcome in [FailedAs::NotExecuted, FailedAs::Unknown] {
        let mut saga = Saga::new(vec![step("a")]);
        saga.go();
        assert_eq!(saga.fails("a", outcome), [""; 0]);
        assert_eq!(saga.state.next_wake(), Some(seconds(1)));
        assert_eq!(saga.at(mainstay_saga::Timestamp::from_millis(999)), [""; 0]);
        assert_eq!(saga.at(seconds(1)), ["start a 2"]);
        saga.fails("a", outcome);
        assert_eq!(saga.state.next_wake(), Some(seconds(3)), "a linear backoff");
        assert_eq!(saga.at(seconds(3)), ["start a 3"]);
        assert_eq!(saga.fails("a", outcome)[0], "turn: a");
    }
}

#[test]
fn a_rejection_is_never_tried_again() {
    for outcome in [FailedAs::Rejected, FailedAs::RejectedForKey] {
        let mut saga = Saga::new(vec![step("a")]);
        saga.go();
        assert_eq!(saga.fails("a", outcome), ["turn: a", "compensated"]);
    }
}

#[test]
fn a_wait_is_no_shorter_than_what_was_asked_for_and_no_longer_than_a_day() {
    let mut saga = Saga::new(vec![step("a")]);
    saga.go();
    let after = |wait| Err(StepError::not_executed("busy").with_retry_after(wait));
    saga.ended("a", after(Duration::from_secs(60)));
    assert_eq!(saga.state.next_wake(), Some(seconds(60)));
    saga.at(seconds(60));
    saga.ended("a", after(Duration::MAX));
    assert_eq!(saga.state.next_wake(), Some(seconds(60 + 86_400)));

    let mut saga = Saga::new(vec![step("a")]);
    saga.go();
    saga.ended("a", after(Duration::from_millis(1)));
    assert_eq!(saga.state.next_wake(), Some(seconds(1)), "the backoff is longer");
}

#[test]
fn the_draw_decides_what_is_left_to_chance() {
    let node = || Node::new("a", Kind::Compensatable);
    let mut saga = Saga::new(vec![node()]);
    saga.go();
    let at = |draw| saga.state.settle(&saga.graph, 0, Err(StepError::unknown("no")), seconds(5), draw);
    assert!(matches!(at(0), Record::StepFailed { retry_at: Some(at), .. } if at == seconds(5)));
    let longest = mainstay_saga::Timestamp::from_millis(5_200);
    assert!(
        matches!(at(u64::MAX), Record::StepFailed { retry_at: Some(at), .. } if at == longest),
        "200 ms by default"
    );
}

#[test]
fn a_decorrelated_wait_grows_from_the_longest_one_before() {
    use mainstay_retry::{Backoff, Jitter};
    let backoff =
        Backoff::exponential(Duration::from_secs(1)).cap(Duration::from_secs(200)).jitter(Jitter::Decorrelated);
    let mut saga = Saga::new(vec![step("a").retry(Retry { attempts: None, backoff })]);
    saga.go();
    let mut waits = Vec::new();
    for _ in 0..6 {
        let before = saga.now;
        saga.fails("a", FailedAs::Unknown);
        let wake = saga.state.next_wake().unwrap();
        waits.push(wake.since(before).as_secs());
        saga.at(wake);
    }
    assert_eq!(waits, [3, 9, 27, 81, 200, 200]);
}

#[test]
fn the_defaults_are_five_attempts_and_ten_to_undo() {
    let mut saga = Saga::new(vec![Node::new("a", Kind::Compensatable), step("b").needs([0])]);
    saga.go();
    for _ in 1..5 {
        assert_eq!(saga.fails("a", FailedAs::NotExecuted), [""; 0]);
        saga.at(saga.state.next_wake().unwrap());
    }
    assert_eq!(saga.fails("a", FailedAs::NotExecuted)[0], "turn: a");

    let mut saga = Saga::new(vec![Node::new("a", Kind::Compensatable), step("b").needs([0])]);
    saga.go();
    saga.ok("a");
    saga.fails("b", FailedAs::Rejected);
    for _ in 1..10 {
        assert_eq!(saga.undo_fails("a"), [""; 0]);
        saga.at(saga.state.next_wake().unwrap());
    }
    assert_eq!(saga.undo_fails("a"), ["park: undo failed a"]);
}

// ===== doubts =====

/// What is known of the step `a` after these ends, of which `None` is a crash.
fn effect_after(ends: &[Option<FailedAs>]) -> Option<Effect<String>> {
    let endless = Retry { attempts: None, ..tries(1) };
    let mut saga = Saga::new(vec![step("a").retry(endless), step("b").needs([0])]);
    saga.go();
    for end in ends {
        match end {
            None => drop(saga.crash()),
            Some(outcome) => drop(saga.fails("a", *outcome)),
        }
        saga.at(saga.now.after(Duration::from_secs(10)));
    }
    effect(&saga, "a")
}

#[test]
fn doubt_stays_until_somebody_vouches_for_every_attempt() {
    use FailedAs::{NotExecuted, Rejected, RejectedForKey, Unknown};
    assert_eq!(effect_after(&[Some(Rejected)]), None);
    assert_eq!(effect_after(&[Some(NotExecuted), Some(Rejected)]), None);
    assert_eq!(effect_after(&[Some(Unknown), Some(Rejected)]), Some(Effect::Maybe));
    assert_eq!(
        effect_after(&[Some(Unknown), Some(NotExecuted), Some(NotExecuted), Some(Rejected)]),
        Some(Effect::Maybe)
    );
    assert_eq!(effect_after(&[None, Some(Rejected)]), Some(Effect::Maybe), "a crash is an unknown end");
    assert_eq!(effect_after(&[None, Some(NotExecuted), Some(Rejected)]), Some(Effect::Maybe));
    assert_eq!(effect_after(&[Some(Unknown), None, Some(RejectedForKey)]), None);
}

#[test]
fn success_settles_every_doubt() {
    let mut saga = Saga::new(vec![step("a"), step("b").needs([0])]);
    saga.go();
    saga.fails("a", FailedAs::Unknown);
    saga.at(seconds(1));
    assert!(saga.state.step(0).maybe_done_before());
    saga.gives("a", "\"receipt\"");
    assert_eq!(effect(&saga, "a"), Some(Effect::Known("\"receipt\"".into())));
}

#[test]
fn a_step_learns_whether_an_attempt_before_may_have_happened() {
    let mut saga = Saga::new(vec![step("a")]);
    saga.go();
    assert!(!saga.state.step(0).maybe_done_before());
    saga.fails("a", FailedAs::NotExecuted);
    saga.at(seconds(1));
    assert!(!saga.state.step(0).maybe_done_before());
    saga.crash();
    assert!(saga.state.step(0).maybe_done_before());
}

#[test]
fn a_read_that_may_have_happened_has_no_effect() {
    let mut saga = Saga::new(vec![of(Kind::ReadOnly, "x")]);
    saga.go();
    assert_eq!(effect(&saga, "x"), None);
    saga.fails("x", FailedAs::Unknown);
    saga.at(seconds(1));
    assert!(!saga.state.step(0).maybe_done_before());
    saga.crash();
    assert_eq!(effect(&saga, "x"), None);
}

// ===== crashes =====

#[test]
fn what_was_running_when_the_process_died_is_started_again() {
    let mut saga = Saga::new(vec![step("a"), step("b")]);
    saga.go();
    saga.ok("a");
    assert_eq!(saga.crash(), ["start b 2"]);
    assert_eq!(saga.ok("b"), ["completed"]);
}

#[test]
fn a_crash_is_no_failed_attempt() {
    let mut saga = Saga::new(vec![step("a").retry(tries(2))]);
    saga.go();
    for _ in 0..5 {
        saga.crash();
    }
    assert_eq!(saga.fails("a", FailedAs::NotExecuted), [""; 0], "the first of two");
    saga.at(seconds(1));
    assert_eq!(saga.fails("a", FailedAs::NotExecuted)[0], "turn: a");
}

#[test]
fn a_step_that_never_ends_parks_the_saga_once_the_others_have_ended() {
    let mut saga = Saga::new(vec![step("a"), step("b"), step("c").needs([1])]);
    saga.go();
    saga.ok("a");
    for starts in 2..=25 {
        assert_eq!(saga.crash(), [format!("start b {starts}")]);
    }
    assert_eq!(saga.crash(), ["park: never ends b"]);
    assert_eq!(saga.state.phase(), Phase::Parked);

    let mut saga = Saga::new(vec![step("a"), step("b"), step("c").needs([1])]);
    saga.go();
    for _ in 2..=25 {
        saga.crash();
    }
    saga.crash();
    assert_eq!(saga.state.phase(), Phase::Parked, "both never end");
}

#[test]
fn an_end_begins_the_count_of_starts_anew() {
    let mut saga = Saga::new(vec![step("a").retry(tries(99))]);
    saga.go();
    for _ in 0..20 {
        saga.crash();
    }
    saga.fails("a", FailedAs::NotExecuted);
    saga.at(seconds(1));
    for _ in 0..20 {
        assert_ne!(saga.crash(), ["park: never ends a"]);
    }
}

#[test]
fn the_wait_before_another_attempt_survives_a_crash() {
    let mut saga = Saga::new(vec![step("a")]);
    saga.go();
    saga.fails("a", FailedAs::Unknown);
    assert_eq!(saga.crash(), [""; 0]);
    assert_eq!(saga.state.next_wake(), Some(seconds(1)));
    assert_eq!(saga.at(seconds(1)), ["start a 2"]);
}

// ===== the pivot and what comes after it =====

/// The order saga, whose pivot runs.
pub(crate) fn at_pivot() -> Saga {
    let mut saga = Saga::new(order());
    saga.go();
    saga.ok("a");
    saga.ok("b");
    saga
}

#[test]
fn a_pivot_that_certainly_did_nothing_turns_the_saga() {
    for outcome in [FailedAs::Rejected, FailedAs::RejectedForKey] {
        assert_eq!(at_pivot().fails("p", outcome), ["turn: p", "undo b 1"]);
    }
    let mut saga = at_pivot();
    for at in [1, 3] {
        assert_eq!(saga.fails("p", FailedAs::NotExecuted), [""; 0]);
        saga.at(seconds(at));
    }
    assert_eq!(saga.fails("p", FailedAs::NotExecuted), ["turn: p", "undo b 1"]);
}

#[test]
fn a_pivot_that_may_have_happened_parks_the_saga() {
    let mut saga = at_pivot();
    for at in [1, 3] {
        assert_eq!(saga.fails("p", FailedAs::Unknown), [""; 0]);
        assert_eq!(saga.at(seconds(at)).len(), 1);
    }
    assert_eq!(saga.fails("p", FailedAs::Unknown), ["park: pivot unknown p"]);

    let mut saga = at_pivot();
    saga.fails("p", FailedAs::Unknown);
    saga.at(seconds(1));
    assert_eq!(
        saga.fails("p", FailedAs::Rejected),
        ["park: pivot unknown p"],
        "this attempt did nothing; the first may have"
    );

    let mut saga = at_pivot();
    assert_eq!(saga.crash(), ["start p 2"]);
    assert_eq!(saga.fails("p", FailedAs::Rejected), ["park: pivot unknown p"]);
}

#[test]
fn a_participant_that_vouches_for_its_key_settles_the_doubt_about_a_pivot() {
    let mut saga = at_pivot();
    saga.fails("p", FailedAs::Unknown);
    saga.at(seconds(1));
    assert_eq!(saga.fails("p", FailedAs::RejectedForKey), ["turn: p", "undo b 1"]);
}

/// The order saga, past its pivot.
pub(crate) fn past_pivot() -> Saga {
    let mut saga = at_pivot();
    saga.ok("p");
    saga
}

#[test]
fn after_the_pivot_a_step_is_tried_without_end() {
    for outcome in [FailedAs::NotExecuted, FailedAs::Unknown] {
        let mut saga = past_pivot();
        for attempt in 2..50 {
            assert_eq!(saga.fails("r", outcome), [""; 0], "whatever its attempts say");
            let wake = saga.state.next_wake().unwrap();
            assert_eq!(saga.at(wake), [format!("start r {attempt}")]);
        }
    }
}

#[test]
fn a_rejection_after_the_pivot_parks_the_saga() {
    for kind in [Kind::Retriable, Kind::ReadOnly] {
        let mut saga = Saga::new(vec![of(Kind::Pivot, "p"), of(kind, "r"), of(kind, "q")]);
        saga.go();
        saga.ok("p");
        assert_eq!(saga.fails("r", FailedAs::Rejected), [""; 0], "the other one is running");
        assert_eq!(saga.state.step(1).status(), Status::Stuck);
        assert_eq!(saga.fails("q", FailedAs::NotExecuted), [""; 0], "the other one waits for its time");
        let wake = saga.state.next_wake().unwrap();
        assert_eq!(saga.at(wake), ["start q 2"]);
        assert_eq!(saga.ok("q"), ["park: rejected r"]);
    }
}

#[test]
fn a_read_only_step_before_the_pivot_turns_the_saga_and_leaves_nothing() {
    let mut saga = Saga::new(vec![of(Kind::ReadOnly, "x"), of(Kind::Pivot, "p")]);
    saga.go();
    for at in [1, 3] {
        saga.fails("x", FailedAs::Unknown);
        saga.at(seconds(at));
    }
    assert_eq!(saga.fails("x", FailedAs::Unknown), ["turn: x", "compensated"]);
}

// ===== too long =====

/// Lets a step fail and be tried again until nothing of it starts any more; the log is not checked meanwhile.
fn until_too_long(saga: &mut Saga, step: &str) {
    loop {
        let position = saga.position(step);
        let record = saga.state.settle(&saga.graph, position, Err(StepError::not_executed("no")), saga.now, 0);
        saga.state.apply(&saga.graph, &record).unwrap();
        saga.now = saga.state.next_wake().unwrap_or(saga.now);
        match saga.state.plan(&saga.graph, saga.now) {
            Some(next @ Record::StepStarted { .. }) => saga.state.apply(&saga.graph, &next).unwrap(),
            _ => break,
        }
    }
    assert!((10_000..=10_001).contains(&saga.state.seq()), "{}", saga.state.seq());
}

#[test]
fn a_saga_with_ten_thousand_records_is_parked_and_has_as_many_again_when_it_is_resumed() {
    let mut saga = past_pivot();
    until_too_long(&mut saga, "r");
    let next = saga.state.plan(&saga.graph, saga.now).unwrap();
    assert_eq!(super::saga::words(&next), "park: TooLong");
    saga.state.apply(&saga.graph, &next).unwrap();

    let by = mainstay_saga::ByOperator { by: "ann".into(), reason: "it is right to try on".into() };
    saga.state.apply(&saga.graph, &Record::Resumed(by)).unwrap();
    let next = saga.state.plan(&saga.graph, saga.state.next_wake().unwrap()).unwrap();
    assert!(matches!(next, Record::StepStarted { .. }));
}

#[test]
fn a_saga_that_is_too_long_waits_for_what_runs_and_for_nothing_else() {
    let mut saga = Saga::new(vec![of(Kind::Pivot, "p"), of(Kind::Retriable, "r"), of(Kind::Retriable, "q")]);
    saga.go();
    saga.ok("p");
    until_too_long(&mut saga, "r");
    assert_eq!((saga.state.plan(&saga.graph, seconds(u64::MAX / 1_000)), saga.state.next_wake()), (None, None));
    let ended = saga.state.settle(&saga.graph, 2, Ok(json("7")), saga.now, 0);
    saga.state.apply(&saga.graph, &ended).unwrap();
    assert_eq!(super::saga::words(&saga.state.plan(&saga.graph, saga.now).unwrap()), "park: TooLong");
}

#[test]
fn a_saga_that_was_too_long_has_as_many_records_to_be_undone() {
    let endless = Retry { attempts: None, ..tries(1) };
    let mut saga = Saga::new(vec![step("a"), step("b").needs([0]).retry(endless)]);
    saga.go();
    saga.ok("a");
    until_too_long(&mut saga, "b");
    saga.state.apply(&saga.graph, &Record::CancelRequested { reason: "enough".into() }).unwrap();
    for expected in ["turn: cancelled", "undo a 1"] {
        let next = saga.state.plan(&saga.graph, saga.now).unwrap();
        assert_eq!(super::saga::words(&next), expected);
        saga.state.apply(&saga.graph, &next).unwrap();
    }
}
