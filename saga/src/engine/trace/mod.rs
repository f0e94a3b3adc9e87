//! Spans and events for those who read logs.

#[cfg(feature = "tracing")]
mod on;
#[cfg(feature = "tracing")]
pub(crate) use on::{Span, append, broken, claim_failed, journal_failed, lost, recorded, run, step};

#[cfg(all(feature = "tracing", feature = "metrics"))]
pub(crate) use on::look_failed;

#[cfg(not(feature = "tracing"))]
mod off;
#[cfg(all(not(feature = "tracing"), feature = "metrics"))]
pub(crate) use off::look_failed;
#[cfg(not(feature = "tracing"))]
pub(crate) use off::{Span, append, broken, claim_failed, journal_failed, lost, recorded, run, step};
