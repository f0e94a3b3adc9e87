//! What can be set, what is refused, and the deadline that follows.

use mainstay_core::{Deadline, InvalidConfig, Now, Reason, Refused};
use std::time::Duration;

/// The settings of a timeout; plain data, checked once when a layer is made of it.
///
/// # Defaults
///
/// | setting | default | allowed |
/// | --- | --- | --- |
/// | [`name`](Self::name) | `"timeout"` | 1 to 128 bytes |
/// | [`timeout`](Self::timeout) | none | above 0; needed unless the requests carry deadlines |
///
/// # Examples
///
/// ```
/// use mainstay_timeout::{Config, TimeoutLayer};
/// use std::time::Duration;
///
/// assert!(TimeoutLayer::new(Config::default().name("payments").timeout(Duration::from_secs(2))).is_ok());
///
/// let error = TimeoutLayer::new(Config::default().timeout(Duration::ZERO)).unwrap_err();
/// assert_eq!(error.to_string(), "`timeout` is 0ns, allowed is above 0");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
#[non_exhaustive]
#[must_use]
pub struct Config {
    /// What errors, logs and metrics call the timeout.
    ///
    /// A name that is not a literal is made `'static` by [`intern`](mainstay_core::intern).
    #[cfg_attr(feature = "serde", serde(deserialize_with = "crate::serde::name"))]
    pub name: Name,
    /// How long a call may take. [`Duration::MAX`], and whatever else the clock cannot count, is for ever.
    ///
    /// `None` is for requests that carry deadlines: nothing else ends their calls.
    #[cfg_attr(feature = "serde", serde(with = "crate::serde::optional_duration"))]
    pub timeout: Option<Duration>,
}

/// Spelled `&str`, it would make serde borrow it from the file, for ever.
type Name = &'static str;

impl Default for Config {
    fn default() -> Self {
        Self { name: "timeout", timeout: None }
    }
}

impl Config {
    /// Sets [`name`](Self#structfield.name).
    pub const fn name(mut self, name: &'static str) -> Self {
        self.name = name;
        self
    }

    /// Sets [`timeout`](Self#structfield.timeout).
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// The deadline of a call that starts now: the earlier of the one that its request carries and the end of
    /// [`timeout`](Self#structfield.timeout). `None` if there is neither; then `now` is not asked.
    ///
    /// This is what [`Timeout`](crate::Timeout) decides by, for those who have their own way to wait. The settings are taken as
    /// they are; only the layers check them. With a time of zero, which they refuse, the deadline is `now`.
    ///
    /// # Errors
    ///
    /// If the carried deadline has passed.
    ///
    /// # Examples
    ///
    /// ```
    /// use mainstay_core::Deadline;
    /// use mainstay_timeout::Config;
    /// use std::time::Duration;
    ///
    /// let now = tokio::time::Instant::now().into_std();
    /// let config = Config::default().timeout(Duration::from_secs(2));
    ///
    /// let carried = Deadline::after(now, Duration::from_secs(1));
    /// assert_eq!(config.deadline(Some(carried), now), Ok(Some(carried)));
    /// assert_eq!(config.deadline(None, now), Ok(Some(Deadline::after(now, Duration::from_secs(2)))));
    /// assert!(config.deadline(Some(Deadline::at(now)), now).is_err());
    /// ```
    pub fn deadline(&self, carried: Option<Deadline>, now: impl Now) -> Result<Option<Deadline>, Refused> {
        if carried.is_none() && self.timeout.is_none() {
            return Ok(None);
        }
        let now = now.now();
        if carried.is_some_and(|deadline| deadline.has_passed(now)) {
            return Err(self.passed());
        }
        let own = self.timeout.and_then(|timeout| now.checked_add(timeout)).map(Deadline::at);
        Ok(match (carried, own) {
            (Some(carried), Some(own)) => Some(carried.earlier(own)),
            (carried, own) => carried.or(own),
        })
    }

    pub(crate) fn check(&self) -> Result<(), InvalidConfig> {
        if !(1..=128).contains(&self.name.len()) {
            return Err(InvalidConfig::new("name", self.name, "1 to 128 bytes"));
        }
        if self.timeout == Some(Duration::ZERO) {
            return Err(InvalidConfig::new("timeout", Duration::ZERO, "above 0"));
        }
        Ok(())
    }

    const fn passed(&self) -> Refused {
        Refused::new(Reason::DeadlinePassed, self.name)
    }
}
