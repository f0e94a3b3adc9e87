//! What can be set, and what is refused.

use crate::{quota::Quota, rule::Rule};
use mainstay_core::InvalidConfig;
use std::borrow::Cow;

/// The settings of a limiter; plain data, checked once when a limiter is made of it.
///
/// # Defaults
///
/// | setting | default | allowed |
/// | --- | --- | --- |
/// | [`name`](Self::name) | `"rate-limit"` | 1 to 128 bytes |
/// | [`rules`](Self::rules) | none: they are the argument of [`new`](Self::new) | 1 to 8, as [`Rule`] says |
/// | [`shadow`](Self::shadow) | off | |
///
/// # Examples
///
/// ```
/// use mainstay_rate_limit::{Config, Limiter, Quota, Rule};
///
/// let config = Config::new(Quota::per_second(10)?).rule(Rule::fixed_window(Quota::per_hour(1_000)?)).name("checkout");
/// assert!(Limiter::new(config).is_ok());
///
/// let error = Limiter::new(Rule::sliding_log(Quota::per_hour(20_000)?)).unwrap_err();
/// assert_eq!(error.to_string(), "`limit` is 20000, allowed is 1 to 10000");
/// # Ok::<(), mainstay_core::InvalidConfig>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
#[non_exhaustive]
#[must_use]
pub struct Config {
    /// What refusals, logs and metrics call the limiter.
    ///
    /// Limiters of equal names share one string, which is kept for the life of the process.
    #[cfg_attr(feature = "serde", serde(default = "default_name"))]
    pub name: Cow<'static, str>,
    /// What has to hold; all of it, as one decision.
    pub rules: Vec<Rule>,
    /// Runs the whole machine and refuses nothing: what would have been refused is counted, and takes nothing.
    #[cfg_attr(feature = "serde", serde(default))]
    pub shadow: bool,
}

impl Config {
    /// The defaults, with one rule; a [`Quota`] is a token bucket.
    pub fn new(rule: impl Into<Rule>) -> Self {
        Self::from(rule.into())
    }

    /// Sets [`name`](Self#structfield.name).
    pub fn name(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.name = name.into();
        self
    }

    /// Adds one to [`rules`](Self#structfield.rules).
    pub fn rule(mut self, rule: impl Into<Rule>) -> Self {
        self.rules.push(rule.into());
        self
    }

    /// Sets [`shadow`](Self#structfield.shadow).
    pub const fn shadow(mut self, shadow: bool) -> Self {
        self.shadow = shadow;
        self
    }

    /// Checks every setting.
    pub(crate) fn check(&self) -> Result<(), InvalidConfig> {
        check_name(&self.name)?;
        if !(1..=MAX_RULES).contains(&self.rules.len()) {
            return Err(InvalidConfig::new("rules", self.rules.len(), format!("1 to {MAX_RULES} of them")));
        }
        self.rules.iter().try_for_each(Rule::check)
    }
}

/// Checks what a limiter is called.
pub(crate) fn check_name(name: &str) -> Result<(), InvalidConfig> {
    if (1..=128).contains(&name.len()) { Ok(()) } else { Err(InvalidConfig::new("name", name, "1 to 128 bytes")) }
}

/// The longest list of rules.
pub(crate) const MAX_RULES: usize = 8;

const fn default_name() -> Cow<'static, str> {
    Cow::Borrowed("rate-limit")
}

impl From<Vec<Rule>> for Config {
    fn from(rules: Vec<Rule>) -> Self {
        Self { name: default_name(), rules, shadow: false }
    }
}

impl<const N: usize> From<[Rule; N]> for Config {
    fn from(rules: [Rule; N]) -> Self {
        Self::from(Vec::from(rules))
    }
}

impl From<Rule> for Config {
    fn from(rule: Rule) -> Self {
        Self::from([rule])
    }
}

impl From<Quota> for Config {
    fn from(quota: Quota) -> Self {
        Self::from(Rule::token_bucket(quota))
    }
}
