//! Gauges and counters through the `metrics` facade.

use crate::{
    status::{Change, State},
    sync::{AtomicU64, Ordering},
};
use metrics::{Counter, Gauge, counter, gauge};
use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError, atomic::AtomicI64},
};

const STATES: usize = State::ALL.len();

/// What one circuit adds to the metrics of all circuits of its name.
///
/// The gauges count circuits, so that several of one name add up, and what a circuit holds there is given back when it is
/// dropped. The handles are made with the first transition, which finds a recorder that was installed after the circuit
/// was made.
pub(crate) struct Metrics {
    name: &'static str,
    handles: Mutex<Option<Arc<Handles>>>,
    /// Refusals that the counter knows of.
    told: AtomicU64,
}

struct Handles {
    circuits: [Gauge; STATES],
    transitions: [Counter; STATES],
    refused: Counter,
    /// What this circuit has added to each gauge. Two threads may tell their transitions in another order than they made
    /// them, so this is a sum and not a state.
    held: [AtomicI64; STATES],
}

impl Metrics {
    pub(crate) const fn new(name: &'static str) -> Self {
        Self { name, handles: Mutex::new(None), told: AtomicU64::new(0) }
    }

    pub(crate) fn record(&self, change: &Change, refused: u64) {
        let handles = self.handles();
        handles.hold(change.from, -1);
        handles.hold(change.to.state, 1);
        handles.transitions[change.to.state as usize].increment(1);
        self.record_refused(&handles, refused);
        self.follow(handles);
    }

    pub(crate) fn record_last(&self, refused: u64) {
        let handles = self.lock().clone();
        if let Some(handles) = handles {
            self.record_refused(&handles, refused);
        }
    }

    fn record_refused(&self, handles: &Handles, refused: u64) {
        // Relaxed: each refusal is in exactly one difference, whatever the order.
        let told = self.told.fetch_max(refused, Ordering::Relaxed);
        handles.refused.increment(refused.saturating_sub(told));
    }

    /// Moves on what was added to `handles` after a `rebind` had emptied them.
    fn follow(&self, mut handles: Arc<Handles>) {
        loop {
            let present = self.handles();
            if Arc::ptr_eq(&handles, &present) {
                return;
            }
            handles.move_to(&present);
            handles = present;
        }
    }

    /// Moves what this circuit holds to the recorder that is installed now.
    pub(crate) fn rebind(&self) {
        let new = Arc::new(Handles::new(self.name));
        let Some(old) = self.lock().replace(Arc::clone(&new)) else {
            new.hold(State::Closed, 1);
            return;
        };
        old.move_to(&new);
    }

    fn handles(&self) -> Arc<Handles> {
        if let Some(handles) = &*self.lock() {
            return Arc::clone(handles);
        }
        // The recorder is foreign code: it is asked without the lock.
        let new = Arc::new(Handles::new(self.name));
        let mut handles = self.lock();
        if let Some(handles) = &*handles {
            return Arc::clone(handles);
        }
        *handles = Some(Arc::clone(&new));
        drop(handles);
        // All transitions so far are still to be told, so the first state is the one to start from.
        new.hold(State::Closed, 1);
        new
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Arc<Handles>>> {
        self.handles.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Metrics {
    fn drop(&mut self) {
        if let Some(handles) = self.handles.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            for state in State::ALL {
                // Relaxed: nobody else has the circuit any more.
                handles.hold(state, -handles.held[state as usize].load(Ordering::Relaxed));
            }
        }
    }
}

impl Handles {
    fn new(name: &'static str) -> Self {
        Self {
            circuits: State::ALL.map(|state| gauge!("mainstay_circuits", "circuit" => name, "state" => state.as_str())),
            transitions: State::ALL
                .map(|state| counter!("mainstay_circuit_transitions_total", "circuit" => name, "to" => state.as_str())),
            refused: counter!("mainstay_circuit_refused_total", "circuit" => name),
            held: State::ALL.map(|_| AtomicI64::new(0)),
        }
    }

    fn move_to(&self, other: &Self) {
        for state in State::ALL {
            // Relaxed: whoever moves a unit is the only one who does; the lock of `handles` orders it after its addition.
            let held = self.held[state as usize].swap(0, Ordering::Relaxed);
            self.tell(state, -held);
            other.hold(state, held);
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a circuit holds at most a few units")]
    fn tell(&self, state: State, more: i64) {
        self.circuits[state as usize].increment(more as f64);
    }

    fn hold(&self, state: State, more: i64) {
        // Relaxed: a sum, see `held`.
        self.held[state as usize].fetch_add(more, Ordering::Relaxed);
        self.tell(state, more);
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").field("name", &self.name).finish_non_exhaustive()
    }
}
