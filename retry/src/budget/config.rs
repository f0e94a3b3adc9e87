//! What can be set, and what is refused.

use super::bucket::TOKEN;
use crate::config::Name;
use mainstay_core::InvalidConfig;

/// The settings of a [`Budget`](crate::Budget); plain data, checked once when a budget is made of it.
///
/// # Defaults
///
/// | setting | default | allowed |
/// | --- | --- | --- |
/// | [`name`](Self::name) | `"retry-budget"` | 1 to 128 bytes |
/// | [`ratio`](Self::ratio) | 0.1 | 0, or 0.000001 to 1 |
/// | [`initial`](Self::initial) | 10 | 0 to `cap` |
/// | [`cap`](Self::cap) | 10 | at least 1 |
/// | [`reserve_rate`](Self::reserve_rate) | 0 | 0, or 0.000001 to 1,000,000 a second |
/// | [`shadow`](Self::shadow) | off | |
///
/// # Examples
///
/// ```
/// use mainstay_retry::{Budget, BudgetConfig};
///
/// let config = BudgetConfig::default().name("catalog").ratio(0.2).initial(5).cap(20);
/// assert!(Budget::new(config).is_ok());
///
/// let error = Budget::new(BudgetConfig::default().ratio(20.0)).unwrap_err();
/// assert_eq!(error.to_string(), "`ratio` is 20.0, allowed is 0.0, or 0.000001 to 1.0");
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
#[non_exhaustive]
#[must_use]
pub struct BudgetConfig {
    /// What metrics call the budget.
    ///
    /// A name from a file is kept for the life of the process, once; [`intern`](mainstay_core::intern) does the same for
    /// names that a program puts together.
    #[cfg_attr(feature = "serde", serde(with = "crate::serde::name"))]
    pub name: Name,
    /// How much of a token each success earns: the share of calls by which retries and hedges may raise the load.
    ///
    /// Exact to a millionth of a token, to which it is rounded. Not above one: with one each success pays for a whole
    /// attempt more, and whoever may double his load needs no budget.
    #[cfg_attr(feature = "serde", serde(with = "mainstay_core::config::rate"))]
    pub ratio: f64,
    /// How many tokens there are to begin with, so that the first calls may be retried at all.
    pub initial: u32,
    /// How many tokens can be saved; what is earned above that is lost.
    ///
    /// It is the largest number of retries that can follow each other without a success between, so it bounds what an
    /// outage begins with.
    pub cap: u32,
    /// How many tokens are gained per second, without any success.
    ///
    /// It lets a client of few calls retry. It is also the load that each client may add to a service that answers
    /// nothing, which is why there is none unless it is asked for.
    pub reserve_rate: f64,
    /// Runs the whole budget and refuses nothing: what it could not have paid is counted, and costs nothing.
    pub shadow: bool,
}

impl Default for BudgetConfig {
    fn default() -> Self {
        Self { name: "retry-budget", ratio: 0.1, initial: 10, cap: 10, reserve_rate: 0.0, shadow: false }
    }
}

impl BudgetConfig {
    /// Sets [`name`](Self#structfield.name).
    pub const fn name(mut self, name: &'static str) -> Self {
        self.name = name;
        self
    }

    /// Sets [`ratio`](Self#structfield.ratio).
    pub const fn ratio(mut self, ratio: f64) -> Self {
        self.ratio = ratio;
        self
    }

    /// Sets [`initial`](Self#structfield.initial).
    pub const fn initial(mut self, tokens: u32) -> Self {
        self.initial = tokens;
        self
    }

    /// Sets [`cap`](Self#structfield.cap).
    pub const fn cap(mut self, tokens: u32) -> Self {
        self.cap = tokens;
        self
    }

    /// Sets [`reserve_rate`](Self#structfield.reserve_rate).
    pub const fn reserve_rate(mut self, tokens_per_second: f64) -> Self {
        self.reserve_rate = tokens_per_second;
        self
    }

    /// Sets [`shadow`](Self#structfield.shadow).
    pub const fn shadow(mut self, shadow: bool) -> Self {
        self.shadow = shadow;
        self
    }

    /// Checks every setting.
    pub(super) fn check(&self) -> Result<(), InvalidConfig> {
        if !(1..=128).contains(&self.name.len()) {
            return Err(InvalidConfig::new("name", self.name, "1 to 128 bytes"));
        }
        // What is not zero must not become zero by rounding.
        if !is_zero_or_within(self.ratio, 1.0) {
            return Err(InvalidConfig::new("ratio", self.ratio, "0.0, or 0.000001 to 1.0"));
        }
        InvalidConfig::check("cap", self.cap, 1..=u32::MAX)?;
        InvalidConfig::check("initial", self.initial, 0..=self.cap)?;
        if !is_zero_or_within(self.reserve_rate, 1_000_000.0) {
            return Err(InvalidConfig::new("reserve_rate", self.reserve_rate, "0.0, or 0.000001 to 1000000.0"));
        }
        Ok(())
    }

    /// The units that a success earns; at most one token.
    pub(super) fn units_per_success(&self) -> u32 {
        // A checked ratio is at most one, so its units are at most 10^6.
        u32::try_from(units(self.ratio)).unwrap_or(u32::MAX)
    }

    /// The units gained per second; at most 10^12.
    pub(super) fn units_per_second(&self) -> u64 {
        units(self.reserve_rate)
    }
}

fn is_zero_or_within(rate: f64, max: f64) -> bool {
    rate == 0.0 || (0.000_001..=max).contains(&rate)
}

/// Tokens in units, to the nearest.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked: neither negative nor large")]
#[expect(clippy::cast_precision_loss, reason = "10^6 is exact")]
fn units(tokens: f64) -> u64 {
    (tokens * TOKEN as f64).round() as u64
}
