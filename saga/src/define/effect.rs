//! What is known of a step afterwards.

use serde::{Deserialize, Serialize};

/// What is known of a step that has to be undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect<T> {
    /// It happened, and gave this.
    Known(T),
    /// It may have happened, and nobody knows what it gave. To be undone by the key that it was sent with.
    Maybe,
}

impl<T> Effect<T> {
    /// What the step gave, if that is known.
    pub fn known(self) -> Option<T> {
        match self {
            Self::Known(output) => Some(output),
            Self::Maybe => None,
        }
    }
}

/// The output of a step that has a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Conditional<T> {
    /// The condition was met, and the step gave this.
    Ran(T),
    /// The condition was not met.
    LeftOut,
}

impl<T> Conditional<T> {
    /// What the step gave, if it ran.
    pub fn ran(self) -> Option<T> {
        match self {
            Self::Ran(output) => Some(output),
            Self::LeftOut => None,
        }
    }
}
