//! The contract of tower, and what a refusal means: the conformance kit over each form of the layer.

use mainstay_conformance::{AutoTraits, ProbeError, Profile, Request, Subject, conformance_suite};
use mainstay_core::Error;
use mainstay_rate_limit::{Config, KeyedConfig, KeyedRateLimitLayer, Quota, RateLimitLayer, Rule};
use std::time::Duration;
use tower::{
    ServiceBuilder,
    layer::util::{Identity, Stack},
    util::MapErrLayer,
};

type Lift = MapErrLayer<fn(ProbeError) -> Error<ProbeError>>;
type Lifted<L> = ServiceBuilder<Stack<Lift, Stack<L, Identity>>>;

/// The layer with its leaf's errors lifted, as a user would build it.
fn lifted<L>(layer: L) -> Lifted<L> {
    let lift: fn(ProbeError) -> Error<ProbeError> = Error::Inner;
    ServiceBuilder::new().layer(layer).map_err(lift)
}

fn layer(config: impl Into<Config>) -> RateLimitLayer {
    RateLimitLayer::new(config).expect("the configuration is valid")
}

fn profile() -> Profile {
    Profile::pass_through().future_is(AutoTraits::SEND.sync()).future_overhead(48)
}

/// Nothing to wait for and nothing to be woken by.
fn refusing() -> Profile {
    profile().may_refuse().service_is(AutoTraits::SEND.sync().unpin())
}

fn per_second(limit: u64) -> Quota {
    Quota::per_second(limit).expect("the quota is valid")
}

/// One unit at once, and one in each step of the driver.
fn scarce() -> Quota {
    per_second(1)
}

conformance_suite!(
    refuses,
    Subject::new("a limit that refuses", || lifted(layer(scarce()))).on_tokio().profile(refusing()),
);

conformance_suite!(
    admits,
    Subject::new("a limit that is far away", || lifted(layer(per_second(1_000_000)))).on_tokio().profile(refusing()),
);

conformance_suite!(
    several_rules,
    Subject::new("several rules", || {
        let minute = Quota::per_minute(2).expect("the quota is valid");
        lifted(layer([
            Rule::token_bucket(scarce()),
            Rule::sliding_log(minute),
            Rule::sliding_counter(minute),
            Rule::fixed_window(minute),
        ]))
    })
    .on_tokio()
    .profile(refusing().step(Duration::from_secs(25))),
);

// Refuses nothing, and says so.
conformance_suite!(
    shadow,
    Subject::new("a limit in shadow mode", || lifted(layer(Config::new(scarce()).shadow(true))))
        .on_tokio()
        .profile(profile()),
);

conformance_suite!(
    cost,
    Subject::new("a cost of each request, sometimes above what there can be", || {
        lifted(layer(per_second(2)).cost(|request: &Request| u64::from(request.id() % 4)))
    })
    .on_tokio()
    .profile(refusing()),
);

conformance_suite!(
    waits,
    Subject::new("a limit that is waited for", || lifted(layer(scarce()).wait_at_most(Duration::MAX)))
        .on_tokio()
        .profile(profile().backpressure()),
);

conformance_suite!(
    waits_not_for_long,
    Subject::new("a limit that is waited for, but not for long", || {
        lifted(layer(scarce()).wait_at_most(Duration::from_secs(1)))
    })
    .on_tokio()
    .profile(profile().may_refuse().backpressure()),
);

conformance_suite!(
    waits_for_nothing,
    Subject::new("a limit that might be waited for", || {
        lifted(layer(per_second(1_000_000)).wait_at_most(Duration::MAX))
    })
    .on_tokio()
    .profile(profile().backpressure()),
);

conformance_suite!(
    waits_in_shadow,
    Subject::new("a limit that is waited for, in shadow mode", || {
        lifted(layer(Config::new(scarce()).shadow(true)).wait_at_most(Duration::MAX))
    })
    .on_tokio()
    .profile(profile()),
);

conformance_suite!(
    keyed,
    Subject::new("a limit for each of two keys", || {
        let layer = KeyedRateLimitLayer::by_value(scarce(), |request: &Request| request.id() % 2);
        lifted(layer.expect("the configuration is valid"))
    })
    .on_tokio()
    .profile(refusing()),
);

// The second key finds no room, so it shares a limit with the third.
conformance_suite!(
    keyed_and_full,
    Subject::new("more keys than limits", || {
        let config = KeyedConfig::new(scarce()).max_keys(1);
        lifted(KeyedRateLimitLayer::by_value(config, |request: &Request| request.id() % 3).expect("it is valid"))
    })
    .on_tokio()
    .profile(refusing()),
);

conformance_suite!(
    keyed_admits,
    Subject::new("a limit for each of two keys that is far away", || {
        let layer = KeyedRateLimitLayer::by_value(per_second(1_000_000), |request: &Request| request.id() % 2);
        lifted(layer.expect("the configuration is valid"))
    })
    .on_tokio()
    .profile(refusing()),
);

/// The call waits, with a clone of the service and a timer.
fn keyed_waits() -> Profile {
    profile().may_refuse().future_overhead(512)
}

conformance_suite!(
    keyed_wait,
    Subject::new("a limit for each of two keys whose calls wait", || {
        let layer = KeyedRateLimitLayer::by_value(scarce(), |request: &Request| request.id() % 2);
        lifted(layer.expect("the configuration is valid").wait_at_most(Duration::MAX))
    })
    .on_tokio()
    .profile(keyed_waits()),
);

conformance_suite!(
    keyed_waits_for_nothing,
    Subject::new("a limit for each of two keys that might be waited for", || {
        let layer = KeyedRateLimitLayer::by_value(per_second(1_000_000), |request: &Request| request.id() % 2);
        lifted(layer.expect("the configuration is valid").wait_at_most(Duration::MAX))
    })
    .on_tokio()
    .profile(keyed_waits()),
);

mod anywhere {
    use super::{lifted, per_second, profile, scarce};
    use mainstay_conformance::{Request, Subject, conformance_suite};
    use mainstay_rate_limit::{ByValue, CostTooLarge, Decision, KeyedLimiter, Limit, LimitLayer};
    use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

    /// Asked over a slow network.
    #[derive(Clone)]
    struct Remote(Arc<KeyedLimiter<u32>>);

    impl Limit<u32> for Remote {
        type Decide = Pin<Box<dyn Future<Output = Result<Decision, CostTooLarge>> + Send>>;

        fn decide(&self, key: &u32, cost: u64) -> Self::Decide {
            let (limiter, key) = (Arc::clone(&self.0), *key);
            Box::pin(async move {
                tokio::time::sleep(Duration::from_millis(500)).await;
                limiter.check_cost(&key, cost)
            })
        }
    }

    fn limiter(quota: mainstay_rate_limit::Quota) -> Arc<KeyedLimiter<u32>> {
        Arc::new(KeyedLimiter::new(quota).expect("the quota is valid"))
    }

    const fn key(request: &Request) -> u32 {
        request.id() % 2
    }

    conformance_suite!(
        at_once,
        Subject::new("a limit behind the trait that answers at once", || {
            lifted(LimitLayer::new("limit", limiter(scarce()), ByValue::new(key)).expect("the name is valid"))
        })
        .on_tokio()
        .profile(profile().may_refuse().future_overhead(256)),
    );

    conformance_suite!(
        elsewhere,
        Subject::new("a limit that is asked over a network", || {
            let remote = Remote(limiter(per_second(2)));
            lifted(LimitLayer::new("remote", remote, ByValue::new(key)).expect("the name is valid"))
        })
        .on_tokio()
        .profile(mainstay_conformance::Profile::pass_through().may_refuse().future_overhead(256)),
    );
}
