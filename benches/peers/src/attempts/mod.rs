//! Retry, timeout, hedge and fallback beside other crates: the same calls, the same loop, the same checks.
//!
//! Each crate is used as its own documentation shows it, with the same settings where it has them: at most three attempts, a
//! backoff that doubles from 100 ms, a budget of a tenth of the calls, ten seconds of patience, one hedge. Every first attempt
//! succeeds, so nothing is ever sent again: what is measured is what the healthy calls pay.

mod backon;
mod mainstay;
mod seatbelt;
mod tokio_retry;
mod tower;
mod tower_resilience;

use mainstay_benches::{Case, bare, bare_awaited};
use std::time::Duration;

/// How many times a request is sent at most.
const ATTEMPTS: u32 = 3;

/// How long the first retry waits, before jitter.
const BASE: Duration = Duration::from_millis(100);

/// How long a timeout waits.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a hedge waits where the delay is fixed.
const HEDGE_AFTER: Duration = Duration::from_millis(100);

/// What is answered instead of a failure.
const INSTEAD: u64 = 0;

/// What is measured, in the order of the report.
const GROUPS: [&str; 12] = [
    "bare",
    "retry",
    "retry_budget",
    "timeout",
    "bare_awaited",
    "timeout_awaited",
    "hedge",
    "hedge_percentile",
    "fallback_value",
    "fallback_function",
    "retry_timeout",
    "retry_breaker_timeout",
];

/// All cases for one thread, by what is measured. In those whose names say so, each call is pending once and awaited in a
/// runtime; the others answer at once.
pub fn cases() -> Vec<Case> {
    let crates = [
        mainstay::cases(),
        tower::cases(),
        tower_resilience::cases(),
        seatbelt::cases(),
        backon::cases(),
        tokio_retry::cases(),
    ];
    let bare = [bare(), bare_awaited()];
    let mut cases: Vec<_> = bare.into_iter().chain(crates.into_iter().flatten()).collect();
    cases.sort_by_key(|case| GROUPS.iter().position(|known| *known == group(case)));
    cases
}

/// The cases where threads meet at something that they share, and, as the yardstick, those where they share nothing.
///
/// Left out is what cannot be shared: backon and tokio-retry make all anew for each call, and tower's hedge is not `Clone`.
/// Left out too is what is awaited: each loop has a runtime of its own.
pub fn shared_cases() -> Vec<Case> {
    let alone = ["retry/backon", "retry/tokio_retry", "hedge_percentile/tower"];
    let left_out =
        |case: &Case| group(case).ends_with("awaited") || alone.iter().any(|alone| case.name().starts_with(alone));
    cases().into_iter().filter(|case| !left_out(case)).collect()
}

fn group(case: &Case) -> &str {
    case.name().split('/').next().unwrap_or_default()
}
