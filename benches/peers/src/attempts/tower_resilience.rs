//! The crates `tower-resilience-retry`, `-timelimiter`, `-hedge` and `-fallback`.

use super::{ATTEMPTS, BASE, HEDGE_AFTER, INSTEAD, PATIENCE};
use crate::{call_again, tower_resilience_builder};
use mainstay_benches::{Case, Failed, Leaf, PendingLeaf, at_once, call_awaited};
use mainstay_core::Error;
use tower_layer::Layer;
use tower_resilience_fallback::FallbackLayer;
use tower_resilience_hedge::HedgeLayer;
use tower_resilience_retry::{RetryBudgetBuilder, RetryConfigBuilder, RetryLayer};
use tower_resilience_timelimiter::{FixedTimeout, TimeLimiterLayer};

type E = Error<Failed>;

pub(super) fn cases() -> Vec<Case> {
    vec![
        at_once("retry/tower_resilience", retry().build().layer(Leaf)),
        at_once("retry_budget/tower_resilience", with_budget(retry()).layer(Leaf)),
        at_once("timeout/tower_resilience", timeout().layer(Leaf)).in_runtime(),
        timeout_awaited(),
        at_once("hedge/tower_resilience", hedge().layer(Leaf)).in_runtime(),
        at_once("fallback_value/tower_resilience", FallbackLayer::<u64, u64, E>::value(INSTEAD).layer(Leaf)),
        at_once(
            "fallback_function/tower_resilience",
            FallbackLayer::<u64, u64, E>::from_error(|_| INSTEAD).layer(Leaf),
        ),
        at_once("retry_timeout/tower_resilience", with_budget(retry()).layer(timeout().layer(Leaf))).in_runtime(),
        with_breaker(),
    ]
}

fn retry<E>() -> RetryConfigBuilder<u64, u64, E> {
    RetryLayer::builder().max_attempts(ATTEMPTS as usize).exponential_backoff(BASE)
}

/// Its budget is a rate, to which each success adds a whole token.
fn with_budget<E>(retry: RetryConfigBuilder<u64, u64, E>) -> RetryLayer<u64, u64, E> {
    let budget = RetryBudgetBuilder::new().token_bucket().tokens_per_second(10.0).max_tokens(100).build();
    retry.budget(budget.expect("every setting is in its range")).build()
}

fn timeout() -> TimeLimiterLayer<FixedTimeout> {
    TimeLimiterLayer::builder().timeout_duration(PATIENCE).cancel_running_future(true).build()
}

fn hedge() -> HedgeLayer {
    HedgeLayer::builder().delay(HEDGE_AFTER).max_hedged_attempts(2).build()
}

fn timeout_awaited() -> Case {
    Case::awaited("timeout_awaited/tower_resilience", || {
        let mut service = timeout().layer(PendingLeaf);
        async move |number| {
            let answer = call_awaited(&mut service, number).await;
            assert!(matches!(answer, Ok(answer) if answer == number));
        }
    })
}

fn with_breaker() -> Case {
    let (breaker, _handle) = tower_resilience_builder().build_with_handle().expect("every setting is in its range");
    let service = with_budget(retry()).layer(breaker.layer(timeout().layer(Leaf)));
    // Where two threads meet, one waits for the mutex of the breaker, and is asked again.
    Case::new("retry_breaker_timeout/tower_resilience", move || {
        let mut service = service.clone();
        move |number| assert!(matches!(call_again(&mut service, number), Ok(answer) if answer == number))
    })
    .in_runtime()
}
