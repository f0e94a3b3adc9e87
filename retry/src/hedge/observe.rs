//! Those outside who are told of hedges; the first attempt is not one.

#[cfg(feature = "metrics")]
use std::sync::{Arc, Mutex, PoisonError};

#[cfg_attr(not(feature = "metrics"), derive(Debug))]
pub(super) struct Observers {
    #[cfg_attr(
        not(any(feature = "metrics", feature = "tracing")),
        expect(dead_code, reason = "there is nobody to tell it")
    )]
    name: &'static str,
    /// Made with the first hedge, which finds a recorder that was installed after the policy was made.
    #[cfg(feature = "metrics")]
    counters: Mutex<Option<Arc<Counters>>>,
}

#[cfg(feature = "metrics")]
struct Counters {
    started: metrics::Counter,
    suppressed: metrics::Counter,
    won: metrics::Counter,
}

#[cfg_attr(
    not(any(feature = "metrics", feature = "tracing")),
    expect(clippy::unused_self, clippy::missing_const_for_fn, reason = "there is nobody to tell it")
)]
impl Observers {
    pub(super) const fn new(name: &'static str) -> Self {
        Self {
            name,
            #[cfg(feature = "metrics")]
            counters: Mutex::new(None),
        }
    }

    pub(super) fn started(&self, attempt: u32) {
        #[cfg(feature = "metrics")]
        self.counters().started.increment(1);
        #[cfg(feature = "tracing")]
        tracing::debug!(hedge = self.name, attempt, "hedge was started");
        #[cfg(not(feature = "tracing"))]
        let _ = attempt;
    }

    pub(super) fn suppressed(&self, attempt: u32) {
        #[cfg(feature = "metrics")]
        self.counters().suppressed.increment(1);
        #[cfg(feature = "tracing")]
        tracing::debug!(hedge = self.name, attempt, "hedge was not paid for");
        #[cfg(not(feature = "tracing"))]
        let _ = attempt;
    }

    pub(super) fn won(&self, attempt: u32) {
        #[cfg(feature = "metrics")]
        self.counters().won.increment(1);
        #[cfg(feature = "tracing")]
        tracing::debug!(hedge = self.name, attempt, "hedge answered first");
        #[cfg(not(feature = "tracing"))]
        let _ = attempt;
    }
}

#[cfg(feature = "metrics")]
impl Observers {
    pub(super) fn rebind_metrics(&self) {
        // The recorder is foreign code: it is asked, and the old handles dropped, without the lock.
        let new = Arc::new(self.new_counters());
        let old = self.lock().replace(new);
        drop(old);
    }

    fn counters(&self) -> Arc<Counters> {
        if let Some(counters) = &*self.lock() {
            return Arc::clone(counters);
        }
        let new = Arc::new(self.new_counters());
        let mut counters = self.lock();
        if let Some(counters) = &*counters {
            return Arc::clone(counters);
        }
        *counters = Some(Arc::clone(&new));
        drop(counters);
        new
    }

    fn new_counters(&self) -> Counters {
        let counter = |event| metrics::counter!("mainstay_hedges_total", "hedge" => self.name, "event" => event);
        Counters { started: counter("started"), suppressed: counter("suppressed"), won: counter("won") }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Arc<Counters>>> {
        self.counters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(feature = "metrics")]
impl std::fmt::Debug for Observers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Observers").field("name", &self.name).finish_non_exhaustive()
    }
}
