//! What can be set for all keys.

use crate::{config::Config, quota::Quota, rule::Rule};
use mainstay_core::InvalidConfig;

/// The settings of a [`KeyedLimiter`](crate::KeyedLimiter): those of the limit of each key, and how many keys there may be.
///
/// # Defaults
///
/// | setting | default | allowed |
/// | --- | --- | --- |
/// | [`limit`](Self::limit) | none: it is the argument of [`new`](Self::new) | as [`Config`] says |
/// | [`max_keys`](Self::max_keys) | 100,000 | 1 to 100,000,000 |
///
/// ```
/// use mainstay_rate_limit::{KeyedConfig, KeyedLimiter, Quota};
///
/// let config = KeyedConfig::new(Quota::per_minute(100)?).max_keys(10_000);
/// assert!(KeyedLimiter::<str>::new(config).is_ok());
/// # Ok::<(), mainstay_core::InvalidConfig>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
#[non_exhaustive]
#[must_use]
pub struct KeyedConfig {
    /// The settings of each limit. The name is that of all of them together.
    pub limit: Config,
    /// How many keys are kept at most. Those for which there is no room share one limit.
    #[cfg_attr(feature = "serde", serde(default = "default_max_keys"))]
    pub max_keys: u32,
}

impl KeyedConfig {
    /// The defaults, with these settings of each limit.
    pub fn new(limit: impl Into<Config>) -> Self {
        Self { limit: limit.into(), max_keys: default_max_keys() }
    }

    /// Sets [`max_keys`](Self#structfield.max_keys).
    pub const fn max_keys(mut self, keys: u32) -> Self {
        self.max_keys = keys;
        self
    }

    /// Checks every setting.
    pub(crate) fn check(&self) -> Result<(), InvalidConfig> {
        self.limit.check()?;
        InvalidConfig::check("max_keys", self.max_keys, 1..=100_000_000)
    }
}

const fn default_max_keys() -> u32 {
    100_000
}

impl From<Config> for KeyedConfig {
    fn from(limit: Config) -> Self {
        Self::new(limit)
    }
}

impl From<Rule> for KeyedConfig {
    fn from(rule: Rule) -> Self {
        Self::new(rule)
    }
}

impl<const N: usize> From<[Rule; N]> for KeyedConfig {
    fn from(rules: [Rule; N]) -> Self {
        Self::new(rules)
    }
}

impl From<Quota> for KeyedConfig {
    fn from(quota: Quota) -> Self {
        Self::new(quota)
    }
}
