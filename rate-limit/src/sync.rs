//! The lock and the atomic of the limiters: those of std, or of loom when a model runs.

#[cfg(all(test, mainstay_loom))]
pub(crate) use self::model::AtomicU64;
#[cfg(all(test, mainstay_loom))]
pub(crate) use loom::sync::{Mutex, MutexGuard, atomic::Ordering};
#[cfg(not(all(test, mainstay_loom)))]
pub(crate) use std::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicU64, Ordering},
};

#[cfg(all(test, mainstay_loom))]
mod model {
    use super::Ordering;
    use loom::sync::atomic;

    /// An atomic of loom that is tried in all orders.
    ///
    /// loom tries another order where an access conflicts with the last access before it, and remembers only one. A load
    /// of the thread itself hides the load of another thread from the store that follows, and the orders in which that
    /// other thread sees the store are not tried. So each access is preceded by one that conflicts with all others. It
    /// is relaxed, and orders nothing.
    #[derive(Debug)]
    pub(crate) struct AtomicU64 {
        value: atomic::AtomicU64,
        turn: atomic::AtomicU64,
    }

    impl AtomicU64 {
        pub(crate) fn new(value: u64) -> Self {
            Self { value: atomic::AtomicU64::new(value), turn: atomic::AtomicU64::new(0) }
        }

        pub(crate) fn load(&self, order: Ordering) -> u64 {
            self.take_turn();
            self.value.load(order)
        }

        pub(crate) fn store(&self, value: u64, order: Ordering) {
            self.take_turn();
            self.value.store(value, order);
        }

        pub(crate) fn swap(&self, value: u64, order: Ordering) -> u64 {
            self.take_turn();
            self.value.swap(value, order)
        }

        pub(crate) fn compare_exchange_weak(
            &self,
            present: u64,
            new: u64,
            success: Ordering,
            failure: Ordering,
        ) -> Result<u64, u64> {
            self.take_turn();
            self.value.compare_exchange_weak(present, new, success, failure)
        }

        fn take_turn(&self) {
            self.turn.fetch_add(1, Ordering::Relaxed);
        }
    }
}
