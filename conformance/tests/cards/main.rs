//! The cards of tower's own layers: `CARDS.md` says what the kit says. With `UPDATE_CARDS=1` it is written anew.
//!
//! `findings` shows without the kit each clause that does not hold, so that nobody has to believe the kit.

mod book;
mod findings;
mod subjects;

use book::{Entry, Finding, keep, locked};
use mainstay_conformance::Clause;
use std::{fs, path::Path};

const ENTRIES: &[Entry] = &[
    Entry {
        check: subjects::concurrency_limit,
        declared: "Set up with a limit of 2. Declared: it owns 2 permits, which clones share.",
        findings: &[],
    },
    Entry {
        check: subjects::global_concurrency_limit,
        declared: "Set up with a limit of 2. Declared: it owns 2 permits, which all services of the layer share.",
        findings: &[],
    },
    Entry {
        check: subjects::buffer,
        declared: "Set up with a bound of 4. Declared: it buffers; a worker task asks and calls the inner service.",
        findings: &[
            Finding {
                clause: Clause::NothingIsLeftBehind,
                test: "buffer_keeps_a_request_that_nobody_waits_for_until_the_inner_service_wakes_it",
                note: "While the worker waits for the inner service, it has the request in hand, and looks whether anybody \
                       still waits for it when the inner service wakes it. linkerd/linkerd2#2795 describes the same.",
            },
            Finding {
                clause: Clause::PanicsDoNotSpread,
                test: "buffer_is_closed_for_every_handle_after_a_panic_of_the_inner_service",
                note: "The panic ends the worker, and all handles get the documented error `Closed`. Passing the panic on is \
                       tower-rs/tower#455, which is open.",
            },
        ],
    },
    Entry {
        check: subjects::load_shed,
        declared: "Declared: it may refuse, with the error `Overloaded`.",
        findings: &[],
    },
    Entry {
        check: subjects::load_shed_over_concurrency_limit,
        declared: "Set up with a limit of 2. Declared: it owns 2 permits and may refuse, with the error `Overloaded`.",
        findings: &[],
    },
    Entry {
        check: subjects::rate_limit,
        declared: "Set up with 2 calls in 1 s, on a paused clock. Declared: `poll_ready` waits for more than the inner service.",
        findings: &[],
    },
    Entry {
        check: subjects::timeout,
        declared: "Set up with 1 s, on a paused clock. Declared: it may fail, with the error `Elapsed`.",
        findings: &[Finding {
            clause: Clause::AnswerEndsAll,
            test: "timeout_keeps_the_inner_future_until_its_own_is_dropped",
            note: "The inner future is a field of the response future and is dropped with it; whoever awaits the response \
                   future by value drops both at once.",
        }],
    },
    Entry {
        check: subjects::retry_attempts,
        declared: "Set up with a policy that retries every error at once, twice. Declared: up to 3 inner calls.",
        findings: &[],
    },
    Entry {
        check: subjects::retry_budget,
        declared: "Set up with a policy that retries every error at once, at most twice, if a `TpsBudget` of 10 s, 1 per second \
                   and 0.2 pays for it; on a paused clock. Declared: up to 3 inner calls.",
        findings: &[],
    },
    Entry {
        check: subjects::hedge,
        declared: "Set up with a policy that hedges every request, and ten latencies of 500 ms recorded beforehand, so that it \
                   is the same in each run; on a paused clock. Declared: up to 2 inner calls.",
        findings: &[Finding {
            clause: Clause::AnswerEndsAll,
            test: "hedge_keeps_the_losing_future_until_its_own_is_dropped",
            note: "Both inner futures are fields of the response future and are dropped with it; whoever awaits the response \
                   future by value drops all at once.",
        }],
    },
    Entry {
        check: subjects::spawn_ready,
        declared: "On a paused clock. Declared: `poll_ready` waits for more than the inner service, namely for the task that \
                   asks it.",
        findings: &[],
    },
    Entry {
        check: subjects::balance,
        declared: "Set up over a fixed list of two clones of the inner service, of equal load, with a seeded generator. \
                   Declared: an endpoint whose `poll_ready` fails is replaced by another.",
        findings: &[Finding {
            clause: Clause::ReadinessStays,
            test: "balance_readies_a_second_endpoint_when_asked_again",
            note: "This is its design: it chooses among endpoints that are ready, so each that can be ready is \
                   (tower-rs/tower#293). It makes a difference where endpoints share slots, as these two do.",
        }],
    },
    Entry {
        check: subjects::filter,
        declared: "Set up with a predicate that says no to every fourth request. Declared: it may refuse.",
        findings: &[],
    },
    Entry {
        check: subjects::async_filter,
        declared: "Set up with a predicate that says no to every fourth request. Declared: it may refuse.",
        findings: &[],
    },
    Entry { check: subjects::map_request, declared: "Declared: it hands on every request.", findings: &[] },
    Entry {
        check: subjects::map_err,
        declared: "Set up with a function that keeps the inner error as the source of its own. Declared: it hands on every \
                   request.",
        findings: &[],
    },
    Entry { check: subjects::box_clone_service, declared: "Declared: it hands on every request.", findings: &[] },
];

#[test]
fn the_cards_are_what_the_kit_says() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let lock = fs::read_to_string(here.join("../Cargo.lock")).expect("the workspace has a lock file");
    let introduction = format!(
        "\
# Conformance cards of tower's layers

What `mainstay-conformance` {kit} finds for the layers of `tower` {tower}: the clauses that hold, those that do not, and
those that do not bind the layer as it is declared. All clauses are listed at the end.

What is declared is what the layer's own documentation says; nothing is declared as a deviation, so that each card shows
what holds and what does not. That a clause does not hold is no judgement: some are broken on purpose, and then the card
says so. Each one that does not hold is shown by a test in `tests/cards/findings.rs`, over `tower` alone. That a clause holds
means that no run broke it, not that none can.

The cards are the output of a test, with the default effort and seed:

```sh
cargo test -p mainstay-conformance --all-features --test cards                  # compares
UPDATE_CARDS=1 cargo test -p mainstay-conformance --all-features --test cards   # writes
```
",
        kit = env!("CARGO_PKG_VERSION"),
        tower = locked(&lock, "tower"),
    );
    keep(&here.join("CARDS.md"), &introduction, ENTRIES, include_str!("findings.rs"));
}
