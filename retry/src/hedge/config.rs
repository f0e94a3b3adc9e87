//! What can be set, and what is refused.

use crate::config::Name;
use mainstay_core::InvalidConfig;
use std::time::Duration;

/// The settings of [`Hedging`](crate::Hedging); plain data, checked once when the policy is made of it.
///
/// # Defaults
///
/// | setting | default | allowed |
/// | --- | --- | --- |
/// | [`name`](Self::name) | `"hedge"` | 1 to 128 bytes |
/// | [`delay`](Self::delay) | the live 95th percentile, see [`Percentile`] | |
/// | [`max_hedges`](Self::max_hedges) | 1 | 1 to 10 |
/// | [`on_failure`](Self::on_failure) | on | |
///
/// # Examples
///
/// ```
/// use mainstay_retry::{HedgeConfig, Hedging, Percentile};
/// use std::time::Duration;
///
/// assert!(Hedging::new(HedgeConfig::default().delay(Duration::from_millis(50))).is_ok());
/// assert!(Hedging::new(HedgeConfig::default().delay(Percentile::new(0.99)).max_hedges(2)).is_ok());
///
/// let error = Hedging::new(HedgeConfig::default().max_hedges(11)).unwrap_err();
/// assert_eq!(error.to_string(), "`max_hedges` is 11, allowed is 1 to 10");
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
#[non_exhaustive]
#[must_use]
pub struct HedgeConfig {
    /// What logs and metrics call the policy. A name that is no literal is made by [`intern`](mainstay_core::intern).
    #[cfg_attr(feature = "serde", serde(with = "crate::serde::name"))]
    pub name: Name,
    /// How long an attempt is waited for before the next one starts beside it.
    pub delay: HedgeDelay,
    /// How many attempts a call may make besides the first.
    ///
    /// One that the budget does not pay for counts too.
    pub max_hedges: u32,
    /// Whether an attempt that fails starts the next one at once, if the failure may pass.
    ///
    /// Without it only what is late is hedged: that is for a stack in which a retry stands above or below, or for a budget
    /// that is to be there when the service is slow.
    pub on_failure: bool,
}

/// How long an attempt is waited for before the next one starts beside it.
///
/// Where only a failure starts an attempt, and [`on_failure`](HedgeConfig::on_failure) is off, none starts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum HedgeDelay {
    /// Always so long. Zero starts all attempts at once, unless the first one answers when it is first polled;
    /// [`Duration::MAX`] starts one only when another has failed.
    Fixed(Duration),
    /// As long as most calls take; measured. Until enough calls were seen, an attempt starts only when another has failed.
    Percentile(Percentile),
}

/// A delay that follows the latency of the service: so many of the calls have ended by then.
///
/// A share of about `1 - percentile` of the calls is hedged: with the default, one call in twenty.
///
/// # Defaults
///
/// | setting | default | allowed |
/// | --- | --- | --- |
/// | [`percentile`](Self::percentile) | 0.95 | above 0, up to 1 |
/// | [`floor`](Self::floor) | 1 ms | |
/// | [`minimum_samples`](Self::minimum_samples) | 100 | at least 1 |
/// | [`window`](Self::window) | 30 s | 1 s to 1 h |
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
#[non_exhaustive]
#[must_use]
pub struct Percentile {
    /// The share of the calls that have ended when a hedge starts.
    #[cfg_attr(feature = "serde", serde(with = "mainstay_core::config::rate"))]
    pub percentile: f64,
    /// The shortest delay, however fast the service is: below it a hedge costs more than it gains.
    #[cfg_attr(feature = "serde", serde(with = "mainstay_core::config::duration"))]
    pub floor: Duration,
    /// How many calls must have ended in the last one to two windows before one is hedged. Hedging stops when they are less than
    /// half as many: between the same calls per second are all and half of a count.
    pub minimum_samples: u32,
    /// A call counts for once to twice this time.
    #[cfg_attr(feature = "serde", serde(with = "mainstay_core::config::duration"))]
    pub window: Duration,
}

impl Default for HedgeConfig {
    fn default() -> Self {
        Self { name: "hedge", delay: HedgeDelay::Percentile(Percentile::default()), max_hedges: 1, on_failure: true }
    }
}

impl HedgeConfig {
    /// Sets [`name`](Self#structfield.name).
    pub const fn name(mut self, name: &'static str) -> Self {
        self.name = name;
        self
    }

    /// Sets [`delay`](Self#structfield.delay), by a [`Duration`] or a [`Percentile`].
    pub fn delay(mut self, delay: impl Into<HedgeDelay>) -> Self {
        self.delay = delay.into();
        self
    }

    /// Sets [`max_hedges`](Self#structfield.max_hedges).
    pub const fn max_hedges(mut self, hedges: u32) -> Self {
        self.max_hedges = hedges;
        self
    }

    /// Sets [`on_failure`](Self#structfield.on_failure).
    pub const fn on_failure(mut self, at_once: bool) -> Self {
        self.on_failure = at_once;
        self
    }

    /// Checks every setting.
    pub(super) fn check(&self) -> Result<(), InvalidConfig> {
        if !(1..=128).contains(&self.name.len()) {
            return Err(InvalidConfig::new("name", self.name, "1 to 128 bytes"));
        }
        InvalidConfig::check("max_hedges", self.max_hedges, 1..=10)?;
        match self.delay {
            HedgeDelay::Fixed(_) => Ok(()),
            HedgeDelay::Percentile(percentile) => percentile.check(),
        }
    }
}

impl From<Duration> for HedgeDelay {
    fn from(delay: Duration) -> Self {
        Self::Fixed(delay)
    }
}

impl From<Percentile> for HedgeDelay {
    fn from(percentile: Percentile) -> Self {
        Self::Percentile(percentile)
    }
}

impl Default for Percentile {
    fn default() -> Self {
        Self {
            percentile: 0.95,
            floor: Duration::from_millis(1),
            minimum_samples: 100,
            window: Duration::from_secs(30),
        }
    }
}

impl Percentile {
    /// The delay by which this share of the calls has ended.
    pub fn new(percentile: f64) -> Self {
        Self { percentile, ..Self::default() }
    }

    /// Sets [`floor`](Self#structfield.floor).
    pub const fn floor(mut self, floor: Duration) -> Self {
        self.floor = floor;
        self
    }

    /// Sets [`minimum_samples`](Self#structfield.minimum_samples).
    pub const fn minimum_samples(mut self, samples: u32) -> Self {
        self.minimum_samples = samples;
        self
    }

    /// Sets [`window`](Self#structfield.window).
    pub const fn window(mut self, window: Duration) -> Self {
        self.window = window;
        self
    }

    /// Checks every setting.
    pub(super) fn check(&self) -> Result<(), InvalidConfig> {
        InvalidConfig::check_rate("percentile", self.percentile)?;
        InvalidConfig::check("minimum_samples", self.minimum_samples, 1..=u32::MAX)?;
        InvalidConfig::check("window", self.window, Duration::from_secs(1)..=Duration::from_secs(60 * 60))
    }
}
