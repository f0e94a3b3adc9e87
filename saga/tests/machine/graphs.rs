//! Random graphs, and random choices that shrink.

use mainstay_retry::{Backoff, Jitter};
use mainstay_saga::{Graph, Kind, Node, Retry};
use std::{num::NonZeroU32, time::Duration};

/// Choices given by a list of numbers; zero, the tame one, once they are used up.
pub(crate) struct Choices {
    numbers: std::vec::IntoIter<u16>,
}

impl Choices {
    pub(crate) fn new(numbers: Vec<u16>) -> Self {
        Self { numbers: numbers.into_iter() }
    }

    /// One of so many.
    pub(crate) fn of(&mut self, many: usize) -> usize {
        usize::from(self.numbers.next().unwrap_or(0)) % many.max(1)
    }

    pub(crate) fn one_in(&mut self, many: usize) -> bool {
        self.of(many) == many - 1
    }

    pub(crate) fn is_used_up(&self) -> bool {
        self.numbers.len() == 0
    }
}

/// Tries so often, and waits a second longer each time.
pub(crate) fn tries(attempts: u32) -> Retry {
    let backoff = Backoff::linear(Duration::from_secs(1)).cap(Duration::from_secs(5)).jitter(Jitter::None);
    Retry { attempts: NonZeroU32::new(attempts), backoff }
}

/// A graph of one to eight steps of all kinds.
pub(crate) fn graph(choices: &mut Choices) -> Graph {
    let steps = 1 + choices.of(8);
    // Half of them have no pivot.
    let pivot = choices.of(2 * steps);
    let nodes = (0..steps).map(|position| node(choices, position, pivot)).collect();
    let graph = Graph::new("random", 1, nodes).expect("the generator makes valid graphs");
    let graph = if choices.one_in(3) { graph.with_result(steps - 1).unwrap() } else { graph };
    if choices.one_in(3) { graph.with_deadline(Duration::from_secs(6)).unwrap() } else { graph }
}

fn node(choices: &mut Choices, position: usize, pivot: usize) -> Node {
    let mut node = Node::new(format!("s{position}"), kind(choices, position, pivot));
    for earlier in 0..position {
        match choices.of(4) {
            2 => node = node.needs([earlier]),
            3 => node = node.reads([earlier]),
            _ => {}
        }
    }
    if position > 0 && choices.one_in(4) {
        node = node.when(choices.of(position));
    }
    node.retry(tries([1, 2, 3][choices.of(3)])).undo_retry(tries([1, 2][choices.of(2)]))
}

fn kind(choices: &mut Choices, position: usize, pivot: usize) -> Kind {
    let wait = Duration::from_secs(2);
    match choices.of(8) {
        _ if position == pivot => Kind::Pivot,
        5 => Kind::ReadOnly,
        6 => Kind::Signal { at_most: (!choices.one_in(2)).then_some(wait) },
        7 => Kind::Timer { wait },
        _ if position > pivot => Kind::Retriable,
        _ => Kind::Compensatable,
    }
}
