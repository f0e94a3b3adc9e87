//! What the budget gains by the passing of time.

use std::time::Instant;

const NANOS_PER_SEC: u128 = 1_000_000_000;

/// A steady gain of so many units a second, without rounding.
#[derive(Debug)]
pub(super) struct Reserve {
    /// Units per second.
    rate: u64,
    /// Up to when everything has been gained; `None` as long as there was no rate, when no time is known.
    since: Option<Instant>,
    /// What is left of a unit, in units / 10^9.
    rest: u128,
}

impl Reserve {
    /// `since` is known if there is a rate.
    pub(super) const fn new(rate: u64, since: Option<Instant>) -> Self {
        Self { rate, since, rest: 0 }
    }

    /// The units gained since the last time this was asked. A moment before that gains nothing, and nothing twice.
    pub(super) fn gain(&mut self, now: Instant) -> u64 {
        let Some(since) = self.since.filter(|&since| since < now) else { return 0 };
        self.since = Some(now);
        // At most 2^94 nanoseconds by 2^40 units, and a rest of 2^30: saturates after longer than there are moments.
        let nanos = now.duration_since(since).as_nanos();
        let gained = nanos.saturating_mul(self.rate.into()).saturating_add(self.rest);
        self.rest = gained % NANOS_PER_SEC;
        u64::try_from(gained / NANOS_PER_SEC).unwrap_or(u64::MAX)
    }

    /// Takes another rate from `now` on; what was gained by the old one is to be asked before.
    pub(super) fn set_rate(&mut self, rate: u64, now: Instant) {
        // Time that has been paid for stays paid for, also if the clock went back, and if there was no rate in between.
        self.since.get_or_insert(now);
        self.rate = rate;
    }
}
