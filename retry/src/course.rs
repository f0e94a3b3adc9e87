//! One call from its first attempt to its last: no clock, no timer, no service.

use crate::{Config, Jitter, backoff::random_seed};
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
pub struct Policy(Config);

impl Policy {
    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// If a setting is out of its range; the error names both.
    pub fn new(config: Config) -> Result<Self, InvalidConfig> {
        config.check()?;
        Ok(Self(config))
    }

    /// The settings.
    pub const fn config(&self) -> &Config {
        &self.0
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
    policy: Policy,
    attempt: Attempt,
    /// Before which every attempt starts.
    deadline: Option<Deadline>,
    /// The wait before this attempt by the backoff alone.
    previous: Duration,
    seed: Option<u64>,
    /// From the first retry on.
    rng: Option<SmallRng>,
}

impl Course {
    /// The course of a call that has not started. Without a seed it draws at random; that of the policy is not looked at, since
    /// calls with one seed all draw alike.
    pub const fn new(policy: Policy, seed: Option<u64>) -> Self {
        Self { policy, attempt: Attempt::FIRST, deadline: None, previous: Duration::ZERO, seed, rng: None }
    }

    /// Starts the first attempt, and the time of the deadline with it. `now` is read only if there is one.
    #[inline]
    pub fn start(&mut self, now: impl Now) {
        if let Some(deadline) = self.policy.0.deadline {
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

    /// The policy of the call.
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Whether no attempt can follow this one.
    pub const fn is_last(&self) -> bool {
        self.attempt.number() >= self.policy.0.max_attempts
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
        let wait = self.after(asked, backoff);
        let end = self.deadline.into_iter().chain(limit).min();
        if end.is_some_and(|end| end.remaining(now.now()).is_none_or(|left| wait >= left)) {
            return None;
        }
        self.previous = backoff;
        self.attempt = self.attempt.next();
        Some(wait)
    }

    /// The wait by the backoff alone.
    fn backoff(&mut self) -> Duration {
        let seed = self.seed;
        let rng = self.rng.get_or_insert_with(|| SmallRng::seed_from_u64(seed.unwrap_or_else(random_seed)));
        let retry = self.attempt.number() - 1;
        self.policy.0.backoff.delay(retry, self.previous, rng.next_u64())
    }

    /// The wait by both.
    fn after(&self, asked: Option<Duration>, backoff: Duration) -> Duration {
        let config = &self.policy.0;
        let asked = asked.unwrap_or_default().min(config.max_retry_after);
        match config.backoff.jitter {
            Jitter::None => asked.max(backoff),
            _ => asked.saturating_add(backoff),
        }
    }
}
