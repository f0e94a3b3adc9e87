//! `report.html`: one page that needs nothing but itself.

use super::{
    chart::Chart,
    table::{LINES, grouped},
};
use crate::{
    experiment::{Comparison, Run},
    measure::{self, Bucket, Looked, Record, number},
    stacks::{Resilience, Times},
};
use mainstay::circuit_breaker::State;
use std::{fmt::Write, ops::Range, time::Duration};

const STYLE: &str = include_str!("page.css");
/// From the bottom of a pile.
const OUTCOMES: [&str; 4] = ["ok", "refused", "late", "failed"];
/// Of charts with values.
const HEIGHT: f64 = 120.0;

/// One run, and what the page calls it.
type Mode<'a> = (Resilience, &'a Run);

/// Whose requests a chart shows.
type Of = fn(&Run) -> &[Record];

/// Draws one chart of one run.
type Draw = fn(&Comparison, Mode<'_>, &[Bucket]) -> String;

pub(super) fn page(comparison: &Comparison) -> String {
    let on = comparison.on.as_ref().unwrap_or(&comparison.off);
    let modes = [(Resilience::Off, &comparison.off), (Resilience::On, on)];
    let charts = [
        section(
            comparison,
            modes,
            "Goodput",
            "The share of customers who were served within their patience, by when they came.",
            &[curve_key("first", "catalog"), curve_key("second", "checkout")],
            customers,
            goodput,
        ),
        section(
            comparison,
            modes,
            "Refusals, and what else became of the customers",
            "By when they came. A refusal is an answer at once that says when to come back; a failure is not.",
            &OUTCOMES.map(|class| area_key(class, class)),
            customers,
            outcomes,
        ),
        section(
            comparison,
            modes,
            "Latency",
            "From a customer's arrival to the answer, or to the end of the patience.",
            &[curve_key("first", "median (p50)"), curve_key("second", "99th percentile (p99)")],
            customers,
            latency,
        ),
        section(
            comparison,
            modes,
            "The client who asks too often",
            &neighbours(comparison, on),
            &OUTCOMES.map(|class| area_key(class, class)),
            |run| &run.abuse.records,
            abuse,
        ),
        circuit_section(comparison, on),
    ]
    .concat();
    let (heading, table, terms, again) =
        (heading(comparison, on), table(comparison, on), terms(comparison), again(comparison));
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>Storefront: resilience off against on</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n{heading}{table}{charts}{terms}{again}</body>\n</html>\n"
    )
}

fn heading(comparison: &Comparison, on: &Run) -> String {
    let percent = |run: &Run| run.browse.goodput().unwrap_or(0.0) * 100.0;
    format!(
        "<h1>A shop breaks and recovers</h1>\n\
         <p>The payment provider is flaky, then slow, then fails, recovers, falls silent, and recovers for good. One replica \
         of the catalog pauses now and then, and once both fail for a moment. One client asks far too often. The same \
         {offered} customers came twice. With resilience <b>off</b>, {off_percent:.1}&nbsp;% of those who only looked at the \
         catalog were served in time, and {off_calls} calls reached the sick provider. With resilience <b>on</b> it was \
         {on_percent:.1}&nbsp;%, and {on_calls} calls.</p>\n",
        offered = grouped(comparison.off.numbers.offered),
        off_percent = percent(&comparison.off),
        off_calls = comparison.off.numbers.provider_calls,
        on_percent = percent(on),
        on_calls = on.numbers.provider_calls,
    )
}

fn table(comparison: &Comparison, on: &Run) -> String {
    let mut rows = String::new();
    for (name, value) in LINES {
        let class = if name.starts_with(' ') { " class=\"part\"" } else { "" };
        let (name, off, on) = (name.trim(), value(&comparison.off), value(on));
        writeln!(rows, "<tr{class}><th scope=\"row\">{name}</th><td>{off}</td><td>{on}</td></tr>").expect(WRITTEN);
    }
    format!(
        "<table>\n<thead><tr><th>resilience</th><th>off</th><th>on</th></tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n\
         <p class=\"soft\">Nobody can check out while the provider is sick, in either mode. Off, those who try take the \
         gateway's pool with them. On, they are told when to come back; the price is that after the recovery the circuit \
         stays open until its time of {open_for} ms is over.</p>\n",
        open_for = Times::of(&comparison.plan).open_for.as_millis(),
    )
}

/// One kind of chart, off above on.
fn section(
    comparison: &Comparison,
    modes: [Mode<'_>; 2],
    title: &str,
    text: &str,
    keys: &[String],
    of: Of,
    draw: Draw,
) -> String {
    let mut html =
        format!("<h2>{title}</h2>\n<p class=\"soft\">{text}</p>\n<div class=\"legend\">{}</div>\n", keys.concat());
    for mode in modes {
        let buckets = measure::series(of(mode.1), Duration::ZERO..comparison.plan.duration, grain(comparison));
        let chart = draw(comparison, mode, &buckets);
        html += &figure(&format!("resilience {}", mode.0), &chart);
    }
    html
}

/// Whether the customers noticed the abuser.
fn neighbours(comparison: &Comparison, on: &Run) -> String {
    let served = |looked: &Looked| {
        let percent = looked.tally.goodput().unwrap_or(0.0) * 100.0;
        format!("{percent:.1}&nbsp;% (p99 {} ms)", looked.p99.unwrap_or_default().as_millis())
    };
    let off = &comparison.off;
    format!(
        "What became of its {requests} requests, which are in none of the other charts. Of the customers who only looked at \
         the catalog, so many were served in time: with resilience off {off_beside} of those who came beside it, and \
         {off_without} of those who came while it was away; with resilience on {on_beside} and {on_without}. Customers whom \
         the limit refused: {limited}.",
        requests = grouped(off.abuse.tally.offered()),
        off_beside = served(&off.beside_abuser),
        off_without = served(&off.without_abuser),
        on_beside = served(&on.beside_abuser),
        on_without = served(&on.without_abuser),
        limited = on.limited,
    )
}

fn customers(run: &Run) -> &[Record] {
    &run.records
}

/// As fine as the recovery is read, unless that would be too few customers or too many points.
fn grain(comparison: &Comparison) -> Duration {
    let plan = &comparison.plan;
    let twenty_customers = Duration::from_secs(20) / plan.rate;
    measure::GRAIN.max(plan.duration / 120).max(twenty_customers)
}

fn goodput(comparison: &Comparison, (mode, _): Mode<'_>, buckets: &[Bucket]) -> String {
    let mut chart = Chart::new(&format!("Goodput over time, resilience {mode}"), &comparison.script, HEIGHT, 100.0);
    chart.value_axis("% served in time");
    let share = |share: Option<f64>| share.map(|share| share * 100.0);
    chart.curve("second", buckets.iter().map(|bucket| (middle(&bucket.time), share(bucket.checkout.goodput()))));
    chart.curve("first", buckets.iter().map(|bucket| (middle(&bucket.time), share(bucket.browse.goodput()))));
    for bucket in buckets {
        let percent =
            |goodput: Option<f64>| share(goodput).map_or_else(|| "nobody came".to_owned(), |p| format!("{p:.0} %"));
        let (catalog, checkout) = (percent(bucket.browse.goodput()), percent(bucket.checkout.goodput()));
        chart.tip(&bucket.time, &format!("{}: catalog {catalog}, checkout {checkout}", span(&bucket.time)));
    }
    chart.finish()
}

fn outcomes(comparison: &Comparison, (mode, _): Mode<'_>, buckets: &[Bucket]) -> String {
    let name = format!("What became of the customers, resilience {mode}");
    piles(comparison, &name, "customers per second", buckets)
}

fn abuse(comparison: &Comparison, (mode, _): Mode<'_>, buckets: &[Bucket]) -> String {
    let name = format!("What became of the abuser's requests, resilience {mode}");
    piles(comparison, &name, "requests per second", buckets)
}

fn piles(comparison: &Comparison, name: &str, unit: &str, buckets: &[Bucket]) -> String {
    let per_second =
        |count: usize, time: &Range<Duration>| number(count) / time.end.saturating_sub(time.start).as_secs_f64();
    // The same scale in both modes, in which the same ones come.
    let most = buckets.iter().map(|bucket| per_second(bucket.tally.offered(), &bucket.time)).fold(1.0, f64::max);
    let mut chart = Chart::new(name, &comparison.script, HEIGHT, most * 1.05);
    chart.value_axis(unit);
    for bucket in buckets {
        let tally = bucket.tally;
        let piles = [("ok", tally.ok), ("refused", tally.refused), ("late", tally.late), ("failed", tally.failed)];
        chart.pile(&bucket.time, &piles.map(|(class, count)| (class, per_second(count, &bucket.time))));
        let [ok, refused, late, failed] = piles.map(|(class, count)| format!("{class} {count}"));
        chart.tip(&bucket.time, &format!("{}: {ok}, {refused}, {late}, {failed}", span(&bucket.time)));
    }
    chart.finish()
}

fn latency(comparison: &Comparison, (mode, _): Mode<'_>, buckets: &[Bucket]) -> String {
    let millis = |wait: Duration| wait.as_secs_f64() * 1e3;
    let most = millis(comparison.plan.patience) * 1.05;
    let mut chart = Chart::new(&format!("Latency over time, resilience {mode}"), &comparison.script, HEIGHT, most);
    chart.value_axis("milliseconds");
    chart.curve("second", buckets.iter().map(|bucket| (middle(&bucket.time), bucket.p99.map(millis))));
    chart.curve("first", buckets.iter().map(|bucket| (middle(&bucket.time), bucket.p50.map(millis))));
    for bucket in buckets {
        let [p50, p99] = [bucket.p50, bucket.p99].map(|wait| millis(wait.unwrap_or_default()));
        chart.tip(&bucket.time, &format!("{}: p50 {p50:.0} ms, p99 {p99:.0} ms", span(&bucket.time)));
    }
    chart.finish()
}

fn circuit_section(comparison: &Comparison, on: &Run) -> String {
    const LANES: [(State, &str); 3] =
        [(State::Closed, "closed"), (State::HalfOpen, "half-open"), (State::Open, "open")];
    let mut chart = Chart::new("The states of the payment circuit, resilience on", &comparison.script, 66.0, 1.0);
    chart.lanes(&LANES.map(|(_, name)| name));
    let (run, times) = (comparison.plan.duration, Times::of(&comparison.plan));
    let ends = on.states.iter().skip(1).map(|(begun, _)| *begun).chain([run]);
    for ((begun, state), end) in on.states.iter().zip(ends) {
        if let Some(lane) = LANES.iter().position(|(known, _)| known == state) {
            chart.band(state.as_str(), (*begun).min(run)..end.min(run), lane, LANES.len());
        }
    }
    format!(
        "<h2>The circuit between orders and payment</h2>\n<p class=\"soft\">Closed: calls pass. Open: they are refused for \
         {} ms. Half-open: two probes pass and decide. Calls that take more than {} ms count as failed, and do so \
         while they are still in flight. With resilience off there is no circuit.</p>\n{}",
        times.open_for.as_millis(),
        times.slow.as_millis(),
        figure("resilience on", &chart.finish()),
    )
}

fn terms(comparison: &Comparison) -> String {
    let plan = &comparison.plan;
    let times = Times::of(plan);
    format!(
        "<h2>How to read it</h2>\n<dl>\n\
         <dt>ok</dt><dd>a 2xx within the patience of {patience} ms, counted from the moment the customer was due, in both \
         modes</dd>\n\
         <dt>late</dt><dd>no answer within the patience; the customer leaves and closes the connection</dd>\n\
         <dt>refused</dt><dd>a 503 or 429 with <code>Retry-After</code>: not served, and told at once when to come back</dd>\n\
         <dt>failed</dt><dd>any other answer, such as 502, or 503 from a pool that is full</dd>\n\
         <dt>the abuser</dt><dd>one client that comes and goes and asks far too often, with a credential of its own; with \
         resilience on a client has {limit} requests in any {window}, and the others get 429. It is there for half of every \
         phase but the last, and the lines without it are of those who came in the other half. In the p99 of both, who was \
         not served has waited to the end of the patience</dd>\n\
         <dt>goodput</dt><dd>ok divided by offered</dd>\n\
         <dt>stale</dt><dd>ok, but the price is that of the gateway's own copy, and the answer says so: better than none \
         while both replicas of the catalog fail (the grey stripe in the charts)</dd>\n\
         <dt>flaky</dt><dd>one request in eight is answered with 503, or its connection breaks before or after the amount \
         is captured; in both modes the same ones</dd>\n\
         <dt>attempts</dt><dd>requests that a client sends: one per call, and retries, and hedges, which are sent when the \
         first answer takes long; both are paid from a budget that every good answer fills a little</dd>\n\
         <dt>charged twice</dt><dd>amounts that the provider captured for a visit that had paid already</dd>\n\
         <dt>orders</dt><dd>with resilience on each is a saga: what was done before a step failed is undone, and after the stock is \
         confirmed what is left is done until it works, also when the customer has left or the process was killed. With \
         resilience off it is a row of calls</dd>\n\
         <dt>the books</dt><dd>the ledgers of the provider, the inventory, orders and notifications, read when all has come to \
         its end: money kept equals confirmed orders, in number and in cents; nothing is reserved for nobody; each \
         order is confirmed or cancelled; each confirmed one was told to its customer</dd>\n\
         <dt>silence</dt><dd>from the moment the provider falls silent, after it has taken the money, to the opening of the payment circuit, if it was \
         closed; without in-flight detection, to that of another in shadow mode, which sees the same calls by the same rules, \
         but each only at its end</dd>\n\
         <dt>recovery</dt><dd>from the moment the provider is healthy for good to the end of the last {grain} ms in which \
         fewer than 95 % of the customers were served in time</dd>\n\
         <dt>off</dt><dd>every call waits as long as its caller does</dd>\n\
         <dt>on</dt><dd>a limit for each client, timeouts (gateway {total} ms in all, orders {payment} ms per attempt, payment \
         {provider} ms), circuits, retries, hedges and the stale price list; a refusal becomes a 503 or 429 with <code>Retry-After</code></dd>\n\
         <dt>both</dt><dd>the same customers at the same moments, the same outage, and pools of {slots} requests in progress \
         with a queue of as many in each service</dd>\n</dl>\n",
        patience = plan.patience.as_millis(),
        limit = plan.limit,
        window = compact(plan.window),
        grain = measure::GRAIN.as_millis(),
        total = times.total.as_millis(),
        payment = times.payment.as_millis(),
        provider = times.provider.as_millis(),
        slots = crate::pool::slots_for(plan.rate),
    )
}

fn again(comparison: &Comparison) -> String {
    let plan = &comparison.plan;
    format!(
        "<h2>To see it again</h2>\n<pre><code>cargo run --release --bin storefront -- --duration {} --rate {} --seed {} \
         --patience {} --limit {} --window {} --report DIR</code></pre>\n<p class=\"soft\">Seed {} brings these customers \
         again; what the machine does meanwhile differs a little from run to run.</p>\n",
        compact(plan.duration),
        plan.rate,
        plan.seed,
        compact(plan.patience),
        plan.limit,
        compact(plan.window),
        plan.seed,
    )
}

/// As one word, as the command line takes it.
fn compact(time: Duration) -> String {
    humantime::format_duration(time).to_string().replace(' ', "")
}

fn figure(caption: &str, chart: &str) -> String {
    format!("<figure>\n<figcaption>{caption}</figcaption>\n{chart}\n</figure>\n")
}

fn curve_key(class: &str, name: &str) -> String {
    format!("<span><svg viewBox=\"0 0 26 12\"><path class=\"{class}\" d=\"M1 6H25\"/></svg>{name}</span>")
}

fn area_key(class: &str, name: &str) -> String {
    format!("<span><svg viewBox=\"0 0 26 12\"><rect class=\"{class}\" width=\"26\" height=\"12\"/></svg>{name}</span>")
}

fn middle(time: &Range<Duration>) -> Duration {
    (time.start + time.end) / 2
}

fn span(time: &Range<Duration>) -> String {
    format!("{:.2} to {:.2} s", time.start.as_secs_f64(), time.end.as_secs_f64())
}

const WRITTEN: &str = "a string takes everything";
