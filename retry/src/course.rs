//! One call from its first attempt to its last: no clock, no timer, no service.

use crate::{
    Config, Jitter,
    backoff::{Waits, nanos, random_seed},
};
use mainstay_core::{Attempt, Deadline, InvalidConfig, Now};
use rand::{Rng, SeedableRng, rngs::SmallRng};
use std::time::Duration;

/// A [`Config`] that was checked; still plain data, so clones share nothing.
///
/// ```
/// use mainstay_retry::{Config, Policy};
///
/// let policy = Policy::new(Config::default().max_attempts(5))?;
/// assert_eq!(policy.config().max_attempts, 5);
///
/// let error = Policy::new(Config::default().max_attempts(0)).unwrap_err();
/// assert_eq!(error.field(), "max_attempts");
/// # Ok::<(), mainstay_core::InvalidConfig>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Policy {
    config: Config,
    limits: Limits,
}

/// What of the settings each call takes along.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Limits {
    max_attempts: u32,
    deadline: Option<Duration>,
    waits: Waits,
    /// In nanoseconds.
    max_retry_after: u64,
}

impl Policy {
    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// If a setting is out of its range; the error names both.
    pub fn new(config: Config) -> Result<Self, InvalidConfig> {
        config.check()?;
        let limits = Limits {
            max_attempts: config.max_attempts,
            deadline: config.deadline,
            waits: config.backoff.waits(),
            max_retry_after: nanos(config.max_retry_after),
        };
        Ok(Self { config, limits })
    }

    /// The settings.
    pub const fn config(&self) -> &Config {
        &self.config
    }
}

/// The course of one call: which attempt is running, and how long to wait before the next, if there is one.
///
/// It decides by count and by time alone. Whether an outcome may be retried at all, and whether the budget pays, is decided
/// by whoever drives it, between two attempts:
///
/// ```text
/// new ── start ──> attempt 1 ── next: Some(wait) ──> attempt 2 ── … ──> attempt n ── next: None ──> the end
/// ```
///
/// # Invariants
///
/// 1. The number of the attempt is 1 plus how often [`next`](Self::next) gave a wait, and at most `max_attempts`.
/// 2. `now + wait` lies before the deadline of the call and before the limit that was given.
/// 3. A wait is not shorter than what was asked for, up to `max_retry_after`, and at most that plus the cap of the backoff.
///
/// # Cost
///
/// A call that succeeds at once reads no clock here without a deadline, and never draws: the generator is made at the
/// first retry, from the seed or from the entropy of the standard library's hash maps.
///
/// # Examples
///
/// ```
/// use mainstay_retry::{Backoff, Config, Course, Jitter, Policy};
/// use std::time::Duration;
///
/// const SECOND: Duration = Duration::from_secs(1);
/// let backoff = Backoff::exponential(SECOND).jitter(Jitter::None);
/// let policy = Policy::new(Config::default().max_attempts(4).deadline(5 * SECOND).backoff(backoff))?;
///
/// let now = tokio::time::Instant::now().into_std();
/// let mut course = Course::new(policy, None);
/// course.start(now);
/// assert_eq!(course.next(None, None, now), Some(SECOND));
/// assert_eq!(course.attempt().number(), 2);
///
/// let later = now + SECOND;
/// assert_eq!(course.next(Some(3 * SECOND), None, later), Some(3 * SECOND), "the service asks for more than two seconds");
/// assert_eq!(course.next(None, None, later + 3 * SECOND), None, "four seconds more are too late");
/// # Ok::<(), mainstay_core::InvalidConfig>(())
/// ```
#[derive(Clone, Debug)]
pub struct Course {
    limits: Limits,
    attempt: Attempt,
    /// Before which every attempt starts.
    deadline: Option<Deadline>,
    /// The wait before this attempt by the backoff alone, in nanoseconds.
    previous: u64,
    draws: Draws,
}

/// The generator, which is made when it is first needed.
#[derive(Clone, Debug)]
enum Draws {
    ByChance,
    BySeed(u64),
    Begun(SmallRng),
}

impl Course {
    /// The course of a call that has not started. Without a seed it draws at random; that of the policy is not looked at, since
    /// calls with one seed all draw alike.
    #[inline]
    pub const fn new(policy: Policy, seed: Option<u64>) -> Self {
        let draws = match seed {
            Some(seed) => Draws::BySeed(seed),
            None => Draws::ByChance,
        };
        Self { limits: policy.limits, attempt: Attempt::FIRST, deadline: None, previous: 0, draws }
    }

    /// Starts the first attempt, and the time of the deadline with it. `now` is read only if there is one.
    #[inline]
    pub fn start(&mut self, now: impl Now) {
        if let Some(deadline) = self.limits.deadline {
            self.deadline = Some(Deadline::after(now.now(), deadline));
        }
    }

    /// The attempt that is running, or is waited for.
    pub const fn attempt(&self) -> Attempt {
        self.attempt
    }

    /// The deadline of the call, once it has started, if it has one.
    pub const fn deadline(&self) -> Option<Deadline> {
        self.deadline
    }

    /// Whether no attempt can follow this one.
    pub const fn is_last(&self) -> bool {
        self.attempt.number() >= self.limits.max_attempts
    }

    /// How long to wait before the next attempt, which then is the one that [`attempt`](Self::attempt) tells of; `None` if the
    /// attempts are used up, or the next would start at or after the deadline of the call or the `limit`.
    ///
    /// `asked` is the wait that the service asked for, cut to [`max_retry_after`](Config::max_retry_after). Without jitter the
    /// longer of it and of the backoff counts. With jitter the backoff comes on top, so that nobody comes too early and not
    /// all who were told the same come together.
    ///
    /// `now` is read only if there is a deadline or a limit.
    pub fn next(&mut self, asked: Option<Duration>, limit: Option<Deadline>, now: impl Now) -> Option<Duration> {
        if self.is_last() {
            return None;
        }
        let backoff = self.backoff();
        let wait = Duration::from_nanos(self.after(asked, backoff));
        let end = self.deadline.into_iter().chain(limit).min();
        if end.is_some_and(|end| end.remaining(now.now()).is_none_or(|left| wait >= left)) {
            return None;
        }
        self.previous = backoff;
        self.attempt = self.attempt.next();
        Some(wait)
    }

    /// Whether this is a longer wait than may be asked for; never if no notice is taken of what is asked.
    pub(crate) fn is_too_long(&self, asked: Duration) -> bool {
        self.limits.max_retry_after > 0 && nanos(asked) > self.limits.max_retry_after
    }

    /// The wait by the backoff alone.
    fn backoff(&mut self) -> u64 {
        let draw = self.draws.draw();
        self.limits.waits.wait(self.attempt.number() - 1, self.previous, draw)
    }

    /// The wait by both.
    fn after(&self, asked: Option<Duration>, backoff: u64) -> u64 {
        let asked = nanos(asked.unwrap_or_default()).min(self.limits.max_retry_after);
        match self.limits.waits.jitter() {
            Jitter::None => asked.max(backoff),
            _ => asked.saturating_add(backoff),
        }
    }
}

impl Draws {
    fn draw(&mut self) -> u64 {
        let mut rng = match self {
            Self::ByChance => SmallRng::seed_from_u64(random_seed()),
            Self::BySeed(seed) => SmallRng::seed_from_u64(*seed),
            Self::Begun(rng) => return rng.next_u64(),
        };
        let draw = rng.next_u64();
        *self = Self::Begun(rng);
        draw
    }
}
