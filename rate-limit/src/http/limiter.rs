//! What can stand behind the layer.

use super::{ClientId, ClientKey};
use crate::{Config, Decision, KeyedLimiter, Limiter};

/// Decides about the clients of a server: what can stand behind an [`HttpRateLimitLayer`](super::HttpRateLimitLayer).
///
/// [`KeyedLimiter`] has a quota for each client, [`Limiter`] one for all of them together.
pub trait ClientLimiter {
    /// Takes one unit of the quota of `client`, if it is there.
    fn check_client(&self, client: ClientKey<'_>) -> Decision;

    /// The name in refusals and in the fields of responses.
    fn name(&self) -> &'static str;

    /// The present settings of the limit of a client.
    fn config(&self) -> Config;

    /// A number that is another one after each change of the rules; `None` if clients have other rules than those of the
    /// settings.
    fn rules_version(&self) -> Option<u64>;
}

impl ClientLimiter for KeyedLimiter<ClientId> {
    fn check_client(&self, client: ClientKey<'_>) -> Decision {
        self.check(&client.into())
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
    fn check_client(&self, _: ClientKey<'_>) -> Decision {
        self.check()
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
