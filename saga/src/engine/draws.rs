//! What is left to chance in waits.

use rand::{Rng, SeedableRng, rngs::SmallRng};
use std::sync::{Mutex, PoisonError};

/// One generator for all sagas of an engine. Only failures draw, so nobody waits for the lock.
pub(crate) struct Draws(Mutex<SmallRng>);

impl Draws {
    pub(crate) fn new(seed: Option<u64>) -> Self {
        Self(Mutex::new(SmallRng::seed_from_u64(seed.unwrap_or_else(rand::random))))
    }

    /// 64 random bits.
    pub(crate) fn next(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).next_u64()
    }
}
