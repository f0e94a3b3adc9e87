//! The table in the terminal.

use crate::experiment::{Comparison, Run};
use std::{fmt::Write, time::Duration};

/// A line of the table: what it says, and how to read it from a run.
type Line = (&'static str, fn(&Run) -> String);

/// The lines, in the terminal and on the page.
pub(super) const LINES: [Line; 14] = [
    ("offered", |run| grouped(run.numbers.offered)),
    ("ok, within patience", |run| grouped(run.numbers.ok)),
    ("late, gave up", |run| grouped(run.numbers.late)),
    ("refused, told when to come back", |run| grouped(run.numbers.refused)),
    ("failed", |run| grouped(run.numbers.failed)),
    ("goodput", |run| percent(Some(run.numbers.goodput))),
    ("  of the catalog", |run| percent(run.browse.goodput())),
    ("  of checkout", |run| percent(run.checkout.goodput())),
    ("p50", |run| format!("{:.0} ms", run.numbers.p50_ms)),
    ("p99", |run| format!("{:.0} ms", run.numbers.p99_ms)),
    ("calls that reached the sick provider", |run| run.numbers.provider_calls.to_string()),
    ("from the provider's silence to an open circuit", |run| millis(run.opened.after)),
    ("  without in-flight detection", |run| millis(run.opened.settled_only)),
    ("from the provider's recovery to full goodput", |run| match run.numbers.recovery_s {
        Some(seconds) => format!("{seconds:.2} s"),
        None => "–".to_owned(),
    }),
];

/// Off against on.
pub(crate) fn table(comparison: &Comparison) -> String {
    let mut text = format!("\n{:<46}{:>12}{:>12}\n", "resilience", "off", "on");
    for (name, value) in LINES {
        let on = comparison.on.as_ref().map_or_else(|| "–".to_owned(), value);
        writeln!(text, "{name:<46}{:>12}{on:>12}", value(&comparison.off)).expect("a string takes everything");
    }
    text.push('\n');
    text
}

fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "–".to_owned(), |share| format!("{:.1} %", share * 100.0))
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
