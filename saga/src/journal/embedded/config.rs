//! What can be set, and what is refused.

use mainstay_core::InvalidConfig;

/// The settings of an [`Embedded`](super::Embedded) journal; plain data, checked once when it is opened.
///
/// # Defaults
///
/// | setting | default | allowed |
/// | --- | --- | --- |
/// | [`queue`](Self::queue) | 4,096 | 1 to 1,048,576 |
/// | [`cache`](Self::cache) | 64 MiB | 1 MiB to 1 TiB |
/// | [`quick_repair`](Self::quick_repair) | off | |
///
/// # Examples
///
/// ```
/// use mainstay_saga::journal::{Embedded, EmbeddedConfig};
///
/// let error = Embedded::open_with("sagas.redb", EmbeddedConfig::default().queue(0)).unwrap_err();
/// assert_eq!(error.to_string(), "`queue` is 0, allowed is 1 to 1048576");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
#[non_exhaustive]
#[must_use]
pub struct EmbeddedConfig {
    /// How many requests may wait for the next commit. More wait in their callers.
    ///
    /// It also bounds how many share one commit.
    pub queue: usize,
    /// How many bytes of the file are kept in memory.
    pub cache: usize,
    /// Makes each commit cost two `fsync`s instead of one, so that opening after a crash need not read the whole file.
    pub quick_repair: bool,
}

const MIB: usize = 1 << 20;

impl Default for EmbeddedConfig {
    fn default() -> Self {
        Self { queue: 4_096, cache: 64 * MIB, quick_repair: false }
    }
}

impl EmbeddedConfig {
    /// Sets [`queue`](Self#structfield.queue).
    pub const fn queue(mut self, requests: usize) -> Self {
        self.queue = requests;
        self
    }

    /// Sets [`cache`](Self#structfield.cache).
    pub const fn cache(mut self, bytes: usize) -> Self {
        self.cache = bytes;
        self
    }

    /// Sets [`quick_repair`](Self#structfield.quick_repair).
    pub const fn quick_repair(mut self, quick_repair: bool) -> Self {
        self.quick_repair = quick_repair;
        self
    }

    pub(super) fn check(&self) -> Result<(), InvalidConfig> {
        InvalidConfig::check("queue", self.queue, 1..=MIB)?;
        // On a machine of 32 bits, what it can address.
        InvalidConfig::check("cache", self.cache, MIB..=MIB.saturating_mul(MIB))
    }
}
