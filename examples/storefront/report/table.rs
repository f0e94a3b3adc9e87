//! The table in the terminal.

use crate::{
    audit::Ledgers,
    experiment::{Comparison, Run},
    faults::Fault,
    services::orders::SagaLedger,
};
use std::{fmt::Write, time::Duration};

/// A line of the table: what it says, and how to read it from a run.
type Line = (&'static str, fn(&Run) -> String);

/// The lines, in the terminal and on the page.
pub(super) const LINES: [Line; 42] = [
    ("offered", |run| grouped(run.numbers.offered)),
    ("ok, within patience", |run| grouped(run.numbers.ok)),
    ("  of those, from the stale price list", |run| grouped(run.stale.answers)),
    ("late, gave up", |run| grouped(run.numbers.late)),
    ("refused, told when to come back", |run| grouped(run.numbers.refused)),
    ("failed", |run| grouped(run.numbers.failed)),
    ("goodput", |run| percent(Some(run.numbers.goodput))),
    ("  of the catalog", |run| percent(run.browse.goodput())),
    ("  of checkout", |run| percent(run.checkout.goodput())),
    ("  of checkout while the provider is flaky", |run| percent(flaky(run))),
    ("p50", |run| format!("{:.0} ms", run.numbers.p50_ms)),
    ("p99", |run| format!("{:.0} ms", run.numbers.p99_ms)),
    ("p99 of the catalog", |run| millis(run.browse_p99)),
    ("attempts per call to the catalog", |run| per_one(run.seen.to_catalog.attempts_per_call())),
    ("  hedges sent", |run| run.seen.to_catalog.hedges.to_string()),
    ("  hedges that won", |run| run.seen.to_catalog.hedges_won.to_string()),
    ("  requests that reached it, per customer", |run| per_one(run.catalog_amplification())),
    ("attempts per call to payment", |run| per_one(run.seen.to_payment.attempts_per_call())),
    ("  requests that reached the provider, per customer", |run| per_one(run.provider_amplification())),
    ("retries and hedges that the budgets did not pay", |run| {
        (run.seen.to_catalog.not_paid + run.seen.to_payment.not_paid).to_string()
    }),
    ("charged twice", |run| run.seen.books.charged_twice.to_string()),
    ("charged, but not told so", |run| run.not_told().to_string()),
    ("orders confirmed", |run| ledgers(run, |ledgers| grouped(ledgers.orders.orders.confirmed))),
    ("  orders undone", |run| sagas(run, |sagas| grouped(sagas.compensated))),
    ("  of those, sold out", |run| sagas(run, |sagas| grouped(sagas.causes.get("out_of_stock").copied().unwrap_or(0)))),
    ("  orders taken over from a killed process", |run| sagas(run, |sagas| grouped(sagas.recovered))),
    ("amounts given back", |run| ledgers(run, |ledgers| grouped(ledgers.provider.refunded))),
    ("amounts kept without an order", |run| {
        ledgers(run, |ledgers| grouped(ledgers.kept().saturating_sub(ledgers.orders.orders.confirmed)))
    }),
    ("pieces reserved for nobody", |run| ledgers(run, |ledgers| grouped(ledgers.inventory.open))),
    ("orders that hang", |run| ledgers(run, |ledgers| grouped(ledgers.orders.orders.unsettled))),
    ("the books balance", |run| run.audit.as_ref().map_or("–", |audit| if audit.ok { "yes" } else { "no" }).to_owned()),
    ("requests of the abuser", |run| grouped(run.abuse.tally.offered())),
    ("  of those, refused by the limit per client", |run| grouped(run.abuse.limited)),
    ("  customers whom the limit refused", |run| grouped(run.limited)),
    ("goodput of the catalog beside the abuser", |run| percent(run.beside_abuser.tally.goodput())),
    ("  without it", |run| percent(run.without_abuser.tally.goodput())),
    ("p99 until the catalog served, beside the abuser", |run| millis(run.beside_abuser.p99)),
    ("  p99 without it", |run| millis(run.without_abuser.p99)),
    ("calls that reached the sick provider", |run| run.numbers.provider_calls.to_string()),
    ("from the provider's silence to an open circuit", |run| millis(run.opened.after)),
    ("  without in-flight detection", |run| millis(run.opened.settled_only)),
    ("from the provider's recovery to full goodput", |run| match run.numbers.recovery_s {
        Some(seconds) => format!("{seconds:.2} s"),
        None => "–".to_owned(),
    }),
];

/// From the ledgers at the end; a dash if they were not read.
fn ledgers(run: &Run, of: fn(&Ledgers) -> String) -> String {
    let ledgers = run.audit.as_ref().and_then(|audit| audit.ledgers.as_ref());
    ledgers.map_or_else(|| "–".to_owned(), of)
}

/// The same for what only sagas have.
fn sagas(run: &Run, of: fn(&SagaLedger) -> String) -> String {
    let ledgers = run.audit.as_ref().and_then(|audit| audit.ledgers.as_ref());
    ledgers.and_then(|ledgers| ledgers.orders.sagas.as_ref()).map_or_else(|| "–".to_owned(), of)
}

/// The goodput of checkout in that phase.
fn flaky(run: &Run) -> Option<f64> {
    run.phase(Fault::Flaky)?.checkout.goodput()
}

/// Off against on.
pub(crate) fn table(comparison: &Comparison) -> String {
    let mut text = format!("\n{:<52}{:>12}{:>12}\n", "resilience", "off", "on");
    for (name, value) in LINES {
        let on = comparison.on.as_ref().map_or_else(|| "–".to_owned(), value);
        writeln!(text, "{name:<52}{:>12}{on:>12}", value(&comparison.off)).expect("a string takes everything");
    }
    text.push('\n');
    text
}

fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "–".to_owned(), |share| format!("{:.1} %", share * 100.0))
}

fn per_one(ratio: Option<f64>) -> String {
    ratio.map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.2}"))
}

fn millis(time: Option<Duration>) -> String {
    time.map_or_else(|| "–".to_owned(), |time| format!("{} ms", time.as_millis()))
}

/// With commas between thousands.
pub(super) fn grouped(count: usize) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
