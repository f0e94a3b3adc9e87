//! Nothing, in place of metrics.

use crate::{Graph, Record};

pub(crate) struct Metrics;

pub(crate) struct InMemory;

pub(crate) struct Stopwatch;

impl Stopwatch {
    pub(crate) const fn start() -> Self {
        Self
    }

    #[expect(clippy::unused_self, reason = "the twin of the method that does something")]
    pub(crate) const fn read(&self) -> Took {
        Took
    }
}

#[derive(Debug)]
pub(crate) struct Took;

pub(crate) struct Timings;

#[expect(clippy::unused_self, clippy::needless_pass_by_ref_mut, reason = "the twins of the methods that do something")]
impl Timings {
    pub(crate) const fn new() -> Self {
        Self
    }

    pub(crate) const fn add(&mut self, _step: usize, _record: &Record, _took: Took) {}
}

// What is not wanted takes no room in sagas.
const _: () = assert!(size_of::<(Metrics, InMemory, Stopwatch, Took, Timings)>() == 0);

#[expect(clippy::unused_self, reason = "the twins of the methods that do something")]
impl Metrics {
    pub(crate) const fn new(_engine: &'static str, _graph: &Graph) -> Self {
        Self
    }

    pub(crate) const fn recorded(&self, _record: &Record) {}

    pub(crate) const fn timed(&self, _timings: &mut Timings) {}

    pub(crate) const fn appended(&self, _took: &Took) {}

    pub(crate) const fn entered(&self) -> InMemory {
        InMemory
    }

    pub(crate) const fn claimed(&self) {}

    pub(crate) const fn fenced(&self) {}
}
