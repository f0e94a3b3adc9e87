//! Those who wait: in which order, and when it is their turn.

use crate::{
    algorithms::States,
    config::MAX_RULES,
    sync::{Mutex, MutexGuard},
};
use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{Arc, PoisonError},
    task::Waker,
};

/// The places that are still to come.
///
/// When something before a place is given back, its moment comes nearer, and so do those behind it. They are computed when
/// somebody asks, so that many who leave at once cost little.
#[derive(Clone, Debug)]
pub(crate) struct Queue {
    /// What was taken, without the places that are still to come.
    settled: States,
    /// In the order of their moments, and of their numbers.
    places: VecDeque<Place>,
    /// The place from which on moments may be nearer than they say; if it is the number of places, only what is taken after
    /// all of them. `None` if everything is as it says.
    stale: Option<usize>,
    /// Nobody's moment is before this: when moments were last brought forward, or that of the last one who left.
    from: u64,
    /// From this place on, nobody wants to be woken.
    watched: usize,
    /// The number of the next place.
    next: u64,
}

#[derive(Clone, Debug)]
struct Place {
    at: u64,
    cost: u64,
    ticket: Arc<Ticket>,
}

/// What a place and its owner share.
#[derive(Debug)]
pub(crate) struct Ticket {
    /// The number of the place.
    number: u64,
    state: Mutex<TicketState>,
}

#[derive(Debug, Default)]
struct TicketState {
    /// When its moment has come.
    past: Option<Past>,
    waker: Option<Waker>,
}

/// When something was taken, and what was known then.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Past {
    pub(crate) at: u64,
    /// When each rule would be fresh again.
    pub(crate) ends: [u64; MAX_RULES],
    /// The units that were ever given back, see the machine.
    pub(crate) given: u64,
    pub(crate) epoch: u64,
}

/// Those who may come sooner than they were told, to be woken when no lock is held.
#[must_use]
#[derive(Debug, Default)]
pub(crate) struct Moved(Vec<Arc<Ticket>>);

impl Queue {
    pub(crate) fn new(settled: States) -> Self {
        Self { settled, places: VecDeque::new(), stale: None, from: 0, watched: 0, next: 0 }
    }

    /// A copy that tells nobody of anything.
    pub(crate) fn aside(&self) -> Self {
        let mut queue = self.clone();
        for place in &mut queue.places {
            place.ticket = Ticket::new(place.ticket.number);
        }
        queue
    }

    pub(crate) fn settled(&mut self) -> &mut States {
        &mut self.settled
    }

    /// What was taken in the end, if that has changed.
    pub(crate) fn end(self) -> Option<States> {
        self.stale.map(|_| self.settled)
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// When the last one has his turn.
    pub(crate) fn last(&self) -> Option<u64> {
        self.places.back().map(|place| place.at)
    }

    pub(crate) fn push(&mut self, at: u64, cost: u64) -> Arc<Ticket> {
        let ticket = Ticket::new(self.next);
        self.next += 1;
        self.places.push_back(Place { at, cost, ticket: Arc::clone(&ticket) });
        ticket
    }

    /// Moves the places whose moment has come to the past.
    pub(crate) fn settle(&mut self, given: u64, epoch: u64, now: u64) {
        while let Some(first) = self.places.front_mut() {
            if self.stale == Some(0) {
                first.bring_forward(&self.settled, self.from);
            }
            let at = first.at;
            let Some(place) = self.places.pop_front_if(|_| at <= now) else { break };
            self.settled.take(place.cost, at);
            self.from = self.from.max(at);
            self.stale = self.stale.map(|stale| stale.saturating_sub(1));
            self.watched = self.watched.saturating_sub(1);
            place.ticket.lock().past = Some(Past { at, ends: self.settled.ends(), given, epoch });
        }
    }

    /// Computes the moments that have come nearer; what is taken after all places, if that has changed.
    pub(crate) fn refresh(&mut self) -> Option<States> {
        let stale = self.stale.take()?;
        let mut states = self.settled.clone();
        let mut from = self.from;
        for (index, place) in self.places.iter_mut().enumerate() {
            if index >= stale {
                place.bring_forward(&states, from);
            }
            from = place.at;
            states.take(place.cost, place.at);
        }
        Some(states)
    }

    /// Takes out the place of this ticket. Answers whether it was the last one, and who was behind it; nothing if it is not
    /// there.
    pub(crate) fn leave(&mut self, ticket: &Arc<Ticket>, now: u64) -> Option<(bool, Moved)> {
        let index = self.find(ticket)?;
        self.places.remove(index);
        self.watched -= usize::from(index < self.watched);
        Some((index == self.places.len(), self.moved(index, now)))
    }

    /// Something before this place was given back. Answers who may come sooner.
    pub(crate) fn moved(&mut self, index: usize, now: u64) -> Moved {
        self.stale = Some(self.stale.map_or(index, |stale| stale.min(index)));
        self.from = self.from.max(now);
        let behind = self.places.range(index..self.watched.max(index));
        let behind = behind.map(|place| Arc::clone(&place.ticket)).collect();
        self.watched = self.watched.min(index);
        Moved(behind)
    }

    /// When the place of this ticket has its turn, whose owner wants to be told when it comes nearer; nothing if it is not
    /// there any more. The queue is fresh.
    pub(crate) fn watch(&mut self, ticket: &Arc<Ticket>) -> Option<u64> {
        let index = self.find(ticket)?;
        self.watched = self.watched.max(index + 1);
        Some(self.places[index].at)
    }

    fn find(&self, ticket: &Arc<Ticket>) -> Option<usize> {
        let index = self.places.binary_search_by_key(&ticket.number, |place| place.ticket.number).ok()?;
        Arc::ptr_eq(&self.places[index].ticket, ticket).then_some(index)
    }
}

impl Place {
    /// Nobody comes later than he was told, nor before `from`.
    fn bring_forward(&mut self, before: &States, from: u64) {
        self.at = self.at.min(before.earliest(self.cost).max(from));
    }
}

impl Ticket {
    fn new(number: u64) -> Arc<Self> {
        Arc::new(Self { number, state: Mutex::new(TicketState::default()) })
    }

    /// When its moment has come: what it was.
    pub(crate) fn past(&self) -> Option<Past> {
        self.lock().past
    }

    /// Has this one woken when the moment comes nearer, and not the one from before.
    pub(crate) fn set_waker(&self, waker: Option<Waker>) {
        // It is foreign, so it is dropped when the lock is not held any more.
        let _old = std::mem::replace(&mut self.lock().waker, waker);
    }

    fn lock(&self) -> MutexGuard<'_, TicketState> {
        // Nothing foreign runs under the lock, so a panic there would be a bug of ours.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Moved {
    pub(crate) fn append(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }

    #[inline]
    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Wakes them, in their order. No lock is held.
    ///
    /// A waker that panics does not keep the others from being woken; the first panic goes on when they are.
    pub(crate) fn wake(self) {
        let mut panic = None;
        for ticket in self.0 {
            let waker = ticket.lock().waker.take();
            if let Some(waker) = waker
                && let Err(payload) = catch_unwind(AssertUnwindSafe(|| waker.wake()))
            {
                panic = panic.or(Some(payload));
            }
        }
        if let Some(payload) = panic {
            resume_unwind(payload);
        }
    }
}
