//! Those outside who are told of calls that were ended or refused.

use mainstay_core::{Refused, TimedOut};

/// The counter is looked up each time: a timeout has no state to keep it in, and the caller has waited already.
pub(crate) fn timed_out(timed_out: &TimedOut) {
    #[cfg(feature = "metrics")]
    metrics::counter!("mainstay_timeout_timed_out_total", "timeout" => timed_out.by()).increment(1);
    #[cfg(feature = "tracing")]
    tracing::debug!(timeout = timed_out.by(), after = ?timed_out.after(), "call timed out");
    #[cfg(not(any(feature = "metrics", feature = "tracing")))]
    let _ = timed_out;
}

pub(crate) fn refused(refused: &Refused) {
    #[cfg(feature = "metrics")]
    metrics::counter!("mainstay_timeout_refused_total", "timeout" => refused.by()).increment(1);
    #[cfg(feature = "tracing")]
    tracing::debug!(timeout = refused.by(), reason = %refused.reason(), "call was refused");
    #[cfg(not(any(feature = "metrics", feature = "tracing")))]
    let _ = refused;
}
