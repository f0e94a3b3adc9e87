//! A loop of checked calls.

use mainstay_circuit_breaker::Clock;
use mainstay_core::Now;
use std::{
    fmt,
    hint::black_box,
    sync::{Barrier, LazyLock},
    thread,
    time::Duration,
};
use tokio::runtime::{Builder, Runtime};

/// Makes as many calls as it is told.
pub type Runner = Box<dyn FnMut(u64) + Send>;

/// One thing to measure: a name, and loops that share its state.
pub struct Case {
    name: String,
    runner: Box<dyn Fn() -> Runner>,
}

impl Case {
    /// A case called `name`. For each loop `start` gives the call that is repeated, which is told its number and checks its
    /// own answer.
    pub fn new<F>(name: impl Into<String>, start: impl Fn() -> F + 'static) -> Self
    where
        F: FnMut(u64) + Send + 'static,
    {
        let runner = move || {
            let mut call = start();
            let run = move |calls| (0..calls).for_each(|number| call(black_box(number)));
            Box::new(run) as Runner
        };
        Self { name: name.into(), runner: Box::new(runner) }
    }

    /// The same case in a runtime, for calls that make timers. Nobody drives them, so no call may wait for one.
    #[must_use]
    pub fn in_runtime(self) -> Self {
        let Self { name, runner } = self;
        let runner = move || {
            let mut run = {
                let _context = runtime().enter();
                runner()
            };
            Box::new(move |calls| {
                let _context = runtime().enter();
                run(calls);
            }) as Runner
        };
        Self { name, runner: Box::new(runner) }
    }

    /// Like [`new`](Self::new), but each call is awaited in a runtime, which each loop has for itself and which drives timers.
    pub fn awaited<F>(name: impl Into<String>, start: impl Fn() -> F + 'static) -> Self
    where
        F: AsyncFnMut(u64) + Send + 'static,
    {
        let runner = move || {
            let runtime = new_runtime();
            let mut call = {
                let _context = runtime.enter();
                start()
            };
            Box::new(move |calls| {
                runtime.block_on(async {
                    for number in 0..calls {
                        call(black_box(number)).await;
                    }
                });
            }) as Runner
        };
        Self { name: name.into(), runner: Box::new(runner) }
    }

    /// The same case under another name.
    #[must_use]
    pub fn renamed(self, name: impl Into<String>) -> Self {
        Self { name: name.into(), ..self }
    }

    /// The name, in parts divided by slashes.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A loop that shares the state of the case with all others of it.
    pub fn runner(&self) -> Runner {
        (self.runner)()
    }

    /// How long it takes until each of `threads` threads has made `calls` calls, from the first start to the last end.
    pub fn time(&self, threads: usize, calls: u64) -> Duration {
        let together = &Barrier::new(threads);
        let timed = |mut run: Runner| {
            move || {
                together.wait();
                let start = Clock.now();
                run(calls);
                (start, Clock.now())
            }
        };
        let spans: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = (0..threads).map(|_| scope.spawn(timed(self.runner()))).collect();
            threads.into_iter().map(|thread| thread.join().expect("every answer is as expected")).collect()
        });
        let start = spans.iter().map(|&(start, _)| start).min();
        let end = spans.iter().map(|&(_, end)| end).max();
        start.zip(end).map_or(Duration::ZERO, |(start, end)| end.duration_since(start))
    }
}

/// How long `calls` calls take, one after another.
pub fn time(run: &mut Runner, calls: u64) -> Duration {
    let start = Clock.now();
    run(calls);
    Clock.now().duration_since(start)
}

/// The runtime in which calls are made that nobody awaits.
pub fn runtime() -> &'static Runtime {
    static RUNTIME: LazyLock<Runtime> = LazyLock::new(new_runtime);
    &RUNTIME
}

fn new_runtime() -> Runtime {
    Builder::new_current_thread().enable_time().build().expect("a runtime")
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Case").field("name", &self.name).finish_non_exhaustive()
    }
}
