//! What checks a saga of one's own.

mod checker;

pub use self::checker::{Violation, check};
