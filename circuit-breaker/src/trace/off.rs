//! Nothing, in place of tracing.

use crate::{machine::Wait, status::Change};

pub(crate) const fn changed(_name: &'static str, _change: &Change) {}

pub(crate) const fn refused(_name: &'static str, _wait: Wait, _shadow: bool) {}
