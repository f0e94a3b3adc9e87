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
}

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
    fn spans_out_of_range_are_refused() {
        for span in [Duration::ZERO, Duration::from_nanos(9), Duration::MAX] {
            assert_eq!(TimeSpan::<Counts>::new(span, start()).unwrap_err().field(), "span");
        }
    }
}
