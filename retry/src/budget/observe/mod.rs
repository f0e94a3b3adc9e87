//! Those outside who are told of the balance, never under the budget's lock.

#[cfg(feature = "metrics")]
mod metrics;
#[cfg(not(feature = "metrics"))]
#[path = "metrics_off.rs"]
mod metrics;

pub(super) use self::metrics::Metrics;
