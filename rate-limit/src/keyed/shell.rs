//! The limits on tokio's clock.

use super::{KeyedConfig, KeyedLimiter};
use crate::{
    clock::Clock,
    decision::{CostTooLarge, Decision},
    quota::Quota,
};
use mainstay_core::InvalidConfig;
use std::hash::Hash;

impl<K: Hash + ?Sized> KeyedLimiter<K> {
    /// Limits from which nothing has been taken.
    ///
    /// # Errors
    ///
    /// If a setting is out of its range; the error names both.
    pub fn new(config: impl Into<KeyedConfig>) -> Result<Self, InvalidConfig> {
        Self::new_at(config, Clock)
    }

    /// The same, with the quota of each key by a function, as [`with_quotas_at`](Self::with_quotas_at) says.
    ///
    /// # Errors
    ///
    /// If a setting is out of its range; the error names both.
    pub fn with_quotas(
        config: impl Into<KeyedConfig>,
        quota_of: impl Fn(&K) -> Quota + Send + Sync + 'static,
    ) -> Result<Self, InvalidConfig> {
        Self::with_quotas_at(config, quota_of, Clock)
    }

    /// Limits of their own with the present configuration of these.
    #[must_use]
    pub fn fresh(&self) -> Self {
        self.fresh_at(Clock)
    }

    /// Takes one unit of the key, if it is there.
    #[inline]
    pub fn check(&self, key: &K) -> Decision {
        self.check_at(key, Clock)
    }

    /// Takes `cost` units of the key, if they are there, as [`check_cost_at`](Self::check_cost_at) says.
    ///
    /// # Errors
    ///
    /// If it is more than can ever be taken at once.
    #[inline]
    pub fn check_cost(&self, key: &K, cost: u64) -> Result<Decision, CostTooLarge> {
        self.check_cost_at(key, cost, Clock)
    }

    /// What [`check`](Self::check) would answer.
    pub fn peek(&self, key: &K) -> Decision {
        self.peek_at(key, Clock)
    }

    /// Gives back the `units` of the key that were taken last, as [`refund_at`](Self::refund_at) says.
    pub fn refund(&self, key: &K, units: u64) {
        self.refund_at(key, units, Clock);
    }
}

impl<K: ?Sized> KeyedLimiter<K> {
    /// Takes another configuration and keeps what was taken, as [`reconfigure_at`](Self::reconfigure_at) says.
    ///
    /// # Errors
    ///
    /// If a setting is out of its range, or the name or `max_keys` is another one; then nothing is changed.
    pub fn reconfigure(&self, config: impl Into<KeyedConfig>) -> Result<(), InvalidConfig> {
        self.reconfigure_at(config, Clock)
    }
}
