//! How a saga is written down.

mod code;
mod context;
mod draft;
mod effect;
mod error;
mod error_text;
mod inputs;
mod list;
mod out;
mod participant;
mod saga;
mod step;
#[cfg(test)]
mod tests;

#[cfg(feature = "testkit")]
pub(crate) use self::code::{Code, Running, Undoing};
pub(crate) use self::code::{Definition, Unreadable};
pub use self::{
    context::{StepCx, UndoCx},
    draft::{Committed, Draft, When},
    effect::{Conditional, Effect},
    error::{StepError, UndoError},
    error_text::ErrorText,
    inputs::Inputs,
    out::Out,
    participant::Participant,
    saga::Saga,
    step::Step,
};
