//! A circuit with its key.

use super::{Circuits, table::Entry};
use crate::circuit::Circuit;
use std::{fmt, ops::Deref, sync::Arc};

/// The circuit of a key, to look at, to command, and to make calls with.
///
/// It leads to a [`Circuit`] as an `Arc` does, so a [`Guard`](crate::Guard) can be made of it. As long as it exists the
/// circuit is not evicted: keep it for a call, or for as long as you watch the key, not for ever.
pub struct KeyedCircuit<K> {
    entry: Arc<Entry<K>>,
}

impl<K> KeyedCircuit<K> {
    pub(super) const fn new(entry: Arc<Entry<K>>) -> Self {
        Self { entry }
    }

    /// The key.
    pub fn key(&self) -> &K {
        &self.entry.key
    }
}

impl<K> Deref for KeyedCircuit<K> {
    type Target = Circuit;

    fn deref(&self) -> &Circuit {
        &self.entry.circuit
    }
}

impl<K> Clone for KeyedCircuit<K> {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.entry))
    }
}

/// Keys may be secrets, so only the circuit is shown.
impl<K> fmt::Debug for KeyedCircuit<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedCircuit").field("circuit", &**self).finish_non_exhaustive()
    }
}

/// The handles of all keys, one after another; made by [`Circuits::handles`].
#[must_use = "iterators are lazy"]
pub struct Handles<'a, K> {
    circuits: &'a Circuits<K>,
    /// Slots that are still to come. From the last to the first: an eviction moves the last slot forward, so what moves
    /// is seen twice and not missed.
    left: usize,
}

impl<'a, K> Handles<'a, K> {
    pub(super) fn new(circuits: &'a Circuits<K>) -> Self {
        Self { circuits, left: circuits.len() }
    }
}

impl<K> Iterator for Handles<'_, K> {
    type Item = KeyedCircuit<K>;

    fn next(&mut self) -> Option<Self::Item> {
        let (slot, entry) = self.circuits.last_before(self.left)?;
        self.left = slot;
        Some(KeyedCircuit::new(entry))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.left))
    }
}

impl<K> fmt::Debug for Handles<'_, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handles").field("left", &self.left).finish_non_exhaustive()
    }
}
