//! The crate `tower`.

use super::{ATTEMPTS, BASE, PATIENCE};
use crate::DAY;
use mainstay_benches::{Case, Leaf, PendingLeaf, at_once, call, call_awaited};
use std::{
    future::{Ready, ready},
    sync::Arc,
    task::Poll,
    time::Duration,
};
use tokio::time::Sleep;
use tower::{
    hedge::{self, Hedge},
    retry::{
        Policy, Retry,
        backoff::{Backoff, ExponentialBackoff, ExponentialBackoffMaker, MakeBackoff},
        budget::{Budget, TpsBudget},
    },
    timeout::Timeout,
    util::rng::HasherRng,
};

/// So many retries at once, as in the documentation of [`Policy`].
#[derive(Clone)]
struct Attempts(u32);

impl<Res, E> Policy<u64, Res, E> for Attempts {
    type Future = Ready<()>;

    fn retry(&mut self, _request: &mut u64, result: &mut Result<Res, E>) -> Option<Self::Future> {
        if result.is_ok() {
            return None;
        }
        self.0 = self.0.checked_sub(1)?;
        Some(ready(()))
    }

    fn clone_request(&mut self, request: &u64) -> Option<u64> {
        Some(*request)
    }
}

/// So many retries, each after its backoff.
#[derive(Clone)]
struct Patient {
    left: u32,
    backoff: ExponentialBackoff,
}

impl<Res, E> Policy<u64, Res, E> for Patient {
    type Future = Sleep;

    fn retry(&mut self, _request: &mut u64, result: &mut Result<Res, E>) -> Option<Self::Future> {
        if result.is_ok() {
            return None;
        }
        self.left = self.left.checked_sub(1)?;
        Some(self.backoff.next_backoff())
    }

    fn clone_request(&mut self, request: &u64) -> Option<u64> {
        Some(*request)
    }
}

/// As many retries as the budget pays, as in the documentation of [`Budget`].
#[derive(Clone)]
struct Paid(Arc<TpsBudget>);

impl<Res, E> Policy<u64, Res, E> for Paid {
    type Future = Ready<()>;

    fn retry(&mut self, _request: &mut u64, result: &mut Result<Res, E>) -> Option<Self::Future> {
        if result.is_ok() {
            self.0.deposit();
            return None;
        }
        self.0.withdraw().then(|| ready(()))
    }

    fn clone_request(&mut self, request: &u64) -> Option<u64> {
        Some(*request)
    }
}

/// Hedges each request.
#[derive(Clone)]
struct Always;

impl hedge::Policy<u64> for Always {
    fn clone_request(&self, request: &u64) -> Option<u64> {
        Some(*request)
    }

    fn can_retry(&self, _request: &u64) -> bool {
        true
    }
}

pub(super) fn cases() -> Vec<Case> {
    vec![
        at_once("retry/tower", Retry::new(Attempts(ATTEMPTS - 1), Leaf)),
        at_once("retry/tower_backoff", Retry::new(Patient { left: ATTEMPTS - 1, backoff: backoff() }, Leaf)),
        at_once("retry_budget/tower", Retry::new(paid(), Leaf)),
        at_once("timeout/tower", Timeout::new(Leaf, PATIENCE)).in_runtime(),
        timeout_awaited(),
        // As long as there are too few latencies to judge by, nothing is hedged.
        hedged("hedge_percentile/tower_too_few", u64::MAX),
        hedged("hedge_percentile/tower", 10),
        at_once("retry_timeout/tower", Retry::new(paid(), Timeout::new(Leaf, PATIENCE))).in_runtime(),
    ]
}

fn backoff() -> ExponentialBackoff {
    ExponentialBackoffMaker::new(BASE, PATIENCE, 0.5, HasherRng::default())
        .expect("every setting is in its range")
        .make_backoff()
}

fn paid() -> Paid {
    Paid(Arc::new(TpsBudget::new(Duration::from_secs(10), 0, 0.1)))
}

fn timeout_awaited() -> Case {
    Case::awaited("timeout_awaited/tower", || {
        let mut service = Timeout::new(PendingLeaf, PATIENCE);
        async move |number| {
            let answer = call_awaited(&mut service, number).await;
            assert!(matches!(answer, Ok(answer) if answer == number));
        }
    })
}

/// It judges by the latencies of the last period, so these stay as they are for a day.
fn hedged(name: &str, min_data_points: u64) -> Case {
    let latencies: Vec<u64> = (1..=100).collect();
    Case::new(name, move || {
        let mut service = Hedge::new_with_mock_latencies(Leaf, Always, min_data_points, 0.95, DAY, &latencies);
        move |number| assert!(matches!(call(&mut service, number), Poll::Ready(Ok(answer)) if answer == number))
    })
    .in_runtime()
}
