//! Backoff: the formulas, the bounds, and what is left to chance.
#![expect(clippy::unchecked_time_subtraction, reason = "of the longest and the shortest wait")]

use mainstay_retry::{Backoff, Config, Delays, Jitter, Policy, Shape};
use proptest::prelude::*;
use rand::{Rng, RngExt, SeedableRng, rngs::SmallRng};
use static_assertions::assert_impl_all;
use std::{collections::HashMap, time::Duration};

assert_impl_all!(Backoff: Send, Sync, Unpin, Copy, PartialEq, Default);
assert_impl_all!(Shape: Send, Sync, Unpin, Copy, PartialEq);
assert_impl_all!(Jitter: Send, Sync, Unpin, Copy, Eq, std::hash::Hash, Default);
assert_impl_all!(Delays: Send, Sync, Unpin, Clone);

const ALL: [Jitter; 4] = [Jitter::None, Jitter::Full, Jitter::Equal, Jitter::Decorrelated];
const ZERO: Duration = Duration::ZERO;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn check(backoff: Backoff) -> Result<Policy, String> {
    Policy::new(Config::default().backoff(backoff)).map_err(|error| error.to_string())
}

/// The shortest and the longest wait that a retry can have.
fn range(backoff: Backoff, retry: u32, previous: Duration) -> (Duration, Duration) {
    (backoff.delay(retry, previous, 0), backoff.delay(retry, previous, u64::MAX))
}

// ===== the formulas =====

#[test]
fn without_jitter_the_waits_are_those_of_the_shape() {
    let none = |backoff: Backoff| backoff.jitter(Jitter::None).delays().take(5).collect::<Vec<_>>();
    assert_eq!(none(Backoff::constant(ms(30))), [ms(30); 5]);
    assert_eq!(none(Backoff::linear(ms(30))), [30, 60, 90, 120, 150].map(ms));
    assert_eq!(none(Backoff::linear(ms(30)).cap(ms(100))), [30, 60, 90, 100, 100].map(ms));
    assert_eq!(none(Backoff::exponential(ms(100))), [100, 200, 400, 800, 1_600].map(ms));
    assert_eq!(none(Backoff::exponential(ms(100)).factor(3.0).cap(secs(1))), [100, 300, 900, 1_000, 1_000].map(ms));
    assert_eq!(
        none(Backoff::exponential(ms(100)).factor(1.5)),
        [100_000, 150_000, 225_000, 337_500, 506_250].map(Duration::from_micros)
    );
    // 2.3 * 2.3 is less than 5.29 as a float.
    let rounded = [100_000, 230_000, 529_000, 1_216_700, 2_798_410].map(Duration::from_micros);
    assert_eq!(none(Backoff::exponential(ms(100)).factor(2.3)), rounded);
    assert_eq!(none(Backoff::exponential(ms(100)).factor(1.0)), [ms(100); 5]);
    assert_eq!(none(Backoff::exponential(ms(100)).floor(ms(300))), [300, 300, 400, 800, 1_600].map(ms));
    assert_eq!(none(Backoff::constant(ZERO)), [ZERO; 5]);
    assert_eq!(none(Backoff::constant(secs(3_600))), [secs(3_600); 5], "the cap of a longer wait is that wait");
}

#[test]
fn jitter_leaves_to_chance_what_its_formula_says() {
    let backoff = Backoff::exponential(ms(100)).cap(secs(1));
    // Jitter, retry, wait before, shortest, longest.
    for (jitter, retry, previous, shortest, longest) in [
        (Jitter::None, 2, 0, 400, 400),
        (Jitter::Full, 0, 0, 0, 100),
        (Jitter::Full, 2, 0, 0, 400),
        (Jitter::Full, 4, 0, 0, 1_000),
        (Jitter::Full, u32::MAX, 0, 0, 1_000),
        (Jitter::Equal, 0, 0, 50, 100),
        (Jitter::Equal, 2, 0, 200, 400),
        (Jitter::Equal, 4, 0, 500, 1_000),
        (Jitter::Equal, u32::MAX, 0, 500, 1_000),
        (Jitter::Decorrelated, 0, 0, 100, 300),
        (Jitter::Decorrelated, 1, 100, 100, 300),
        (Jitter::Decorrelated, 1, 200, 100, 600),
        (Jitter::Decorrelated, 1, 334, 100, 1_000),
        (Jitter::Decorrelated, u32::MAX, 1_000, 100, 1_000),
    ] {
        let seen = range(backoff.jitter(jitter), retry, ms(previous));
        assert_eq!(seen, (ms(shortest), ms(longest)), "{jitter:?} {retry} {previous}");
    }
}

#[test]
fn the_floor_takes_the_place_of_the_lower_end() {
    let backoff = Backoff::exponential(ms(100)).cap(secs(1)).floor(ms(150));
    for (jitter, retry, previous, shortest, longest) in [
        (Jitter::None, 0, 0, 150, 150),
        (Jitter::Full, 0, 0, 150, 150),
        (Jitter::Full, 1, 0, 150, 200),
        (Jitter::Full, 9, 0, 150, 1_000),
        (Jitter::Equal, 1, 0, 150, 200),
        (Jitter::Equal, 9, 0, 500, 1_000),
        (Jitter::Decorrelated, 0, 0, 150, 300),
        (Jitter::Decorrelated, 9, 1_000, 150, 1_000),
    ] {
        let seen = range(backoff.jitter(jitter), retry, ms(previous));
        assert_eq!(seen, (ms(shortest), ms(longest)), "{jitter:?} {retry}");
    }
}

#[test]
fn decorrelated_waits_follow_from_the_wait_before() {
    let backoff = Backoff::exponential(ms(100)).cap(secs(1)).jitter(Jitter::Decorrelated);
    let mut rng = SmallRng::seed_from_u64(3);
    let mut previous = ZERO;
    for (retry, wait) in (0..100).zip(backoff.delays_seeded(3)) {
        assert_eq!(wait, backoff.delay(retry, previous, rng.next_u64()));
        previous = wait;
    }
}

// ===== the bounds, against a slow model =====

fn valid() -> impl Strategy<Value = Backoff> {
    let times = (1..5_000_000_000_u64, 1..50_000_000_000_u64, 0.0..0.99_f64);
    (0..3_u8, 1..=10_u8, times, prop::sample::select(&ALL)).prop_map(|(shape, factor, (first, more, floor), jitter)| {
        let first = Duration::from_nanos(first);
        let backoff = match shape {
            0 => Backoff::constant(first),
            1 => Backoff::linear(first),
            _ => Backoff::exponential(first).factor(factor.into()),
        };
        let backoff = backoff.cap(first + Duration::from_nanos(more));
        backoff.floor(first.mul_f64(floor)).jitter(jitter)
    })
}

/// `min(cap, shape(n))`, step by step and in whole numbers.
fn slow_ceiling(backoff: Backoff, retry: u32) -> Duration {
    let cap = backoff.cap.as_nanos();
    let mut wait = 0;
    for step in 0..=retry {
        wait = match backoff.shape {
            Shape::Constant(wait) => wait.as_nanos(),
            Shape::Linear(first) => wait + first.as_nanos(),
            Shape::Exponential { first, .. } if step == 0 => first.as_nanos(),
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "it is a whole number up to 10"
            )]
            Shape::Exponential { factor, .. } => wait * factor as u128,
        }
        .min(cap);
    }
    Duration::from_nanos(u64::try_from(wait).unwrap())
}

proptest! {
    #[test]
    fn a_wait_is_what_the_formula_says(backoff in valid(), retry in 0..300_u32, previous in 0.0..1.0_f64, draw in any::<u64>()) {
        prop_assert!(check(backoff).is_ok());
        let previous = backoff.cap.mul_f64(previous);
        let first = slow_ceiling(backoff, 0);
        let ceiling = match backoff.jitter {
            Jitter::Decorrelated => (previous.max(first) * 3).min(backoff.cap),
            _ => slow_ceiling(backoff, retry),
        };
        let lowest = match backoff.jitter {
            Jitter::None => ceiling,
            Jitter::Full => ZERO,
            Jitter::Equal => ceiling / 2,
            Jitter::Decorrelated => first,
        };
        let (lowest, highest) = (lowest.max(backoff.floor), ceiling.max(backoff.floor));
        prop_assert_eq!(range(backoff, retry, previous), (lowest, highest));
        let wait = backoff.delay(retry, previous, draw);
        prop_assert!(lowest <= wait && wait <= highest && highest <= backoff.cap);
        // As far between the ends as the draw is between its own.
        #[expect(clippy::cast_precision_loss, reason = "it is compared with a tolerance")]
        let expected = lowest.as_secs_f64() + (highest - lowest).as_secs_f64() * (draw as f64 / u64::MAX as f64);
        prop_assert!((wait.as_secs_f64() - expected).abs() < 2e-9, "{:?} {}", wait, expected);
    }

    #[test]
    fn full_and_equal_jitter_know_nothing_of_the_waits_before(
        backoff in valid(),
        retry in any::<u32>(),
        previous in any::<u64>(),
        draw in any::<u64>(),
    ) {
        for jitter in [Jitter::None, Jitter::Full, Jitter::Equal] {
            let backoff = backoff.jitter(jitter);
            let wait = backoff.delay(retry, Duration::from_nanos(previous), draw);
            prop_assert_eq!(wait, backoff.delay(retry, ZERO, draw));
        }
    }

    #[test]
    fn nothing_overflows_and_nothing_is_above_the_cap(
        shape in 0..3_u8,
        factor in prop_oneof![any::<f64>(), Just(f64::NAN), Just(f64::INFINITY), 1.0..1_000.0_f64],
        times in prop::array::uniform4(prop_oneof![any::<Duration>(), Just(Duration::MAX), Just(ZERO)]),
        jitter in prop::sample::select(&ALL),
        retry in prop_oneof![any::<u32>(), Just(u32::MAX), 0..70_u32],
        draw in prop_oneof![any::<u64>(), Just(0), Just(u64::MAX)],
    ) {
        let [first, cap, floor, previous] = times;
        let backoff = match shape {
            0 => Backoff::constant(first),
            1 => Backoff::linear(first),
            _ => Backoff::exponential(first).factor(factor),
        };
        let backoff = backoff.cap(cap).floor(floor).jitter(jitter);
        prop_assert!(backoff.delay(retry, previous, draw) <= cap);
        for wait in backoff.delays_seeded(draw).take(3) {
            prop_assert!(wait <= cap);
        }
        // Checked or refused, and no panic in it.
        let _ = check(backoff);
    }
}

// ===== chance =====

/// Mean and spread of many waits are those of `U(shortest, longest)`, and each tenth of the range has its share.
fn assert_even(waits: impl Iterator<Item = Duration>, shortest: Duration, longest: Duration, what: &str) {
    const DRAWS: u32 = 20_000;
    let range = (longest - shortest).as_secs_f64();
    let (mut sum, mut squares, mut tenths) = (0.0, 0.0, [0_i32; 10]);
    for wait in waits.take(DRAWS as usize) {
        let place = (wait.checked_sub(shortest).expect("not below the shortest")).as_secs_f64() / range;
        sum += place;
        squares += place * place;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 10")]
        let tenth = (place * 10.0) as usize;
        tenths[tenth.min(9)] += 1;
    }
    let mean = sum / f64::from(DRAWS);
    let variance = squares / f64::from(DRAWS) - mean * mean;
    // Five standard errors: of the mean sqrt(1/12 / n), of the variance sqrt(1/180 / n).
    assert!((mean - 0.5).abs() < 5.0 * (1.0 / 12.0 / f64::from(DRAWS)).sqrt(), "{what}: mean {mean}");
    assert!((variance - 1.0 / 12.0).abs() < 5.0 * (1.0 / 180.0 / f64::from(DRAWS)).sqrt(), "{what}: {variance}");
    // Five standard deviations of a count of 2,000 in 20,000, which is sqrt(20,000 * 0.1 * 0.9) = 42.
    assert!(tenths.iter().all(|count| (count - 2_000).abs() < 212), "{what}: {tenths:?}");
}

/// What many clients wait before this retry.
fn of_clients(backoff: Backoff, retry: usize) -> impl Iterator<Item = Duration> {
    (0..).map(move |seed| backoff.delays_seeded(seed).nth(retry).expect("it does not end"))
}

#[test]
fn full_and_equal_jitter_are_even_before_the_cap_and_at_it() {
    let backoff = Backoff::exponential(ms(100)).cap(secs(1));
    for (retry, ceiling) in [(0, 100), (2, 400), (3, 800), (4, 1_000), (30, 1_000)] {
        let full = of_clients(backoff, retry);
        assert_even(full, ZERO, ms(ceiling), "full");
        let equal = of_clients(backoff.jitter(Jitter::Equal), retry);
        assert_even(equal, ms(ceiling / 2), ms(ceiling), "equal");
        if ceiling > 200 {
            let floored = of_clients(backoff.floor(ms(200)), retry);
            assert_even(floored, ms(200), ms(ceiling), "full, with a floor");
        }
    }
}

#[test]
fn decorrelated_jitter_is_even_over_what_it_draws_from_also_at_the_cap() {
    let backoff = Backoff::exponential(ms(100)).cap(secs(1)).jitter(Jitter::Decorrelated);
    let mut rng = SmallRng::seed_from_u64(1);
    for (previous, longest) in [(0, 300), (150, 450), (300, 900), (400, 1_000), (1_000, 1_000)] {
        let draws = std::iter::repeat_with(|| backoff.delay(7, ms(previous), rng.random()));
        assert_even(draws, ms(100), ms(longest), "decorrelated");
    }
}

#[test]
fn the_waits_of_one_call_are_even_too() {
    let backoff = Backoff::constant(secs(1));
    assert_even(backoff.delays_seeded(11), ZERO, secs(1), "one seed");
    assert_even(backoff.delays(), ZERO, secs(1), "no seed");
    let calls = std::iter::repeat_with(|| backoff.delays().next().unwrap());
    assert_even(calls, ZERO, secs(1), "the first wait of calls without a seed");
}

// ===== a thousand clients =====

const CLIENTS: u32 = 1_000;
const CAP: Duration = secs(10);
/// A retry at which the ceiling has long been at the cap.
const LATE: usize = 12;

/// How many pairs of clients come back in the same millisecond.
fn pairs(waits: impl Iterator<Item = Duration>) -> f64 {
    let mut clients = HashMap::<_, u32>::new();
    for wait in waits.take(CLIENTS as usize) {
        *clients.entry(wait.as_millis()).or_default() += 1;
    }
    clients.values().map(|&together| f64::from(together * (together - 1) / 2)).sum()
}

/// How many pairs chance makes of a distribution, given as the shares of equal parts of a range of so many milliseconds.
fn expected_pairs(shares: &[f64], millis: f64) -> f64 {
    let all = f64::from(CLIENTS * (CLIENTS - 1) / 2);
    #[expect(clippy::cast_precision_loss, reason = "a few parts")]
    let per_part = millis / shares.len() as f64;
    all * shares.iter().map(|share| share * share / per_part).sum::<f64>()
}

/// The number of pairs is near a Poisson variable, as in the birthday problem; six standard deviations.
fn is_chance(pairs: f64, expected: f64) -> bool {
    (pairs - expected).abs() < 6.0 * expected.sqrt()
}

/// The shares of a hundred equal parts from the first wait to the cap, after so many decorrelated waits.
fn decorrelated_shares(first: f64, cap: f64, retry: usize) -> Vec<f64> {
    const PARTS: u32 = 400;
    let width = (cap - first) / f64::from(PARTS);
    let middle = |part: usize| first + (f64::from(u32::try_from(part).unwrap()) + 0.5) * width;
    let spread = |share: f64, previous: f64, shares: &mut [f64]| {
        let longest = (3.0 * previous).min(cap);
        for (part, to) in shares.iter_mut().enumerate() {
            // What of this part can be drawn.
            let covered = ((longest - middle(part)) / width + 0.5).clamp(0.0, 1.0);
            *to += share * covered * width / (longest - first);
        }
    };
    let mut shares = vec![0.0; PARTS as usize];
    spread(1.0, first, &mut shares);
    for _ in 0..retry {
        let mut next = vec![0.0; PARTS as usize];
        for (part, &share) in shares.iter().enumerate() {
            spread(share, middle(part), &mut next);
        }
        shares = next;
    }
    shares
}

#[test]
fn a_thousand_clients_share_no_more_milliseconds_than_chance_says() {
    let backoff = Backoff::exponential(ms(100)).cap(CAP);
    let even = expected_pairs(&[1.0], 10_000.0);
    let halved = expected_pairs(&[1.0], 5_000.0);
    let uneven = expected_pairs(&decorrelated_shares(100.0, 10_000.0, LATE), 9_900.0);
    assert!(even < halved && even < uneven && uneven < 2.0 * even, "{even} {halved} {uneven}");
    for (jitter, expected) in [(Jitter::Full, even), (Jitter::Equal, halved), (Jitter::Decorrelated, uneven)] {
        let seen = pairs(of_clients(backoff.jitter(jitter), LATE));
        assert!(is_chance(seen, expected), "{jitter:?}: {seen} pairs instead of {expected}");
    }
    // Of clients that have no seed, with the entropy of each call.
    let seen = pairs(std::iter::repeat_with(|| backoff.delays().nth(LATE).unwrap()));
    assert!(is_chance(seen, even), "{seen} pairs instead of {even}");
}

#[test]
fn the_count_of_shared_milliseconds_can_tell_what_is_wrong() {
    let backoff = Backoff::exponential(ms(100)).cap(CAP);
    let even = expected_pairs(&[1.0], 10_000.0);
    let none = pairs(of_clients(backoff.jitter(Jitter::None), LATE));
    assert!(!is_chance(none, even), "all together: {none}");
    // Jitter on the shape, cut at the cap after it.
    let uncapped = Backoff::exponential(ms(100)).cap(secs(3_600));
    let cut = pairs(of_clients(uncapped, LATE).map(|wait| wait.min(CAP)));
    assert!(!is_chance(cut, even), "nearly all at the cap: {cut}");
    // The decorrelated form as it was published.
    let published = (0..).map(|seed| {
        let mut rng = SmallRng::seed_from_u64(seed);
        (0..LATE).fold(ms(100), |previous, _| {
            let uncapped = backoff.cap(secs(3_600)).jitter(Jitter::Decorrelated);
            uncapped.delay(1, previous, rng.next_u64()).min(CAP)
        })
    });
    assert!(!is_chance(pairs(published), even));
}

// ===== the iterator =====

#[test]
fn the_waits_do_not_end() {
    let mut delays = Backoff::exponential(ms(1)).cap(ms(2)).delays_seeded(1);
    assert_eq!(delays.size_hint(), (usize::MAX, None));
    assert!(delays.nth(1_000_000).is_some());
    assert!(delays.next().is_some());
}

#[test]
fn the_same_seed_gives_the_same_waits_and_another_gives_others() {
    for jitter in [Jitter::Full, Jitter::Equal, Jitter::Decorrelated] {
        let backoff = Backoff::default().jitter(jitter);
        let waits = |seed| backoff.delays_seeded(seed).take(20).collect::<Vec<_>>();
        assert_eq!(waits(1), waits(1));
        assert_ne!(waits(1), waits(2));
        let random = || backoff.delays().take(20).collect::<Vec<_>>();
        assert_ne!(random(), random());
    }
}

// ===== settings =====

#[test]
fn what_cannot_work_is_refused_by_name() {
    let base = Backoff::exponential(secs(1));
    for (backoff, message) in [
        (Backoff::exponential(ZERO), "`backoff.exponential` is 0ns, allowed is above 0"),
        (Backoff::linear(ZERO), "`backoff.linear` is 0ns, allowed is above 0"),
        (base.factor(0.5), "`backoff.factor` is 0.5, allowed is 1.0 to 1000.0"),
        (base.factor(f64::NAN), "`backoff.factor` is NaN, allowed is 1.0 to 1000.0"),
        (base.factor(f64::INFINITY), "`backoff.factor` is inf, allowed is 1.0 to 1000.0"),
        (base.cap(ms(999)), "`backoff.cap` is 999ms, allowed is 1s to 86400s"),
        (base.cap(secs(86_401)), "`backoff.cap` is 86401s, allowed is 1s to 86400s"),
        (base.floor(secs(11)), "`backoff.floor` is 11s, allowed is at most 10s, the longest wait"),
        (
            base.floor(secs(10)),
            "`backoff.floor` is 10s, allowed is below 10s, the longest wait, or nothing is left to chance",
        ),
        (
            Backoff::constant(secs(1)).floor(secs(1)),
            "`backoff.floor` is 1s, allowed is below 1s, the longest wait, or nothing is left to chance",
        ),
        (
            Backoff::constant(secs(1)).cap(secs(1)).jitter(Jitter::Decorrelated),
            "`backoff.cap` is 1s, allowed is above the first wait, with decorrelated jitter",
        ),
    ] {
        assert_eq!(check(backoff).unwrap_err(), message);
    }
    for backoff in [
        base.floor(secs(10)).jitter(Jitter::None),
        base.cap(secs(1)),
        base.cap(secs(86_400)),
        Backoff::constant(ZERO),
        Backoff::constant(secs(1)).floor(ms(999)),
        Backoff::constant(secs(1)).floor(secs(5)).jitter(Jitter::Decorrelated),
    ] {
        assert!(check(backoff).is_ok(), "{backoff:?}");
    }
}

#[test]
fn whatever_passes_the_check_leaves_something_to_chance() {
    let times = [0, 1, 1_000, 86_400_000].map(ms);
    let mut seen = 0;
    for first in times {
        for cap in times {
            for floor in times {
                for make in [Backoff::constant, Backoff::linear, Backoff::exponential] {
                    for jitter in [Jitter::Full, Jitter::Equal, Jitter::Decorrelated] {
                        let backoff = make(first).cap(cap).floor(floor).jitter(jitter);
                        if check(backoff).is_ok() && cap > ZERO && backoff.shape != Shape::Constant(ZERO) {
                            let (shortest, longest) = range(backoff, u32::MAX, cap);
                            assert!(shortest < longest, "{backoff:?}");
                            seen += 1;
                        }
                    }
                }
            }
        }
    }
    assert!(seen > 50, "{seen}");
}

#[test]
fn the_defaults_are_those_of_the_documentation() {
    let backoff = Backoff::default();
    assert_eq!(backoff.shape, Shape::Exponential { first: ms(100), factor: 2.0 });
    assert_eq!((backoff.cap, backoff.floor, backoff.jitter), (secs(10), ZERO, Jitter::Full));
    assert_eq!(Backoff::linear(secs(60)).cap, secs(60));
}
