//! The cases of the rate limiter: by reference, per key and, in modules, as layers and in front of an HTTP server.
//!
//! Those that admit do so at every call: their quotas are more than a thread can ask for. Those that refuse have one unit a day,
//! and it is taken.

mod http;
mod layers;

pub use self::http::request;

use crate::{Case, attempts::leak};
use mainstay_rate_limit::{Config, KeyedConfig, KeyedLimiter, Limiter, Quota, Rule};
use std::{hash::Hash, sync::Arc, time::Duration};

/// How many clients are few.
pub const FEW: u64 = 64;

/// How many clients are many: a million.
pub const MANY: u64 = 1 << 20;

/// By reference, with a few keys, and as layers.
pub fn cases() -> Vec<Case> {
    let mut cases = checked_cases();
    cases.extend(refused_cases());
    cases.extend(few_cases());
    cases.extend(layers::cases());
    cases.extend(http::cases());
    cases
}

/// With a million keys. These take a while to make.
pub fn many_cases() -> Vec<Case> {
    vec![
        checked_many("keyed_million/token_bucket", ample()),
        checked_many("keyed_million/sliding_counter", Rule::sliding_counter(ample())),
        layers::many(),
        new_keys("keyed_million/new_key"),
    ]
}

/// Those of [`cases`] where several threads meet at one limiter.
pub fn shared_cases() -> Vec<Case> {
    let alone = ["rate_limit_http"];
    cases().into_iter().filter(|case| !alone.iter().any(|alone| case.name().starts_with(alone))).collect()
}

/// A billion units each second, one per nanosecond.
pub fn ample() -> Quota {
    Quota::per_second(1_000_000_000).expect("a quota")
}

/// One unit a day.
pub fn scarce() -> Quota {
    Quota::new(1, Duration::from_hours(24)).expect("a quota")
}

/// A limiter from which nothing has been taken.
pub fn limiter(config: impl Into<Config>) -> Limiter {
    Limiter::new(config).expect("every setting is in its range")
}

/// One that has nothing left.
pub fn exhausted(config: impl Into<Config>) -> Limiter {
    let limiter = limiter(config);
    while limiter.check().allowed {}
    limiter
}

/// Limits per key, with room for those that a case has.
pub fn keyed<K: Hash + ?Sized>(rule: impl Into<Rule>) -> KeyedLimiter<K> {
    // The shards do not fill evenly.
    let room = u32::try_from(MANY * 5 / 4).expect("a number of keys");
    KeyedLimiter::new(KeyedConfig::new(Config::new(rule)).max_keys(room)).expect("every setting is in its range")
}

/// The keys of few clients, as a server finds them in its requests.
pub fn few() -> Arc<[String]> {
    (0..FEW).map(|client| format!("client-{client:04}")).collect()
}

/// The client of a call, of so many and in no order.
#[inline]
pub fn client(number: u64, of: u64) -> u64 {
    (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) % of
}

/// One unit of a log that has a place for each ten nanoseconds, of which a loop fills some.
fn log() -> Rule {
    Rule::sliding_log(Quota::new(10_000, Duration::from_micros(100)).expect("a quota"))
}

fn checked_cases() -> Vec<Case> {
    let [second, hour] = [ample(), Quota::per_hour(1_000_000_000_000).expect("a quota")];
    vec![
        checked("token_bucket/check", limiter(ample())),
        checked("sliding_log/check", limiter(log())),
        checked("sliding_counter/check", limiter(Rule::sliding_counter(ample()))),
        checked("fixed_window/check", limiter(Rule::fixed_window(ample()))),
        checked("two_rules/check", limiter([Rule::token_bucket(second), Rule::sliding_counter(hour)])),
    ]
}

fn refused_cases() -> Vec<Case> {
    let hour = Quota::per_hour(1).expect("a quota");
    vec![
        refused("token_bucket/refused", exhausted(scarce())),
        refused("sliding_log/refused", exhausted(Rule::sliding_log(scarce()))),
        refused("sliding_counter/refused", exhausted(Rule::sliding_counter(scarce()))),
        refused("fixed_window/refused", exhausted(Rule::fixed_window(scarce()))),
        refused("two_rules/refused", exhausted([Rule::token_bucket(hour), Rule::sliding_counter(scarce())])),
    ]
}

fn few_cases() -> Vec<Case> {
    vec![
        checked_few("keyed_64/token_bucket", ample()),
        checked_few("keyed_64/sliding_counter", Rule::sliding_counter(ample())),
        refused_few("keyed_64/refused", scarce()),
    ]
}

fn checked(name: &str, limiter: Limiter) -> Case {
    let limiter = leak(limiter);
    Case::new(name, move || move |_| assert!(limiter.check().allowed))
}

fn refused(name: &str, limiter: Limiter) -> Case {
    let limiter = leak(limiter);
    Case::new(name, move || {
        move |_| {
            let decision = limiter.check();
            assert!(!decision.allowed && !decision.retry_after.is_zero());
        }
    })
}

fn checked_few(name: &str, rule: impl Into<Rule>) -> Case {
    let (limiter, keys) = (leak(keyed::<str>(rule)), few());
    Case::new(name, move || {
        let keys = keys.clone();
        move |number| assert!(limiter.check(of_few(&keys, number)).allowed)
    })
}

fn refused_few(name: &str, rule: impl Into<Rule>) -> Case {
    let (limiter, keys) = (leak(keyed::<str>(rule)), few());
    keys.iter().for_each(|key| assert!(limiter.check(key).allowed));
    Case::new(name, move || {
        let keys = keys.clone();
        move |number| assert!(!limiter.check(of_few(&keys, number)).allowed)
    })
}

/// The key of a call.
#[inline]
pub fn of_few(keys: &[String], number: u64) -> &String {
    &keys[usize::try_from(number % FEW).unwrap_or(0)]
}

/// All keys are there before.
fn checked_many(name: &str, rule: impl Into<Rule>) -> Case {
    let limiter = leak(keyed::<u64>(rule));
    (0..MANY).for_each(|key| assert!(limiter.check(&key).allowed));
    Case::new(name, move || move |number| assert!(limiter.check(&client(number, MANY)).allowed))
}

/// Each call has a key that was never there, and takes the place of one that is full again.
fn new_keys(name: &str) -> Case {
    let limiter = leak(keyed::<u64>(ample()));
    Case::new(name, move || {
        let mut key = 0_u64;
        move |_| {
            key += 1;
            assert!(limiter.check(&key).allowed);
        }
    })
}
