//! Nothing, in place of metrics.

use super::Cause;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Metrics;

impl Metrics {
    pub(crate) const fn new(_name: &'static str) -> Self {
        Self
    }

    #[expect(clippy::unused_self, reason = "the twin of the method that does something")]
    pub(crate) const fn retried(self) {}

    #[expect(clippy::unused_self, reason = "the twin of the method that does something")]
    pub(crate) const fn gave_up(self, _cause: Cause) {}
}
