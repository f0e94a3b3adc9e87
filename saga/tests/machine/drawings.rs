//! Graphs as text.

use super::{
    forward::{of, step},
    saga::Saga,
};
use mainstay_saga::{FailedAs, Graph, Kind, Node};
use std::time::Duration;

fn all_kinds() -> Vec<Node> {
    vec![
        of(Kind::ReadOnly, "flag"),
        step("a"),
        step("b").when(0).reads([1]),
        of(Kind::Signal { at_most: None }, "s").needs([1]),
        of(Kind::Timer { wait: Duration::from_secs(1) }, "t"),
        of(Kind::Pivot, "p"),
        of(Kind::Retriable, "r"),
    ]
}

#[test]
fn mermaid_shows_kinds_data_order_and_conditions() {
    let text = Graph::new("saga", 1, all_kinds()).unwrap().mermaid();
    let expected = r#"flowchart TD
  s0("flag")
  s1["a"]
  s2["b"]
  s3>"s"]
  s4(("t"))
  s5{{"p"}}
  s6[["r"]]
  s0 -- if true --> s2
  s1 --> s2
  s1 -.-> s3
  s2 -.-> s5
  s3 -.-> s5
  s4 -.-> s5
  s5 -.-> s6
"#;
    assert_eq!(text, expected);
}

#[test]
fn dot_shows_the_same() {
    let text = Graph::new("saga", 1, vec![of(Kind::ReadOnly, "flag"), step("a").when(0), of(Kind::Pivot, "p")]);
    let expected = r#"digraph "saga" {
  s0 [label="flag" shape=ellipse];
  s1 [label="a" shape=box];
  s2 [label="p" shape=hexagon];
  s0 -> s1 [label="if true"];
  s1 -> s2 [style=dotted];
}
"#;
    assert_eq!(text.unwrap().dot(), expected);
}

#[test]
fn a_live_saga_shows_status_doubt_and_where_help_is_needed() {
    let mut saga = Saga::new(vec![step("a"), step("b"), of(Kind::Pivot, "p"), of(Kind::Retriable, "r")]);
    saga.go();
    saga.ok("a");
    let text = saga.graph.mermaid_of(&saga.state);
    assert!(text.contains("  s1[\"b ?\"]\n"), "{text}");
    assert!(text.contains("  classDef running fill:#cfe2ff\n  class s1 running\n"), "{text}");
    assert!(text.contains("  class s0 done\n") && text.contains("  class s2,s3 idle\n"), "{text}");
    assert!(!text.contains("stuck"), "{text}");

    saga.ok("b");
    saga.fails("p", FailedAs::Unknown);
    assert!(saga.graph.mermaid_of(&saga.state).contains("  class s2 waiting\n"));
    saga.at(saga.state.next_wake().unwrap());
    assert_eq!(saga.fails("p", FailedAs::Rejected), ["park: pivot unknown p"]);
    let text = saga.graph.mermaid_of(&saga.state);
    assert!(text.contains("stroke-width:4px\n  class s2 stuck\n"), "{text}");
    let text = saga.graph.dot_of(&saga.state);
    assert!(
        text.contains("s2 [label=\"p ?\" shape=hexagon style=filled fillcolor=\"#ff9999\" color=\"#c00\" penwidth=4];")
    );
    assert!(text.contains("s0 [label=\"a\" shape=box style=filled fillcolor=\"#d5f0d5\"];"), "{text}");
}

#[test]
fn a_step_that_was_left_out_looks_as_if_it_had_not_started() {
    let mut saga = Saga::new(vec![of(Kind::ReadOnly, "flag"), step("a").when(0)]);
    saga.go();
    saga.gives("flag", "false");
    let text = saga.graph.mermaid_of(&saga.state);
    assert!(text.contains("  class s1 idle\n") && text.contains("  class s0 done\n"), "{text}");
}
