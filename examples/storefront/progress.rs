//! One line that says how far the experiment is; nothing where stderr is no terminal.

use crate::{
    faults::Fault,
    measure::{Record, Tally},
    stacks::Resilience,
};
use indicatif::{ProgressBar, ProgressStyle};
use std::time::Duration;

/// The progress of both runs.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// Customers by which the line judges how it goes.
    const RECENT: usize = 100;

    pub(crate) fn over(duration: Duration) -> Self {
        let style = ProgressStyle::with_template("{bar:30} {msg}").expect("the template is valid");
        Self { bar: ProgressBar::new(millis(duration)).with_style(style) }
    }

    pub(crate) fn show(&self, mode: Resilience, at: Duration, run: Duration, fault: Fault, records: &[Record]) {
        let before = if mode == Resilience::On { run } else { Duration::ZERO };
        self.bar.set_position(millis(before + at.min(run)));
        let recent = Tally::of(&records[records.len().saturating_sub(Self::RECENT)..]);
        let served = recent.goodput().unwrap_or(1.0) * 100.0;
        self.bar.set_message(format!(
            "resilience {mode}  {:>2} of {} s  provider {fault:<8}  served in time {served:>3.0} %",
            at.min(run).as_secs(),
            run.as_secs(),
        ));
    }

    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

fn millis(time: Duration) -> u64 {
    time.as_millis().try_into().unwrap_or(u64::MAX)
}
