//! Any sequence of calls to a limiter, with keys or without: no decision differs from that of the model.
//!
//! ```sh
//! cargo +nightly fuzz run decisions --fuzz-dir rate-limit/fuzz -- -max_len=400
//! ```
#![cfg_attr(feature = "libfuzzer", no_main)]

#[path = "../../tests/support/mod.rs"]
mod support;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| support::script::run(bytes));

#[cfg(not(feature = "libfuzzer"))]
fn main() {}
