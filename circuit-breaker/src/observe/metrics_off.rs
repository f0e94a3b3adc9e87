//! Nothing, in place of metrics.

use crate::status::Change;

#[derive(Debug)]
pub(crate) struct Metrics;

impl Metrics {
    pub(crate) const fn new(_name: &'static str) -> Self {
        Self
    }

    #[expect(clippy::unused_self, reason = "the twin of the method that does something")]
    pub(crate) const fn record(&self, _change: &Change, _refused: u64) {}

    #[expect(clippy::unused_self, reason = "the twin of the method that does something")]
    pub(crate) const fn record_last(&self, _refused: u64) {}
}
