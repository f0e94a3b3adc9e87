//! How a saga is written down.

mod effect;
mod error;

pub use self::{
    effect::{Conditional, Effect},
    error::{StepError, UndoError},
};
