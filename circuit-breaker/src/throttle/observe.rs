//! Those outside who are told of refusals, never under the throttle's lock.

#[cfg(feature = "metrics")]
use std::sync::{Mutex, PoisonError};

pub(super) struct Observers {
    #[cfg_attr(
        not(any(feature = "metrics", feature = "tracing")),
        expect(dead_code, reason = "there is nobody to tell it")
    )]
    name: &'static str,
    /// Made with the first refusal, which finds a recorder that was installed after the throttle was made.
    #[cfg(feature = "metrics")]
    counter: Mutex<Option<metrics::Counter>>,
}

impl Observers {
    pub(super) const fn new(name: &'static str) -> Self {
        Self {
            name,
            #[cfg(feature = "metrics")]
            counter: Mutex::new(None),
        }
    }

    #[cfg_attr(
        not(any(feature = "metrics", feature = "tracing")),
        expect(clippy::unused_self, reason = "there is nobody to tell it")
    )]
    pub(super) fn refused(&self, rejection_rate: f64, shadow: bool) {
        #[cfg(feature = "metrics")]
        self.counter().increment(1);
        #[cfg(feature = "tracing")]
        tracing::debug!(throttle = self.name, rejection_rate, shadow, "call was refused");
        #[cfg(not(feature = "tracing"))]
        let _ = (rejection_rate, shadow);
    }
}

#[cfg(feature = "metrics")]
impl Observers {
    pub(super) fn rebind_metrics(&self) {
        // The recorder is foreign code: it is asked, and the old handle dropped, without the lock.
        let new = self.new_counter();
        let old = self.lock().replace(new);
        drop(old);
    }

    fn counter(&self) -> metrics::Counter {
        if let Some(counter) = &*self.lock() {
            return counter.clone();
        }
        let new = self.new_counter();
        let mut counter = self.lock();
        if let Some(counter) = &*counter {
            return counter.clone();
        }
        *counter = Some(new.clone());
        drop(counter);
        new
    }

    fn new_counter(&self) -> metrics::Counter {
        metrics::counter!("mainstay_throttle_refused_total", "throttle" => self.name)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<metrics::Counter>> {
        self.counter.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
