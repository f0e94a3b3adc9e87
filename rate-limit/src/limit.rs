//! What decides for a key, here or elsewhere.

use crate::{
    decision::{CostTooLarge, Decision},
    keyed::KeyedLimiter,
    limiter::Limiter,
};
use std::{
    future::{Future, Ready, ready},
    hash::Hash,
    sync::Arc,
};

/// What decides for a key, in this process or elsewhere, in one step.
///
/// [`KeyedLimiter`] and [`Limiter`], for which all keys are one, answer at once, with a future that is not boxed. One that asks a
/// store says in its own documentation what it answers while the store is away.
///
/// ```
/// use mainstay_rate_limit::{KeyedLimiter, Limit, Quota};
///
/// async fn admits<L: Limit<str>>(limit: &L, client: &str) -> bool {
///     limit.decide(client, 1).await.is_ok_and(|decision| decision.allowed)
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), mainstay_core::InvalidConfig> {
/// let limit = KeyedLimiter::new(Quota::per_minute(1)?)?;
/// assert!(admits(&limit, "alice").await);
/// assert!(!admits(&limit, "alice").await);
/// # Ok(())
/// # }
/// ```
pub trait Limit<K: ?Sized> {
    /// The answer, when it comes.
    type Decide: Future<Output = Result<Decision, CostTooLarge>>;

    /// Takes `cost` units of the key, if they are there; all or nothing.
    fn decide(&self, key: &K, cost: u64) -> Self::Decide;
}

impl<K: ?Sized> Limit<K> for Limiter {
    type Decide = Ready<Result<Decision, CostTooLarge>>;

    fn decide(&self, _: &K, cost: u64) -> Self::Decide {
        ready(self.check_cost(cost))
    }
}

impl<K: Hash + ?Sized> Limit<K> for KeyedLimiter<K> {
    type Decide = Ready<Result<Decision, CostTooLarge>>;

    fn decide(&self, key: &K, cost: u64) -> Self::Decide {
        ready(self.check_cost(key, cost))
    }
}

impl<K: ?Sized, L: Limit<K> + ?Sized> Limit<K> for &L {
    type Decide = L::Decide;

    fn decide(&self, key: &K, cost: u64) -> Self::Decide {
        (**self).decide(key, cost)
    }
}

impl<K: ?Sized, L: Limit<K> + ?Sized> Limit<K> for Arc<L> {
    type Decide = L::Decide;

    fn decide(&self, key: &K, cost: u64) -> Self::Decide {
        (**self).decide(key, cost)
    }
}
