//! The paused clock and the tasks that a layer spawns, where it uses tokio; otherwise nothing.

use std::time::Duration;

#[derive(Debug, Default)]
pub(crate) struct Clock {
    #[cfg(feature = "tokio")]
    runtime: Option<tokio::runtime::Runtime>,
}

/// A way into the runtime, where there is one.
#[derive(Clone, Debug)]
pub(crate) struct Entrance {
    #[cfg(feature = "tokio")]
    runtime: Option<tokio::runtime::Handle>,
}

impl Entrance {
    #[cfg_attr(not(feature = "tokio"), expect(clippy::unused_self, reason = "the same method as with a clock"))]
    pub(crate) fn within<T>(&self, work: impl FnOnce() -> T) -> T {
        #[cfg(feature = "tokio")]
        let _entered = self.runtime.as_ref().map(tokio::runtime::Handle::enter);
        work()
    }
}

#[cfg(feature = "tokio")]
impl Clock {
    /// # Panics
    ///
    /// If the system has no resources left for a runtime.
    pub(crate) fn new(on_tokio: bool) -> Self {
        let make = || {
            let mut builder = tokio::runtime::Builder::new_current_thread();
            builder.enable_time().start_paused(true).build().expect("a runtime can be made")
        };
        Self { runtime: on_tokio.then(make) }
    }

    pub(crate) const fn ticks(&self) -> bool {
        self.runtime.is_some()
    }

    /// Runs code of the layer, so that it finds the runtime.
    pub(crate) fn within<T>(&self, work: impl FnOnce() -> T) -> T {
        self.entrance().within(work)
    }

    /// For foreign code, which comes from anywhere.
    pub(crate) fn entrance(&self) -> Entrance {
        Entrance { runtime: self.runtime.as_ref().map(|runtime| runtime.handle().clone()) }
    }

    /// Lets spawned tasks run, until they have nothing to do.
    pub(crate) fn settle(&self) {
        self.run(async {});
    }

    pub(crate) fn advance(&self, step: Duration) {
        self.run(tokio::time::advance(step));
    }

    fn run(&self, first: impl Future<Output = ()>) {
        // Each task that wakes another takes a turn.
        const TURNS: u32 = 8;
        if let Some(runtime) = &self.runtime {
            runtime.block_on(async {
                first.await;
                for _ in 0..TURNS {
                    tokio::task::yield_now().await;
                }
            });
        }
    }
}

#[cfg(not(feature = "tokio"))]
#[expect(clippy::unused_self, reason = "the same methods as with a clock")]
impl Clock {
    pub(crate) const fn new(_on_tokio: bool) -> Self {
        Self {}
    }

    pub(crate) const fn ticks(&self) -> bool {
        false
    }

    pub(crate) fn within<T>(&self, work: impl FnOnce() -> T) -> T {
        work()
    }

    pub(crate) const fn entrance(&self) -> Entrance {
        Entrance {}
    }

    pub(crate) const fn settle(&self) {}

    pub(crate) const fn advance(&self, _step: Duration) {}
}
