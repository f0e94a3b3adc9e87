//! What can be set, and what is refused.

use crate::Backoff;
use mainstay_core::InvalidConfig;
use std::time::Duration;

/// The settings of a retry; plain data, checked once when a [`Policy`](crate::Policy) is made of it.
///
/// # Defaults
///
/// | setting | default | allowed |
/// | --- | --- | --- |
/// | [`name`](Self::name) | `"retry"` | 1 to 128 bytes |
/// | [`max_attempts`](Self::max_attempts) | 3 | at least 1 |
/// | [`deadline`](Self::deadline) | none | above 0 |
/// | [`backoff`](Self::backoff) | exponential, 100 ms to 10 s, full jitter | as [`Backoff`] says |
/// | [`max_retry_after`](Self::max_retry_after) | 10 s | 0 to 24 h |
/// | [`seed`](Self::seed) | random | |
///
/// # Examples
///
/// ```
/// use mainstay_retry::{Backoff, Config, Policy};
/// use std::time::Duration;
///
/// const SECOND: Duration = Duration::from_secs(1);
/// let config = Config::default().name("catalog").max_attempts(4).deadline(5 * SECOND);
/// assert!(Policy::new(config).is_ok());
///
/// let error = Policy::new(config.backoff(Backoff::exponential(SECOND).cap(SECOND / 2))).unwrap_err();
/// assert_eq!(error.to_string(), "`backoff.cap` is 500ms, allowed is 1s to 86400s");
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
#[non_exhaustive]
#[must_use]
pub struct Config {
    /// What logs and metrics call the retry.
    ///
    /// A name from a file is kept for the life of the process, once; [`intern`](mainstay_core::intern) does the same for
    /// names that a program puts together.
    #[cfg_attr(feature = "serde", serde(with = "crate::serde::name"))]
    pub name: Name,
    /// How often a call is tried at most, with the first time. With 1 nothing is retried.
    pub max_attempts: u32,
    /// How long a call may take from the first poll until its last attempt starts.
    ///
    /// No attempt starts at this time or later, and nothing waits for one that could not: when the wait would end too late
    /// the call ends at once. An attempt that runs is not cut short; that is what a timeout below is for.
    #[cfg_attr(feature = "serde", serde(with = "crate::serde::optional_duration"))]
    pub deadline: Option<Duration>,
    /// How long to wait between attempts.
    pub backoff: Backoff,
    /// The longest wait that is made because it was asked for. Zero takes no notice of what is asked.
    ///
    /// A longer one of a service, by `Retry-After` or a gRPC pushback, is cut: it is a guess, and made for many. A longer one of a
    /// [`Refused`](mainstay_core::Refused) is the exact time before which it would be said again: the call ends at once.
    #[cfg_attr(feature = "serde", serde(with = "mainstay_core::config::duration"))]
    pub max_retry_after: Duration,
    /// The seed of the jitter; `None` takes a random one.
    pub seed: Option<u64>,
}

/// A name by another name: of a field of type `&'static str` serde would believe that it borrows from the file.
pub(crate) type Name = &'static str;

/// A service that asks for more is a service that is gone.
const MAX_RETRY_AFTER: Duration = Duration::from_hours(24);

impl Default for Config {
    fn default() -> Self {
        Self {
            name: "retry",
            max_attempts: 3,
            deadline: None,
            backoff: Backoff::default(),
            max_retry_after: Duration::from_secs(10),
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

    /// Sets [`max_attempts`](Self#structfield.max_attempts).
    pub const fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = attempts;
        self
    }

    /// Sets [`deadline`](Self#structfield.deadline).
    pub const fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Sets [`backoff`](Self#structfield.backoff).
    pub const fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// Sets [`max_retry_after`](Self#structfield.max_retry_after).
    pub const fn max_retry_after(mut self, wait: Duration) -> Self {
        self.max_retry_after = wait;
        self
    }

    /// Sets [`seed`](Self#structfield.seed).
    pub const fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Checks every setting.
    pub(crate) fn check(&self) -> Result<(), InvalidConfig> {
        if !(1..=128).contains(&self.name.len()) {
            return Err(InvalidConfig::new("name", self.name, "1 to 128 bytes"));
        }
        InvalidConfig::check("max_attempts", self.max_attempts, 1..=u32::MAX)?;
        if self.deadline == Some(Duration::ZERO) {
            return Err(InvalidConfig::new("deadline", Duration::ZERO, "above 0"));
        }
        self.backoff.check()?;
        InvalidConfig::check("max_retry_after", self.max_retry_after, Duration::ZERO..=MAX_RETRY_AFTER)
    }
}
