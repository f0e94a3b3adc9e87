//! `report.json`

use crate::{
    experiment::{Comparison, Run},
    faults::Phase,
    measure::{Numbers, Opened, Tally},
    stacks::Times,
};
use serde::Serialize;
use serde_json::Result;

#[derive(Serialize)]
struct Report<'a> {
    off: &'a Numbers,
    on: Option<&'a Numbers>,
    seed: u64,
    /// What may grow; the keys above stay as they are.
    details: Details,
}

#[derive(Serialize)]
struct Details {
    rate: u32,
    duration_s: f64,
    patience_ms: f64,
    open_for_s: f64,
    script: Vec<PhaseInSeconds>,
    off: Routes,
    on: Option<Routes>,
}

#[derive(Serialize)]
struct PhaseInSeconds {
    fault: &'static str,
    from_s: f64,
    until_s: f64,
}

#[derive(Serialize)]
struct Routes {
    browse: Route,
    checkout: Route,
    silence: Silence,
}

/// When the payment circuit opened, counted from the moment at which the provider fell silent; `null` if it was not closed
/// then, or did not open while the provider was silent.
#[derive(Serialize)]
struct Silence {
    opened_after_s: Option<f64>,
    without_in_flight_s: Option<f64>,
}

#[derive(Serialize)]
struct Route {
    offered: usize,
    ok: usize,
    late: usize,
    refused: usize,
    failed: usize,
    goodput: f64,
}

pub(super) fn report(comparison: &Comparison) -> Result<String> {
    let Comparison { plan, script, off, on } = comparison;
    serde_json::to_string_pretty(&Report {
        off: &off.numbers,
        on: on.as_ref().map(|run| &run.numbers),
        seed: plan.seed,
        details: Details {
            rate: plan.rate,
            duration_s: plan.duration.as_secs_f64(),
            patience_ms: plan.patience.as_secs_f64() * 1e3,
            open_for_s: Times::of(plan).open_for.as_secs_f64(),
            script: script.phases.iter().map(PhaseInSeconds::of).collect(),
            off: Routes::of(off),
            on: on.as_ref().map(Routes::of),
        },
    })
}

impl PhaseInSeconds {
    fn of(phase: &Phase) -> Self {
        Self { fault: phase.fault.as_str(), from_s: phase.from.as_secs_f64(), until_s: phase.until.as_secs_f64() }
    }
}

impl Routes {
    fn of(run: &Run) -> Self {
        Self { browse: Route::of(run.browse), checkout: Route::of(run.checkout), silence: Silence::of(run.opened) }
    }
}

impl Silence {
    fn of(opened: Opened) -> Self {
        let [opened_after_s, without_in_flight_s] =
            [opened.after, opened.settled_only].map(|time| time.map(|time| time.as_secs_f64()));
        Self { opened_after_s, without_in_flight_s }
    }
}

impl Route {
    fn of(tally: Tally) -> Self {
        let Tally { ok, late, refused, failed } = tally;
        Self { offered: tally.offered(), ok, late, refused, failed, goodput: tally.goodput().unwrap_or(0.0) }
    }
}
