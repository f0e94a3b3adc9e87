//! Which sagas an engine has in memory, and who decides who runs one.

use super::{
    ask::Ask,
    seat::{Seat, Stage},
};
use crate::{SagaId, journal::Claimed};
use std::{
    collections::{HashMap, hash_map::Entry},
    hash::{BuildHasherDefault, Hasher},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::Notify;

/// The seats by id. At most one task runs each.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    inner: Mutex<Inner>,
    /// Wakes those who wait for the last task.
    fewer: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    places: HashMap<SagaId, Place, BuildHasherDefault<IdHasher>>,
    running: usize,
}

#[derive(Debug)]
struct Place {
    seat: Arc<Seat>,
    running: bool,
}

/// What a task does next with a saga that it was done with.
#[derive(Debug)]
pub(crate) enum Next {
    /// Somebody asked something in the meantime.
    Asked,
    /// It was claimed in the meantime.
    Claimed(Claimed),
}

impl Registry {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A saga that is to be made, and whose task is about to run.
    pub(crate) fn add(&self, seat: &Arc<Seat>) {
        let mut inner = self.lock();
        inner.running += 1;
        inner.places.insert(seat.id, Place { seat: Arc::clone(seat), running: true });
    }

    /// The seat of a saga, for those who wait for it.
    pub(crate) fn seat(&self, id: SagaId) -> Arc<Seat> {
        let mut inner = self.lock();
        Arc::clone(&inner.place(id).seat)
    }

    /// Leaves a wish. A seat in the answer has no task yet: it is for the caller to start one.
    pub(crate) fn ask(&self, id: SagaId, ask: Ask) -> Option<Arc<Seat>> {
        let mut inner = self.lock();
        let place = inner.place(id);
        let seat = Arc::clone(&place.seat);
        seat.push(ask);
        let idle = !place.running;
        place.running = true;
        inner.running += usize::from(idle);
        drop(inner);
        if idle {
            return Some(seat);
        }
        seat.poke();
        None
    }

    /// Leaves a claim. A seat in the answer has no task yet: it is for the caller to start one.
    pub(crate) fn claim(&self, claimed: &Claimed) -> Option<Arc<Seat>> {
        let mut inner = self.lock();
        let place = inner.place(claimed.grant.id);
        if place.running {
            place.seat.leave(claimed.clone());
            return None;
        }
        place.running = true;
        let seat = Arc::clone(&place.seat);
        inner.running += 1;
        Some(seat)
    }

    /// A task is done with its saga, unless there is more to do. Who hears of the stage finds the saga out of memory.
    pub(crate) fn finish(&self, seat: &Arc<Seat>, stage: Stage) -> Option<Next> {
        let mut inner = self.lock();
        let before = seat.put(stage);
        let claimed = seat.take_claimed();
        let next = if seat.has_asks() { Some(Next::Asked) } else { claimed.map(Next::Claimed) };
        if next.is_none() {
            inner.stop(seat.id);
        }
        drop(inner);
        drop(before);
        seat.tell();
        self.fewer.notify_waiters();
        next
    }

    /// A task ends without a word: its wishes are given back.
    pub(crate) fn lose(&self, seat: &Arc<Seat>) -> Vec<Ask> {
        let mut inner = self.lock();
        let asks = seat.take_asks();
        inner.stop(seat.id);
        drop(inner);
        self.fewer.notify_waiters();
        asks
    }

    /// Lets go of a seat, and forgets it if nobody else has it and no task runs.
    pub(crate) fn release(&self, seat: Arc<Seat>) {
        let mut inner = self.lock();
        let id = seat.id;
        let Entry::Occupied(place) = inner.places.entry(id) else {
            drop(inner);
            return;
        };
        if !Arc::ptr_eq(&place.get().seat, &seat) {
            drop(inner);
            return;
        }
        // Under the lock, so that of two who let go one sees that it is the last; the place has one more, so nothing ends.
        drop(seat);
        let last = !place.get().running && Arc::strong_count(&place.get().seat) == 1;
        let forgotten = last.then(|| place.remove());
        drop(inner);
        drop(forgotten);
    }

    /// The seats whose tasks run.
    pub(crate) fn running(&self) -> Vec<Arc<Seat>> {
        let inner = self.lock();
        inner.places.values().filter(|place| place.running).map(|place| Arc::clone(&place.seat)).collect()
    }

    /// How many sagas have a task.
    pub(crate) fn running_count(&self) -> usize {
        self.lock().running
    }

    /// Waits until no task runs.
    pub(crate) async fn emptied(&self) {
        loop {
            let mut fewer = std::pin::pin!(self.fewer.notified());
            fewer.as_mut().enable();
            if self.running_count() == 0 {
                return;
            }
            fewer.await;
        }
    }
}

impl Inner {
    fn place(&mut self, id: SagaId) -> &mut Place {
        self.places.entry(id).or_insert_with(|| Place { seat: Arc::new(Seat::new(id, Stage::Away)), running: false })
    }

    fn stop(&mut self, id: SagaId) {
        if let Some(place) = self.places.get_mut(&id) {
            self.running -= usize::from(place.running);
            place.running = false;
        }
    }
}

/// Ids are random: any part of one is a hash.
#[derive(Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }

    fn write_u128(&mut self, id: u128) {
        // Ids made by hand may differ in a few low bits only.
        #[expect(clippy::cast_possible_truncation, reason = "half of it is enough")]
        let folded = (id ^ (id >> 64)) as u64;
        self.0 = folded.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}
