//! Who waits for a circuit to let calls through, in which order, and who is woken for what.
//!
//! # States of a waiter
//!
//! | state | where | it leaves it when |
//! | --- | --- | --- |
//! | away | nowhere | it asks and there is no slot for it, or others are before it: in line. Otherwise: leased |
//! | in line | `line`, by its place | a slot is free and it is the first (leased, woken); it asks, a slot is free and nobody is before it (leased); the circuit lets everything through (away, woken); it leaves |
//! | leased | `leases` | it makes its call, or does not want to any more, and leaves; the lease is over; it asks, and its slot went to a call from elsewhere (in line, at its place); the circuit lets everything through |
//!
//! A *lease* is the turn of one waiter to make a call; it takes no slot. Slots are given to whoever calls first, with a lease
//! or without, so a lease can be lost to a call that came from elsewhere. All it does is to keep more waiters from being let
//! through than there are slots. It lasts for [`LEASE`] from being woken to asking, and once more from being let through to
//! the call: a task that was woken and is never polled, and a service that was found ready and is never called, hold up those
//! behind them for so long, and no longer.
//!
//! A waiter has an *alarm*, the moment at which its own timer fires; that is how it hears of what time alone does. Only the
//! waiter itself can set it, so a waiter whose alarm would come too late is *told*: woken to ask again, with its place kept.
//!
//! # Invariants
//!
//! 1. After each operation that knows the time there are at least as many leases as free slots, or nobody is in line.
//! 2. While all slots are taken or the circuit is open until some moment, the first `scouts` in line have alarms no later
//!    than that moment, or were told. When one of them leaves, the next is told.
//! 3. Whoever is in line has a waker here or was told, and keeps its place until it is let through or leaves.
//! 4. Nothing here calls or drops a waker: [`Woken`] carries all of them out of the lock.

use std::{
    collections::BTreeMap,
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    task::Waker,
    time::{Duration, Instant},
};

/// How long a waiter may take from being let through to its call, before the next one is let through in its stead.
pub(crate) const LEASE: Duration = Duration::from_secs(1);

/// A place in line; who came earlier has the smaller one.
pub(crate) type Place = u64;

/// What a circuit has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// Every call.
    All,
    /// So many calls; more than none.
    Slots(usize),
    /// None. At this moment time may change that; `None` if it never does.
    Nothing(Option<Instant>),
}

/// What someone who asks is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Go on.
    Go,
    /// Wait to be woken, and ask again at this moment.
    Wait(Option<Instant>),
}

/// Those who wait for a circuit. `W` wakes one of them.
#[derive(Debug)]
pub(crate) struct Waiters<W> {
    line: BTreeMap<Place, InLine<W>>,
    leases: Vec<Lease>,
    /// Let through and waiting for the service behind: to be woken if the circuit would now refuse.
    passed: BTreeMap<Place, W>,
    last: Place,
}

#[derive(Debug)]
struct InLine<W> {
    /// `None` once it was told.
    waker: Option<W>,
    alarm: Option<Instant>,
}

#[derive(Debug)]
struct Lease {
    place: Place,
    until: Option<Instant>,
    /// Whether its waiter was let through, and not only woken.
    taken: bool,
}

/// Wakers on their way out of the lock.
#[derive(Debug)]
pub(crate) struct Woken<W> {
    some: Vec<W>,
    line: BTreeMap<Place, InLine<W>>,
    passed: BTreeMap<Place, W>,
    /// Not to be woken, only to be dropped.
    done: [Option<W>; 2],
}

impl<W> Waiters<W> {
    pub(crate) const fn new() -> Self {
        Self { line: BTreeMap::new(), leases: Vec::new(), passed: BTreeMap::new(), last: 0 }
    }

    /// Whether nothing that happens concerns anyone here.
    pub(crate) fn is_empty(&self) -> bool {
        self.line.is_empty() && self.leases.is_empty() && self.passed.is_empty()
    }

    /// Someone wants to go on, or goes on waiting with another waker. Nobody else is let through by this:
    /// [`update`](Self::update) comes after it.
    pub(crate) fn ask(
        &mut self,
        place: &mut Option<Place>,
        waker: W,
        room: Room,
        now: Instant,
        woken: &mut Woken<W>,
    ) -> Answer {
        let place = self.place(place);
        let mut waker = Some(waker);
        let answer = match room {
            Room::All => Answer::Go,
            Room::Slots(free) => self.ask_for_slot(place, free, now),
            Room::Nothing(at) => {
                // Back in line; with a lease it would stand in its own way.
                self.leases.retain(|lease| lease.place != place);
                Answer::Wait(at)
            }
        };
        let before = match answer {
            Answer::Go => self.line.remove(&place),
            Answer::Wait(alarm) => self.line.insert(place, InLine { waker: waker.take(), alarm }),
        };
        woken.done = [before.and_then(|before| before.waker), waker];
        answer
    }

    fn ask_for_slot(&mut self, place: Place, free: usize, now: Instant) -> Answer {
        self.end_leases(now);
        let at = self.leases.iter().position(|lease| lease.place == place);
        let taken = at.is_some_and(|at| self.leases[at].taken);
        // Slots may have gone to calls from elsewhere since it was woken: who was let through first has the rest.
        let ahead = match at {
            Some(at) if taken => Self::taken(&self.leases[..at]),
            Some(_) => Self::taken(&self.leases),
            // And who came before and is in line has its turn before: it is woken for it.
            None => self.leases.len() + self.line.range(..place).take(free).count(),
        };
        let goes_on = ahead < free;
        if goes_on && taken {
            return Answer::Go;
        }
        if let Some(at) = at {
            self.leases.remove(at);
        }
        if goes_on {
            self.lease(place, now, true);
            return Answer::Go;
        }
        // Leases are made in the order of time; if there is none yet, those who are ahead get theirs now.
        let first = self.leases.first().map_or_else(|| now.checked_add(LEASE), |lease| lease.until);
        Answer::Wait(first)
    }

    /// Someone who was let through waits for the service behind. Returns the waker that it had here before.
    pub(crate) fn pass(&mut self, place: &mut Option<Place>, waker: W) -> Option<W> {
        let place = self.place(place);
        self.passed.insert(place, waker)
    }

    /// Someone does not wait any more: it called, or gave up, woken or not.
    pub(crate) fn leave(&mut self, place: Place, woken: &mut Woken<W>) {
        self.leases.retain(|lease| lease.place != place);
        let in_line = self.line.remove(&place).and_then(|in_line| in_line.waker);
        woken.done = [in_line, self.passed.remove(&place)];
    }

    /// Lets through as many as there is room for, after anything that may have changed it. Without the time it leases
    /// nothing.
    pub(crate) fn update(&mut self, room: Room, scouts: usize, now: Option<Instant>, woken: &mut Woken<W>) {
        // They will be refused, and not come here again, so they do not wake one another for ever.
        if let Room::Nothing(_) = room {
            woken.passed.append(&mut self.passed);
        }
        match (room, now) {
            (Room::All, _) => {
                self.leases.clear();
                woken.line.append(&mut self.line);
            }
            (Room::Slots(free), Some(now)) => {
                self.end_leases(now);
                while self.leases.len() < free
                    && let Some((place, first)) = self.line.pop_first()
                {
                    self.lease(place, now, false);
                    woken.some.extend(first.waker);
                }
            }
            (Room::Nothing(Some(at)), _) => {
                let late = |in_line: &&mut InLine<W>| in_line.alarm.is_none_or(|alarm| alarm > at);
                for in_line in self.line.values_mut().take(scouts).filter(late) {
                    in_line.alarm = Some(at);
                    woken.some.extend(in_line.waker.take());
                }
            }
            (Room::Slots(_), None) | (Room::Nothing(None), _) => {}
        }
    }

    /// Everyone in line has to ask again; places are kept.
    pub(crate) fn tell_all(&mut self, woken: &mut Woken<W>) {
        woken.some.extend(self.line.values_mut().filter_map(|in_line| in_line.waker.take()));
    }

    fn lease(&mut self, place: Place, now: Instant, taken: bool) {
        self.leases.push(Lease { place, until: now.checked_add(LEASE), taken });
    }

    fn taken(leases: &[Lease]) -> usize {
        leases.iter().filter(|lease| lease.taken).count()
    }

    fn end_leases(&mut self, now: Instant) {
        self.leases.retain(|lease| lease.until.is_none_or(|until| now < until));
    }

    fn place(&mut self, place: &mut Option<Place>) -> Place {
        *place.get_or_insert_with(|| {
            self.last += 1;
            self.last
        })
    }
}

impl<W> Woken<W> {
    pub(crate) const fn nobody() -> Self {
        Self { some: Vec::new(), line: BTreeMap::new(), passed: BTreeMap::new(), done: [None, None] }
    }

    /// In the order in which they are woken.
    fn into_wakers(self) -> impl Iterator<Item = W> {
        let line = self.line.into_values().filter_map(|in_line| in_line.waker);
        self.some.into_iter().chain(line).chain(self.passed.into_values())
    }
}

impl Woken<Waker> {
    /// Wakes them; not to be called under a lock.
    ///
    /// A waker that panics does so alone: the others are woken all the same, and the call whose end this is belongs to
    /// someone else. The panic hook has reported it.
    pub(crate) fn wake(mut self) {
        let done = mem::take(&mut self.done);
        let _ = catch_unwind(AssertUnwindSafe(|| drop(done)));
        for waker in self.into_wakers() {
            let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
        }
    }
}
