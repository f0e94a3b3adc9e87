//! What the machine costs: nothing on the heap to find that nothing is to be done, and no more than the records themselves.

use allocation_counter::measure;
use mainstay_saga::{Graph, Kind, Node, Payload, Record, StepError, Timestamp, state::State};

const NOW: Timestamp = Timestamp::from_millis(0);

/// Ten steps, side by side, all of which run.
fn running() -> (Graph, State) {
    let nodes = (0..10).map(|number| Node::new(format!("step-{number}"), Kind::Compensatable));
    let graph = Graph::new("saga", 1, nodes.collect()).unwrap();
    let mut state = State::new(&graph);
    state.apply(&graph, &Record::created(&graph, "key".into(), Payload::encode(&1).unwrap(), NOW)).unwrap();
    go(&graph, &mut state);
    (graph, state)
}

fn go(graph: &Graph, state: &mut State) {
    while let Some(record) = state.plan(graph, NOW) {
        state.apply(graph, &record).unwrap();
    }
}

#[test]
fn a_plan_that_finds_nothing_allocates_nothing() {
    let (graph, mut state) = running();
    assert_eq!(measure(|| assert_eq!(state.plan(&graph, NOW), None)).count_total, 0);

    let failed = state.settle(&graph, 0, Err(StepError::rejected("no")), NOW, 0);
    state.apply(&graph, &failed).unwrap();
    go(&graph, &mut state);
    assert_eq!(measure(|| assert_eq!(state.plan(&graph, NOW), None)).count_total, 0, "backward as well");
    assert_eq!(measure(|| assert_eq!(state.next_wake(), None)).count_total, 0);
}

#[test]
fn records_that_are_taken_in_allocate_nothing() {
    let (graph, mut state) = running();
    let output = Payload::encode(&7).unwrap();
    let succeeded = state.settle(&graph, 3, Ok(output), NOW, 0);
    assert_eq!(measure(|| state.apply(&graph, &succeeded).unwrap()).count_total, 0);
    let failed = state.settle(&graph, 4, Err(StepError::unknown("no")), NOW, 0);
    assert_eq!(measure(|| state.apply(&graph, &failed).unwrap()).count_total, 0);
}

#[test]
fn a_record_that_is_planned_shares_its_names() {
    let nodes = vec![Node::new("a", Kind::Compensatable)];
    let graph = Graph::new("saga", 1, nodes).unwrap();
    let mut state = State::new(&graph);
    state.apply(&graph, &Record::created(&graph, "key".into(), Payload::encode(&1).unwrap(), NOW)).unwrap();
    assert_eq!(measure(|| assert!(state.plan(&graph, NOW).is_some())).count_total, 0);
}

#[test]
fn a_state_is_two_allocations() {
    let (graph, _) = running();
    assert_eq!(measure(|| drop(State::new(&graph))).count_total, 2);
}
