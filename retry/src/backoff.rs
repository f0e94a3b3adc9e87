//! How long to wait between attempts.

use mainstay_core::InvalidConfig;
use rand::{Rng, SeedableRng, rngs::SmallRng};
use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

/// How long to wait before each retry; plain data, checked once with the [`Config`](crate::Config) that it is part of.
///
/// # Defaults
///
/// | setting | default | allowed |
/// | --- | --- | --- |
/// | [`shape`](Self::shape) | exponential, from 100 ms, factor 2 | as [`Shape`] says |
/// | [`cap`](Self::cap) | 10 s, or the first wait if that is longer | the first wait to 24 h |
/// | [`floor`](Self::floor) | 0 | below the longest wait |
/// | [`jitter`](Self::jitter) | [`Jitter::Full`] | |
///
/// # Formulas
///
/// `shape(n)` is what the [`Shape`] says of retry `n`, the first of which is 0, and `c(n) = min(cap, shape(n))`.
/// `U(a, b)` is drawn evenly from both ends and all between.
///
/// | jitter | wait |
/// | --- | --- |
/// | [`Jitter::None`] | `c(n)` |
/// | [`Jitter::Full`] | `U(0, c(n))` |
/// | [`Jitter::Equal`] | `U(c(n) / 2, c(n))` |
/// | [`Jitter::Decorrelated`] | `U(first, min(cap, 3 * previous))`, where `previous` is `first` to begin with |
///
/// The floor takes the place of the lower end where it is higher, so what is drawn is not all at the floor either. A wait is
/// never above the cap, and at the cap it is as random as anywhere: that is where all clients are once an outage is long. The
/// first three forms know nothing but `n`.
///
/// Full, equal and decorrelated jitter are those of "Exponential Backoff And Jitter" (Brooker, AWS Architecture Blog, 2015).
/// The decorrelated form there is `min(cap, U(first, 3 * previous))`, which puts up to two thirds of all waits at exactly the
/// cap once `previous` is near it, so that the clients come back together; here the cap bounds what is drawn *from*.
///
/// # Examples
///
/// ```
/// use mainstay_retry::{Backoff, Jitter};
/// use std::time::Duration;
///
/// const MS: Duration = Duration::from_millis(1);
/// let backoff = Backoff::exponential(100 * MS).cap(500 * MS);
///
/// let waits: Vec<_> = backoff.jitter(Jitter::None).delays().take(4).collect();
/// assert_eq!(waits, [100 * MS, 200 * MS, 400 * MS, 500 * MS]);
///
/// for (wait, longest) in backoff.delays().zip([100, 200, 400, 500, 500, 500]) {
///     assert!(wait <= longest * MS);
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
#[must_use]
pub struct Backoff {
    /// How the waits grow.
    pub shape: Shape,
    /// The longest wait.
    pub cap: Duration,
    /// The shortest wait. Above the first ones of the shape it makes them all the same, so keep it small.
    pub floor: Duration,
    /// What part of a wait is left to chance.
    pub jitter: Jitter,
}

/// How waits grow, before cap and jitter. The first retry is retry 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shape {
    /// Always the same; zero does not wait at all.
    Constant(Duration),
    /// `first * (n + 1)`; above zero.
    Linear(Duration),
    /// `first * factor^n`.
    Exponential {
        /// The first wait; above zero.
        first: Duration,
        /// By how much each is longer than the one before; 1 to 1,000.
        factor: f64,
    },
}

/// What part of a wait is left to chance, so that clients that failed together do not come back together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Jitter {
    /// None: all who failed together come back together. For one client, or for tests.
    None,
    /// All of it: the least load on the service, and the shortest waits.
    #[default]
    Full,
    /// Half of it: no wait is much shorter than meant.
    Equal,
    /// From the first wait to three times the wait before. Of the shape only the first wait counts.
    Decorrelated,
}

const DEFAULT_CAP: Duration = Duration::from_secs(10);

/// Longer waits are not retries.
const MAX_CAP: Duration = Duration::from_hours(24);

impl Default for Backoff {
    fn default() -> Self {
        Self::exponential(Duration::from_millis(100))
    }
}

impl Backoff {
    /// Waits of the same length, of which [`jitter`](Self::jitter) leaves a part to chance unless it is [`Jitter::None`].
    pub const fn constant(wait: Duration) -> Self {
        Self::of(Shape::Constant(wait), wait)
    }

    /// Waits that grow by `first` each, likewise.
    pub const fn linear(first: Duration) -> Self {
        Self::of(Shape::Linear(first), first)
    }

    /// Waits that double each time, or grow by another [`factor`](Self::factor).
    pub const fn exponential(first: Duration) -> Self {
        Self::of(Shape::Exponential { first, factor: 2.0 }, first)
    }

    const fn of(shape: Shape, first: Duration) -> Self {
        let cap = if first.as_nanos() > DEFAULT_CAP.as_nanos() { first } else { DEFAULT_CAP };
        Self { shape, cap, floor: Duration::ZERO, jitter: Jitter::Full }
    }

    /// Makes the waits exponential with this factor.
    pub const fn factor(mut self, factor: f64) -> Self {
        self.shape = Shape::Exponential { first: self.shape.first(), factor };
        self
    }

    /// Sets [`cap`](Self#structfield.cap).
    pub const fn cap(mut self, cap: Duration) -> Self {
        self.cap = cap;
        self
    }

    /// Sets [`floor`](Self#structfield.floor).
    pub const fn floor(mut self, floor: Duration) -> Self {
        self.floor = floor;
        self
    }

    /// Sets [`jitter`](Self#structfield.jitter).
    pub const fn jitter(mut self, jitter: Jitter) -> Self {
        self.jitter = jitter;
        self
    }

    /// The wait before this retry, the first of which is 0; for those who keep count themselves.
    ///
    /// `previous` is the wait before, which only [`Jitter::Decorrelated`] looks at; before the first retry it is zero. `draw`
    /// is a number of 64 random bits: the lowest gives the shortest wait, the highest the longest.
    ///
    /// ```
    /// use mainstay_retry::Backoff;
    /// use std::time::Duration;
    ///
    /// let backoff = Backoff::exponential(Duration::from_secs(1));
    ///
    /// assert_eq!(backoff.delay(2, Duration::ZERO, 0), Duration::ZERO);
    /// assert_eq!(backoff.delay(2, Duration::ZERO, u64::MAX), Duration::from_secs(4));
    /// assert_eq!(backoff.delay(u32::MAX, Duration::ZERO, u64::MAX), Duration::from_secs(10));
    /// ```
    pub fn delay(&self, retry: u32, previous: Duration, draw: u64) -> Duration {
        Duration::from_nanos(self.waits().wait(retry, nanos(previous), draw))
    }

    /// All the waits of one call, one after the other and without end, by a random seed.
    ///
    /// A backoff that was not checked does not panic either, and no wait is above its cap.
    pub fn delays(self) -> Delays {
        self.delays_seeded(random_seed())
    }

    /// All the waits of one call, the same ones for the same seed.
    pub fn delays_seeded(self, seed: u64) -> Delays {
        Delays { waits: self.waits(), retry: 0, previous: 0, rng: SmallRng::seed_from_u64(seed) }
    }

    /// Checks every setting.
    pub(crate) fn check(&self) -> Result<(), InvalidConfig> {
        self.shape.check()?;
        let first = self.shape.first();
        InvalidConfig::check("backoff.cap", self.cap, first..=MAX_CAP)?;
        if self.jitter == Jitter::Decorrelated && self.cap == first {
            return Err(InvalidConfig::new("backoff.cap", self.cap, "above the first wait, with decorrelated jitter"));
        }
        let longest = self.longest();
        if self.floor > longest {
            return Err(InvalidConfig::new(
                "backoff.floor",
                self.floor,
                format!("at most {longest:?}, the longest wait"),
            ));
        }
        if self.floor == longest && !longest.is_zero() && self.jitter != Jitter::None {
            let allowed = format!("below {longest:?}, the longest wait, or nothing is left to chance");
            return Err(InvalidConfig::new("backoff.floor", self.floor, allowed));
        }
        Ok(())
    }

    /// The same in whole nanoseconds, small enough to be part of each call.
    pub(crate) fn waits(&self) -> Waits {
        let growth = match self.shape {
            Shape::Constant(_) => Growth::Times(1.0),
            Shape::Linear(_) => Growth::Linear,
            Shape::Exponential { factor, .. } => Growth::Times(factor),
        };
        let [first, cap, floor] = [self.shape.first(), self.cap, self.floor].map(nanos);
        Waits { first, growth, cap, floor, jitter: self.jitter }
    }

    /// What no wait exceeds, and late ones come near to.
    fn longest(&self) -> Duration {
        match self.shape {
            Shape::Constant(wait) if self.jitter != Jitter::Decorrelated => wait,
            _ => self.cap,
        }
    }
}

impl Shape {
    const fn first(self) -> Duration {
        match self {
            Self::Constant(first) | Self::Linear(first) | Self::Exponential { first, .. } => first,
        }
    }

    fn check(self) -> Result<(), InvalidConfig> {
        let field = match self {
            Self::Constant(_) => return Ok(()),
            Self::Linear(_) => "backoff.linear",
            Self::Exponential { .. } => "backoff.exponential",
        };
        if self.first().is_zero() {
            return Err(InvalidConfig::new(field, self.first(), "above 0"));
        }
        match self {
            Self::Exponential { factor, .. } => InvalidConfig::check("backoff.factor", factor, 1.0..=1_000.0),
            _ => Ok(()),
        }
    }
}

/// A backoff in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Waits {
    first: u64,
    growth: Growth,
    cap: u64,
    floor: u64,
    jitter: Jitter,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Growth {
    Linear,
    Times(f64),
}

impl Waits {
    pub(crate) const fn jitter(&self) -> Jitter {
        self.jitter
    }

    /// As [`Backoff::delay`].
    pub(crate) fn wait(&self, retry: u32, previous: u64, draw: u64) -> u64 {
        let ceiling = match self.jitter {
            Jitter::Decorrelated => previous.max(self.first).saturating_mul(3),
            _ => self.shape(retry),
        };
        let longest = ceiling.min(self.cap);
        let shortest = match self.jitter {
            Jitter::None => longest,
            Jitter::Full => 0,
            Jitter::Equal => longest / 2,
            Jitter::Decorrelated => self.first,
        };
        between(shortest.max(self.floor), longest.max(self.floor), draw).min(self.cap)
    }

    /// The wait before this retry, before cap and jitter.
    fn shape(&self, retry: u32) -> u64 {
        match self.growth {
            Growth::Linear => self.first.saturating_mul(u64::from(retry) + 1),
            Growth::Times(factor) => times(self.first, factor.powi(i32::try_from(retry).unwrap_or(i32::MAX))),
        }
    }
}

/// Exact up to 2^53 ns, which is more than a hundred days, and at most [`u64::MAX`].
#[expect(clippy::cast_precision_loss, reason = "waits are far shorter")]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast goes to the nearest end")]
fn times(first: u64, growth: f64) -> u64 {
    (first as f64 * growth).round() as u64
}

/// The wait between the two ends, both included, that a number of 64 random bits stands for.
fn between(shortest: u64, longest: u64, draw: u64) -> u64 {
    let steps = u128::from(longest.saturating_sub(shortest)) + 1;
    // The upper half of a product of 64 by 64 bits, so below the number of steps. One step is likelier than another by less
    // than one in 2^17, for a range of a day.
    let step = steps.saturating_mul(draw.into()) >> 64;
    shortest.saturating_add(u64::try_from(step).unwrap_or(u64::MAX))
}

/// At most 584 years, which is longer than any cap.
pub(crate) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Jitter needs a different number in each call, not a secret one. The keys are random once per thread, and one apart for
/// each call; the hash makes numbers of them that have nothing in common.
pub(crate) fn random_seed() -> u64 {
    RandomState::new().hash_one(0)
}

/// The waits of one call, without end. Made by [`Backoff::delays`].
///
/// ```
/// use mainstay_retry::Backoff;
/// use std::time::Duration;
///
/// let backoff = Backoff::linear(Duration::from_secs(1));
/// let one: Vec<_> = backoff.delays_seeded(7).take(5).collect();
/// let other: Vec<_> = backoff.delays_seeded(7).take(5).collect();
///
/// assert_eq!(one, other);
/// assert!(one[0] <= Duration::from_secs(1) && one[4] <= Duration::from_secs(5));
/// ```
#[derive(Clone, Debug)]
#[must_use = "an iterator does nothing unless it is asked"]
pub struct Delays {
    waits: Waits,
    retry: u32,
    previous: u64,
    rng: SmallRng,
}

impl Iterator for Delays {
    type Item = Duration;

    /// The next wait; there always is one.
    fn next(&mut self) -> Option<Duration> {
        self.previous = self.waits.wait(self.retry, self.previous, self.rng.next_u64());
        self.retry = self.retry.saturating_add(1);
        Some(Duration::from_nanos(self.previous))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (usize::MAX, None)
    }
}
