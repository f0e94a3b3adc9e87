//! The rate limiter beside other crates on a machine that is not quiet: short blocks of calls, the cases in turn, and of each
//! the fastest block. Arguments choose cases by a part of the name.
//!
//! A block takes a fifth of a millisecond, so some pass undisturbed whatever else runs. What is measured besides the cases: one
//! reading of the clock, and one lock that nobody else wants.

use mainstay_benches::{Case, Runner, attempts::leak, time};
use mainstay_circuit_breaker::Clock;
use mainstay_core::Now;
use mainstay_peers::rate_limit;
use std::{
    env,
    hint::black_box,
    sync::{Mutex, PoisonError},
};

const BLOCKS: usize = 300;
const WARM_UP: u64 = 20_000;

/// How long a block takes, in nanoseconds.
const BLOCK: f64 = 200_000.0;

fn main() {
    let parts: Vec<_> = env::args().skip(1).collect();
    let chosen = |name: &str| parts.is_empty() || parts.iter().any(|part| name.contains(part));
    let beside = rate_limit::cases().into_iter();
    let cases = [clock(), lock()].into_iter().chain(beside).chain(mainstay_benches::rate_limit::cases());
    let warm = |case: Case| {
        let mut run = case.runner();
        let first = block(&mut run, WARM_UP);
        (case.name().to_owned(), run, first)
    };
    let mut runs: Vec<_> = cases.filter(|case| chosen(case.name())).map(warm).collect();
    for _ in 0..BLOCKS {
        for (_, run, lowest) in &mut runs {
            *lowest = lowest.min(block(run, calls(*lowest)));
        }
    }
    for (name, _, lowest) in runs {
        println!("{lowest:9.1}  {name}");
    }
}

/// How many calls of so many nanoseconds make a block.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is in this range")]
fn calls(nanos: f64) -> u64 {
    (BLOCK / nanos).clamp(10.0, 5_000.0) as u64
}

/// The nanoseconds per call.
#[expect(clippy::cast_precision_loss, reason = "small numbers")]
fn block(run: &mut Runner, calls: u64) -> f64 {
    // The others have used the caches meanwhile.
    run(calls / 10);
    time(run, calls).as_nanos() as f64 / calls as f64
}

fn clock() -> Case {
    Case::new("floor/clock", || {
        |_| {
            black_box(Clock.now());
        }
    })
}

fn lock() -> Case {
    let count = leak(Mutex::new(0_u64));
    Case::new("floor/lock", move || move |_| *black_box(count).lock().unwrap_or_else(PoisonError::into_inner) += 1)
}
