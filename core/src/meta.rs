//! What travels with a request: attempt, deadline, idempotence, priority.

use std::{
    num::NonZeroU32,
    time::{Duration, Instant},
};

/// Reads and writes metadata of type `T` on a request.
///
/// Implemented for `http::Request` under the feature `http`, by its extensions. For other request types the policies take
/// a closure instead, or one implements it:
///
/// ```
/// use mainstay_core::{Meta, Priority};
///
/// struct Job {
///     priority: Option<Priority>,
/// }
///
/// impl Meta<Priority> for Job {
///     fn meta(&self) -> Option<Priority> {
///         self.priority
///     }
///
///     fn set_meta(&mut self, value: Priority) {
///         self.priority = Some(value);
///     }
/// }
///
/// let mut job = Job { priority: None };
/// job.set_meta(Priority::Sheddable);
/// assert_eq!(job.meta(), Some(Priority::Sheddable));
/// ```
pub trait Meta<T> {
    /// The metadata, if the request carries it.
    fn meta(&self) -> Option<T>;

    /// Puts the metadata on the request, in place of what was there.
    fn set_meta(&mut self, value: T);
}

/// Which attempt at one call this is, counted from one.
///
/// ```
/// use mainstay_core::Attempt;
///
/// assert!(Attempt::FIRST.is_first());
/// assert_eq!(Attempt::FIRST.next().number(), 2);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attempt(NonZeroU32);

impl Attempt {
    /// The first attempt.
    pub const FIRST: Self = Self(NonZeroU32::MIN);

    /// Its number: 1 for the first.
    pub const fn number(self) -> u32 {
        self.0.get()
    }

    /// Whether nothing was tried before.
    pub const fn is_first(self) -> bool {
        self.number() == 1
    }

    /// The attempt after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl Default for Attempt {
    fn default() -> Self {
        Self::FIRST
    }
}

/// The moment after which nobody waits for the answer any more.
///
/// ```
/// use mainstay_core::Deadline;
/// use std::time::Duration;
///
/// let now = tokio::time::Instant::now().into_std();
/// let deadline = Deadline::after(now, Duration::from_secs(2));
///
/// assert_eq!(deadline.remaining(now + Duration::from_millis(500)), Some(Duration::from_millis(1500)));
/// assert_eq!(deadline.remaining(now + Duration::from_secs(2)), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Deadline(Instant);

impl Deadline {
    /// The deadline at this moment.
    pub const fn at(moment: Instant) -> Self {
        Self(moment)
    }

    /// The deadline `wait` from `now`; about thirty years from `now` if that is too far to count.
    pub fn after(now: Instant, wait: Duration) -> Self {
        const FAR: Duration = Duration::from_hours(30 * 365 * 24);
        Self(now.checked_add(wait).or_else(|| now.checked_add(FAR)).unwrap_or(now))
    }

    /// The moment itself.
    pub const fn instant(self) -> Instant {
        self.0
    }

    /// The time left, or `None` once the deadline has been reached.
    pub fn remaining(self, now: Instant) -> Option<Duration> {
        self.0.checked_duration_since(now).filter(|left| !left.is_zero())
    }

    /// Whether the deadline has been reached.
    pub fn has_passed(self, now: Instant) -> bool {
        now >= self.0
    }

    /// The earlier of the two; what a layer with a limit of its own passes on.
    #[must_use]
    pub fn earlier(self, other: Self) -> Self {
        self.min(other)
    }
}

/// A mark on a request: executing it twice is the same as executing it once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Idempotent;

/// How much it matters that this request is served, the least first.
///
/// The four levels are those of "Criticality" in *Site Reliability Engineering* (Beyer et al., 2016, chapter 21).
///
/// ```
/// use mainstay_core::Priority;
///
/// assert!(Priority::Sheddable < Priority::default());
/// assert_eq!(Priority::default(), Priority::Critical);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// May fail for a while, and often does.
    Sheddable,
    /// Partial unavailability is expected: batch work, which can be tried again.
    SheddablePlus,
    /// A user sees the failure. What is not marked is this.
    #[default]
    Critical,
    /// A user sees the failure, and it is serious.
    CriticalPlus,
}
