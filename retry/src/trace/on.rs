//! Events through `tracing`.

use crate::observe::Cause;
use mainstay_core::Attempt;
use std::time::Duration;
use tracing::debug;

/// `attempt` is the one that is to come.
pub(crate) fn scheduled(name: &'static str, attempt: Attempt, wait: Duration) {
    debug!(retry = name, attempt = attempt.number(), ?wait, "retry was scheduled");
}

/// `attempt` is the one that does not come about.
pub(crate) fn gave_up(name: &'static str, attempt: Attempt, cause: Cause) {
    let attempt = attempt.number();
    match cause {
        Cause::Budget => debug!(retry = name, attempt, "retry was not paid for"),
        Cause::Attempts => debug!(retry = name, attempt, "attempts were used up"),
        Cause::Deadline => debug!(retry = name, attempt, "no time was left for a retry"),
        Cause::Request => debug!(retry = name, attempt, "request could not be sent again"),
        Cause::Unready => debug!(retry = name, attempt, "service was not ready for a retry"),
        Cause::RetryAfter => debug!(retry = name, attempt, "service asked for too long a wait"),
    }
}
