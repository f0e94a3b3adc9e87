//! Wakers that count, and that foreign code can hide in.

use crate::{
    backend::Backend,
    ledger::{Event, Task},
    trap::{self, Point},
};
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Wake, Waker},
};

/// The waker of one task that polls one thing.
pub(crate) struct Bell {
    task: Task,
    rung: AtomicU32,
    backend: Arc<Backend>,
}

impl Bell {
    pub(crate) fn new(task: Task, backend: &Arc<Backend>) -> Arc<Self> {
        Arc::new(Self { task, rung: AtomicU32::new(0), backend: Arc::clone(backend) })
    }

    pub(crate) fn waker(self: &Arc<Self>) -> Waker {
        Waker::from(Arc::clone(self))
    }

    /// How often it was woken.
    pub(crate) fn rung(&self) -> u32 {
        // Relaxed: a counter; the thread that reads it has joined, or is, the one that wrote.
        self.rung.load(Ordering::Relaxed)
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Relaxed: as above.
        self.rung.fetch_add(1, Ordering::Relaxed);
        self.backend.record(Event::Woken { task: self.task });
        trap::pass(Point::Wake);
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        trap::pass(Point::DropWaker);
    }
}

impl fmt::Debug for Bell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bell").field("task", &self.task).field("rung", &self.rung()).finish_non_exhaustive()
    }
}
