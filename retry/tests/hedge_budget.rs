//! Who pays for a hedge, and what happens when nobody does.

mod hedge_support;

use hedge_support::{DELAY, Leaf, advance, class, config, counts, failed};
use mainstay_core::classify_fn;
use mainstay_retry::{Budget, BudgetConfig, HedgeLayer, Hedging, Pay};
use std::{sync::Arc, time::Duration};
use tokio_test::{assert_pending, assert_ready_eq, task};
use tower::{Layer, Service};

/// Whether a token, that is a success here, was earned.
fn has_earned(budget: &Budget) -> bool {
    budget.snapshot().balance > 0.5
}

fn budget(tokens: u32, ratio: f64) -> Arc<Budget> {
    Arc::new(Budget::new(BudgetConfig::default().initial(tokens).ratio(ratio)).unwrap())
}

#[tokio::test(start_paused = true)]
async fn an_exhausted_budget_suppresses_the_new_hedge_and_none_that_runs() {
    let leaf = Leaf::default();
    let tokens = budget(1, 0.0);
    let hedges = HedgeLayer::new(config().max_hedges(3)).unwrap().idempotent().budget(Arc::clone(&tokens));
    let mut call = task::spawn(hedges.layer(leaf.clone()).call("read"));
    for _ in 0..5 {
        assert_pending!(call.poll());
        advance(DELAY).await;
    }
    assert_eq!(leaf.running(), [0, 1]);
    assert_eq!(counts(&hedges.handle()), (1, 2, 0));
    assert_eq!((tokens.snapshot().withdrawn, tokens.snapshot().exhausted), (1, 2));
    leaf.end(1, Ok(1));
    assert_ready_eq!(call.poll(), Ok(1));
}

#[tokio::test(start_paused = true)]
async fn the_hedge_after_a_suppressed_one_starts_if_there_is_money_again() {
    let leaf = Leaf::default();
    let tokens = budget(0, 1.0);
    let hedges = HedgeLayer::new(config().max_hedges(2)).unwrap().idempotent().budget(Arc::clone(&tokens));
    let mut call = task::spawn(hedges.layer(leaf.clone()).call("read"));
    assert_pending!(call.poll());
    advance(DELAY).await;
    assert!(call.is_woken());
    assert_pending!(call.poll());
    assert_eq!(leaf.calls(), 1);
    Pay::deposit(&tokens);
    advance(DELAY).await;
    assert!(call.is_woken());
    assert_pending!(call.poll());
    assert_eq!(leaf.calls(), 2);
    assert_eq!(counts(&hedges.handle()), (1, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_nobody_pays_to_repeat_is_the_answer() {
    let leaf = Leaf::default();
    let hedges = HedgeLayer::new(config().max_hedges(3)).unwrap().idempotent().budget(budget(0, 0.0));
    let mut call = task::spawn(hedges.layer(leaf.clone()).call("read"));
    assert_pending!(call.poll());
    leaf.end(0, failed("no"));
    assert_ready_eq!(call.poll(), failed("no"));
    assert_eq!(counts(&hedges.handle()), (0, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_success_earns_once_whoever_gave_it_and_nothing_else_does() {
    let answers = [
        (Ok(1), true),
        (Ok(500), false),
        (Ok(299), false),
        (failed("fatal"), false),
        (failed("busy"), false),
        (failed("no"), false),
    ];
    for (answer, earned) in answers {
        for hedge in [false, true] {
            let leaf = Leaf::default();
            let tokens = budget(1, 1.0);
            let hedges = HedgeLayer::new(config()).unwrap().idempotent().classify(classify_fn(class));
            let mut call = task::spawn(hedges.budget(Arc::clone(&tokens)).layer(leaf.clone()).call("read"));
            assert_pending!(call.poll());
            advance(DELAY).await;
            assert_pending!(call.poll());
            assert!(!has_earned(&tokens));
            leaf.end(usize::from(hedge), answer);
            if call.poll().is_pending() {
                leaf.end(usize::from(!hedge), failed("no"));
                assert!(call.poll().is_ready());
            }
            assert_eq!(has_earned(&tokens), earned, "{answer:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_passes_through_earns_too() {
    let leaf = Leaf::default();
    let tokens = budget(0, 1.0);
    let mut call =
        task::spawn(HedgeLayer::new(config()).unwrap().budget(Arc::clone(&tokens)).layer(leaf.clone()).call("write"));
    assert_pending!(call.poll());
    leaf.end(0, Ok(1));
    assert_ready_eq!(call.poll(), Ok(1));
    assert!(has_earned(&tokens));
}

#[tokio::test(start_paused = true)]
async fn without_tower_the_same_budget_pays() {
    let hedging = Hedging::new(config().max_hedges(2).delay(Duration::ZERO)).unwrap();
    let tokens = budget(1, 0.0);
    let mut leaf = Leaf::default();
    let runs = leaf.clone();
    let mut call = task::spawn(hedging.call_with(classify_fn(class), &*tokens, |_| leaf.call("work")));
    assert_pending!(call.poll());
    assert_eq!(runs.running(), [0, 1]);
    assert_eq!(counts(&hedging), (1, 1, 0));
    drop(call);
}
