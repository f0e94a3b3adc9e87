//! What a closed circuit remembers, and when that is enough to open.

use crate::{
    config::{Config, SlowRate, Window},
    status::Cause,
};
use mainstay_core::{
    InvalidConfig,
    window::{Counts, LastCalls, TimeSpan, Vote},
};
use std::{
    ops::{AddAssign, SubAssign},
    time::Instant,
};

/// The recent calls, in the shape that the configuration asks for.
///
/// Abandoned calls do not vote and do not displace votes. They are counted beside, because a service that never answers is
/// seen only by them: see [`Recent::abandon`].
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "one per circuit, and it stays where it is")]
pub(crate) enum Recent {
    /// `failures` in a row, and calls `abandoned` since the last vote.
    Consecutive { failures: u32, abandoned: u32 },
    /// The last votes, and calls `abandoned` since the last of them.
    Last { votes: LastCalls, abandoned: u32 },
    /// The votes and the abandoned calls of a time.
    Within(TimeSpan<Tally>),
}

/// One bucket of a time window.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    votes: Counts,
    abandoned: u64,
}

impl Recent {
    pub(crate) fn new(window: Window, now: Instant) -> Result<Self, InvalidConfig> {
        Ok(match window {
            Window::Consecutive(_) => Self::Consecutive { failures: 0, abandoned: 0 },
            Window::Last(calls) => Self::Last { votes: LastCalls::new(calls)?, abandoned: 0 },
            Window::Within(span) => Self::Within(TimeSpan::new(span, now)?),
        })
    }

    /// Whether every success has to be written down.
    pub(crate) const fn counts_successes(&self) -> bool {
        !matches!(self, Self::Consecutive { .. })
    }

    /// Whether what is remembered depends on the time.
    pub(crate) const fn needs_time(&self) -> bool {
        matches!(self, Self::Within(_))
    }

    /// Whether a success would change nothing.
    pub(crate) const fn is_spotless(&self) -> bool {
        matches!(self, Self::Consecutive { failures: 0, abandoned: 0 })
    }

    /// Remembers a success that was not slow; a time window has to be told `now`.
    #[inline]
    pub(crate) fn success(&mut self, now: Option<Instant>) {
        match self {
            Self::Consecutive { failures, abandoned } => (*failures, *abandoned) = (0, 0),
            Self::Last { votes, abandoned } => {
                votes.record(Vote::default());
                *abandoned = 0;
            }
            Self::Within(span) => {
                debug_assert!(now.is_some(), "the word of a time window asks for the time");
                if let Some(now) = now {
                    span.record(Tally { votes: Vote::default().into(), abandoned: 0 }, now);
                }
            }
        }
    }

    /// Remembers a settled call.
    pub(crate) fn vote(&mut self, vote: Vote, now: Instant) {
        match self {
            Self::Consecutive { failures, abandoned } => {
                *failures = if vote.failed { failures.saturating_add(1) } else { 0 };
                *abandoned = 0;
            }
            Self::Last { votes, abandoned } => {
                votes.record(vote);
                *abandoned = 0;
            }
            Self::Within(span) => span.record(Tally { votes: vote.into(), abandoned: 0 }, now),
        }
    }

    /// Remembers this many calls that say the same.
    pub(crate) fn vote_alike(&mut self, vote: Vote, calls: u64, now: Instant) {
        match self {
            Self::Within(span) => span.record(Tally { votes: alike(vote, calls), abandoned: 0 }, now),
            Self::Last { votes, .. } => {
                // More would only displace each other.
                for _ in 0..calls.min(votes.capacity() as u64) {
                    self.vote(vote, now);
                }
            }
            Self::Consecutive { .. } => (0..calls).for_each(|_| self.vote(vote, now)),
        }
    }

    /// Remembers an abandoned call.
    pub(crate) fn abandon(&mut self, now: Instant) {
        match self {
            Self::Consecutive { abandoned, .. } | Self::Last { abandoned, .. } => {
                *abandoned = abandoned.saturating_add(1);
            }
            Self::Within(span) => span.record(Tally { votes: Counts::default(), abandoned: 1 }, now),
        }
    }

    /// Whether the votes are enough to open; asked when a failure or a slow call was recorded.
    pub(crate) fn trips(&mut self, config: &Config, now: Instant) -> Option<Cause> {
        let (votes, minimum) = match (self, config.window) {
            (Self::Consecutive { failures, .. }, Window::Consecutive(limit)) => {
                return (*failures >= limit).then_some(Cause::ConsecutiveFailures);
            }
            (Self::Last { votes, .. }, Window::Last(calls)) => (votes.counts(), config.minimum_calls.min(calls)),
            (recent, _) => (recent.votes(now), config.minimum_calls),
        };
        (votes.calls >= minimum.into()).then(|| exceeded(votes, config)).flatten()
    }

    /// Whether every call in the window was abandoned, and enough of them; asked when one was recorded.
    ///
    /// The window is here: as many calls as make a trip; the last n calls, or, before any vote, the minimum; the calls of
    /// the time.
    pub(crate) fn all_abandoned(&mut self, config: &Config, now: Instant) -> bool {
        match (self, config.window) {
            (Self::Consecutive { abandoned, .. }, Window::Consecutive(limit)) => *abandoned >= limit,
            (Self::Last { votes, abandoned }, Window::Last(calls)) => {
                let enough = if votes.counts().calls == 0 { config.minimum_calls.min(calls) } else { calls };
                *abandoned >= enough
            }
            (Self::Within(span), _) => {
                let Tally { votes, abandoned } = span.total(now);
                votes.calls == 0 && abandoned >= config.minimum_calls.into()
            }
            _ => false,
        }
    }

    pub(crate) fn votes(&mut self, now: Instant) -> Counts {
        match self {
            Self::Consecutive { failures, .. } => {
                let failures = u64::from(*failures);
                Counts { calls: failures, failed: failures, slow: 0 }
            }
            Self::Last { votes, .. } => votes.counts(),
            Self::Within(span) => span.total(now).votes,
        }
    }

    pub(crate) fn abandoned(&mut self, now: Instant) -> u64 {
        match self {
            Self::Consecutive { abandoned, .. } | Self::Last { abandoned, .. } => (*abandoned).into(),
            Self::Within(span) => span.total(now).abandoned,
        }
    }

    pub(crate) fn clear(&mut self) {
        match self {
            Self::Consecutive { failures, abandoned } => (*failures, *abandoned) = (0, 0),
            Self::Last { votes, abandoned } => {
                votes.clear();
                *abandoned = 0;
            }
            Self::Within(span) => span.clear(),
        }
    }
}

/// This many votes that say the same.
pub(crate) fn alike(vote: Vote, calls: u64) -> Counts {
    Counts { calls, failed: u64::from(vote.failed) * calls, slow: u64::from(vote.slow) * calls }
}

/// Which of the two rates has reached its threshold.
pub(crate) fn exceeded(votes: Counts, config: &Config) -> Option<Cause> {
    if votes.failure_rate().is_some_and(|rate| rate >= config.failure_rate) {
        return Some(Cause::FailureRate);
    }
    // Slow calls that count with failures have been counted there.
    let SlowRate::Own(threshold) = config.slow?.rate else { return None };
    votes.slow_rate().is_some_and(|rate| rate >= threshold).then_some(Cause::SlowRate)
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.votes += other.votes;
        self.abandoned += other.abandoned;
    }
}

impl SubAssign for Tally {
    fn sub_assign(&mut self, other: Self) {
        self.votes -= other.votes;
        self.abandoned -= other.abandoned;
    }
}
