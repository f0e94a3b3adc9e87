//! How many calls took how long.

use std::time::Duration;

/// Counts of calls by their latency in microseconds.
///
/// Up to 255 each latency has a place of its own; above, each doubling is divided into 128 equal parts, so that a place is
/// less than 1 % wide. This is the division of HDR histograms.
pub(super) struct Counts {
    places: Box<[Place]>,
    ended: u64,
    cut_short: u64,
}

#[derive(Clone, Copy, Default)]
struct Place {
    ended: u32,
    cut_short: u32,
}

/// A latency that is to be counted more than once: its place is found once.
#[derive(Clone, Copy)]
pub(super) struct Latency {
    place: usize,
}

/// The places of a doubling.
const PARTS: u32 = 128;

/// Ten minutes.
const LONGEST: u32 = 600_000_000;

impl Latency {
    pub(super) fn new(latency: Duration) -> Self {
        Self { place: place(micros(latency)) }
    }
}

impl Counts {
    pub(super) fn new() -> Self {
        Self { places: vec![Place::default(); place(LONGEST) + 1].into(), ended: 0, cut_short: 0 }
    }

    /// Counts a call that ended.
    pub(super) fn end(&mut self, latency: Latency) {
        let place = &mut self.places[latency.place];
        place.ended = place.ended.saturating_add(1);
        self.ended += 1;
    }

    /// Counts a call that would have taken longer.
    pub(super) fn cut(&mut self, latency: Latency) {
        let place = &mut self.places[latency.place];
        place.cut_short = place.cut_short.saturating_add(1);
        self.cut_short += 1;
    }

    pub(super) const fn ended(&self) -> u64 {
        self.ended
    }

    pub(super) const fn cut_short(&self) -> u64 {
        self.cut_short
    }

    pub(super) fn clear(&mut self) {
        self.places.fill(Place::default());
        (self.ended, self.cut_short) = (0, 0);
    }

    /// The time by which this share of the calls has ended, by the product-limit estimator; in microseconds.
    pub(super) fn percentile(&self, share: f64) -> u32 {
        /// More than the rounding errors of three thousand products.
        const EXACT: f64 = 1e-9;
        let mut running = self.ended + self.cut_short;
        let mut longer = 1.0;
        let mut longest = 0;
        for (number, place) in (0_u32..).zip(&self.places) {
            let (ended, cut_short) = (u64::from(place.ended), u64::from(place.cut_short));
            if ended + cut_short == 0 {
                continue;
            }
            longest = number;
            longer *= 1.0 - ratio(ended, running);
            if 1.0 - longer >= share - EXACT {
                break;
            }
            running = running.saturating_sub(ended + cut_short);
        }
        upper(longest).min(LONGEST)
    }
}

#[expect(clippy::cast_precision_loss, reason = "calls of two windows are far fewer than 2^53")]
fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}

fn micros(time: Duration) -> u32 {
    // In 64 bits: what `as_micros` gives has 128.
    let micros = time.as_secs().saturating_mul(1_000_000).saturating_add(u64::from(time.subsec_micros()));
    u32::try_from(micros).unwrap_or(LONGEST).min(LONGEST)
}

const fn place(micros: u32) -> usize {
    let doublings = (micros | PARTS).ilog2() - PARTS.ilog2();
    (doublings * PARTS + (micros >> doublings)) as usize
}

/// The longest latency of a place.
const fn upper(place: u32) -> u32 {
    let doublings = (place / PARTS).saturating_sub(1);
    ((place - doublings * PARTS + 1) << doublings) - 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn latencies() -> impl Strategy<Value = u32> {
        prop_oneof![0..300_u32, 0..10_000_u32, 0..=LONGEST]
    }

    proptest! {
        #[test]
        fn a_place_is_less_than_one_percent_wide_and_in_order(micros in latencies()) {
            let number = place(micros);
            let longest = upper(u32::try_from(number).unwrap());
            prop_assert!(longest >= micros && longest - micros <= micros / 128, "{micros} to {longest}");
            prop_assert_eq!(place(longest), number);
            prop_assert_eq!(place(longest + 1), number + 1);
        }

        /// The estimator in the words of its authors: each loss shares itself among all that are longer ("redistribution to
        /// the right", Efron 1967).
        #[test]
        fn the_percentile_is_that_of_losses_shared_among_the_longer(
            calls in prop::collection::vec((latencies(), prop::bool::weighted(0.7)), 1..60),
            share in 0.01..1.0,
        ) {
            let mut counts = Counts::new();
            for &(micros, has_ended) in &calls {
                let latency = Latency::new(Duration::from_micros(u64::from(micros)));
                if has_ended { counts.end(latency) } else { counts.cut(latency) }
            }
            // Sorted by place; in one place those that ended come first.
            let mut sorted: Vec<_> = calls.iter().map(|&(micros, ended)| (place(micros), !ended, 1.0)).collect();
            sorted.sort_by_key(|&(place, is_cut, _)| (place, is_cut));
            let mut sum = 0.0;
            let mut expected = sorted.last().unwrap().0;
            for number in 0..sorted.len() {
                let (place, is_cut, weight) = sorted[number];
                if is_cut {
                    let rest = &mut sorted[number + 1..];
                    #[expect(clippy::cast_precision_loss, reason = "at most sixty")]
                    let each = weight / rest.len().max(1) as f64;
                    for (_, _, weight) in rest {
                        *weight += each;
                    }
                    continue;
                }
                sum += weight;
                #[expect(clippy::cast_precision_loss, reason = "at most sixty")]
                if sum / calls.len() as f64 >= share - 1e-9 {
                    expected = place;
                    break;
                }
            }
            let expected = upper(u32::try_from(expected).unwrap()).min(LONGEST);
            prop_assert_eq!(counts.percentile(share), expected);
        }
    }
}
