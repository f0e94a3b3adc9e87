//! Sagas beside another crate on a machine that is not quiet: short blocks, the cases in turn, and of each the fastest block.
//! Arguments choose cases by a part of the name.
//!
//! A block takes a millisecond or two, so some pass undisturbed whatever else runs.

use mainstay_benches::{Runner, time};
use mainstay_peers::saga;
use std::env;

const BLOCKS: usize = 400;

/// How long a block takes, in nanoseconds.
const BLOCK: f64 = 1_000_000.0;

fn main() {
    let parts: Vec<_> = env::args().skip(1).collect();
    let chosen = |name: &str| parts.is_empty() || parts.iter().any(|part| name.contains(part));
    let cases = saga::cases().into_iter().filter(|case| chosen(case.name()));
    let mut runs: Vec<_> = cases.map(|case| (case.name().to_owned(), case.runner(), BLOCK * 1_000.0)).collect();
    for number in 0..BLOCKS {
        for (_, run, lowest) in &mut runs {
            // steno keeps all sagas that it has ever run, so where one call is a thousand they are few.
            if *lowest < BLOCK || number % 40 == 0 {
                *lowest = lowest.min(block(run, calls(*lowest)));
            }
        }
    }
    for (name, _, lowest) in runs {
        println!("{lowest:12.1}  {name}");
    }
}

/// How many calls of so many nanoseconds make a block.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is in this range")]
fn calls(nanos: f64) -> u64 {
    (BLOCK / nanos).clamp(1.0, 20_000.0) as u64
}

/// The nanoseconds per call.
#[expect(clippy::cast_precision_loss, reason = "small numbers")]
fn block(run: &mut Runner, calls: u64) -> f64 {
    // The others have used the caches meanwhile.
    run(calls.div_ceil(10));
    time(run, calls).as_nanos() as f64 / calls as f64
}
