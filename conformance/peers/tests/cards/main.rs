//! The cards of the layers of tower-resilience: `CARDS.md` says what the kit says. With `UPDATE_CARDS=1` it is written anew.
//!
//! `findings` shows without the kit each clause that does not hold, so that nobody has to believe the kit.

// The same as for tower's own layers.
#[path = "../../../tests/cards/book.rs"]
mod book;
mod findings;
mod subjects;

use book::{Entry, Finding, keep, locked};
use mainstay_conformance::Clause;
use std::{fs, path::Path};

/// Of every layer that has an error type of its own.
const NO_SOURCE: Finding = Finding {
    clause: Clause::InnerErrorIsKept,
    test: "inner_error_is_a_variant_and_not_the_source",
    note: "The inner error is a variant of the layer's own error type, where a caller finds it that knows the type. It is not \
           its `source()`, on purpose, says the documentation: so that a boxed error can be wrapped.",
};

const ENTRIES: &[Entry] = &[
    Entry {
        check: subjects::circuit_breaker,
        declared: "Set up with a window of one call, and open for a day of the system's clock, so that it never becomes half-open \
                   here. Declared: it may refuse, with the error `OpenCircuit`.",
        findings: &[NO_SOURCE],
    },
    Entry {
        check: subjects::circuit_breaker_half_open,
        declared: "Set up with a window of one call, and open for no time, so that it is half-open at the next call. Declared: it \
                   may refuse, with the error `OpenCircuit`.",
        findings: &[
            Finding {
                clause: Clause::NoLostWakeup,
                test: "circuit_breaker_does_not_wake_who_waits_for_the_inner_service_when_it_begins_to_refuse",
                note: "While the circuit refuses, `poll_ready` is ready, for a refusal. Who waits for the inner service when \
                       that begins is woken by the inner service only. The test has a circuit that stays open, where the \
                       kit does not see it: the call that opens it gives back its slot, which wakes whoever waits.",
            },
            NO_SOURCE,
        ],
    },
    Entry {
        check: subjects::circuit_breaker_backpressure,
        declared: "Set up with a window of one call, and open for a day of the system's clock. Declared: it may refuse, with the \
                   error `OpenCircuit`, and `poll_ready` waits for more than the inner service.",
        findings: &[
            Finding {
                clause: Clause::ReadinessStays,
                test: "circuit_breaker_with_backpressure_goes_back_from_ready_to_pending",
                note: "A service that is ready is pending again when another clone opens the circuit.",
            },
            NO_SOURCE,
        ],
    },
    Entry {
        check: subjects::bulkhead,
        declared: "Set up with 2 permits and no limit to the wait for one. Declared: it owns 2 permits and may refuse, with the \
                   error `Bulkhead`.",
        findings: &[NO_SOURCE],
    },
    Entry {
        check: subjects::bulkhead_rejecting,
        declared: "Set up with 2 permits and `reject_when_full`, on a paused clock. Declared: it owns 2 permits and may refuse, \
                   with the error `Bulkhead`.",
        findings: &[NO_SOURCE],
    },
    Entry {
        check: subjects::bulkhead_backpressure,
        declared: "Set up with 2 permits. Declared: it owns 2 permits.",
        findings: &[NO_SOURCE],
    },
    Entry {
        check: subjects::rate_limiter,
        declared: "Set up with 2 calls in 1 s and a wait of at most 1 s, on a paused clock. Declared: it may refuse, with the error \
                   `RateLimited`.",
        findings: &[NO_SOURCE],
    },
    Entry {
        check: subjects::rate_limiter_backpressure,
        declared: "Set up with 2 calls in 1 s, on a paused clock. Declared: `poll_ready` waits for more than the inner service.",
        findings: &[NO_SOURCE],
    },
    Entry {
        check: subjects::retry,
        declared: "Set up with 3 attempts and a pause of 100 ms, on a paused clock. Declared: up to 3 inner calls.",
        findings: &[],
    },
    Entry {
        check: subjects::time_limiter,
        declared: "Set up with 1 s, on a paused clock. Declared: it may fail, with the error `Timeout`.",
        findings: &[NO_SOURCE],
    },
    Entry {
        check: subjects::time_limiter_detached,
        declared: "Set up with 1 s and `cancel_running_future(false)`, on a paused clock. Declared: it may fail, with the error \
                   `Timeout`, and work goes on without its caller.",
        findings: &[NO_SOURCE],
    },
    Entry {
        check: subjects::hedge,
        declared: "Set up with 2 attempts, the second after 500 ms, on a paused clock. Declared: up to 2 inner calls.",
        findings: &[NO_SOURCE],
    },
    Entry {
        check: subjects::fallback_value,
        declared: "Declared: it may answer without the inner service.",
        findings: &[NO_SOURCE],
    },
    Entry {
        check: subjects::fallback_service,
        declared: "Set up with a clone of the inner service as the backup. Declared: up to 2 inner calls.",
        findings: &[
            Finding {
                clause: Clause::ReadinessErrorEndsIt,
                test: "fallback_asks_a_backup_again_whose_readiness_has_failed",
                note: "There is one backup for all calls, and it stays when its `poll_ready` has failed.",
            },
            NO_SOURCE,
        ],
    },
    Entry {
        check: subjects::adaptive,
        declared: "Set up with AIMD, and a limit that is always 2, since it moves with the system's clock otherwise. Declared: it \
                   owns 2 permits.",
        findings: &[NO_SOURCE],
    },
    Entry {
        check: subjects::coalesce,
        declared: "Set up with one key for all requests. Declared: it may answer without an inner call for that request, and may \
                   fail, with the error `LeaderCancelled`.",
        findings: &[
            Finding {
                clause: Clause::NoBusyLoop,
                test: "coalesce_wakes_itself_at_each_poll_of_who_waits_for_another_call",
                note: "Who waits for the call of another looks whether its result is there, and wakes itself if not.",
            },
            Finding {
                clause: Clause::PanicsDoNotSpread,
                test: "coalesce_waits_for_a_call_that_panicked_before_it_began",
                note: "The key is taken before the inner `call`, and given back by the future that comes of it.",
            },
            NO_SOURCE,
        ],
    },
    Entry {
        check: subjects::cache,
        declared: "Set up with one key for two requests each. Declared: it may answer without the inner service.",
        findings: &[NO_SOURCE],
    },
    Entry {
        check: subjects::executor,
        declared: "Set up with the current runtime. Declared: it may fail, with the error `TaskCancelled`, and work goes on \
                   without its caller.",
        findings: &[NO_SOURCE],
    },
    Entry {
        check: subjects::outlier,
        declared: "Set up to eject its only instance for a day of the system's clock, after one error. Declared: `poll_ready` \
                   waits for more than the inner service.",
        findings: &[
            Finding {
                clause: Clause::ReadinessStays,
                test: "outlier_detection_goes_back_from_ready_to_pending",
                note: "This is its design: `poll_ready` is pending while the instance is ejected, so that a balancer takes \
                       another.",
            },
            Finding {
                clause: Clause::NoBusyLoop,
                test: "outlier_detection_wakes_itself_at_each_poll_while_the_instance_is_ejected",
                note: "There is no timer for the end of the ejection; its task is polled until it is over.",
            },
            NO_SOURCE,
        ],
    },
    Entry {
        check: subjects::outlier_error,
        declared: "Set up to eject its only instance for a day of the system's clock, after one error, with `error_on_ejection`. \
                   Declared: it may refuse, with the error `OutlierDetection`.",
        findings: &[NO_SOURCE],
    },
    Entry {
        check: subjects::chaos,
        declared: "Set up to add 1 s to half of the calls, with a seeded generator, on a paused clock. Declared: it hands on \
                   every request.",
        findings: &[],
    },
];

/// Those that the cards are of.
const PATTERNS: &[&str] = &[
    "adaptive",
    "bulkhead",
    "cache",
    "chaos",
    "circuitbreaker",
    "coalesce",
    "executor",
    "fallback",
    "hedge",
    "outlier",
    "ratelimiter",
    "retry",
    "timelimiter",
];

#[test]
fn the_cards_are_what_the_kit_says() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let lock = fs::read_to_string(here.join("Cargo.lock")).expect("the workspace has a lock file");
    let version = |pattern: &str| locked(&lock, &format!("tower-resilience-{pattern}"));
    let versions: Vec<String> = PATTERNS.iter().map(|pattern| format!("`{pattern}` {}", version(pattern))).collect();
    let introduction = format!(
        "\
# Conformance cards of the layers of tower-resilience

What `mainstay-conformance` {kit} finds for the layers of the crates `tower-resilience-*`, over `tower` {tower}: the clauses
that hold, those that do not, and those that do not bind the layer as it is declared. All clauses are listed at the end.

The versions: {versions}.

What is declared is what the layer's own documentation says; nothing is declared as a deviation, so that each card shows
what holds and what does not. That a clause does not hold is no judgement: some are broken on purpose, and then the card
says so. Each one that does not hold is shown by a test in `tests/cards/findings.rs`, without the kit. That a clause holds
means that no run broke it, not that none can.

Left out: `reconnect`, which is made of a factory of services, `healthcheck`, which is no layer, and `router`, which needs
room in each of its backends for every call, where the kit has one pool for all of them. Some of these crates read the
system's clock, which the kit cannot move; what depends on it is not looked at, as the cards say.

The cards are the output of a test, with the default effort and seed:

```sh
cargo test --manifest-path conformance/peers/Cargo.toml                  # compares
UPDATE_CARDS=1 cargo test --manifest-path conformance/peers/Cargo.toml   # writes
```
",
        kit = locked(&lock, "mainstay-conformance"),
        tower = locked(&lock, "tower"),
        versions = versions.join(", "),
    );
    keep(&here.join("CARDS.md"), &introduction, ENTRIES, include_str!("findings.rs"));
}
