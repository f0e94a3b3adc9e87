//! What can be set, and what is refused.

use mainstay_core::InvalidConfig;
use std::time::Duration;

/// The settings of an engine; plain data, checked once when the engine starts.
///
/// # Defaults
///
/// | setting | default | allowed |
/// | --- | --- | --- |
/// | [`name`](Self::name) | `"saga"` | 1 to 128 bytes |
/// | [`max_in_memory`](Self::max_in_memory) | 10,000 | 1 to 1,000,000 |
/// | [`poll_interval`](Self::poll_interval) | 1 s | 10 ms to 1 h |
/// | [`idle_after`](Self::idle_after) | 5 s | 0 to 1 h |
/// | [`seed`](Self::seed) | random | |
///
/// # Examples
///
/// ```
/// use mainstay_saga::Config;
///
/// let config = Config::default().name("orders").max_in_memory(100);
/// assert_eq!(config.max_in_memory, 100);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
#[non_exhaustive]
#[must_use]
pub struct Config {
    /// What refusals, logs and metrics call the engine.
    #[cfg_attr(feature = "serde", serde(with = "crate::engine::serde::name"))]
    pub name: Name,
    /// How many sagas are in memory at once. A start beyond that is refused; those that are due wait in the journal.
    ///
    /// A saga that is asked something, by a cancel, a signal or an operator, comes to memory beyond that too, and stays there until it
    /// next rests: it is who asks that has to be bounded.
    pub max_in_memory: usize,
    /// How often the journal is asked for sagas that are due; a saga that was out of memory is late by up to this.
    #[cfg_attr(feature = "serde", serde(with = "mainstay_core::config::duration"))]
    pub poll_interval: Duration,
    /// After how long a saga that only waits leaves memory.
    #[cfg_attr(feature = "serde", serde(with = "mainstay_core::config::duration"))]
    pub idle_after: Duration,
    /// The seed of the jitter of waits, between attempts and while the journal fails; `None` takes a random one.
    ///
    /// With the same seed, the same failures in the same order are followed by the same waits. Give each process another one, or they
    /// all come back together. What has to differ between processes is random whatever the seed: the ids of sagas, what tells a
    /// repeated append from another, and the name under which a file is made.
    pub seed: Option<u64>,
}

/// A name by another name: of a field of type `&'static str` serde would believe that it borrows from the file.
type Name = &'static str;

impl Default for Config {
    fn default() -> Self {
        Self {
            name: "saga",
            max_in_memory: 10_000,
            poll_interval: Duration::from_secs(1),
            idle_after: Duration::from_secs(5),
            seed: None,
        }
    }
}

impl Config {
    /// Sets [`name`](Self#structfield.name).
    pub const fn name(mut self, name: &'static str) -> Self {
        self.name = name;
        self
    }

    /// Sets [`max_in_memory`](Self#structfield.max_in_memory).
    pub const fn max_in_memory(mut self, sagas: usize) -> Self {
        self.max_in_memory = sagas;
        self
    }

    /// Sets [`poll_interval`](Self#structfield.poll_interval).
    pub const fn poll_interval(mut self, interval: Duration) -> Self {
        self.poll_interval = interval;
        self
    }

    /// Sets [`idle_after`](Self#structfield.idle_after).
    pub const fn idle_after(mut self, time: Duration) -> Self {
        self.idle_after = time;
        self
    }

    /// Sets [`seed`](Self#structfield.seed).
    pub const fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    pub(crate) fn check(&self) -> Result<(), InvalidConfig> {
        const HOUR: Duration = Duration::from_hours(1);
        if self.name.is_empty() || self.name.len() > 128 {
            return Err(InvalidConfig::new("name", self.name, "1 to 128 bytes"));
        }
        InvalidConfig::check("max_in_memory", self.max_in_memory, 1..=1_000_000)?;
        InvalidConfig::check("poll_interval", self.poll_interval, Duration::from_millis(10)..=HOUR)?;
        InvalidConfig::check("idle_after", self.idle_after, Duration::ZERO..=HOUR)
    }
}
