//! What checks journals and sagas of one's own.

mod checker;
mod faulty;
mod hooked;
pub mod journal;
mod matrix;
mod trial;

pub use self::{
    checker::{Violation, check},
    faulty::{Fault, FaultyJournal},
    matrix::{Tried, crash_matrix, crash_matrix_on, fail_each_step},
    trial::End,
};
#[cfg(feature = "redb")]
pub use crate::journal::embedded::RawCommits;
