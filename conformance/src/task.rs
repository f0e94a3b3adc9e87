//! Wakers that count, and that foreign code can hide in.

use crate::{
    backend::Backend,
    ledger::{Event, Task},
    trap::{self, Point},
};
use std::{
    fmt, mem,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Wake, Waker},
};

/// The waker of one task that polls one thing.
pub(crate) struct Bell {
    task: Task,
    /// Kept by those who listen, so that the layer may hold the last reference to the bell.
    rung: Arc<AtomicU32>,
    backend: Arc<Backend>,
}

impl Bell {
    pub(crate) fn new(task: Task, backend: &Arc<Backend>) -> Arc<Self> {
        Arc::new(Self { task, rung: Arc::default(), backend: Arc::clone(backend) })
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

/// How one poller is woken.
pub(crate) struct Ear {
    task: Task,
    bell: Arc<Bell>,
    /// What the bell had rung when it was last polled; `None` if it never was.
    heard: Option<u32>,
    /// The bell of the task that polled before this one.
    earlier: Option<(Arc<AtomicU32>, u32)>,
}

impl Ear {
    pub(crate) fn new(task: Task, backend: &Arc<Backend>) -> Self {
        Self { task, bell: Bell::new(task, backend), heard: None, earlier: None }
    }

    pub(crate) const fn polled(&self) -> bool {
        self.heard.is_some()
    }

    pub(crate) fn woken(&self) -> bool {
        self.heard.is_none_or(|heard| self.bell.rung() > heard)
    }

    pub(crate) const fn moved(&self) -> bool {
        self.earlier.is_some()
    }

    pub(crate) fn earlier_woken(&self) -> bool {
        // Relaxed: as above.
        self.earlier.as_ref().is_some_and(|(rung, heard)| rung.load(Ordering::Relaxed) > *heard)
    }

    /// From now on another task polls.
    pub(crate) fn move_to_another_task(&mut self, backend: &Arc<Backend>) {
        let bell = mem::replace(&mut self.bell, Bell::new(self.task, backend));
        let heard = bell.rung();
        self.earlier = Some((Arc::clone(&bell.rung), heard));
    }

    /// It was woken, so an earlier task has no part in what comes now.
    pub(crate) fn forget_earlier(&mut self) {
        if self.woken() {
            self.earlier = None;
        }
    }

    /// Polls with this ear. Who wakes itself meanwhile has been woken.
    pub(crate) fn listen<T>(&mut self, poll: impl FnOnce(&mut Context<'_>) -> T) -> T {
        self.heard = Some(self.bell.rung());
        let waker = self.bell.waker();
        poll(&mut Context::from_waker(&waker))
    }
}
