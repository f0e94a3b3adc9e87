//! `report.json`

use crate::{
    audit::Audit,
    books::Balance,
    experiment::{Comparison, Run},
    faults::Phase,
    measure::{Bucket, Looked, Numbers, Opened, Stale, Tally},
    services::orders::SagaLedger,
    sickness,
    stacks::Times,
    traffic::Sent,
};
use serde::Serialize;
use serde_json::Result;
use std::{ops::Range, time::Duration};

#[derive(Serialize)]
struct Report<'a> {
    off: &'a Numbers,
    on: Option<&'a Numbers>,
    seed: u64,
    /// With resilience on: whether the ledgers of all services fit together, and what is in them.
    books: Option<&'a Audit>,
    /// What may grow; the keys above stay as they are.
    details: Details<'a>,
}

#[derive(Serialize)]
struct Details<'a> {
    rate: u32,
    duration_s: f64,
    patience_ms: f64,
    open_for_s: f64,
    script: Vec<PhaseInSeconds>,
    catalog_outage: Span,
    confirm_outage: Span,
    /// When the orders service was killed; `null` if it was not.
    killed_s: Option<f64>,
    /// How the sagas ended, by the journal; with resilience off there are none.
    orders: Option<&'a SagaLedger>,
    pause_ms: f64,
    limit: Limit,
    /// When the abuser was there.
    abuser_there: Vec<Span>,
    off: Routes<'a>,
    on: Option<Routes<'a>>,
}

/// Of each client, with resilience on.
#[derive(Serialize)]
struct Limit {
    requests: u32,
    window_s: f64,
}

#[derive(Serialize)]
struct PhaseInSeconds {
    fault: &'static str,
    from_s: f64,
    until_s: f64,
}

#[derive(Serialize)]
struct Span {
    from_s: f64,
    until_s: f64,
}

#[derive(Serialize)]
struct Routes<'a> {
    browse: Route,
    /// How long those waited who looked at a product.
    browse_p99_ms: Option<f64>,
    checkout: Route,
    silence: Silence,
    /// In the order of the script.
    phases: Vec<Goodputs>,
    stale: StaleAnswers,
    abuser: Abuser,
    /// Customers whom the limit refused.
    customers_limited: usize,
    /// Those who looked at a product while the abuser was there, and the others, before the last phase.
    beside_abuser: Served,
    without_abuser: Served,
    catalog: Client,
    payment: Client,
    books: Books,
    /// As `books` at the top; with resilience off they may not balance.
    audit: Option<&'a Audit>,
}

/// Of those who came in one phase; `null` if nobody did.
#[derive(Serialize)]
struct Goodputs {
    browse: Option<f64>,
    checkout: Option<f64>,
}

/// How many of the answers that were ok came from the stale price list, and when the first and the last of the customers came
/// who got one.
#[derive(Serialize)]
struct StaleAnswers {
    answers: usize,
    first_s: Option<f64>,
    last_s: Option<f64>,
}

/// The requests of the abuser.
#[derive(Serialize)]
struct Abuser {
    #[serde(flatten)]
    requests: Route,
    /// Of those that were refused, by the limit.
    limited: usize,
}

/// `null` if nobody came.
#[derive(Serialize)]
struct Served {
    offered: usize,
    goodput: Option<f64>,
    /// Who was not served has waited to the end of the patience.
    p99_ms: Option<f64>,
}

/// One client of the gateway, and what its service sees of it.
#[derive(Serialize)]
struct Client {
    #[serde(flatten)]
    sent: Sent,
    attempts_per_call: Option<f64>,
    /// Requests that reached the servers: of the catalog both replicas, of payment the provider behind it.
    reached: usize,
    /// The same for each customer who came for it, and each request of the abuser's that came past the limit.
    amplification: Option<f64>,
}

#[derive(Serialize)]
struct Books {
    #[serde(flatten)]
    balance: Balance,
    /// Amounts that were taken from customers who were not told so.
    not_told: usize,
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
    let Comparison { plan, script, stays, off, on } = comparison;
    let books = on.as_ref().and_then(|run| run.audit.as_ref());
    let ledgers = books.and_then(|audit| audit.ledgers.as_ref());
    serde_json::to_string_pretty(&Report {
        off: &off.numbers,
        on: on.as_ref().map(|run| &run.numbers),
        seed: plan.seed,
        books,
        details: Details {
            rate: plan.rate,
            duration_s: plan.duration.as_secs_f64(),
            patience_ms: millis(plan.patience),
            open_for_s: Times::of(plan).open_for.as_secs_f64(),
            script: script.phases.iter().map(PhaseInSeconds::of).collect(),
            catalog_outage: Span::of(&script.catalog_outage),
            confirm_outage: Span::of(&script.confirm_outage),
            killed_s: plan.kill_orders.then(|| script.kill().as_secs_f64()),
            orders: ledgers.and_then(|ledgers| ledgers.orders.sagas.as_ref()),
            pause_ms: millis(sickness::pause(plan.patience)),
            limit: Limit { requests: plan.limit, window_s: plan.window.as_secs_f64() },
            abuser_there: stays.iter().map(Span::of).collect(),
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

impl Span {
    fn of(time: &Range<Duration>) -> Self {
        Self { from_s: time.start.as_secs_f64(), until_s: time.end.as_secs_f64() }
    }
}

impl<'a> Routes<'a> {
    fn of(run: &'a Run) -> Self {
        Self {
            browse: Route::of(run.browse),
            browse_p99_ms: run.browse_p99.map(millis),
            checkout: Route::of(run.checkout),
            silence: Silence::of(run.opened),
            phases: run.phases.iter().map(|(_, bucket)| Goodputs::of(bucket)).collect(),
            stale: StaleAnswers::of(run.stale),
            abuser: Abuser { requests: Route::of(run.abuse.tally), limited: run.abuse.limited },
            customers_limited: run.limited,
            beside_abuser: Served::of(run.beside_abuser),
            without_abuser: Served::of(run.without_abuser),
            catalog: Client {
                sent: run.seen.to_catalog,
                attempts_per_call: run.seen.to_catalog.attempts_per_call(),
                reached: run.seen.at_catalog,
                amplification: run.catalog_amplification(),
            },
            payment: Client {
                sent: run.seen.to_payment,
                attempts_per_call: run.seen.to_payment.attempts_per_call(),
                reached: run.seen.at_provider,
                amplification: run.provider_amplification(),
            },
            books: Books { balance: run.seen.books, not_told: run.not_told() },
            audit: run.audit.as_ref(),
        }
    }
}

impl Goodputs {
    fn of(bucket: &Bucket) -> Self {
        Self { browse: bucket.browse.goodput(), checkout: bucket.checkout.goodput() }
    }
}

impl StaleAnswers {
    fn of(stale: Stale) -> Self {
        let [first_s, last_s] = [stale.first, stale.last].map(|time| time.map(|time| time.as_secs_f64()));
        Self { answers: stale.answers, first_s, last_s }
    }
}

impl Served {
    fn of(Looked { tally, p99 }: Looked) -> Self {
        Self { offered: tally.offered(), goodput: tally.goodput(), p99_ms: p99.map(millis) }
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

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
