//! What names a saga.

use std::{
    fmt::{self, Debug, Display, Formatter},
    str::FromStr,
};

/// The name of one saga: 128 random bits, written as 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SagaId(u128);

impl SagaId {
    /// A new one. That two are equal is not to be expected.
    pub fn random() -> Self {
        Self(rand::random())
    }

    /// One with this number.
    pub const fn from_u128(number: u128) -> Self {
        Self(number)
    }

    /// Its number.
    pub const fn to_u128(self) -> u128 {
        self.0
    }
}

impl Display for SagaId {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl Debug for SagaId {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        Display::fmt(self, f)
    }
}

/// The text is not the name of a saga.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidSagaId;

impl Display for InvalidSagaId {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("the id of a saga has 32 hexadecimal digits")
    }
}

impl std::error::Error for InvalidSagaId {}

impl FromStr for SagaId {
    type Err = InvalidSagaId;

    fn from_str(text: &str) -> Result<Self, InvalidSagaId> {
        if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(InvalidSagaId);
        }
        u128::from_str_radix(text, 16).map(Self).map_err(|_| InvalidSagaId)
    }
}
