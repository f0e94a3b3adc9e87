//! The contract of tower, and what a refusal means: the conformance kit over hedging.

use mainstay_conformance::{AutoTraits, ProbeError, Profile, Subject, conformance_suite};
use mainstay_core::Error;
use mainstay_retry::{Budget, BudgetConfig, Cloned, HedgeConfig, HedgeLayer, Marked, NoBudget, Pay, Percentile};
use std::{sync::Arc, time::Duration};
use tower::{
    ServiceBuilder,
    layer::util::{Identity, Stack},
    util::MapErrLayer,
};

type Lift = MapErrLayer<fn(ProbeError) -> Error<ProbeError>>;
type Hedging<R, B> = ServiceBuilder<Stack<Lift, Stack<HedgeLayer<R, mainstay_core::AnyError, B>, Identity>>>;

fn over<R, B>(layer: HedgeLayer<R, mainstay_core::AnyError, B>) -> Hedging<R, B> {
    let lift: fn(ProbeError) -> Error<ProbeError> = Error::Inner;
    ServiceBuilder::new().layer(layer).map_err(lift)
}

fn hedged(config: HedgeConfig) -> HedgeLayer<Cloned<Marked>> {
    HedgeLayer::new(config).expect("the configuration is valid").idempotent()
}

/// Of the size of a call this is the timer, the kept request and the clone of the service.
fn profile(calls: usize) -> Profile {
    Profile::pass_through()
        .max_inner_calls(calls)
        .service_is(AutoTraits::SEND.sync().unpin())
        .future_is(AutoTraits::SEND.sync())
        .future_overhead(448)
}

fn subject(name: &str, config: HedgeConfig) -> Subject<Hedging<Cloned<Marked>, NoBudget>> {
    let calls = usize::try_from(config.max_hedges).unwrap_or(usize::MAX) + 1;
    Subject::new(name, move || over(hedged(config))).on_tokio().profile(profile(calls))
}

fn budgeted<B: Pay>(budget: B) -> HedgeLayer<Cloned<Marked>, mainstay_core::AnyError, B> {
    hedged(HedgeConfig::default().delay(Duration::from_secs(1)).max_hedges(2)).budget(budget)
}

conformance_suite!(
    at_once,
    subject("all attempts at once", HedgeConfig::default().delay(Duration::ZERO).max_hedges(2)),
);

conformance_suite!(
    fixed,
    subject("a hedge after a second", HedgeConfig::default().delay(Duration::from_secs(1)).max_hedges(2)),
);

conformance_suite!(
    percentile,
    subject(
        "a hedge at a live percentile",
        HedgeConfig::default().delay(Percentile::new(0.5).minimum_samples(1)).max_hedges(1),
    ),
);

conformance_suite!(
    only_after_failures,
    subject("a hedge after a failure", HedgeConfig::default().delay(Duration::MAX).max_hedges(2)),
);

conformance_suite!(
    paid,
    Subject::new("hedges that a budget pays", || {
        let config = BudgetConfig::default().initial(1).cap(2).ratio(0.5);
        over(budgeted(Arc::new(Budget::new(config).expect("the configuration is valid"))))
    })
    .on_tokio()
    .profile(profile(3)),
);

conformance_suite!(
    not_idempotent,
    Subject::new("nothing is idempotent", || {
        over(HedgeLayer::new(HedgeConfig::default().delay(Duration::ZERO)).expect("the configuration is valid"))
    })
    .on_tokio()
    .profile(profile(1)),
);
