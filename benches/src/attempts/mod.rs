//! The cases of retry and hedge, and in modules those of timeout, fallback and their stacks. Every first attempt succeeds:
//! what is measured is what the healthy calls pay.

pub mod fallback;
pub mod stack;
pub mod timeout;

use crate::{Case, Failed, Leaf, at_once, call};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Empty;
use mainstay_core::{Attempt, Error, Now, lift};
use mainstay_retry::{
    Backoff, Budget, BudgetConfig, Clock, Config, HedgeConfig, HedgeDelay, HedgeLayer, Hedging, Pay, Percentile,
    Retries, RetryLayer,
};
use std::{
    future::{Future, Ready, ready},
    hint::black_box,
    ops::Deref,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};
use tower_layer::Layer;
use tower_service::Service;

/// By reference, as layers and without tower.
pub fn cases() -> Vec<Case> {
    let mut cases = retry_cases();
    cases.extend(http_cases());
    cases.extend(budget_cases());
    cases.extend(hedge_cases());
    cases.extend(timeout::cases());
    cases.extend(fallback::cases());
    cases.extend(stack::cases());
    cases
}

/// Those of [`cases`] where several threads meet at one budget or at the same latencies, and as the yardstick the plain retry,
/// where they share nothing.
pub fn shared_cases() -> Vec<Case> {
    let shared = [
        "retry/layer",
        "retry_budget",
        "retry_earning",
        "budget",
        "hedge/layer",
        "hedge_percentile",
        "retry_timeout",
        "retry_breaker_timeout",
    ];
    cases().into_iter().filter(|case| shared.iter().any(|shared| case.name().starts_with(shared))).collect()
}

fn retry_cases() -> Vec<Case> {
    vec![
        at_once("retry/layer", retry().layer(Leaf)),
        at_once("retry/layer_deadline", deadline().layer(Leaf)),
        without_tower("retry/call", retries()),
        at_once("retry_budget/layer", retry().budget(Arc::new(full())).layer(Leaf)),
        at_once("retry_budget/layer_static", retry().budget(leak(full())).layer(Leaf)),
        at_once("retry_earning/layer", retry().budget(Arc::new(earning())).layer(Leaf)),
        at_once("retry_earning/layer_static", retry().budget(leak(earning())).layer(Leaf)),
        backoff("retry_backoff/exponential", Backoff::default()),
    ]
}

/// At most three attempts; the backoff doubles from 100 ms.
pub fn retry() -> RetryLayer {
    RetryLayer::new(config()).expect("every setting is in its range")
}

/// The same without tower.
pub fn retries() -> Retries {
    Retries::new(config()).expect("every setting is in its range")
}

fn deadline() -> RetryLayer {
    RetryLayer::new(config().deadline(Duration::from_secs(10))).expect("every setting is in its range")
}

fn config() -> Config {
    Config::default().max_attempts(3).backoff(Backoff::exponential(Duration::from_millis(100)))
}

/// A budget of a tenth of the calls that has all that it can save, as that of a healthy service has.
pub fn full() -> Budget {
    Budget::new(BudgetConfig::default().ratio(0.1)).expect("every setting is in its range")
}

/// The same budget, when each call still earns something: it never fills.
pub fn earning() -> Budget {
    Budget::new(BudgetConfig::default().ratio(0.1).initial(0).cap(u32::MAX)).expect("every setting is in its range")
}

/// A future that is tried, without tower.
pub fn without_tower(name: &str, retries: Retries) -> Case {
    Case::new(name, move || {
        let retries = retries.clone();
        move |number| answers(retries.call(|_: Attempt| lift(ready(Ok::<_, Failed>(number)))), number)
    })
}

/// One wait is computed.
fn backoff(name: &str, backoff: Backoff) -> Case {
    Case::new(name, move || {
        move |number| {
            let draw = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let wait = black_box(backoff).delay(2, Duration::ZERO, draw);
            assert!(wait <= Duration::from_millis(400));
        }
    })
}

/// A `GET` with three headers and no body; without retry, what to subtract.
fn http_cases() -> [Case; 2] {
    let layer = RetryLayer::http(config()).expect("every setting is in its range");
    [http("retry_http/bare", HttpLeaf), http("retry_http/layer", layer.layer(HttpLeaf))]
}

/// Answers each request with 200, at once.
#[derive(Clone, Copy, Debug)]
struct HttpLeaf;

impl<B> Service<Request<B>> for HttpLeaf {
    type Response = Response<()>;
    type Error = Error<Failed>;
    type Future = Ready<Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        assert_eq!(request.headers().len(), 3);
        ready(Ok(Response::new(())))
    }
}

fn http<S>(name: &str, service: S) -> Case
where
    S: Service<Request<Empty<Bytes>>, Response = Response<()>> + Clone + Send + 'static,
{
    let request = Request::get("/stock/espresso")
        .header("accept", "application/json")
        .header("host", "catalog.example.com")
        .header("user-agent", "bench")
        .body(Empty::new())
        .expect("a request");
    Case::new(name, move || {
        let (mut service, request) = (service.clone(), request.clone());
        move |_| {
            let answer = call(&mut service, request.clone());
            assert!(matches!(answer, Poll::Ready(Ok(response)) if response.status() == StatusCode::OK));
        }
    })
}

/// The budget by reference.
fn budget_cases() -> Vec<Case> {
    let reserve = || {
        let config = BudgetConfig::default().ratio(0.1).reserve_rate(1.0);
        leak(Budget::new(config).expect("every setting is in its range"))
    };
    vec![
        deposit("budget/deposit_full", leak(full())),
        deposit("budget/deposit_earning", leak(earning())),
        charge("budget/charge", leak(full())),
        charge("budget/charge_reserve", reserve()),
        refused("budget/exhausted", leak(empty())),
    ]
}

fn empty() -> Budget {
    Budget::new(BudgetConfig::default().ratio(0.0).initial(0)).expect("every setting is in its range")
}

fn deposit(name: &str, budget: &'static Budget) -> Case {
    Case::new(name, move || move |_| budget.deposit())
}

/// A token is taken and given back.
fn charge(name: &str, budget: &'static Budget) -> Case {
    Case::new(name, move || move |_| drop(budget.charge().expect("what was taken is back")))
}

fn refused(name: &str, budget: &'static Budget) -> Case {
    Case::new(name, move || move |_| assert!(budget.withdraw(Clock).is_none()))
}

/// The request is idempotent, or it would not be hedged; the hedge never starts.
fn hedge_cases() -> Vec<Case> {
    vec![
        at_once("hedge/layer", hedged(Arc::new(fixed()))),
        at_once("hedge/layer_static", hedged(leak(fixed()))),
        at_once("hedge/layer_not_idempotent", HedgeLayer::with_hedging(Arc::new(fixed())).layer(Leaf)),
        hedge_without_tower("hedge/call", leak(fixed())),
        at_once("hedge_percentile/layer", hedged(Arc::new(percentile()))),
        at_once("hedge_percentile/layer_static", hedged(leak(percentile()))),
        hedge_without_tower("hedge_percentile/call", leak(percentile())),
        record("hedge_percentile/record", leak(percentile())),
    ]
}

/// One hedge, after 100 ms.
pub fn fixed() -> Hedging {
    hedging(Duration::from_millis(100))
}

/// One hedge, after the 95th percentile of the latencies; there are enough of them, from 1 to 100 ms, to begin with.
pub fn percentile() -> Hedging {
    let hedging = hedging(Percentile::new(0.95));
    let latencies = hedging.latencies().expect("they are measured");
    (1..=1_000).for_each(|number| latencies.record(Duration::from_micros(number * 100), Clock.now()));
    hedging
}

fn hedging(delay: impl Into<HedgeDelay>) -> Hedging {
    Hedging::new(HedgeConfig::default().delay(delay)).expect("every setting is in its range")
}

/// A service whose requests are all hedged.
pub fn hedged<H>(hedging: H) -> impl Service<u64, Response = u64> + Clone + Send + 'static
where
    H: Deref<Target = Hedging> + Clone + Send + 'static,
{
    HedgeLayer::with_hedging(hedging).idempotent().layer(Leaf)
}

/// A future that is hedged, without tower.
pub fn hedge_without_tower(name: &str, hedging: &'static Hedging) -> Case {
    Case::new(name, move || {
        move |number| answers(hedging.call(|_: Attempt| lift(ready(Ok::<_, Failed>(number)))), number)
    })
}

/// A latency is recorded by hand, at a time that is known.
fn record(name: &str, hedging: &'static Hedging) -> Case {
    let latencies = hedging.latencies().expect("they are measured");
    Case::new(name, move || {
        let now = Clock.now();
        move |number| latencies.record(Duration::from_micros(number % 100_000), now)
    })
}

/// A handle that costs nothing.
pub fn leak<T>(value: T) -> &'static T {
    Box::leak(Box::new(value))
}

/// Polls a future that has no reason to wait.
#[inline]
fn answers(future: impl Future<Output = Result<u64, Error<Failed>>>, expected: u64) {
    let answer = pin!(future).poll(&mut Context::from_waker(Waker::noop()));
    assert_eq!(answer, Poll::Ready(Ok(expected)));
}
