//! A counter through the `metrics` facade.

use metrics::{Counter, counter};
use std::{
    fmt,
    sync::{PoisonError, RwLock},
};

/// The counter of one name, made with the first refusal: that finds a recorder which was installed after the limiter was
/// made.
pub(crate) struct Metrics {
    name: &'static str,
    counter: RwLock<Option<Counter>>,
}

impl Metrics {
    pub(crate) const fn new(name: &'static str) -> Self {
        Self { name, counter: RwLock::new(None) }
    }

    pub(crate) fn refused(&self) {
        // The recorder is foreign code: the counter is used without the lock.
        let counter = self.counter.read().unwrap_or_else(PoisonError::into_inner).clone();
        counter.unwrap_or_else(|| self.make()).increment(1);
    }

    /// Takes the recorder that is installed now.
    pub(crate) fn rebind(&self) {
        let new = self.new_counter();
        let old = self.counter.write().unwrap_or_else(PoisonError::into_inner).replace(new);
        // Without the lock, like all code of the recorder.
        drop(old);
    }

    fn make(&self) -> Counter {
        let new = self.new_counter();
        let mut counter = self.counter.write().unwrap_or_else(PoisonError::into_inner);
        let counter_now = counter.get_or_insert_with(|| new.clone()).clone();
        drop(counter);
        counter_now
    }

    fn new_counter(&self) -> Counter {
        counter!("mainstay_rate_limit_refused_total", "limiter" => self.name)
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").field("name", &self.name).finish_non_exhaustive()
    }
}
