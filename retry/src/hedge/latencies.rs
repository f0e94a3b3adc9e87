//! How long calls take: counts that take turns, and a percentile that is read without a lock.

use super::{
    config::Percentile,
    counts::{Counts, Latency},
};
use mainstay_core::InvalidConfig;
use std::{
    fmt,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// A live percentile of the latency of a service, in bounded memory (48 KiB).
///
/// Latencies are counted in microseconds, up to ten minutes, each with those that are less than 1 % longer; the percentile
/// is the longest of its group. They are counted twice, in two sets that begin a window apart, and the older one is read, so a
/// call counts for once to twice the window. The percentile is found anew with the first call of each 1/32 of the window,
/// and when [`minimum_samples`](Percentile::minimum_samples) is reached; between, it is read from an atomic.
///
/// # Calls that are cut short
///
/// Of a call that was dropped, since a hedge was faster or its caller left, it is known only that it would have taken longer
/// than it had. Those are the slow calls: left out, they would draw the percentile down, more of them would be cut short,
/// and so on. Counted as if they had ended, they would do the same, more slowly. So the percentile is the one of the
/// product-limit estimator, which is made for such data (Kaplan and Meier, *Nonparametric Estimation from Incomplete
/// Observations*, 1958): the share of calls that take longer than *t* is the product, over all latencies up to *t*, of the
/// share that did not end of those that got so far. If too many were cut short to tell, it is the longest time that was seen.
///
/// The same is known of a call that failed or timed out: an answer would have come later than that.
///
/// This is the synchronous core: it takes the time as an argument. A time that lies back counts as the latest that was seen,
/// so one that lies far ahead stands still until then.
///
/// ```
/// use mainstay_retry::{Latencies, Percentile};
/// use std::time::Duration;
///
/// let now = tokio::time::Instant::now().into_std();
/// let latencies = Latencies::new(Percentile::new(0.9).minimum_samples(10), now)?;
///
/// for tenths in 1..=9 {
///     latencies.record(Duration::from_millis(10 * tenths), now);
/// }
/// assert_eq!(latencies.delay(now), None, "nine calls are too few");
///
/// latencies.record(Duration::from_millis(100), now);
/// let delay = latencies.delay(now).unwrap();
/// assert!((90..=91).contains(&delay.as_millis()), "{delay:?}");
/// # Ok::<(), mainstay_core::InvalidConfig>(())
/// ```
pub struct Latencies {
    settings: Percentile,
    start: Instant,
    /// The percentile in microseconds, zero if there is none, and above it the window in which it was found. Written under
    /// the lock only.
    found: AtomicU64,
    windows: Mutex<Windows>,
}

/// [`Latencies`] at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LatencySnapshot {
    /// How long a hedge waits; `None` while too few calls were measured.
    pub delay: Option<Duration>,
    /// How many calls that ended the percentile is found from.
    pub samples: u64,
    /// How many that were cut short.
    pub cut_short: u64,
}

/// The counts that were emptied when window `n` began are number `n % 2`: they count windows `n` and `n + 1`, and are read
/// in the second of them.
struct Windows {
    counts: [Counts; 2],
    window: u32,
    /// When this window ends; then the next is found by division, which costs as much as all else here.
    turn: Instant,
    find_next: Instant,
}

impl Latencies {
    /// Nothing measured yet.
    ///
    /// # Errors
    ///
    /// If a setting is out of its range; the error names both.
    pub fn new(settings: Percentile, now: Instant) -> Result<Self, InvalidConfig> {
        settings.check()?;
        Ok(Self::empty(settings, now))
    }

    /// The same settings, with nothing measured yet.
    #[must_use]
    pub fn fresh(&self, now: Instant) -> Self {
        Self::empty(self.settings, now)
    }

    fn empty(settings: Percentile, now: Instant) -> Self {
        let turn = now.checked_add(settings.window).unwrap_or(now);
        let windows = Windows { counts: [Counts::new(), Counts::new()], window: 0, turn, find_next: now };
        Self { settings, start: now, found: AtomicU64::new(0), windows: Mutex::new(windows) }
    }

    /// Counts a call that took `latency` and ended at `now`.
    pub fn record(&self, latency: Duration, now: Instant) {
        let latency = Latency::new(latency);
        let mut windows = self.lock();
        self.turn(&mut windows, now);
        windows.each(|counts| counts.end(latency));
        if now >= windows.find_next || windows.read().ended() == u64::from(self.settings.minimum_samples) {
            self.find(&mut windows, now);
        }
    }

    #[cold]
    fn find(&self, windows: &mut Windows, now: Instant) {
        windows.find_next = now.checked_add(self.settings.window / 32).unwrap_or(now);
        // Relaxed, both: the word is all there is to see. Stored under the lock, so that the last one found stays.
        let was_found = low(self.found.load(Ordering::Relaxed)) > 0;
        self.found.store(windows.find(&self.settings, was_found), Ordering::Relaxed);
    }

    /// Counts a call that was cut short at `now` and would have taken longer than `latency`.
    pub fn record_at_least(&self, latency: Duration, now: Instant) {
        let latency = Latency::new(latency);
        let mut windows = self.lock();
        self.turn(&mut windows, now);
        windows.each(|counts| counts.cut(latency));
    }

    /// How long a hedge waits; `None` while too few calls were measured.
    pub fn delay(&self, now: Instant) -> Option<Duration> {
        // Relaxed: nothing else is read by it.
        let found = self.found.load(Ordering::Relaxed);
        // Found so long ago that none of its calls counts any more?
        let age = self.window(now).saturating_sub(high(found));
        let micros = Some(u64::from(low(found))).filter(|&micros| micros > 0 && age < 2)?;
        Some(Duration::from_micros(micros).max(self.settings.floor))
    }

    /// What was measured so far.
    pub fn snapshot(&self, now: Instant) -> LatencySnapshot {
        let mut windows = self.lock();
        self.turn(&mut windows, now);
        let (samples, cut_short) = (windows.read().ended(), windows.read().cut_short());
        drop(windows);
        LatencySnapshot { delay: self.delay(now), samples, cut_short }
    }

    /// Goes on to the window that `now` is in.
    #[inline]
    fn turn(&self, windows: &mut Windows, now: Instant) {
        if now >= windows.turn {
            self.go_on(windows, now);
        }
    }

    #[cold]
    fn go_on(&self, windows: &mut Windows, now: Instant) {
        windows.move_to(self.window(now));
        let length = self.settings.window;
        let end = length.checked_mul(windows.window.saturating_add(1)).and_then(|end| self.start.checked_add(end));
        windows.turn = end.unwrap_or(now);
    }

    /// The number of the window that `now` is in.
    fn window(&self, now: Instant) -> u32 {
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let passed = nanos(now.saturating_duration_since(self.start)) / nanos(self.settings.window);
        u32::try_from(passed).unwrap_or(u32::MAX)
    }

    fn lock(&self) -> MutexGuard<'_, Windows> {
        // Nothing under the lock panics.
        self.windows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Windows {
    /// Empties what has left the window. A time that lies back counts as the present.
    fn move_to(&mut self, window: u32) {
        if window <= self.window {
            return;
        }
        if window - self.window > 1 {
            self.counts[index(window - 1)].clear();
        }
        self.counts[index(window)].clear();
        self.window = window;
    }

    fn each(&mut self, count: impl Fn(&mut Counts)) {
        self.counts.iter_mut().for_each(count);
    }

    fn read(&self) -> &Counts {
        &self.counts[1 - index(self.window)]
    }

    /// The word for the present percentile.
    ///
    /// The set that is read has the calls of one window when it begins to be, and those of two at its end: so calls that come
    /// steadily are enough all the time if they are enough once, and half of the minimum are still enough then.
    fn find(&self, settings: &Percentile, was_found: bool) -> u64 {
        let read = self.read();
        let ended = if was_found { 2 * read.ended() } else { read.ended() };
        let enough = ended >= u64::from(settings.minimum_samples);
        let micros = if enough { read.percentile(settings.percentile).max(1) } else { 0 };
        u64::from(self.window) << 32 | u64::from(micros)
    }
}

const fn index(window: u32) -> usize {
    (window % 2) as usize
}

const fn high(word: u64) -> u32 {
    (word >> 32) as u32
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half is what is wanted")]
const fn low(word: u64) -> u32 {
    word as u32
}

impl fmt::Debug for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Latencies").field("settings", &self.settings).finish_non_exhaustive()
    }
}
