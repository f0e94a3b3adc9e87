//! A window of a span of time.

use super::Counts;
use crate::config::InvalidConfig;
use std::{
    ops::{AddAssign, SubAssign},
    time::{Duration, Instant},
};

/// Into how many buckets a [`TimeSpan`] is cut.
pub const BUCKETS: usize = 10;

/// The calls of a span of time, in [`BUCKETS`] buckets: constant time per record however many calls there are.
///
/// The buckets are aligned to the moment of construction. The window holds the current bucket and the nine before it, so a
/// call counts for 90 to 100 % of the span, exactly until its bucket is dropped. Within that the counts are exact.
///
/// `T` is what is counted: [`Counts`], or a tally of one's own.
///
/// A `now` earlier than one seen before is taken for the current bucket.
///
/// # Invariants
///
/// 1. `total` is the sum of `buckets`.
/// 2. `current_ends` is later than every recorded `now`, and the start of construction plus a whole number of widths.
///
/// ```
/// use mainstay_core::window::{TimeSpan, Vote};
/// use std::time::Duration;
///
/// let now = tokio::time::Instant::now().into_std();
/// let mut window: TimeSpan = TimeSpan::new(Duration::from_secs(10), now)?;
/// window.record(Vote { failed: true, slow: false }.into(), now);
///
/// assert_eq!(window.total(now + Duration::from_millis(9_999)).failed, 1);
/// assert_eq!(window.total(now + Duration::from_secs(10)).failed, 0);
/// # Ok::<(), mainstay_core::config::InvalidConfig>(())
/// ```
#[derive(Clone, Debug)]
pub struct TimeSpan<T = Counts> {
    buckets: [T; BUCKETS],
    total: T,
    current: usize,
    current_ends: Instant,
    width: Duration,
    /// How many buckets were current before this one.
    turns: u64,
}

/// A bucket of a [`TimeSpan`], to come back to; only the window that gave it knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket(u64);

impl<T: Copy + Default + AddAssign + SubAssign> TimeSpan<T> {
    /// The shortest span.
    pub const MIN: Duration = Duration::from_millis(10);
    /// The longest span: one day.
    pub const MAX: Duration = Duration::from_hours(24);

    /// An empty window of the calls within `span`, its first bucket starting `now`.
    ///
    /// # Errors
    ///
    /// Unless `span` is between [`MIN`](Self::MIN) and [`MAX`](Self::MAX).
    pub fn new(span: Duration, now: Instant) -> Result<Self, InvalidConfig> {
        InvalidConfig::check("span", span, Self::MIN..=Self::MAX)?;
        let width = span / 10;
        Ok(Self {
            buckets: [T::default(); BUCKETS],
            total: T::default(),
            current: 0,
            current_ends: later(now, width),
            width,
            turns: 0,
        })
    }

    /// Counts `what` in the current bucket.
    pub fn record(&mut self, what: T, now: Instant) {
        self.advance(now);
        self.buckets[self.current] += what;
        self.total += what;
    }

    /// What is counted in the window.
    pub fn total(&mut self, now: Instant) -> T {
        self.advance(now);
        self.total
    }

    /// The bucket in which the last record was counted, or of the moment of a later total.
    pub const fn current(&self) -> Bucket {
        Bucket(self.turns)
    }

    /// Changes what was counted in a bucket, unless the window has forgotten it; says whether it has not.
    ///
    /// For what is known of a call only when it ends: counted where the call was, it is forgotten together with it.
    ///
    /// ```
    /// use mainstay_core::window::{Counts, TimeSpan, Vote};
    /// use std::time::Duration;
    ///
    /// let now = tokio::time::Instant::now().into_std();
    /// let mut window: TimeSpan = TimeSpan::new(Duration::from_secs(10), now)?;
    /// window.record(Vote::default().into(), now);
    /// let bucket = window.current();
    ///
    /// assert_eq!(window.total(now + Duration::from_secs(9)).failed, 0);
    /// assert!(window.amend(bucket, |counts| counts.failed += 1));
    /// assert_eq!(window.total(now + Duration::from_secs(9)).failed, 1);
    ///
    /// assert_eq!(window.total(now + Duration::from_secs(10)), Counts::default());
    /// assert!(!window.amend(bucket, |counts| counts.failed += 1));
    /// # Ok::<(), mainstay_core::config::InvalidConfig>(())
    /// ```
    pub fn amend(&mut self, bucket: Bucket, change: impl FnOnce(&mut T)) -> bool {
        let Some(slot) = self.slot(bucket) else { return false };
        let mut what = self.buckets[slot];
        self.total -= what;
        change(&mut what);
        self.total += what;
        self.buckets[slot] = what;
        true
    }

    /// Where a bucket is kept, if it still is.
    fn slot(&self, Bucket(turn): Bucket) -> Option<usize> {
        let age = usize::try_from(self.turns.checked_sub(turn)?).ok()?;
        match self.current.checked_sub(age) {
            Some(slot) => Some(slot),
            None => (age < BUCKETS).then(|| self.current + BUCKETS - age),
        }
    }

    /// Forgets everything that was counted; the buckets stay aligned.
    pub fn clear(&mut self) {
        self.buckets = [T::default(); BUCKETS];
        self.total = T::default();
    }

    fn advance(&mut self, now: Instant) {
        if now >= self.current_ends {
            self.turn(now);
        }
    }

    /// Drops the buckets that have left the span and opens the one that holds `now`.
    #[cold]
    fn turn(&mut self, now: Instant) {
        let late = now.saturating_duration_since(self.current_ends).as_nanos();
        let width = self.width.as_nanos();
        let passed = late / width + 1;
        self.turns = self.turns.saturating_add(u64::try_from(passed).unwrap_or(u64::MAX));
        for _ in 0..passed.min(BUCKETS as u128) {
            self.current = (self.current + 1) % BUCKETS;
            self.total -= std::mem::take(&mut self.buckets[self.current]);
        }
        let left = u64::try_from(width - late % width).unwrap_or(u64::MAX);
        self.current_ends = later(now, Duration::from_nanos(left));
    }
}

/// `now` itself if the clock cannot count that far: the window then turns at each call, and forgets early.
fn later(now: Instant, wait: Duration) -> Instant {
    now.checked_add(wait).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::{super::Vote, *};
    use proptest::prelude::*;

    fn start() -> Instant {
        // Any moment will do: only differences count.
        #[expect(clippy::disallowed_methods, reason = "the one place where a moment is made from nothing")]
        Instant::now()
    }

    /// The definition, read aloud: a call is in the window if its bucket is at most nine before the current one.
    fn expected(records: &[(u64, Vote)], now: u64, width: u64) -> Counts {
        let mut counts = Counts::default();
        for &(at, vote) in records {
            if now / width - at / width < BUCKETS as u64 {
                counts += vote.into();
            }
        }
        counts
    }

    proptest! {
        #[test]
        fn equals_a_list_of_records(
            width in 1_u64..50,
            steps in prop::collection::vec((0_u64..700, any::<bool>(), any::<bool>()), 0..120),
        ) {
            let start = start();
            let mut window = TimeSpan::<Counts>::new(Duration::from_millis(width * 10), start).unwrap();
            let (mut now, mut records) = (0, Vec::new());
            for (step, failed, slow) in steps {
                // Mostly small steps, sometimes far beyond the span.
                now += if step < 600 { step % 20 } else { step * width };
                let vote = Vote { failed, slow };
                let at = start + Duration::from_millis(now);
                window.record(vote.into(), at);
                records.push((now, vote));
                prop_assert_eq!(window.total(at), expected(&records, now, width));
            }
        }

        #[test]
        fn what_is_amended_counts_where_its_record_was(
            steps in prop::collection::vec((0_u64..700, any::<bool>(), 0_usize..20), 0..120),
        ) {
            const WIDTH: u64 = 3;
            let start = start();
            let mut window = TimeSpan::<Counts>::new(Duration::from_millis(WIDTH * 10), start).unwrap();
            let (mut now, mut records, mut buckets) = (0, Vec::new(), Vec::new());
            for (step, amend, back) in steps {
                now += if step < 600 { step % 5 } else { step * WIDTH };
                let at = start + Duration::from_millis(now);
                window.record(Vote::default().into(), at);
                records.push((now, Vote::default()));
                buckets.push(window.current());
                if amend && back < buckets.len() {
                    let index = buckets.len() - 1 - back;
                    let (recorded, vote): &mut (u64, Vote) = &mut records[index];
                    if !vote.failed {
                        let kept = now / WIDTH - *recorded / WIDTH < BUCKETS as u64;
                        prop_assert_eq!(window.amend(buckets[index], |counts| counts.failed += 1), kept);
                        vote.failed = true;
                    }
                }
                prop_assert_eq!(window.total(at), expected(&records, now, WIDTH));
            }
        }

        #[test]
        fn a_call_counts_for_ninety_to_a_hundred_percent_of_the_span(offset in 0_u64..100_000) {
            let start = start();
            let at = start + Duration::from_millis(offset);
            let mut window = TimeSpan::<Counts>::new(Duration::from_secs(10), start).unwrap();
            window.record(Vote::default().into(), at);
            prop_assert_eq!(window.total(at + Duration::from_secs(9)).calls, 1);
            prop_assert_eq!(window.total(at + Duration::from_secs(10)).calls, 0);
        }

        #[test]
        fn a_clock_that_goes_backwards_loses_nothing(back in 0_u64..100_000) {
            let start = start() + Duration::from_secs(200);
            let mut window = TimeSpan::<Counts>::new(Duration::from_secs(10), start).unwrap();
            window.record(Vote::default().into(), start);
            window.record(Vote::default().into(), start.checked_sub(Duration::from_millis(back)).unwrap());
            prop_assert_eq!(window.total(start).calls, 2);
        }
    }

    #[test]
    fn a_century_of_silence_takes_no_longer_than_a_moment() {
        let start = start();
        let mut window = TimeSpan::<Counts>::new(TimeSpan::<Counts>::MIN, start).unwrap();
        window.record(Vote::default().into(), start);
        let later = start + Duration::from_hours(100 * 365 * 24);
        assert_eq!(window.total(later).calls, 0);
        window.record(Vote::default().into(), later);
        assert_eq!(window.total(later).calls, 1);
    }

    #[test]
    fn a_bucket_of_another_window_is_not_known() {
        let start = start();
        let mut window = TimeSpan::<Counts>::new(TimeSpan::<Counts>::MIN, start).unwrap();
        assert!(!window.amend(Bucket(1), |counts| counts.calls += 1));
        assert!(!window.amend(Bucket(u64::MAX), |counts| counts.calls += 1));
        assert_eq!(window.total(start), Counts::default());
    }

    #[test]
    fn spans_out_of_range_are_refused() {
        for span in [Duration::ZERO, Duration::from_nanos(9), Duration::MAX] {
            assert_eq!(TimeSpan::<Counts>::new(span, start()).unwrap_err().field(), "span");
        }
    }
}
