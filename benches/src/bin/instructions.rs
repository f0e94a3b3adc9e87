//! Makes calls for `benches/callgrind`, which counts the instructions.
//!
//! Without arguments: the names of the cases. With a name and a number: so many calls of that case.

use mainstay_benches::{attempts, bare, bare_awaited, circuit_breaker, rate_limit, saga};
use std::{env, iter, process::ExitCode};

fn main() -> ExitCode {
    // Last what takes long to make: it is not made for those before.
    let circuit_breaker = iter::once_with(circuit_breaker::cases).flatten();
    let rate_limit = iter::once_with(rate_limit::cases).flatten();
    let cases = [bare(), bare_awaited()].into_iter().chain(attempts::cases()).chain(saga::cases_alone());
    let mut cases = cases.chain(circuit_breaker).chain(rate_limit);
    let mut arguments = env::args().skip(1);
    let Some(name) = arguments.next() else {
        cases.for_each(|case| println!("{}", case.name()));
        return ExitCode::SUCCESS;
    };
    let case = cases.find(|case| case.name() == name);
    let calls = arguments.next().and_then(|calls| calls.parse().ok());
    let Some((case, calls)) = case.zip(calls) else {
        eprintln!("usage: instructions [case calls]");
        return ExitCode::FAILURE;
    };
    case.runner()(calls);
    ExitCode::SUCCESS
}
