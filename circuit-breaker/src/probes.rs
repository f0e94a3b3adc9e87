//! The probes of one half-open phase, or of one stage of a recovering circuit.

use mainstay_core::window::Counts;
use std::{collections::VecDeque, num::NonZeroU32, time::Instant};

/// The number of a probe within its phase.
pub(crate) type ProbeId = NonZeroU32;

/// A probe that is out.
#[derive(Clone, Copy, Debug)]
struct Probe {
    id: ProbeId,
    /// As in its permit.
    started: Option<Instant>,
    deadline: Option<Instant>,
}

/// Which probes are out, until when, and how the others voted.
///
/// # Invariants
///
/// 1. `out` is sorted by deadline; `None`, which no clock reaches, is last.
/// 2. A probe is in `out` from its admission until it settles or its deadline passes, whichever is first. So it votes at
///    most once.
#[derive(Debug, Default)]
pub(crate) struct Probes {
    out: VecDeque<Probe>,
    votes: Counts,
    last_id: u32,
}

impl Probes {
    /// Room for this many without allocating.
    pub(crate) fn with_room(probes: u32) -> Self {
        Self { out: VecDeque::with_capacity(probes as usize), ..Self::default() }
    }

    /// Room for this many, if there was room for fewer.
    pub(crate) fn make_room(&mut self, probes: u32) {
        self.out.reserve((probes as usize).saturating_sub(self.out.len()));
    }

    /// Starts a new phase.
    pub(crate) fn clear(&mut self) {
        self.out.clear();
        self.votes = Counts::default();
        self.last_id = 0;
    }

    /// Forgets the votes; the probes that are out stay out.
    pub(crate) fn clear_votes(&mut self) {
        self.votes = Counts::default();
    }

    /// Whether one more may pass: votes and probes that are out are together fewer than `limit`.
    pub(crate) fn have_room(&self, limit: u32) -> bool {
        self.room(limit) > 0
    }

    /// How many more may pass.
    pub(crate) fn room(&self, limit: u32) -> usize {
        (limit as usize)
            .saturating_sub(self.out.len())
            .saturating_sub(usize::try_from(self.votes.calls).unwrap_or(usize::MAX))
    }

    /// Sends out a probe.
    pub(crate) fn send(&mut self, started: Option<Instant>, deadline: Option<Instant>) -> ProbeId {
        self.last_id = self.last_id.wrapping_add(1).max(1);
        let id = NonZeroU32::new(self.last_id).unwrap_or(NonZeroU32::MIN);
        self.insert(Probe { id, started, deadline });
        id
    }

    /// Gives a probe that is out another deadline.
    pub(crate) fn renew(&mut self, id: ProbeId, deadline: Option<Instant>) {
        if let Some(at) = self.position(id)
            && let Some(probe) = self.out.remove(at)
        {
            self.insert(Probe { deadline, ..probe });
        }
    }

    fn insert(&mut self, probe: Probe) {
        let at = self.out.partition_point(|other| !later(other.deadline, probe.deadline));
        self.out.insert(at, probe);
    }

    fn position(&self, id: ProbeId) -> Option<usize> {
        self.out.iter().position(|probe| probe.id == id)
    }

    /// Takes a probe back; `false` if it is not out any more.
    pub(crate) fn take_back(&mut self, id: ProbeId) -> bool {
        self.position(id).and_then(|at| self.out.remove(at)).is_some()
    }

    /// Takes back the first probe whose deadline has passed, and says when it started and when that was.
    pub(crate) fn expire(&mut self, now: Instant) -> Option<(Option<Instant>, Instant)> {
        let deadline = self.next_deadline().filter(|&deadline| deadline <= now)?;
        let probe = self.out.pop_front()?;
        Some((probe.started, deadline))
    }

    /// When the first probe that is out expires.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.out.front().and_then(|probe| probe.deadline)
    }

    /// Counts the vote of a probe that was taken back, or, while recovering, of any call.
    pub(crate) fn count(&mut self, votes: Counts) {
        self.votes += votes;
    }

    pub(crate) const fn votes(&self) -> Counts {
        self.votes
    }

    pub(crate) fn out(&self) -> u32 {
        u32::try_from(self.out.len()).unwrap_or(u32::MAX)
    }
}

/// Whether deadline `a` is later than `b`, where `None` is never.
fn later(a: Option<Instant>, b: Option<Instant>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => a > b,
        (None, Some(_)) => true,
        (_, None) => false,
    }
}
