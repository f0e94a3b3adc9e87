//! What names a saga.

use crate::Timestamp;
use std::{
    fmt::{self, Debug, Display, Formatter},
    str::FromStr,
};

/// The name of one saga: 128 bits, written as 32 hexadecimal digits.
///
/// The first 48 are the moment at which it was made, in milliseconds, and the others are random. So ids ascend with time, and a
/// journal that keeps sagas by their ids keeps together those that run together: far fewer pages are written.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SagaId(u128);

/// So many bits of an id are random, the last ones.
const RANDOM_BITS: u32 = 80;

impl SagaId {
    /// A new one, made at this moment. That two are equal is not to be expected.
    pub fn new(now: Timestamp) -> Self {
        let random = rand::random::<u128>() & ((1 << RANDOM_BITS) - 1);
        Self(u128::from(now.as_millis()) << RANDOM_BITS | random)
    }

    /// Before all that are made at this moment or later.
    #[cfg(feature = "metrics")]
    pub(crate) fn before(moment: Timestamp) -> Self {
        Self(u128::from(moment.as_millis()) << RANDOM_BITS)
    }

    /// When it was made.
    #[cfg(feature = "metrics")]
    pub(crate) fn made_at(self) -> Timestamp {
        Timestamp::from_millis(u64::try_from(self.0 >> RANDOM_BITS).unwrap_or(u64::MAX))
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
