//! Nothing, in place of tracing.

use crate::status::Change;
use mainstay_core::Refused;

pub(crate) const fn changed(_name: &'static str, _change: &Change) {}

pub(crate) const fn refused(_refused: &Refused, _shadow: bool) {}
