//! The counts and the formula: no lock, no clock, no output.

use super::{ThrottleConfig, ThrottlePermit};
use crate::permit::Outcome;
use mainstay_core::{
    InvalidConfig,
    window::{Bucket, TimeSpan},
};
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use std::{
    ops::{AddAssign, SubAssign},
    time::Instant,
};

/// What the recent calls were, and the draws.
///
/// # Invariants
///
/// 1. In each bucket there are at most as many accepts as requests.
/// 2. Each permit of a later window has a later generation.
#[derive(Debug)]
pub(crate) struct Machine {
    config: ThrottleConfig,
    window: TimeSpan<Tally>,
    /// The number of the window: one of another length starts empty.
    generation: u64,
    rng: SmallRng,
    refused: u64,
}

/// One bucket of the window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) requests: u64,
    pub(crate) accepts: u64,
}

/// Where a request was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    generation: u64,
    bucket: Bucket,
}

/// What became of a request.
#[derive(Debug)]
pub(crate) enum Decision {
    Admitted(ThrottlePermit),
    /// With this probability; in shadow mode it is admitted all the same.
    Refused {
        rejection_rate: f64,
        shadow: bool,
    },
}

impl Machine {
    /// An empty window of a checked configuration.
    pub(crate) fn new(config: ThrottleConfig, now: Instant) -> Result<Self, InvalidConfig> {
        Ok(Self {
            window: TimeSpan::new(config.window, now)?,
            generation: 0,
            rng: SmallRng::seed_from_u64(config.seed.unwrap_or_else(crate::machine::random_seed)),
            refused: 0,
            config,
        })
    }

    pub(crate) const fn config(&self) -> &ThrottleConfig {
        &self.config
    }

    pub(crate) const fn refused(&self) -> u64 {
        self.refused
    }

    /// The configuration for a throttle like this one; a given seed becomes another one, or the two would draw alike.
    pub(crate) fn config_for_another(&mut self) -> ThrottleConfig {
        ThrottleConfig { seed: self.config.seed.map(|_| self.rng.random()), ..self.config.clone() }
    }

    /// The counts in the window, and the probability with which the next request is refused.
    pub(crate) fn look(&mut self, now: Instant) -> (Tally, f64) {
        let tally = self.window.total(now);
        (tally, rejection_rate(tally, &self.config))
    }

    /// Counts a request, and refuses it by chance.
    #[inline]
    pub(crate) fn admit(&mut self, now: Instant) -> Decision {
        let (_, rejection_rate) = self.look(now);
        let place = self.request(now);
        if rejection_rate > 0.0 && self.rng.random::<f64>() < rejection_rate {
            self.refused += 1;
            return Decision::Refused { rejection_rate, shadow: self.config.shadow };
        }
        Decision::Admitted(ThrottlePermit { place: Some(place) })
    }

    /// Counts a request.
    pub(crate) fn request(&mut self, now: Instant) -> Place {
        self.window.record(Tally { requests: 1, accepts: 0 }, now);
        Place { generation: self.generation, bucket: self.window.current() }
    }

    /// Counts how a request ended, where it was counted itself.
    #[inline]
    pub(crate) fn settle(&mut self, place: Place, outcome: Outcome) {
        match outcome {
            Outcome::Success => self.accept(place),
            Outcome::Failure | Outcome::Overloaded(_) => {}
            Outcome::Ignored | Outcome::Abandoned => {
                self.amend(place, |tally| {
                    tally.requests = tally.requests.saturating_sub(1).max(tally.accepts);
                });
            }
        }
    }

    fn accept(&mut self, place: Place) {
        // Never more than requests, also if somebody settles a permit of another throttle here.
        let counted = self.amend(place, |tally| tally.accepts = tally.requests.min(tally.accepts + 1));
        if !counted {
            // The request has left the window: its answer is a call of the present, and its request comes with it.
            self.window.amend(self.window.current(), |tally| *tally += Tally { requests: 1, accepts: 1 });
        }
    }

    fn amend(&mut self, place: Place, change: impl FnOnce(&mut Tally)) -> bool {
        place.generation == self.generation && self.window.amend(place.bucket, change)
    }

    /// Takes another configuration; the counts stay, unless the window has another length.
    pub(crate) fn reconfigure(&mut self, config: ThrottleConfig, now: Instant) -> Result<(), InvalidConfig> {
        if config.name != self.config.name {
            return Err(InvalidConfig::new("name", &config.name, format!("`{}`, which it had", self.config.name)));
        }
        if config.window != self.config.window {
            self.window = TimeSpan::new(config.window, now)?;
            self.generation += 1;
        }
        if let Some(seed) = config.seed.filter(|_| config.seed != self.config.seed) {
            self.rng = SmallRng::seed_from_u64(seed);
        }
        self.config = config;
        Ok(())
    }
}

/// `min(max_rejection, max(0, (requests - K * accepts) / (requests + 1)))`, and zero below `minimum_calls`.
#[expect(clippy::cast_precision_loss, reason = "a window holds far fewer than 2^53 calls")]
fn rejection_rate(tally: Tally, config: &ThrottleConfig) -> f64 {
    let Tally { requests, accepts } = tally;
    // K is at least 1, so that the first comparison decides for nearly all who are well, without a division.
    if requests <= accepts || requests < config.minimum_calls.into() {
        return 0.0;
    }
    let (requests, accepts) = (requests as f64, accepts as f64);
    // One correctly rounded quotient, as for every rate: 11 of 10 is exactly the number that is written 1.1. The product in
    // the formula would round once more, and a few calls of 10^16 would be refused that must not be.
    if requests / accepts <= config.multiplier {
        return 0.0;
    }
    ((requests - config.multiplier * accepts) / (requests + 1.0)).clamp(0.0, config.max_rejection)
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.requests += other.requests;
        self.accepts += other.accepts;
    }
}

impl SubAssign for Tally {
    fn sub_assign(&mut self, other: Self) {
        self.requests -= other.requests;
        self.accepts -= other.accepts;
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "zero is met exactly")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rate(requests: u64, accepts: u64, config: &ThrottleConfig) -> f64 {
        rejection_rate(Tally { requests, accepts }, config)
    }

    fn config(multiplier: f64) -> ThrottleConfig {
        ThrottleConfig::default().multiplier(multiplier).minimum_calls(1).max_rejection(1.0)
    }

    #[test]
    fn nothing_is_refused_at_exactly_k_requests_per_accept_and_something_beyond() {
        for hundredths in 100..=2_000_u32 {
            let config = config(f64::from(hundredths) / 100.0);
            for accepts in [1_u64, 3, 7, 11, 25, 50, 100, 700, 1_000, 4_100, 1_000_000, 7_777_700] {
                let times_hundred = accepts * u64::from(hundredths);
                let at_most = times_hundred / 100;
                assert_eq!(rate(at_most, accepts, &config), 0.0, "{hundredths} {accepts}");
                assert!(rate(at_most + 1, accepts, &config) > 0.0, "{hundredths} {accepts}");
            }
        }
    }

    #[test]
    fn the_rate_is_that_of_the_formula() {
        let config = ThrottleConfig::default();
        for (requests, accepts, expected) in [
            (0, 0, 0.0),
            (99, 0, 0.0),
            (100, 0, 0.9),
            (100, 50, 0.0),
            (101, 50, 1.0 / 102.0),
            (199, 50, 99.0 / 200.0),
            (999, 45, 909.0 / 1_000.0_f64.min(1_010.0)),
            (u64::MAX / 2, 0, 0.9),
            (u64::MAX / 2, u64::MAX / 2, 0.0),
        ] {
            assert!((rate(requests, accepts, &config) - f64::min(expected, 0.9)).abs() < 1e-15, "{requests} {accepts}");
        }
    }

    proptest! {
        #[test]
        fn equals_the_exact_quotient(
            hundredths in 100_u32..=100_000,
            max in 1_u32..=100,
            requests in 0_u64..10_000_000,
            share in 0.0_f64..=1.0,
        ) {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "below 10^7")]
            let accepts = (requests as f64 * share) as u64;
            let config = config(f64::from(hundredths) / 100.0).max_rejection(f64::from(max) / 100.0);
            // The formula in whole numbers.
            let above = (u128::from(requests) * 100).saturating_sub(u128::from(hundredths) * u128::from(accepts));
            let below = (u128::from(requests) + 1) * 100;
            let above = above.min(u128::from(max) * below / 100);
            #[expect(clippy::cast_precision_loss, reason = "it is compared with a tolerance")]
            let exact = above as f64 / below as f64;
            let rate = rate(requests, accepts, &config);
            prop_assert_eq!(rate == 0.0, above == 0);
            prop_assert!((rate - exact).abs() < 1e-9, "{} {}", rate, exact);
        }
    }
}
