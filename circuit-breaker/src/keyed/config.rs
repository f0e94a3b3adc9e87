//! What can be set, and what is refused.

use crate::config::{Config, OnOpen};
use mainstay_core::InvalidConfig;
use std::time::Duration;

/// The settings of [`Circuits`](crate::Circuits); plain data, checked once.
///
/// A [`Config`] becomes one of these with the defaults for the rest.
///
/// # Defaults
///
/// | setting | default | allowed |
/// | --- | --- | --- |
/// | [`circuit`](Self::circuit) | [`Config::default`] | as [`Config`] says, with `on_open` refuse |
/// | [`max_keys`](Self::max_keys) | 1,000 | 1 to 1,000,000 |
/// | [`idle`](Self::idle) | 10 min | above 0 |
///
/// # Examples
///
/// ```
/// use mainstay_circuit_breaker::{Circuits, Config, KeyedConfig};
///
/// let config = KeyedConfig::from(Config::default().name("hosts")).max_keys(10_000);
/// assert!(Circuits::<String>::new(config).is_ok());
///
/// let error = Circuits::<String>::new(KeyedConfig::default().max_keys(0)).unwrap_err();
/// assert_eq!(error.to_string(), "`max_keys` is 0, allowed is 1 to 1000000");
/// ```
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
#[non_exhaustive]
#[must_use]
pub struct KeyedConfig {
    /// The settings of every circuit. Its name is that of all, so it is the only label of their metrics; of its seed each
    /// circuit draws its own.
    pub circuit: Config,
    /// How many circuits there are at most.
    ///
    /// One takes some 1.6 kB, and a [`Window::Last`](crate::Window::Last) one byte more per call; the key comes on top.
    pub max_keys: u32,
    /// How long a circuit with a past must have been unused before another key may take its place.
    #[cfg_attr(feature = "serde", serde(with = "mainstay_core::config::duration"))]
    pub idle: Duration,
}

impl Default for KeyedConfig {
    fn default() -> Self {
        Self { circuit: Config::default(), max_keys: 1_000, idle: Duration::from_secs(600) }
    }
}

impl From<Config> for KeyedConfig {
    fn from(circuit: Config) -> Self {
        Self { circuit, ..Self::default() }
    }
}

impl KeyedConfig {
    /// Sets [`circuit`](Self#structfield.circuit).
    pub fn circuit(mut self, circuit: Config) -> Self {
        self.circuit = circuit;
        self
    }

    /// Sets [`max_keys`](Self#structfield.max_keys).
    pub const fn max_keys(mut self, keys: u32) -> Self {
        self.max_keys = keys;
        self
    }

    /// Sets [`idle`](Self#structfield.idle).
    pub const fn idle(mut self, time: Duration) -> Self {
        self.idle = time;
        self
    }

    /// Checks every setting.
    pub(super) fn check(&self) -> Result<(), InvalidConfig> {
        self.circuit.check()?;
        if self.circuit.on_open == OnOpen::Wait {
            let allowed = "only refuse: while a caller could wait, its key is not known";
            return Err(InvalidConfig::new("circuit.on_open", self.circuit.on_open, allowed));
        }
        InvalidConfig::check("max_keys", self.max_keys, 1..=1_000_000)?;
        if self.idle.is_zero() {
            return Err(InvalidConfig::new("idle", self.idle, "above 0"));
        }
        Ok(())
    }
}
