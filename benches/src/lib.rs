//! What the benches measure, apart from how it is measured.
//!
//! A [`Case`] is a loop that makes calls and checks each answer. The same loop is timed, run on several threads, run under an
//! instruction counter and, in the workspace in `peers/`, put beside other crates.

#![allow(clippy::missing_panics_doc, reason = "every case panics at a wrong answer: that is its check")]

pub mod attempts;
mod case;
pub mod circuit_breaker;
mod leaf;
pub mod rate_limit;
pub mod saga;

pub use self::{
    case::{Case, Runner, runtime, time},
    leaf::{Failed, Leaf, PendingLeaf, PendingOnce, at_once, bare, bare_awaited, call, call_awaited},
};
