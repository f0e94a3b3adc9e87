//! Gradual re-admission: one stage of a recovering circuit.

use crate::{
    config::{Config, Gradual, Window},
    machine::Wait,
    recent,
    status::Cause,
};
use mainstay_core::window::Counts;
use std::time::Instant;

/// A stage: which share of the calls passes, and for how long at least.
///
/// ```text
///   half-open ── probes succeeded ──▶ stage 0 ──▶ stage 1 ──▶ … ──▶ closed
///                                        └───────────┴─────────▶ open (a re-opening)
/// ```
///
/// A call is admitted with the probability `share`. Beside that, *one* call at a time is admitted for certain, as a probe,
/// while the stage has no vote or its time has passed. Whoever finds that the time has passed, that there is a vote and that
/// the votes are good, goes on to the next stage; whoever records a failure or a slow call that makes them bad re-opens.
///
/// # Invariants
///
/// 1. Each stage is a generation: a late result of one does not vote in another.
/// 2. A stage is left only by an admission, a check or a snapshot (forwards), or with a vote (re-opening).
/// 3. A stage that has not been left admits the next call, unless it has a vote and its time goes on, or a probe of it is
///    out. The time ends, and so does the probe: it settles, or votes at its deadline. So the stage is never wedged. Each
///    probe that votes moves it: bad ones fill the minimum and open; and if twice the minimum is full, the last was good
///    and the rate is bad, the votes are forgotten, and the next good one will do.
///
/// # Cancellation
///
/// A probe that is abandoned or ignored gives its place back, and the next call takes it. Other calls that are abandoned or
/// silent do not vote and hold nothing. If every call is abandoned the circuit stays where it is, as a half-open one does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stage {
    pub(crate) number: u32,
    pub(crate) share: f64,
    since: Instant,
    /// `None` if no clock counts that far.
    ends: Option<Instant>,
    /// Failures in a row.
    row: u32,
}

impl Stage {
    /// The stage of this number, unless there are fewer.
    pub(crate) fn new(gradual: &Gradual, number: u32, since: Instant) -> Option<Self> {
        let &share = gradual.shares.get(number as usize)?;
        Some(Self { number, share, since, ends: since.checked_add(gradual.stage), row: 0 })
    }

    /// The same stage under other settings; if they have no stage of its number, under their last one.
    pub(crate) fn under(self, gradual: &Gradual) -> Self {
        let share = gradual.shares.get(self.number as usize).or(gradual.shares.last());
        Self { share: share.copied().unwrap_or(self.share), ends: self.since.checked_add(gradual.stage), ..self }
    }

    /// Forgets the failures in a row.
    pub(crate) const fn without_votes(self) -> Self {
        Self { row: 0, ..self }
    }

    /// Takes note of votes that are among those of the stage.
    pub(crate) fn count(&mut self, votes: Counts) {
        let failed = u32::try_from(votes.failed).unwrap_or(u32::MAX);
        self.row = if failed == 0 { 0 } else { self.row.saturating_add(failed) };
    }

    /// Whether a call has to pass, or the stage would wait for chance.
    pub(crate) fn needs_a_call(&self, votes: Counts, now: Instant) -> bool {
        votes.calls == 0 || self.has_passed(now)
    }

    /// How long the stage goes on; `None` if that depends on votes.
    pub(crate) fn rest(&self, now: Instant) -> Wait {
        self.ends.map(|ends| ends.saturating_duration_since(now)).filter(|rest| !rest.is_zero())
    }

    /// Whether the votes are bad, and enough to open; asked when a failure or a slow call was recorded.
    pub(crate) fn trips(&self, votes: Counts, config: &Config) -> Option<Cause> {
        if let Window::Consecutive(limit) = config.window {
            return (self.row >= limit.min(config.probes)).then_some(Cause::ConsecutiveFailures);
        }
        let minimum = config.minimum_calls.min(config.probes);
        (votes.calls >= minimum.into()).then(|| recent::exceeded(votes, config)).flatten()
    }

    /// Whether twice the minimum has voted, a failure came too early to open, and a good call too late to outvote it: then
    /// the votes are forgotten, or a service that is well would have to make up for it with hundreds of calls.
    pub(crate) fn judged_in_vain(votes: Counts, config: &Config) -> bool {
        let minimum = config.minimum_calls.min(config.probes);
        let has_rate = !matches!(config.window, Window::Consecutive(_));
        has_rate && votes.calls >= 2 * u64::from(minimum) && recent::exceeded(votes, config).is_some()
    }

    /// Whether the next stage may begin.
    pub(crate) fn is_over(&self, votes: Counts, config: &Config, now: Instant) -> bool {
        let are_good = match config.window {
            // Otherwise a service that only fails would come through with one call a stage.
            Window::Consecutive(_) => self.row == 0,
            Window::Last(_) | Window::Within(_) => recent::exceeded(votes, config).is_none(),
        };
        votes.calls > 0 && are_good && self.has_passed(now)
    }

    fn has_passed(&self, now: Instant) -> bool {
        self.ends.is_some_and(|ends| ends <= now)
    }
}
