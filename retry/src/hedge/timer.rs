//! One timer, if there is something to wait for.

use pin_project::pin_project;
use std::{
    future::Future,
    pin::Pin,
    task::Context,
    time::{Duration, Instant},
};
use tokio::time::{Sleep, sleep_until};

/// Waits for nothing until it is set.
#[pin_project]
pub(super) struct Timer {
    #[pin]
    sleep: Option<Sleep>,
}

/// What is further away does not come. Tokio's timers add to the moment they are given, and must not overflow.
const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

impl Timer {
    pub(super) const fn new() -> Self {
        Self { sleep: None }
    }

    pub(super) fn set(self: Pin<&mut Self>, until: Instant, now: Instant) {
        let near = until.saturating_duration_since(now) < FAR;
        self.project().sleep.set(near.then(|| sleep_until(until.into())));
    }

    pub(super) fn clear(self: Pin<&mut Self>) {
        self.project().sleep.set(None);
    }

    pub(super) const fn is_set(&self) -> bool {
        self.sleep.is_some()
    }

    /// Whether it was set and the time has come; if not, the task is woken then.
    pub(super) fn poll_fired(self: Pin<&mut Self>, cx: &mut Context<'_>) -> bool {
        self.project().sleep.as_pin_mut().is_some_and(|sleep| sleep.poll(cx).is_ready())
    }
}
