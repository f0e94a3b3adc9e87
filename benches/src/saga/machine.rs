//! The machine alone: no journal, no task, no step.

use super::completing;
use crate::Case;
use mainstay_saga::{Graph, Payload, Record, Timestamp, state::State};
use std::hint::black_box;

const NOW: Timestamp = Timestamp::from_millis(1_000);

/// One record is folded, and the next is planned. A saga has eight.
pub(super) fn record(name: &str) -> Case {
    Case::new(name, || {
        let saga = completing();
        let graph = saga.graph().clone();
        let log = log(&graph);
        let mut state = State::new(&graph);
        let mut at = 0;
        move |_| {
            if at == log.len() {
                (at, state) = (0, State::new(&graph));
            }
            state.apply(&graph, &log[at]).expect("a record that follows");
            at += 1;
            let planned = black_box(state.plan(&graph, NOW));
            // What is planned is the next record, unless that is the end of an attempt.
            assert!(planned.is_none_or(|planned| Some(&planned) == log.get(at)));
        }
    })
}

/// The records of a saga whose steps succeed.
fn log(graph: &Graph) -> Vec<Record> {
    let input = Payload::encode(&1).expect("a number");
    let mut state = State::new(graph);
    let mut log = Vec::new();
    let mut next = Some(Record::created(graph, "key".into(), input.clone(), NOW));
    let mut running = 0..graph.nodes().len();
    while let Some(record) = next {
        state.apply(graph, &record).expect("a record that follows");
        log.push(record);
        let ended = || running.next().map(|step| state.settle(graph, step, Ok(input.clone()), NOW, 0));
        next = state.plan(graph, NOW).or_else(ended);
    }
    assert_eq!(log.len(), 8);
    log
}
