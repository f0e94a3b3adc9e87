//! A gauge and a counter through the `metrics` facade.

use crate::budget::core::tokens;
use metrics::{Counter, Gauge, counter, gauge};
use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// What one budget adds to the metrics of all budgets of its name.
///
/// The gauge counts tokens, so that several of one name add up, and what a budget holds there is taken out when it is
/// dropped. A deposit is not told, for it would cost more than the deposit: the gauge says what the balance was when a token
/// was last asked for or given back, or a snapshot taken. The handles are made then, which finds a recorder that was
/// installed after the budget was made.
pub(crate) struct Metrics {
    name: &'static str,
    handles: Mutex<Option<Arc<Handles>>>,
}

struct Handles {
    balance: Gauge,
    exhausted: Counter,
    /// The units of this budget in the gauge.
    held: AtomicU64,
}

impl Metrics {
    pub(crate) const fn new(name: &'static str) -> Self {
        Self { name, handles: Mutex::new(None) }
    }

    pub(crate) fn balance(&self, units: u64) {
        let handles = self.handles();
        handles.hold(units);
        // After a `rebind` meanwhile, which had emptied them.
        if !self.lock().as_ref().is_some_and(|present| Arc::ptr_eq(present, &handles)) {
            handles.hold(0);
        }
    }

    pub(crate) fn exhausted(&self) {
        self.handles().exhausted.increment(1);
    }

    /// Moves what this budget holds to the recorder that is installed now.
    pub(crate) fn rebind(&self) {
        // The recorder is foreign code: it is asked without the lock.
        let new = Arc::new(Handles::new(self.name));
        let old = self.lock().replace(Arc::clone(&new));
        if let Some(old) = old {
            new.hold(old.hold(0));
        }
    }

    fn handles(&self) -> Arc<Handles> {
        if let Some(handles) = &*self.lock() {
            return Arc::clone(handles);
        }
        // The recorder is foreign code: it is asked, and a handle too many dropped, without the lock.
        let new = Arc::new(Handles::new(self.name));
        let mut handles = self.lock();
        let first = Arc::clone(handles.get_or_insert_with(|| Arc::clone(&new)));
        drop(handles);
        first
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<Handles>>> {
        self.handles.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Metrics {
    fn drop(&mut self) {
        if let Some(handles) = self.handles.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            handles.hold(0);
        }
    }
}

impl Handles {
    fn new(name: &'static str) -> Self {
        Self {
            balance: gauge!("mainstay_budget_balance", "budget" => name),
            exhausted: counter!("mainstay_budget_exhausted_total", "budget" => name),
            held: AtomicU64::new(0),
        }
    }

    /// Holds this many units in the gauge, and returns how many it held.
    fn hold(&self, units: u64) -> u64 {
        // Relaxed: each difference is told once, whatever the order.
        let held = self.held.swap(units, Ordering::Relaxed);
        if held != units {
            self.balance.increment(tokens(units) - tokens(held));
        }
        held
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").field("name", &self.name).finish_non_exhaustive()
    }
}
