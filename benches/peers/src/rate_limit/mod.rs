//! The rate limiter beside other crates: the same calls, the same loop, the same checks.
//!
//! Each crate is used as its own documentation shows it. Who admits has a unit for each nanosecond, which is more than a thread
//! can ask for; who refuses has one unit a day, and it is taken.

mod governor;
mod leaky_bucket;
mod mainstay;
mod tower;
mod tower_governor;
mod tower_resilience;

use mainstay_benches::{Case, bare};

/// What is measured, in the order of the report.
const GROUPS: [&str; 10] = [
    "bare",
    "token_bucket",
    "token_bucket_refused",
    "keyed_64",
    "keyed_64_refused",
    "keyed_million",
    "layer",
    "layer_refused",
    "http",
    "http_refused",
];

/// All cases for one thread, by what is measured.
pub fn cases() -> Vec<Case> {
    let crates = [
        mainstay::cases(),
        governor::cases(),
        leaky_bucket::cases(),
        tower::cases(),
        tower_resilience::cases(),
        tower_governor::cases(),
    ];
    let mut cases: Vec<_> = [bare()].into_iter().chain(crates.into_iter().flatten()).collect();
    cases.sort_by_key(|case| GROUPS.iter().position(|known| *known == group(case)));
    cases
}

/// The cases where threads meet at one limiter. That of tower is not `Clone`.
pub fn shared_cases() -> Vec<Case> {
    cases().into_iter().filter(|case| case.name() != "layer/tower").collect()
}

fn group(case: &Case) -> &str {
    case.name().split('/').next().unwrap_or_default()
}
