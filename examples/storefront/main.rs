//! A shop that breaks and recovers: `cargo run --release --bin storefront`
//!
//! Eight services speak HTTP over loopback. The payment provider is flaky, becomes slow, then fails, recovers, falls silent
//! after it has taken the money, and recovers for good; one replica of the catalog pauses now and then, and once both fail for
//! a moment; and the inventory breaks for a moment while it confirms what was reserved. Customers arrive all the while and do
//! not wait for each other, and now and then there is one client who asks far too often. The same customers and the same
//! troubles come twice, first with resilience off and then with resilience on, and the numbers of both are set side by side. At
//! the end the ledgers of all services have to fit together.
//!
//! ```text
//!   customers ──▶ gateway ──▶ catalog (two replicas: one pauses, once both fail)
//!   an abuser ──▶    │
//!                    └──────▶ orders ──▶ users
//!                             (the saga)──▶ inventory (breaks while it confirms)
//!                               │  └────▶ notifications
//!                               └───────▶ payment ──▶ provider (flaky, slow, failing, silent)
//! ```
//!
//! Where to read on: `stacks.rs` has every client layer by layer, `limits.rs` what a client of the shop may ask, `services/`
//! one file per service, `faults.rs` the script of the troubles, `load.rs` the customers, `measure.rs` what is counted.

mod abuser;
mod audit;
mod books;
mod cli;
mod experiment;
mod faults;
mod interrupt;
mod limits;
mod load;
mod measure;
mod pool;
mod progress;
mod recent;
mod replicas;
mod report;
mod serve;
mod server;
mod services;
mod shop;
mod sickness;
mod stacks;
mod stale;
mod stock;
mod traffic;
mod wire;

use audit::Audit;
use interrupt::Interrupt;
use mainstay::BoxError;
use std::{io::Write, path::Path, process::ExitCode};

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = match cli::parse() {
        Ok(arguments) => arguments,
        Err(exit) => return exit,
    };
    if let Some(settings) = &arguments.settings {
        return ended(services::orders::serve(settings).await.map(|()| ExitCode::SUCCESS));
    }
    let interrupt = Interrupt::listen().await;
    ended(if arguments.serve { serve::run(&arguments, interrupt).await } else { compare(&arguments, interrupt).await })
}

fn ended(result: Result<ExitCode, BoxError>) -> ExitCode {
    result.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::FAILURE
    })
}

/// With resilience on the books have to balance.
fn judge(audit: Option<&Audit>, kept: Option<&Path>) -> ExitCode {
    let Some(audit) = audit.filter(|audit| !audit.ok) else { return ExitCode::SUCCESS };
    eprintln!("error: the books do not balance: {}", audit.problems.join("; "));
    if let Some(directory) = kept {
        eprintln!("the journal and the table of orders are in {}", directory.display());
    }
    ExitCode::FAILURE
}

/// The experiment with resilience off, then on; then the table and the report.
async fn compare(arguments: &cli::Arguments, mut interrupt: Interrupt) -> Result<ExitCode, BoxError> {
    let plan = arguments.plan();
    writeln!(std::io::stdout(), "{plan}")?;
    let experiment = experiment::Experiment::new(plan)?;
    let comparison = experiment.compare(&mut interrupt).await?;

    let interrupted = interrupt.has_come();
    // Before the table: standard output may be closed by now.
    if let Some(directory) = arguments.report.as_deref().filter(|_| !interrupted) {
        report::write(directory, &comparison)?;
    }
    let mut out = std::io::stdout();
    write!(out, "{}", report::table(&comparison))?;
    if interrupted {
        writeln!(out, "Interrupted: the numbers are those of the customers who were done; no report is written.")?;
        return Ok(ExitCode::from(cli::INTERRUPTED));
    }
    if let Some(directory) = &arguments.report {
        writeln!(out, "Report: {}", directory.join(report::PAGE).display())?;
    }
    let (audit, kept) = comparison.on.as_ref().map_or((None, None), |run| (run.audit.as_ref(), run.kept.as_deref()));
    Ok(judge(audit, kept))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Ledgers;

    #[test]
    fn the_process_fails_if_the_books_do_not_balance() {
        let code = |ledgers| format!("{:?}", judge(Some(&Audit::of(ledgers)), None));
        let [success, failure] = [ExitCode::SUCCESS, ExitCode::FAILURE].map(|code| format!("{code:?}"));
        assert_eq!(code(Ok(Ledgers::default())), success);

        let mut ledgers = Ledgers::default();
        ledgers.provider.captured += 1;
        assert_eq!(code(Ok(ledgers)), failure);
        assert_eq!(code(Err("gone".into())), failure);
    }
}
