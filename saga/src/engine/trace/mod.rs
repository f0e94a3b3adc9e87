//! Spans and events for those who read logs.

#[cfg(feature = "tracing")]
mod on;
#[cfg(feature = "tracing")]
pub(crate) use on::{Span, broken, claim_failed, journal_failed, lost, recorded, run, step};

#[cfg(not(feature = "tracing"))]
mod off;
#[cfg(not(feature = "tracing"))]
pub(crate) use off::{Span, broken, claim_failed, journal_failed, lost, recorded, run, step};
