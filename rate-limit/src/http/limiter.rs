//! What can stand behind the layer.

use super::{ClientId, ClientKey};
use crate::{Clock, Config, Decision, KeyedLimiter, Limiter};

/// Decides about the clients of a server: what can stand behind an [`HttpRateLimitLayer`](super::HttpRateLimitLayer).
///
/// [`KeyedLimiter`] has a quota for each client, [`Limiter`] one for all of them together.
pub trait ClientLimiter {
    /// Takes `cost` units of the quota of `client`, if they are there; all or nothing. A cost of zero takes nothing and is
    /// always allowed.
    ///
    /// Of a cost above what can ever be taken at once, [`Decision::retry_after`] is [`Duration::MAX`](std::time::Duration::MAX).
    fn check_client(&self, client: ClientKey<'_>, cost: u64) -> Decision;

    /// The name in refusals and in the fields of responses.
    fn name(&self) -> &'static str;

    /// The present settings of the limit of a client.
    fn config(&self) -> Config;

    /// A number that is another one after each change of the rules; `None` if clients have other rules than those of the
    /// settings.
    fn rules_version(&self) -> Option<u64>;
}

impl ClientLimiter for KeyedLimiter<ClientId> {
    fn check_client(&self, client: ClientKey<'_>, cost: u64) -> Decision {
        self.decide(&client.into(), cost, Clock)
    }

    fn name(&self) -> &'static str {
        self.name()
    }

    fn config(&self) -> Config {
        self.config().limit
    }

    fn rules_version(&self) -> Option<u64> {
        self.rules_version()
    }
}

impl ClientLimiter for Limiter {
    fn check_client(&self, _: ClientKey<'_>, cost: u64) -> Decision {
        self.decide(cost, Clock)
    }

    fn name(&self) -> &'static str {
        self.name()
    }

    fn config(&self) -> Config {
        self.config()
    }

    fn rules_version(&self) -> Option<u64> {
        Some(self.rules_version())
    }
}
