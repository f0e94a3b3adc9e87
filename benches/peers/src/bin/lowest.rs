//! Beside other crates on a machine that is not quiet: short blocks of calls, the cases in turn, and of each the fastest block.
//!
//! The first argument says what is measured, `rate-limit` or `saga`; those after it choose cases by a part of the name. With the
//! rate limiter, one reading of the clock is measured too, and one lock that nobody else wants.

use mainstay_benches::{Case, Runner, attempts::leak, time};
use mainstay_circuit_breaker::Clock;
use mainstay_core::Now;
use mainstay_peers::{rate_limit, saga};
use std::{
    env,
    hint::black_box,
    process::ExitCode,
    sync::{Mutex, PoisonError},
};

fn main() -> ExitCode {
    let mut arguments = env::args().skip(1);
    // How many blocks, and how many nanoseconds each takes: so few that some pass undisturbed whatever else runs.
    let (cases, blocks, length) = match arguments.next().as_deref() {
        Some("rate-limit") => (rate_limit_cases(), 300, 200_000.0),
        Some("saga") => (saga::cases(), 400, 1_000_000.0),
        _ => {
            eprintln!("usage: lowest rate-limit|saga [part of a name]...");
            return ExitCode::FAILURE;
        }
    };
    let parts: Vec<_> = arguments.collect();
    let chosen = |case: &Case| parts.is_empty() || parts.iter().any(|part| case.name().contains(part));
    let start = |case: Case| (case.name().to_owned(), case.runner(), f64::INFINITY);
    let mut runs: Vec<_> = cases.into_iter().filter(chosen).map(start).collect();
    for number in 0..blocks {
        for (_, run, lowest) in &mut runs {
            // steno keeps all sagas that it has ever run, so where one call is a thousand they are few.
            if *lowest < length || number % 40 == 0 {
                *lowest = lowest.min(block(run, calls(length / *lowest)));
            }
        }
    }
    for (name, _, lowest) in runs {
        println!("{lowest:12.1}  {name}");
    }
    ExitCode::SUCCESS
}

fn rate_limit_cases() -> Vec<Case> {
    let beside = [clock(), lock()].into_iter().chain(rate_limit::cases());
    beside.chain(mainstay_benches::rate_limit::cases()).collect()
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

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is in this range")]
const fn calls(wanted: f64) -> u64 {
    wanted.clamp(1.0, 20_000.0) as u64
}

/// The nanoseconds per call.
#[expect(clippy::cast_precision_loss, reason = "small numbers")]
fn block(run: &mut Runner, calls: u64) -> f64 {
    // The others have used the caches meanwhile.
    run(calls.div_ceil(10));
    time(run, calls).as_nanos() as f64 / calls as f64
}
