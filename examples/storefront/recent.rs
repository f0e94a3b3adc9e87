//! A map of bounded size.

use std::{
    collections::{HashMap, VecDeque},
    hash::Hash,
};

/// Remembers so many keys, and forgets the oldest first.
#[derive(Debug)]
pub(crate) struct Recent<K, V> {
    most: usize,
    known: HashMap<K, V>,
    order: VecDeque<K>,
}

impl<K: Clone + Eq + Hash, V> Recent<K, V> {
    pub(crate) fn of(most: usize) -> Self {
        Self { most, known: HashMap::new(), order: VecDeque::new() }
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.known.get(key)
    }

    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.known.get_mut(key)
    }

    /// Adds a key that is not known yet.
    pub(crate) fn insert(&mut self, key: K, value: V) {
        if self.order.len() == self.most
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        self.order.push_back(key.clone());
        self.known.insert(key, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_forgotten_and_the_size_is_bounded() {
        let mut recent = Recent::of(3);
        for key in 1..=100 {
            recent.insert(key, key * 10);
            assert!(recent.known.len() <= 3 && recent.order.len() <= 3);
        }
        *recent.get_mut(&99).unwrap() += 1;
        assert_eq!([97, 98, 99, 100].map(|key| recent.get(&key).copied()), [None, Some(980), Some(991), Some(1_000)]);
    }
}
