//! Nothing, in place of tracing.

use crate::observe::Cause;
use mainstay_core::Attempt;
use std::time::Duration;

pub(crate) const fn scheduled(_name: &'static str, _attempt: Attempt, _wait: Duration) {}

pub(crate) const fn gave_up(_name: &'static str, _attempt: Attempt, _cause: Cause) {}
