//! Counters through the `metrics` facade.

use super::Cause;
use metrics::{Counter, counter};
use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The counters of all policies of one name.
///
/// They stay for the life of the process, as names do: so a policy is `Copy`, and nothing is looked up in a call.
#[derive(Clone, Copy)]
pub(crate) struct Metrics(&'static Named);

struct Named {
    name: &'static str,
    /// Made with the first event, which finds a recorder that was installed after the policy was made.
    handles: Mutex<Option<Arc<Handles>>>,
}

struct Handles {
    retries: Counter,
    /// By [`Cause`].
    given_up: [Counter; CAUSES.len()],
}

static NAMED: Mutex<BTreeMap<&'static str, &'static Named>> = Mutex::new(BTreeMap::new());

const CAUSES: [(Cause, &str); 6] = [
    (Cause::Budget, "budget"),
    (Cause::Attempts, "attempts"),
    (Cause::Deadline, "deadline"),
    (Cause::Request, "request"),
    (Cause::Unready, "unready"),
    (Cause::RetryAfter, "retry_after"),
];

impl Metrics {
    pub(crate) fn new(name: &'static str) -> Self {
        let mut all = NAMED.lock().unwrap_or_else(PoisonError::into_inner);
        let leak = || -> &'static Named { Box::leak(Box::new(Named { name, handles: Mutex::new(None) })) };
        Self(all.entry(name).or_insert_with(leak))
    }

    pub(crate) fn retried(self) {
        self.handles().retries.increment(1);
    }

    pub(crate) fn gave_up(self, cause: Cause) {
        self.handles().given_up[cause as usize].increment(1);
    }

    /// Counts in the recorder that is installed now.
    pub(crate) fn rebind(self) {
        let new = Arc::new(Handles::new(self.0.name));
        // The old ones are foreign: they are dropped when the lock is released.
        let _old = self.lock().replace(new);
    }

    fn handles(self) -> Arc<Handles> {
        if let Some(handles) = &*self.lock() {
            return Arc::clone(handles);
        }
        // The recorder is foreign code: it is asked, and handles too many are dropped, without the lock.
        let new = Arc::new(Handles::new(self.0.name));
        let mut handles = self.lock();
        let first = Arc::clone(handles.get_or_insert_with(|| Arc::clone(&new)));
        drop(handles);
        first
    }

    fn lock(self) -> MutexGuard<'static, Option<Arc<Handles>>> {
        self.0.handles.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Handles {
    fn new(name: &'static str) -> Self {
        Self {
            retries: counter!("mainstay_retries_total", "retry" => name),
            given_up: CAUSES
                .map(|(_, cause)| counter!("mainstay_retries_given_up_total", "retry" => name, "cause" => cause)),
        }
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Metrics").field(&self.0.name).finish()
    }
}
