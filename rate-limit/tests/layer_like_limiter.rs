//! The layer takes a shorter way than [`Limiter::check_cost`], which says more. Both decide alike.

use mainstay_core::{Error, Reason};
use mainstay_rate_limit::{Algorithm, Config, Limiter, Quota, RateLimitLayer, Rule};
use proptest::{collection::vec, prelude::*};
use std::{
    convert::Infallible,
    future::{Ready, ready},
    time::Duration,
};
use tokio::{runtime::Builder, time::advance};
use tower::{Layer, ServiceExt, service_fn};

#[derive(Clone, Debug)]
enum Act {
    Pass(u64),
    Ask(u64),
    /// Somebody waits for so many units: from then on a token bucket is under the lock.
    Reserve(u64),
    Change(Vec<Rule>),
    Shadow(bool),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        3 => (0_u64..2_000).prop_map(Act::Pass),
        8 => (0_u64..12).prop_map(Act::Ask),
        1 => (1_u64..5).prop_map(Act::Reserve),
        1 => rules().prop_map(Act::Change),
        1 => any::<bool>().prop_map(Act::Shadow),
    ]
}

fn rules() -> impl Strategy<Value = Vec<Rule>> {
    let algorithm = prop_oneof![
        Just(Algorithm::TokenBucket),
        Just(Algorithm::SlidingLog),
        Just(Algorithm::SlidingCounter),
        Just(Algorithm::FixedWindow),
    ];
    let rule = (algorithm, 1_u64..10, 100_u64..3_000)
        .prop_map(|(algorithm, limit, period)| Rule::new(algorithm, Quota::new(limit, micros(period)).unwrap()));
    // One rule most often: only then there is a way without a lock.
    prop_oneof![3 => vec(rule.clone(), 1), 1 => vec(rule, 2..4)]
}

fn micros(micros: u64) -> Duration {
    Duration::from_micros(micros)
}

fn config(rules: &[Rule], shadow: bool) -> Config {
    let mut config = Config::new(rules[0]).name("twins").shadow(shadow);
    config.rules = rules.to_vec();
    config
}

type Answer = Result<u64, Error<Infallible>>;

async fn run(rules: Vec<Rule>, acts: Vec<Act>) {
    let (mut rules, mut shadow) = (rules, false);
    let limiter = Limiter::new(config(&rules, shadow)).unwrap();
    let layer = RateLimitLayer::new(config(&rules, shadow)).unwrap().cost(|cost: &u64| *cost);
    let twin = layer.handle();
    for act in acts {
        match act {
            Act::Pass(time) => advance(micros(time)).await,
            Act::Ask(cost) => {
                let inner = service_fn(|cost| -> Ready<Answer> { ready(Ok(cost)) });
                let wait = match limiter.check_cost(cost) {
                    Ok(decision) if decision.allowed => None,
                    Ok(decision) => Some(Some(decision.retry_after)),
                    Err(_never) => Some(None),
                };
                match layer.layer(inner).oneshot(cost).await {
                    Ok(answer) => assert_eq!((answer, wait), (cost, None)),
                    Err(Error::Refused(refused)) => {
                        assert_eq!((refused.reason(), refused.by()), (Reason::RateLimited, "twins"));
                        assert_eq!(Some(refused.retry_after()), wait);
                    }
                    Err(error) => panic!("{error}"),
                }
            }
            Act::Reserve(cost) => {
                let now = tokio::time::Instant::now().into_std();
                let [wait, same] = [&limiter, &*twin]
                    .map(|limiter| limiter.reserve_at(cost, micros(1_500), now).map(|reserved| reserved.wait()));
                assert_eq!(wait, same);
            }
            Act::Change(new) => {
                rules = new;
                for limiter in [&limiter, &*twin] {
                    limiter.reconfigure(config(&rules, shadow)).unwrap();
                }
            }
            Act::Shadow(new) => {
                shadow = new;
                for limiter in [&limiter, &*twin] {
                    limiter.reconfigure(config(&rules, shadow)).unwrap();
                }
            }
        }
        assert_eq!(limiter.snapshot(), twin.snapshot());
    }
}

proptest! {
    #[test]
    fn layer_and_limiter_decide_alike(rules in rules(), acts in vec(act(), 1..60)) {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(run(rules, acts));
    }
}
