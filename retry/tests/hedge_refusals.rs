//! Who was refused is not asked again at once, nor before the time that the refusal names.

mod hedge_support;

use hedge_support::{ALMOST, DELAY, Leaf, advance, config, counts, failed, layer, refused};
use mainstay_circuit_breaker::{CircuitBreakerLayer, Config};
use mainstay_core::{Error, Reason, Refused};
use mainstay_retry::{Budget, BudgetConfig, HedgeLayer};
use std::{
    sync::Arc,
    task::{Context, Waker},
    time::Duration,
};
use tokio_test::{assert_pending, assert_ready_eq, task};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, limit::ConcurrencyLimitLayer};

fn refused_for(wait: Duration) -> hedge_support::Answer {
    Err(Refused::new(Reason::RateLimited, "test").with_retry_after(wait).into())
}

fn too_late() -> hedge_support::Answer {
    Err(Refused::new(Reason::DeadlinePassed, "test").into())
}

#[tokio::test(start_paused = true)]
async fn a_refusal_starts_none_and_is_the_answer_if_nothing_runs() {
    for refusal in [refused(), refused_for(Duration::ZERO), refused_for(5 * DELAY), too_late()] {
        let leaf = Leaf::default();
        let mut call = task::spawn(layer(config().max_hedges(3)).layer(leaf.clone()).call("read"));
        assert_pending!(call.poll());
        leaf.end(0, refusal);
        assert_ready_eq!(call.poll(), refusal);
        assert_eq!(leaf.calls(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn while_another_runs_none_starts_before_the_time_that_a_refusal_names() {
    for (refusal, wait) in [
        (refused(), DELAY),
        (refused_for(Duration::ZERO), DELAY),
        (refused_for(DELAY / 2), DELAY),
        (refused_for(3 * DELAY), 3 * DELAY),
    ] {
        let leaf = Leaf::default();
        let mut call = task::spawn(layer(config().max_hedges(3)).layer(leaf.clone()).call("read"));
        assert_pending!(call.poll());
        advance(DELAY).await;
        assert_pending!(call.poll());
        leaf.end(1, refusal);
        assert_pending!(call.poll());
        assert_eq!(leaf.calls(), 2);
        for _ in 0..wait.as_millis() - 1 {
            advance(Duration::from_millis(1)).await;
            assert_pending!(call.poll());
        }
        assert_eq!(leaf.calls(), 2, "{refusal:?}");
        advance(Duration::from_millis(1)).await;
        assert!(call.is_woken());
        assert_pending!(call.poll());
        assert_eq!(leaf.calls(), 3, "{refusal:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn when_the_deadline_has_passed_none_starts_any_more() {
    let leaf = Leaf::default();
    let mut call = task::spawn(layer(config().max_hedges(3)).layer(leaf.clone()).call("read"));
    assert_pending!(call.poll());
    advance(DELAY).await;
    assert_pending!(call.poll());
    leaf.end(1, too_late());
    assert_pending!(call.poll());
    advance(100 * DELAY).await;
    assert!(!call.is_woken());
    leaf.end(0, failed("no"));
    assert_ready_eq!(call.poll(), failed("no"));
    assert_eq!(leaf.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn one_that_waits_for_room_is_not_sent_before_that_time_either() {
    let leaf = Leaf::default();
    let limited = ConcurrencyLimitLayer::new(2).layer(leaf.clone());
    let budget = Arc::new(Budget::new(BudgetConfig::default()).unwrap());
    let hedges = HedgeLayer::new(config().max_hedges(3)).unwrap().idempotent().budget(Arc::clone(&budget));
    let mut service = hedges.layer(limited);
    assert!(service.poll_ready(&mut Context::from_waker(Waker::noop())).is_ready());
    let mut call = task::spawn(service.call("read"));
    assert_pending!(call.poll());
    for _ in 0..2 {
        advance(DELAY).await;
        assert_pending!(call.poll());
    }
    assert_eq!((leaf.calls(), budget.snapshot().withdrawn), (2, 2), "the second hedge waits");
    leaf.end(1, refused_for(5 * DELAY));
    assert_pending!(call.poll());
    advance(ALMOST).await;
    assert_pending!(call.poll());
    let snapshot = budget.snapshot();
    assert_eq!((leaf.calls(), snapshot.given_back), (2, 1));
    leaf.end(0, Ok(1));
    assert_ready_eq!(call.poll(), Ok(1));
    assert_eq!(counts(&hedges.handle()), (1, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn an_open_circuit_further_in_costs_the_budget_nothing() {
    let budget = Arc::new(Budget::new(BudgetConfig::default()).unwrap());
    let circuit = CircuitBreakerLayer::new(Config::default()).unwrap();
    circuit.handle().isolate();
    let mut stack = ServiceBuilder::new()
        .layer(HedgeLayer::new(config()).unwrap().idempotent().budget(Arc::clone(&budget)))
        .layer(circuit)
        .service_fn(async |n: u32| Ok::<_, Error<()>>(n));
    for _ in 0..20 {
        let answer = stack.ready().await.unwrap().call(1).await;
        assert!(matches!(answer, Err(Error::Refused(_))), "{answer:?}");
    }
    assert_eq!(budget.snapshot().withdrawn, 0);
}
