//! Those who are told of calls that fell back.

use mainstay_core::{Refusable, Verdict};

/// Is shown the outcome in whose place the fallback answers.
///
/// Closures do it, through [`FallbackLayer::observe`](crate::FallbackLayer::observe).
pub trait Observe<Res, E> {
    /// Is called before the fallback answers.
    fn observe(&self, original: Result<&Res, &E>);
}

/// Looks away.
#[derive(Clone, Copy, Debug)]
pub struct Nobody;

impl<Res, E> Observe<Res, E> for Nobody {
    fn observe(&self, _: Result<&Res, &E>) {}
}

impl<Res, E, F> Observe<Res, E> for F
where
    F: Fn(Result<&Res, &E>),
{
    fn observe(&self, original: Result<&Res, &E>) {
        self(original);
    }
}

/// The counters are looked up each time: a fallback has no state to keep them in, and the call has failed already.
pub(crate) fn fell_back<Res, E: Refusable>(name: &'static str, original: Result<&Res, &E>) {
    let outcome = label(original);
    #[cfg(feature = "metrics")]
    metrics::counter!("mainstay_fallback_used_total", "fallback" => name, "outcome" => outcome).increment(1);
    #[cfg(feature = "tracing")]
    tracing::debug!(fallback = name, outcome, "call fell back");
    #[cfg(not(any(feature = "metrics", feature = "tracing")))]
    let _ = (name, outcome);
}

/// The other service failed, too.
pub(crate) fn failed<Res, E: Refusable>(name: &'static str, second: Result<&Res, &E>) {
    let outcome = label(second);
    #[cfg(feature = "metrics")]
    metrics::counter!("mainstay_fallback_failed_total", "fallback" => name, "outcome" => outcome).increment(1);
    #[cfg(feature = "tracing")]
    tracing::debug!(fallback = name, outcome, "fallback failed");
    #[cfg(not(any(feature = "metrics", feature = "tracing")))]
    let _ = (name, outcome);
}

fn label<Res, E: Refusable>(failed: Result<&Res, &E>) -> &'static str {
    match failed.map_err(Refusable::verdict) {
        Ok(_) => "failed response",
        Err(Verdict::Refused(_)) => "refused",
        Err(Verdict::TimedOut(_)) => "timed out",
        Err(Verdict::Other) => "failed",
    }
}
