//! The clock of the shell.

use std::time::Instant;

/// Tokio's clock; virtual under `tokio::time::pause`.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
