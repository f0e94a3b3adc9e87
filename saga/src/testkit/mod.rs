//! What checks journals and sagas of one's own.

mod checker;
mod faulty;
pub mod journal;

pub use self::{
    checker::{Violation, check},
    faulty::{Fault, FaultyJournal},
};
