//! Graphs as text that others draw: Mermaid and DOT.

use super::{Graph, Kind, Node};
use crate::{
    Effect,
    state::{State, Status},
};
use std::fmt::{self, Write};

impl Graph {
    /// The graph as [Mermaid](https://mermaid.js.org) text, which many pages draw as it is.
    ///
    /// The pivot is a hexagon, a [retriable](Kind::Retriable) step has a double frame, reads are round. A solid arrow carries
    /// data, a dotted one is an order only, and a condition stands on its arrow.
    ///
    /// ```
    /// use mainstay_saga::{Graph, Kind, Node};
    ///
    /// let steps = vec![Node::new("charge", Kind::Compensatable), Node::new("confirm", Kind::Pivot).reads([0])];
    /// let text = Graph::new("order", 1, steps)?.mermaid();
    /// assert_eq!(text, "flowchart TD\n  s0[\"charge\"]\n  s1{{\"confirm\"}}\n  s0 --> s1\n");
    /// # Ok::<(), mainstay_saga::BuildError>(())
    /// ```
    pub fn mermaid(&self) -> String {
        written(|text| self.write_mermaid(text, None))
    }

    /// The same with how a saga stands: each step in the colour of its status, with a `?` if it may have happened, and a
    /// thick frame if an operator has to help.
    pub fn mermaid_of(&self, state: &State) -> String {
        written(|text| self.write_mermaid(text, Some(state)))
    }

    /// The graph as text in the language of [Graphviz](https://graphviz.org), in the shapes of [`mermaid`](Self::mermaid).
    pub fn dot(&self) -> String {
        written(|text| self.write_dot(text, None))
    }

    /// The same with how a saga stands, as [`mermaid_of`](Self::mermaid_of) shows it.
    pub fn dot_of(&self, state: &State) -> String {
        written(|text| self.write_dot(text, Some(state)))
    }

    fn write_mermaid(&self, text: &mut String, state: Option<&State>) -> fmt::Result {
        writeln!(text, "flowchart TD")?;
        for (position, node) in self.nodes.iter().enumerate() {
            let (open, close) = mermaid_frame(node.kind);
            writeln!(text, "  s{position}{open}\"{}\"{close}", label(node, position, state))?;
        }
        for (from, to, edge) in self.edges() {
            let arrow = match edge {
                Edge::Condition => "-- if true -->",
                Edge::Data => "-->",
                Edge::Order => "-.->",
            };
            writeln!(text, "  s{from} {arrow} s{to}")?;
        }
        let Some(state) = state else { return Ok(()) };
        for look in Look::ALL {
            let steps = self.steps_that(look, state);
            if !steps.is_empty() {
                let frame = if look == Look::Stuck { ",stroke:#c00,stroke-width:4px" } else { "" };
                writeln!(text, "  classDef {} fill:{}{frame}", look.name(), look.colour())?;
                writeln!(text, "  class {} {}", steps.join(","), look.name())?;
            }
        }
        Ok(())
    }

    fn write_dot(&self, text: &mut String, state: Option<&State>) -> fmt::Result {
        writeln!(text, "digraph \"{}\" {{", self.name)?;
        for (position, node) in self.nodes.iter().enumerate() {
            let label = label(node, position, state);
            write!(text, "  s{position} [label=\"{label}\" {}", dot_frame(node.kind))?;
            if let Some(state) = state {
                let look = Look::of(state.step(position).status());
                let frame = if look == Look::Stuck { " color=\"#c00\" penwidth=4" } else { "" };
                write!(text, " style=filled fillcolor=\"{}\"{frame}", look.colour())?;
            }
            writeln!(text, "];")?;
        }
        for (from, to, edge) in self.edges() {
            let style = match edge {
                Edge::Condition => " [label=\"if true\"]",
                Edge::Data => "",
                Edge::Order => " [style=dotted]",
            };
            writeln!(text, "  s{from} -> s{to}{style};")?;
        }
        writeln!(text, "}}")
    }

    /// From where to where, and what for.
    fn edges(&self) -> impl Iterator<Item = (usize, usize, Edge)> {
        let edges_to = |(to, node)| needs(node).map(move |(from, edge)| (from, to, edge));
        self.nodes.iter().enumerate().flat_map(edges_to)
    }

    fn steps_that(&self, look: Look, state: &State) -> Vec<String> {
        let positions = 0..self.nodes.len();
        let alike = positions.filter(|&position| Look::of(state.step(position).status()) == look);
        alike.map(|position| format!("s{position}")).collect()
    }
}

/// What a writer wrote into a string, which takes everything.
fn written(write: impl FnOnce(&mut String) -> fmt::Result) -> String {
    let mut text = String::new();
    let _ = write(&mut text);
    text
}

/// Why one step waits for another.
#[derive(Clone, Copy)]
enum Edge {
    Condition,
    Data,
    Order,
}

fn needs(node: &Node) -> impl Iterator<Item = (usize, Edge)> {
    node.needs.iter().map(|need| {
        let edge = if node.condition == Some(*need) {
            Edge::Condition
        } else if node.reads.contains(need) {
            Edge::Data
        } else {
            Edge::Order
        };
        (*need, edge)
    })
}

fn label(node: &Node, position: usize, state: Option<&State>) -> String {
    let effect = state.and_then(|state| state.step(position).effect());
    let mark = if effect == Some(Effect::Maybe) { " ?" } else { "" };
    format!("{}{mark}", node.name)
}

const fn mermaid_frame(kind: Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::Compensatable => ("[", "]"),
        Kind::ReadOnly => ("(", ")"),
        Kind::Pivot => ("{{", "}}"),
        Kind::Retriable => ("[[", "]]"),
        Kind::Signal { .. } => (">", "]"),
        Kind::Timer { .. } => ("((", "))"),
    }
}

const fn dot_frame(kind: Kind) -> &'static str {
    match kind {
        Kind::Compensatable => "shape=box",
        Kind::ReadOnly => "shape=ellipse",
        Kind::Pivot => "shape=hexagon",
        Kind::Retriable => "shape=box peripheries=2",
        Kind::Signal { .. } => "shape=cds",
        Kind::Timer { .. } => "shape=circle",
    }
}

/// How a step is shown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    Idle,
    Waiting,
    Running,
    Done,
    Failed,
    Undoing,
    Undone,
    Stuck,
}

impl Look {
    const ALL: [Self; 8] =
        [Self::Idle, Self::Waiting, Self::Running, Self::Done, Self::Failed, Self::Undoing, Self::Undone, Self::Stuck];

    const fn of(status: Status) -> Self {
        match status {
            Status::Idle | Status::LeftOut => Self::Idle,
            Status::Waiting { .. } | Status::Retrying { .. } => Self::Waiting,
            Status::Running => Self::Running,
            Status::Succeeded => Self::Done,
            Status::Failed => Self::Failed,
            Status::Undoing | Status::RetryingUndo { .. } => Self::Undoing,
            Status::Undone | Status::MarkedCompensated | Status::Skipped => Self::Undone,
            Status::Stuck | Status::UndoStuck => Self::Stuck,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Undoing => "undoing",
            Self::Undone => "undone",
            Self::Stuck => "stuck",
        }
    }

    const fn colour(self) -> &'static str {
        match self {
            Self::Idle => "#eeeeee",
            Self::Waiting => "#fff2cc",
            Self::Running => "#cfe2ff",
            Self::Done => "#d5f0d5",
            Self::Failed => "#f8cccc",
            Self::Undoing => "#ffd9b3",
            Self::Undone => "#d9d2e9",
            Self::Stuck => "#ff9999",
        }
    }
}
