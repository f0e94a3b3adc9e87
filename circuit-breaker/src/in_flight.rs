//! Calls that are not settled yet, by the time at which they started.

use std::{
    collections::VecDeque,
    num::NonZeroU32,
    time::{Duration, Instant},
};

/// The number of a bucket.
pub(crate) type BucketId = NonZeroU32;

/// Into how many buckets the time is cut after which a call is slow.
const BUCKETS: u32 = 10;

/// How many buckets there are at most; more than needed, but for a live change of that time.
const ROOM: usize = 16;

/// Calls that started at about the same time.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    id: BucketId,
    /// When the first of them started.
    first: Instant,
    /// When the last of them started; those that have ended are not forgotten here.
    last: Instant,
    /// How many are unsettled.
    calls: u64,
}

/// The calls in flight of a closed or recovering circuit, in constant memory and amortised constant time.
///
/// A bucket opens with the first call after the one before has lasted a tenth of the time after which a call is slow. It is
/// *overdue* when its last call is: then all calls of it that are unsettled are slow. So an overdue call is found at 100 to
/// 110 % of the time, or when the next call after that is admitted or settled.
///
/// ```text
///   in a bucket ── the bucket is overdue: it votes ──▶ overdue ── settled: no vote ──▶ gone
///        └─────── settled, ignored or abandoned ──────────────────────────────────────▶ gone, with a vote or without
/// ```
///
/// # Invariants
///
/// 1. A call of the present generation is in the bucket that its permit names, or in `overdue`, until it is settled. So it
///    votes at most once.
/// 2. `buckets` are in the order in which they opened, at most [`ROOM`]. If there is no room, the last one stays open: what
///    is in it is found later.
/// 3. A transition empties everything; permits of older generations never come here.
///
/// # Cancellation
///
/// An abandoned call leaves its bucket. A permit that is dropped unsettled stays: it is a call that nobody has heard of, and
/// votes as slow.
#[derive(Debug, Default)]
pub(crate) struct InFlight {
    buckets: VecDeque<Bucket>,
    overdue: u64,
    last_id: u32,
}

impl InFlight {
    /// Room for all buckets, so that no call allocates.
    pub(crate) fn make_room(&mut self) {
        self.buckets.reserve_exact(ROOM.saturating_sub(self.buckets.len()));
    }

    /// Takes in a call that starts now.
    pub(crate) fn enter(&mut self, longer_than: Duration, now: Instant) -> BucketId {
        let is_full = self.buckets.len() >= ROOM;
        match self.buckets.back_mut() {
            // Nobody is in it, so nobody notices that it begins anew.
            Some(bucket) if bucket.calls == 0 => *bucket = Bucket { first: now, last: now, calls: 1, ..*bucket },
            Some(bucket) if is_full || now.saturating_duration_since(bucket.first) < longer_than / BUCKETS => {
                bucket.last = bucket.last.max(now);
                bucket.calls += 1;
            }
            _ => self.open(now),
        }
        BucketId::new(self.last_id).unwrap_or(BucketId::MIN)
    }

    fn open(&mut self, now: Instant) {
        // One that is as old as four thousand million others is not here any more.
        self.last_id = self.last_id.wrapping_add(1).max(1);
        let id = BucketId::new(self.last_id).unwrap_or(BucketId::MIN);
        self.buckets.push_back(Bucket { id, first: now, last: now, calls: 1 });
    }

    /// Lets go of a call that has ended; `false` if it has voted already.
    pub(crate) fn leave(&mut self, id: BucketId) -> bool {
        let is_first_time = self.leave_bucket(id);
        if !is_first_time {
            self.overdue = self.overdue.saturating_sub(1);
        }
        is_first_time
    }

    /// Lets go of a call that has ended; `false`, and nothing is done, if it has voted already.
    pub(crate) fn leave_bucket(&mut self, id: BucketId) -> bool {
        let Some(bucket) = self.bucket_mut(id) else { return false };
        bucket.calls = bucket.calls.saturating_sub(1);
        true
    }

    fn bucket_mut(&mut self, id: BucketId) -> Option<&mut Bucket> {
        let last = self.buckets.len().checked_sub(1)?;
        // Most calls are short, so most are in the last one.
        let at =
            if self.buckets[last].id == id { last } else { self.buckets.iter().position(|bucket| bucket.id == id)? };
        self.buckets.get_mut(at)
    }

    /// Whether there is a bucket to take.
    pub(crate) fn has_overdue(&self, longer_than: Duration, now: Instant) -> bool {
        self.buckets.front().is_some_and(|oldest| oldest.is_overdue(longer_than, now))
    }

    /// Takes the buckets that are overdue, and says how many calls are in them: those have to vote.
    pub(crate) fn take_overdue(&mut self, longer_than: Duration, now: Instant) -> u64 {
        let mut calls = 0;
        while self.has_overdue(longer_than, now)
            && let Some(bucket) = self.buckets.pop_front()
        {
            calls += bucket.calls;
        }
        self.overdue += calls;
        calls
    }

    /// Forgets all calls.
    pub(crate) fn clear(&mut self) {
        self.buckets.clear();
        self.overdue = 0;
    }

    /// How many calls are in flight.
    pub(crate) fn calls(&self) -> u64 {
        self.overdue + self.buckets.iter().map(|bucket| bucket.calls).sum::<u64>()
    }

    /// How many of them are overdue, whether or not they have voted.
    pub(crate) fn overdue(&self, longer_than: Duration, now: Instant) -> u64 {
        let waiting = self.buckets.iter().filter(|bucket| bucket.is_overdue(longer_than, now));
        self.overdue + waiting.map(|bucket| bucket.calls).sum::<u64>()
    }
}

impl Bucket {
    fn is_overdue(&self, longer_than: Duration, now: Instant) -> bool {
        now.saturating_duration_since(self.last) > longer_than
    }
}
