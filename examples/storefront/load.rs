//! The customers: they arrive at random moments, do not wait for each other, and give up when their patience ends.

use crate::{
    abuser,
    measure::{Outcome, Record},
    services::catalog::{self, PRODUCTS},
    stacks::{self, Http},
    wire::{IDEMPOTENCY_KEY, TRACEPARENT},
};
use axum::body::Body;
use http::{
    HeaderMap, Request, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER},
};
use http_body_util::BodyExt;
use mainstay::BoxError;
use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus};
use serde_json::{Value, json};
use std::{net::SocketAddr, time::Duration};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep_until, timeout_at},
};

/// The share of the customers who check out; the others look at a product.
const CHECKOUTS: f64 = 0.4;

/// So many accounts have the customers, who come in turn: at 300 per second each comes again after ten seconds. Even at the
/// highest rate that is 40 times in a minute.
const ACCOUNTS: usize = 3_000;

/// What somebody comes for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Errand {
    Browse,
    Checkout,
    /// The abuser's: to look at whatever there is, as often as it can.
    Scrape,
}

/// One customer, or one request of the abuser.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Arrival {
    /// Counted from the start of the run.
    pub(crate) at: Duration,
    pub(crate) errand: Errand,
    pub(crate) product: u32,
    /// The how manieth of its kind.
    pub(crate) number: usize,
}

/// The customers and the abuser's requests, in the order in which they come.
pub(crate) fn arrivals(customers: Vec<Arrival>, abuse: Vec<Arrival>) -> Vec<Arrival> {
    let mut arrivals = [customers, abuse].concat();
    arrivals.sort_by_key(|arrival| arrival.at);
    arrivals
}

/// A Poisson process: the times between arrivals are independent and exponential. The same seed gives the same customers.
pub(crate) fn customers(seed: u64, rate: u32, duration: Duration) -> Vec<Arrival> {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut arrivals = Vec::new();
    let mut at = 0.0;
    loop {
        at += gap(&mut random, rate);
        if at >= duration.as_secs_f64() {
            return arrivals;
        }
        arrivals.push(Arrival {
            at: Duration::from_secs_f64(at),
            errand: if random.random_bool(CHECKOUTS) { Errand::Checkout } else { Errand::Browse },
            product: random.random_range(1..=PRODUCTS),
            number: arrivals.len(),
        });
    }
}

/// The seconds to the next arrival.
pub(crate) fn gap(random: &mut Xoshiro256PlusPlus, rate: u32) -> f64 {
    // Drawn from (0, 1], whose logarithm is finite.
    -(1.0 - random.random::<f64>()).ln() / f64::from(rate)
}

/// Sends each customer at its time, whatever became of those before, and reports each as it ends.
pub(crate) async fn generate(
    arrivals: Vec<Arrival>,
    gateway: SocketAddr,
    patience: Duration,
    start: Instant,
    records: mpsc::UnboundedSender<Record>,
) {
    let http = stacks::http();
    let mut customers = JoinSet::new();
    for arrival in arrivals {
        let due = start + arrival.at;
        sleep_until(due).await;
        let (http, records) = (http.clone(), records.clone());
        customers.spawn(async move {
            let answer = timeout_at(due + patience, visit(http, gateway, arrival)).await;
            let waited = due.elapsed().min(patience);
            let Answer { outcome, stale, limited } = match answer {
                Ok(answer) => answer.unwrap_or(Answer::none(Outcome::Failed)),
                Err(_) => Answer::none(Outcome::Late),
            };
            // Nobody listens any more after Ctrl-C.
            let _ = records.send(Record { at: arrival.at, errand: arrival.errand, outcome, stale, limited, waited });
        });
        while customers.try_join_next().is_some() {}
    }
    customers.join_all().await;
}

/// What is in an answer.
struct Answer {
    outcome: Outcome,
    stale: bool,
    limited: bool,
}

impl Answer {
    const fn none(outcome: Outcome) -> Self {
        Self { outcome, stale: false, limited: false }
    }
}

/// One request, to the last byte of its answer.
async fn visit(http: Http, gateway: SocketAddr, arrival: Arrival) -> Result<Answer, BoxError> {
    let response = http.request(request(gateway, arrival)).await?;
    let outcome = judge(response.status(), response.headers());
    let limited = response.status() == StatusCode::TOO_MANY_REQUESTS;
    let body = response.into_body().collect().await?.to_bytes();
    let stale = outcome == Outcome::Ok && serde_json::from_slice::<Value>(&body)?["stale"] == true;
    Ok(Answer { outcome, stale, limited })
}

fn request(gateway: SocketAddr, arrival: Arrival) -> Request<Body> {
    let Arrival { product, errand, number, .. } = arrival;
    let token = match errand {
        Errand::Scrape => abuser::TOKEN.to_owned(),
        Errand::Browse | Errand::Checkout => format!("customer-{}", number % ACCOUNTS),
    };
    let token = format!("Bearer {token}");
    match errand {
        Errand::Browse | Errand::Scrape => Request::get(format!("http://{gateway}/products/{product}"))
            .header(AUTHORIZATION, token)
            .body(Body::empty()),
        Errand::Checkout => Request::post(format!("http://{gateway}/checkout"))
            .header(AUTHORIZATION, token)
            .header(CONTENT_TYPE, "application/json")
            .header(IDEMPOTENCY_KEY, format!("customer-{number}"))
            // The same in both runs, so that a flaky provider has the same mishaps.
            .header(TRACEPARENT, format!("00-{:032x}-{:016x}-01", number + 1, number + 1))
            .body(Body::from(json!({ "product": product, "cents": catalog::price(product) }).to_string())),
    }
    .expect("an address and a number make a valid head")
}

/// A refusal says when to come back; that, and not the status alone, is what a customer can act on.
fn judge(status: StatusCode, headers: &HeaderMap) -> Outcome {
    match status {
        status if status.is_success() => Outcome::Ok,
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS if headers.contains_key(RETRY_AFTER) => {
            Outcome::Refused
        }
        _ => Outcome::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    const MINUTE: Duration = Duration::from_mins(1);

    #[test]
    fn the_same_seed_brings_the_same_customers() {
        assert_eq!(customers(7, 300, MINUTE), customers(7, 300, MINUTE));
        assert_ne!(customers(7, 300, MINUTE), customers(8, 300, MINUTE));
    }

    #[test]
    #[expect(clippy::cast_precision_loss, reason = "a few ten thousand")]
    fn arrivals_are_a_poisson_process() {
        let arrivals = customers(7, 300, MINUTE);
        assert!(arrivals.is_sorted_by_key(|arrival| arrival.at));

        // 18,000 expected, with a standard deviation of 134: five of them.
        let count = arrivals.len() as f64;
        assert!((count - 18_000.0).abs() < 670.0, "{count}");

        // Of exponential times the mean and the standard deviation are equal; each is known to about 1 % here.
        let gaps: Vec<_> =
            arrivals.windows(2).map(|pair| pair[1].at.as_secs_f64() - pair[0].at.as_secs_f64()).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let deviation = (gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64).sqrt();
        assert!((deviation / mean - 1.0).abs() < 0.05, "{deviation} {mean}");

        let checkouts = arrivals.iter().filter(|arrival| arrival.errand == Errand::Checkout).count() as f64;
        assert!((checkouts / count - CHECKOUTS).abs() < 0.02, "{checkouts}");
    }

    #[test]
    fn honest_customers_stay_below_the_limit_even_at_the_highest_rate() {
        let gateway = SocketAddr::from(([127, 0, 0, 1], 80));
        let mut visits = HashMap::new();
        for customer in customers(7, 2_000, MINUTE) {
            let token = request(gateway, customer).headers()[AUTHORIZATION].clone();
            *visits.entry(token).or_insert(0) += 1;
        }
        assert_eq!(visits.len(), ACCOUNTS);
        assert!(visits.values().all(|visits| *visits <= 50), "the default is 100");
    }

    #[test]
    fn a_refusal_has_to_say_when_to_come_back() {
        let mut headers = HeaderMap::new();
        assert_eq!(judge(StatusCode::CREATED, &headers), Outcome::Ok);
        assert_eq!(judge(StatusCode::SERVICE_UNAVAILABLE, &headers), Outcome::Failed);
        headers.insert(RETRY_AFTER, 1.into());
        assert_eq!(judge(StatusCode::SERVICE_UNAVAILABLE, &headers), Outcome::Refused);
        assert_eq!(judge(StatusCode::TOO_MANY_REQUESTS, &headers), Outcome::Refused);
        assert_eq!(judge(StatusCode::BAD_GATEWAY, &headers), Outcome::Failed);
    }
}
