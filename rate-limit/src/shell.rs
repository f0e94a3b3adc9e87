//! The limiter on tokio's clock.

use crate::{
    clock::Clock,
    config::Config,
    decision::{CostTooLarge, Decision},
    limiter::{Limiter, Snapshot},
};
use mainstay_core::{InvalidConfig, Refused};

impl Limiter {
    /// A limiter from which nothing has been taken: of a [`Quota`](crate::Quota), a [`Rule`](crate::Rule), several of them, or a
    /// [`Config`].
    ///
    /// # Errors
    ///
    /// If a setting is out of its range; the error names both.
    pub fn new(config: impl Into<Config>) -> Result<Self, InvalidConfig> {
        Self::new_at(config, Clock)
    }

    /// A limiter of its own with the present configuration of this one.
    #[must_use]
    pub fn fresh(&self) -> Self {
        self.fresh_at(Clock)
    }

    /// Takes one unit, if it is there.
    #[inline]
    pub fn check(&self) -> Decision {
        self.check_at(Clock)
    }

    /// Takes `cost` units, if they are there, as [`check_cost_at`](Self::check_cost_at) says.
    ///
    /// # Errors
    ///
    /// If it is more than can ever be taken at once.
    #[inline]
    pub fn check_cost(&self, cost: u64) -> Result<Decision, CostTooLarge> {
        self.check_cost_at(cost, Clock)
    }

    /// As [`check_cost`](Self::check_cost), for a layer.
    #[inline]
    pub(crate) fn admit(&self, cost: u64) -> Result<(), Refused> {
        self.admit_at(cost, Clock)
    }

    /// What [`check`](Self::check) would answer.
    pub fn peek(&self) -> Decision {
        self.peek_at(Clock)
    }

    /// Gives back the `units` that were taken last, as [`refund_at`](Self::refund_at) says.
    pub fn refund(&self, units: u64) {
        self.refund_at(units, Clock);
    }

    /// The limiter as it is now.
    pub fn snapshot(&self) -> Snapshot {
        self.snapshot_at(Clock)
    }

    /// Takes another configuration and keeps what was taken, as [`reconfigure_at`](Self::reconfigure_at) says.
    ///
    /// # Errors
    ///
    /// If a setting is out of its range, or the name is another one; then nothing is changed.
    pub fn reconfigure(&self, config: impl Into<Config>) -> Result<(), InvalidConfig> {
        self.reconfigure_at(config, Clock)
    }
}
