//! Moments that outlive the process, by the clock that tests can pause.

use crate::Timestamp;
use std::time::SystemTime;
use tokio::time::Instant;

/// Tokio's clock, told once what time it is.
///
/// If the time of the machine is set anew, timers of running sagas do not jump.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    anchor: Instant,
    at: Timestamp,
}

impl Clock {
    pub(crate) fn new() -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "what is kept for after a restart needs the time of day; read once, so that it cannot jump"
        )]
        let now = SystemTime::now();
        let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let millis = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        Self { anchor: Instant::now(), at: Timestamp::from_millis(millis) }
    }

    pub(crate) fn now(&self) -> Timestamp {
        let passed = u64::try_from(self.anchor.elapsed().as_millis()).unwrap_or(u64::MAX);
        Timestamp::from_millis(self.at.as_millis().saturating_add(passed))
    }

    /// When this moment comes; `None` if no clock can count to it.
    pub(crate) fn instant(&self, moment: Timestamp) -> Option<Instant> {
        self.anchor.checked_add(moment.since(self.at))
    }
}
