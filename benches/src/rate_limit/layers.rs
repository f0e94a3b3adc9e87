//! The layers: that refuse, that wait and with keys, behind an `Arc` and behind `&'static`.

use super::{MANY, ample, client, exhausted, few, keyed, limiter, log, of_few, scarce};
use crate::{Case, Leaf, at_once, attempts::leak, call};
use mainstay_core::{Error, Reason};
use mainstay_rate_limit::{KeyedLimiter, Limiter, Quota, RateLimitLayer, Rule};
use std::{ops::Deref, sync::Arc, task::Poll, time::Duration};
use tower_layer::Layer;
use tower_service::Service;

/// Each call is of one unit, and is polled once.
pub(super) fn cases() -> Vec<Case> {
    let rules = |quota: Quota, log: Rule| {
        let [counter, window] = [Rule::sliding_counter(quota), Rule::fixed_window(quota)];
        [("token_bucket", quota.into()), ("sliding_log", log), ("sliding_counter", counter), ("fixed_window", window)]
    };
    let mut cases = Vec::new();
    for (name, rule) in rules(ample(), log()) {
        cases.push(accepted(format!("layer/{name}"), Arc::new(limiter(rule))));
        cases.push(accepted(format!("layer_static/{name}"), leak(limiter(rule))));
    }
    for (name, rule) in rules(scarce(), Rule::sliding_log(scarce())) {
        cases.push(refused(format!("layer/{name}_refused"), Arc::new(exhausted(rule))));
        cases.push(refused(format!("layer_static/{name}_refused"), leak(exhausted(rule))));
    }
    cases.extend(waiting("layer", || Arc::new(limiter(ample())), Arc::new(exhausted(scarce()))));
    cases.extend(waiting("layer_static", || leak(limiter(ample())), leak(exhausted(scarce()))));
    cases.extend(of_few_keys("layer", Arc::new));
    cases.extend(of_few_keys("layer_static", leak));
    cases
}

/// With a million keys, which are there before.
pub(super) fn many() -> Case {
    let limits = leak(keyed::<u64>(ample()));
    (0..MANY).for_each(|key| assert!(limits.check(&key).allowed));
    let layer = RateLimitLayer::keyed_by_value(limits, |number: &u64| client(*number, MANY));
    at_once("layer_static/keyed_million", layer.layer(Leaf))
}

fn accepted<H>(name: String, limiter: H) -> Case
where
    H: Deref<Target = Limiter> + Clone + Send + 'static,
{
    at_once(name, RateLimitLayer::with_limiter(limiter).layer(Leaf))
}

fn refused<H>(name: String, limiter: H) -> Case
where
    H: Deref<Target = Limiter> + Clone + Send + 'static,
{
    of_refused(name, RateLimitLayer::with_limiter(limiter).layer(Leaf))
}

/// Nobody has to wait, or would have to for too long.
fn waiting<H>(form: &str, ample: impl Fn() -> H, exhausted: H) -> [Case; 2]
where
    H: Deref<Target = Limiter> + Clone + Send + 'static,
{
    let second = Duration::from_secs(1);
    let layer = |limiter| RateLimitLayer::with_limiter(limiter).wait_at_most(second);
    [
        at_once(format!("{form}/waiting"), layer(ample()).layer(Leaf)),
        of_refused(format!("{form}/waiting_refused"), layer(exhausted).layer(Leaf)),
    ]
}

fn of_few_keys<H>(form: &str, handle: fn(KeyedLimiter<str>) -> H) -> [Case; 2]
where
    H: Deref<Target = KeyedLimiter<str>> + Clone + Send + 'static,
{
    let keys: &'static [String] = leak(few());
    let (ample, empty) = (keyed::<str>(ample()), keyed::<str>(scarce()));
    for key in keys {
        assert!(empty.check(key).allowed);
    }
    let ample = RateLimitLayer::keyed(handle(ample), |number: &u64| of_few(keys, *number).as_str());
    let empty = RateLimitLayer::keyed(handle(empty), |number: &u64| of_few(keys, *number).as_str());
    [
        at_once(format!("{form}/keyed_64"), ample.layer(Leaf)),
        of_refused(format!("{form}/keyed_64_refused"), empty.layer(Leaf)),
    ]
}

/// Every call is refused, and told when to come back.
fn of_refused<S, E>(name: impl Into<String>, service: S) -> Case
where
    S: Service<u64, Response = u64, Error = Error<E>> + Clone + Send + 'static,
{
    Case::new(name, move || {
        let mut service = service.clone();
        move |number| {
            let Poll::Ready(Err(Error::Refused(refused))) = call(&mut service, number) else {
                panic!("call {number} was not refused");
            };
            assert!(refused.reason() == Reason::RateLimited && refused.retry_after().is_some());
        }
    })
}
