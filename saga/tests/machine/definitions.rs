//! Graphs: what is refused, what is added, what the fingerprint sees.

use super::{
    forward::{of, order, step},
    graphs::tries,
};
use mainstay_retry::Backoff;
use mainstay_saga::{BuildError, Graph, Kind, Node, Retry};
use std::time::Duration;

fn error(nodes: Vec<Node>) -> BuildError {
    Graph::new("saga", 1, nodes).unwrap_err()
}

fn fingerprint(nodes: Vec<Node>) -> u64 {
    Graph::new("saga", 1, nodes).unwrap().fingerprint()
}

#[test]
fn names_are_short_and_plain() {
    let too_long = "x".repeat(65);
    for name in ["", "Order", "a b", "ä", "a/b", too_long.as_str()] {
        assert_eq!(Graph::new(name, 1, vec![]).unwrap_err(), BuildError::SagaName { name: name.into() });
        assert_eq!(error(vec![step(name)]), BuildError::StepName { step: name.into() });
    }
    for name in ["a", "reserve-stock", "v2.charge_card", "x".repeat(64).as_str()] {
        assert_eq!(Graph::new(name, 1, vec![step(name)]).unwrap().nodes()[0].name(), name);
    }
}

#[test]
fn a_step_has_a_name_of_its_own() {
    let repeated = error(vec![step("a"), step("b"), step("a")]);
    assert_eq!(repeated, BuildError::RepeatedStep { step: "a".into() });
    assert_eq!(repeated.to_string(), "two steps have the name \"a\"");
}

#[test]
fn a_step_waits_for_steps_before_it() {
    for nodes in [vec![step("a").needs([0])], vec![step("a").reads([1]), step("b")], vec![step("a").when(usize::MAX)]] {
        assert_eq!(error(nodes), BuildError::NotBefore { step: "a".into() });
    }
}

#[test]
fn kinds_have_their_side_of_the_pivot() {
    let pivot = || of(Kind::Pivot, "p");
    let misplaced = |step: &str| BuildError::Misplaced { step: step.into() };
    assert_eq!(error(vec![pivot(), step("a")]), misplaced("a"));
    assert_eq!(error(vec![pivot(), of(Kind::Pivot, "q")]), misplaced("q"));
    assert_eq!(error(vec![of(Kind::Retriable, "r"), pivot()]), misplaced("r"));
    assert_eq!(error(vec![of(Kind::Retriable, "r")]), misplaced("r"));
}

#[test]
fn settings_out_of_range_are_refused() {
    let wrong = Retry { backoff: Backoff::exponential(Duration::ZERO), ..tries(1) };
    let nodes = [
        step("a").retry(wrong),
        step("a").undo_retry(wrong),
        step("a").attempt_timeout(Some(Duration::ZERO)),
        step("a").undo_timeout(Some(Duration::ZERO)),
    ];
    for node in nodes {
        let refused = error(vec![node]);
        assert!(matches!(&refused, BuildError::Setting { step, .. } if **step == *"a"), "{refused:?}");
        assert!(refused.to_string().starts_with("in the step \"a\", `"), "{refused}");
    }
    let graph = Graph::new("saga", 1, vec![step("a")]).unwrap();
    assert!(matches!(graph.clone().with_deadline(Duration::ZERO), Err(BuildError::Saga(_))));
    assert!(matches!(graph.clone().with_result(1), Err(BuildError::Saga(_))));
    assert_eq!(graph.clone().with_deadline(Duration::MAX).unwrap().deadline(), Some(Duration::MAX));
    assert_eq!(graph.with_result(0).unwrap().result(), Some(0));
}

#[test]
fn there_are_at_most_a_thousand_steps() {
    let steps = |many: usize| (0..many).map(|number| step(&number.to_string())).collect();
    assert_eq!(Graph::new("saga", 1, steps(1_000)).unwrap().nodes().len(), 1_000);
    assert_eq!(error(steps(1_001)), BuildError::TooManySteps);
}

#[test]
fn what_is_needed_is_listed_once_and_sorted() {
    let nodes = vec![step("a"), step("b"), step("c"), step("d").reads([2, 0]).needs([2, 1, 1]).when(0)];
    let graph = Graph::new("saga", 1, nodes).unwrap();
    assert_eq!(graph.nodes()[3].needed(), [0, 1, 2]);
    assert_eq!(graph.nodes()[3].read(), [0, 2]);
}

#[test]
fn the_pivot_and_what_follows_it_get_no_more_edges_than_needed() {
    let graph = Graph::new("saga", 1, order()).unwrap();
    assert_eq!(graph.nodes()[2].needed(), [1]);
    assert_eq!(graph.nodes()[3].needed(), [2]);
    let nodes = vec![of(Kind::Pivot, "p"), of(Kind::Retriable, "q"), of(Kind::ReadOnly, "r").needs([1])];
    assert_eq!(Graph::new("saga", 1, nodes).unwrap().nodes()[2].needed(), [1]);
    assert_eq!(graph.pivot(), Some(2));
    let sides = graph.nodes().iter().map(Node::is_committed);
    assert_eq!(sides.collect::<Vec<_>>(), [false, false, false, true]);
}

#[test]
fn a_node_of_another_graph_is_as_good_as_a_new_one() {
    for nodes in [order(), vec![step("a"), step("b").reads([0])]] {
        let first = Graph::new("saga", 1, nodes).unwrap();
        assert_eq!(Graph::new("saga", 1, first.nodes().to_vec()).unwrap(), first);
    }
}

#[test]
fn the_fingerprint_is_the_same_in_every_build() {
    assert_eq!(fingerprint(order()), 3_835_534_718_631_936_181);
    assert_eq!(fingerprint(vec![]), 12_161_962_213_042_174_405);
}

#[test]
fn the_fingerprint_sees_names_kinds_edges_conditions_and_the_result() {
    let mut all = vec![
        fingerprint(vec![]),
        fingerprint(vec![step("a")]),
        fingerprint(vec![step("b")]),
        fingerprint(vec![of(Kind::ReadOnly, "a")]),
        fingerprint(vec![of(Kind::Pivot, "a")]),
        fingerprint(vec![of(Kind::Signal { at_most: None }, "a")]),
        fingerprint(vec![of(Kind::Timer { wait: Duration::ZERO }, "a")]),
        fingerprint(vec![step("a"), step("b")]),
        fingerprint(vec![step("b"), step("a")]),
        fingerprint(vec![step("ab")]),
        fingerprint(vec![step("a"), step("b").needs([0])]),
        fingerprint(vec![step("a"), step("b").when(0)]),
        fingerprint(vec![of(Kind::Pivot, "a"), of(Kind::ReadOnly, "b")]),
        fingerprint(vec![of(Kind::Pivot, "a"), of(Kind::Retriable, "b")]),
        Graph::new("saga", 1, vec![step("a")]).unwrap().with_result(0).unwrap().fingerprint(),
    ];
    let many = all.len();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), many);
}

#[test]
fn the_fingerprint_does_not_see_how_often_and_how_long() {
    let other = step("a").retry(tries(9)).undo_retry(tries(9)).attempt_timeout(None).undo_timeout(None);
    assert_eq!(fingerprint(vec![other]), fingerprint(vec![step("a")]));
    let timer = |seconds| of(Kind::Timer { wait: Duration::from_secs(seconds) }, "t");
    assert_eq!(fingerprint(vec![timer(1)]), fingerprint(vec![timer(2)]));
    let signal = |at_most| of(Kind::Signal { at_most }, "s");
    assert_eq!(fingerprint(vec![signal(None)]), fingerprint(vec![signal(Some(Duration::from_secs(1)))]));
    assert_eq!(fingerprint(vec![step("a"), step("b").reads([0])]), fingerprint(vec![step("a"), step("b").needs([0])]));
}
