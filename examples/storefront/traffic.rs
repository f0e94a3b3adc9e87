//! What becomes of the calls of one client: how many are made, and how often each is sent.

use crate::measure::ratio;
use axum::body::Body;
use http::Request;
use mainstay::{
    Attempt,
    retry::{Budget, Hedging},
};
use serde::Serialize;
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// Counts what enters a stack and what leaves it, and knows the policies between that send more than once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Traffic {
    counts: Arc<Counts>,
    /// With resilience on.
    pub(crate) budget: Option<Arc<Budget>>,
    /// Of the catalog, with resilience on.
    pub(crate) hedging: Option<Arc<Hedging>>,
}

/// What was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Sent {
    /// What was asked of the stack.
    pub(crate) calls: usize,
    /// What left it, first attempts and all others.
    pub(crate) attempts: usize,
    pub(crate) retries: usize,
    pub(crate) hedges: u64,
    /// Hedges whose answer was the first good one.
    pub(crate) hedges_won: u64,
    /// Retries and hedges that were due, and for which the budget had nothing left.
    pub(crate) not_paid: u64,
}

/// Counters that nobody decides by, hence relaxed.
#[derive(Debug, Default)]
struct Counts {
    calls: AtomicUsize,
    attempts: AtomicUsize,
    retries: AtomicUsize,
}

impl Sent {
    /// None if there was no call.
    pub(crate) fn attempts_per_call(&self) -> Option<f64> {
        ratio(self.attempts, self.calls)
    }
}

impl Traffic {
    /// To be put at the top of a stack.
    pub(crate) fn enters<B>(&self) -> impl Fn(Request<B>) -> Request<B> + Clone + use<B> {
        let counts = Arc::clone(&self.counts);
        move |request| {
            add_one(&counts.calls);
            request
        }
    }

    /// To be put at the bottom of a stack, below the retry if there is one.
    pub(crate) fn leaves(&self) -> impl Fn(Request<Body>) -> Request<Body> + Clone + use<> {
        let counts = Arc::clone(&self.counts);
        move |request| {
            add_one(&counts.attempts);
            if !attempt(&request).is_first() {
                add_one(&counts.retries);
            }
            request
        }
    }

    pub(crate) fn sent(&self) -> Sent {
        // Relaxed: see the counters.
        let read = |count: &AtomicUsize| count.load(Ordering::Relaxed);
        let (started, won) = self.hedging.as_ref().map_or((0, 0), |hedging| {
            let hedges = hedging.snapshot();
            (hedges.started, hedges.won)
        });
        Sent {
            calls: read(&self.counts.calls),
            attempts: read(&self.counts.attempts),
            retries: read(&self.counts.retries),
            hedges: started,
            hedges_won: won,
            not_paid: self.budget.as_ref().map_or(0, |budget| budget.snapshot().exhausted),
        }
    }
}

/// Which attempt it is of the policy next further out.
pub(crate) fn attempt<B>(request: &Request<B>) -> Attempt {
    request.extensions().get().copied().unwrap_or_default()
}

fn add_one(count: &AtomicUsize) {
    // Relaxed: see the counters.
    count.fetch_add(1, Ordering::Relaxed);
}
