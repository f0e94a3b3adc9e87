//! What can be set, and what is refused.

use mainstay_core::{InvalidConfig, window};
use std::{borrow::Cow, time::Duration};

/// The settings of a [`Throttle`](crate::Throttle); plain data, checked once when a throttle is made of it.
///
/// # Defaults
///
/// | setting | default | allowed |
/// | --- | --- | --- |
/// | [`name`](Self::name) | `"throttle"` | 1 to 128 bytes |
/// | [`multiplier`](Self::multiplier) | 2 | 1 to 1,000 |
/// | [`window`](Self::window) | 2 min | 10 ms to 24 h |
/// | [`max_rejection`](Self::max_rejection) | 0.9 | above 0, up to 1 |
/// | [`minimum_calls`](Self::minimum_calls) | 100 | at least 1 |
/// | [`shadow`](Self::shadow) | off | |
/// | [`seed`](Self::seed) | random | |
///
/// # Examples
///
/// ```
/// use mainstay_circuit_breaker::{Throttle, ThrottleConfig};
///
/// let config = ThrottleConfig::default().name("search").multiplier(1.5);
/// assert!(Throttle::new(config).is_ok());
///
/// let error = Throttle::new(ThrottleConfig::default().multiplier(0.5)).unwrap_err();
/// assert_eq!(error.to_string(), "`multiplier` is 0.5, allowed is 1.0 to 1000.0");
/// ```
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
#[non_exhaustive]
#[must_use]
pub struct ThrottleConfig {
    /// What refusals, logs and metrics call the throttle.
    ///
    /// Throttles of equal names share one string, which is kept for the life of the process.
    pub name: Cow<'static, str>,
    /// How many requests per accepted one are nothing unusual: the K of the formula.
    ///
    /// With 2, of what an overloaded service receives about one request in two is in vain. Closer to 1 spares it more, and
    /// notices later that it has recovered.
    pub multiplier: f64,
    /// By which calls the service is judged: those of this time, in ten buckets, so that a call counts for 90 to 100 % of it.
    ///
    /// It should be longer than the slowest call: see [`Throttle`](crate::Throttle#late-answers).
    #[cfg_attr(feature = "serde", serde(with = "mainstay_core::config::duration"))]
    pub window: Duration,
    /// The largest share of calls that is refused; the rest finds out whether the service has recovered.
    #[cfg_attr(feature = "serde", serde(with = "mainstay_core::config::rate"))]
    pub max_rejection: f64,
    /// How many requests must be in the window before any is refused.
    ///
    /// A call in flight is a request that is not accepted yet, so this should not be less than the number of calls that a
    /// client starts at once after a rest.
    pub minimum_calls: u32,
    /// Runs the whole throttle and refuses nothing: what would have been refused is counted, and is not accepted.
    pub shadow: bool,
    /// The seed of the draws; `None` takes a random one.
    pub seed: Option<u64>,
}

impl Default for ThrottleConfig {
    fn default() -> Self {
        Self {
            name: Cow::Borrowed("throttle"),
            multiplier: 2.0,
            window: Duration::from_secs(120),
            max_rejection: 0.9,
            minimum_calls: 100,
            shadow: false,
            seed: None,
        }
    }
}

impl ThrottleConfig {
    /// Sets [`name`](Self#structfield.name).
    pub fn name(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets [`multiplier`](Self#structfield.multiplier).
    pub const fn multiplier(mut self, multiplier: f64) -> Self {
        self.multiplier = multiplier;
        self
    }

    /// Sets [`window`](Self#structfield.window).
    pub const fn window(mut self, window: Duration) -> Self {
        self.window = window;
        self
    }

    /// Sets [`max_rejection`](Self#structfield.max_rejection).
    pub const fn max_rejection(mut self, rate: f64) -> Self {
        self.max_rejection = rate;
        self
    }

    /// Sets [`minimum_calls`](Self#structfield.minimum_calls).
    pub const fn minimum_calls(mut self, calls: u32) -> Self {
        self.minimum_calls = calls;
        self
    }

    /// Sets [`shadow`](Self#structfield.shadow).
    pub const fn shadow(mut self, shadow: bool) -> Self {
        self.shadow = shadow;
        self
    }

    /// Sets [`seed`](Self#structfield.seed).
    pub const fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Checks every setting.
    pub(crate) fn check(&self) -> Result<(), InvalidConfig> {
        type Span = window::TimeSpan<window::Counts>;
        if !(1..=128).contains(&self.name.len()) {
            return Err(InvalidConfig::new("name", &self.name, "1 to 128 bytes"));
        }
        InvalidConfig::check("multiplier", self.multiplier, 1.0..=1_000.0)?;
        InvalidConfig::check("window", self.window, Span::MIN..=Span::MAX)?;
        InvalidConfig::check_rate("max_rejection", self.max_rejection)?;
        InvalidConfig::check("minimum_calls", self.minimum_calls, 1..=u32::MAX)
    }
}
