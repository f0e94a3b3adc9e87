//! The zoo: for each clause a layer that breaks it, and nothing else.
//!
//! A clause that no layer can break is not checked, and one that breaks together with another teaches the wrong thing.

mod answers;
mod callers;
mod permits;
mod readiness;
mod resources;
mod wakers;

use mainstay_conformance::{Clause, Outcome, Probe, Report};
use tower_layer::LayerFn;

/// A layer made of a function.
pub(crate) fn on<S>(make: fn(Probe) -> S) -> LayerFn<fn(Probe) -> S> {
    tower_layer::layer_fn(make)
}

/// Exactly this clause is broken.
pub(crate) fn breaks_only(report: &Report, clause: Clause) {
    let failures: Vec<Clause> = report.failures().collect();
    let lessons: Vec<String> = report
        .outcomes()
        .filter_map(|(clause, outcome)| match outcome {
            Outcome::Fails(seen) => Some(format!("{clause}: {seen}")),
            _ => None,
        })
        .collect();
    assert_eq!(failures, [clause], "{}\n{}", report.name(), lessons.join("\n"));
}

/// The number of specimens in the modules, so that none is forgotten here: every clause has its own.
#[test]
fn every_clause_has_a_specimen() {
    let sources = [
        include_str!("answers.rs"),
        include_str!("callers.rs"),
        include_str!("permits.rs"),
        include_str!("readiness.rs"),
        include_str!("resources.rs"),
        include_str!("wakers.rs"),
    ];
    for clause in Clause::ALL {
        if cfg!(not(feature = "allocations")) && *clause == Clause::FewAllocations {
            continue;
        }
        let specimen = format!("Clause::{clause:?})");
        assert!(sources.iter().any(|source| source.contains(&specimen)), "{clause} ({clause:?}) has no specimen");
    }
}
