//! The percentile: exact against a list, forgotten in time, and without drift.

mod hedge_support;

use hedge_support::{Leaf, advance, failed};
use mainstay_core::{Error, TimedOut, lift};
use mainstay_retry::{HedgeConfig, HedgeLayer, Hedging, Latencies, NoBudget, Percentile};
use proptest::prelude::*;
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio_test::{assert_pending, assert_ready_eq, task};
use tower::{Layer, Service};

const WINDOW: Duration = Duration::from_secs(32);
const MS: Duration = Duration::from_millis(1);

fn start() -> Instant {
    tokio::time::Instant::now().into_std()
}

fn settings(percentile: f64, minimum: u32) -> Percentile {
    Percentile::new(percentile).minimum_samples(minimum).window(WINDOW).floor(Duration::ZERO)
}

/// The nearest rank of all that was recorded in the present window and the one before. If there was one before, half of the
/// minimum is enough.
fn model(recorded: &[(u64, u64)], window: u64, percentile: f64, minimum: usize, was_found: bool) -> Option<u64> {
    let counted = recorded.iter().filter(|(at, _)| at + 1 >= window);
    let mut micros: Vec<u64> = counted.map(|&(_, micros)| micros.clamp(1, 600_000_000)).collect();
    micros.sort_unstable();
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small")]
    let rank = ((micros.len() as f64 * percentile - 1e-9).ceil() as usize).max(1);
    (micros.len() * if was_found { 2 } else { 1 } >= minimum).then(|| micros[rank - 1])
}

proptest! {
    #[test]
    fn the_percentile_is_that_of_a_list(
        // Calls at least 1/32 of a window apart, so that the percentile is found anew each time.
        steps in prop::collection::vec((1_000_u64..40_000, prop_oneof![0_u64..3_000, 0_u64..2_000_000_000]), 1..120),
        percentile in prop_oneof![Just(0.5), Just(0.95), Just(1.0), 0.01..1.0],
        minimum in 1_u32..6,
    ) {
        let begin = start();
        let latencies = Latencies::new(settings(percentile, minimum), begin).unwrap();
        let (mut now, mut recorded, mut was_found) = (begin, Vec::new(), false);
        for (gap, micros) in steps {
            now += Duration::from_millis(gap);
            let window = now.duration_since(begin).as_secs() / WINDOW.as_secs();
            latencies.record(Duration::from_micros(micros), now);
            recorded.push((window, micros));
            let expected = model(&recorded, window, percentile, minimum as usize, was_found);
            let found = latencies.delay(now).map(|delay| u64::try_from(delay.as_micros()).unwrap());
            prop_assert_eq!(found.is_some(), expected.is_some());
            was_found = found.is_some();
            if let (Some(found), Some(expected)) = (found, expected) {
                prop_assert!(expected <= found && found <= expected + expected / 100, "{found} for {expected}");
            }
            prop_assert_eq!(latencies.snapshot(now).samples, recorded.iter().filter(|(at, _)| at + 1 >= window).count() as u64);
        }
    }
}

#[test]
fn what_is_found_is_forgotten_when_none_of_its_calls_counts_any_more() {
    let begin = start();
    let latencies = Latencies::new(settings(0.5, 1), begin).unwrap();
    latencies.record(8 * MS, begin + WINDOW / 2);
    let found = latencies.delay(begin + WINDOW / 2);
    assert!(found.is_some());
    assert_eq!(latencies.delay(begin + (2 * WINDOW).saturating_sub(MS)), found, "of the last window");
    assert_eq!(latencies.delay(begin + 2 * WINDOW), None);
    assert_eq!(latencies.snapshot(begin + 2 * WINDOW).samples, 0);
}

#[test]
fn the_percentile_follows_within_a_32nd_of_the_window_and_not_with_each_call() {
    let begin = start();
    let latencies = Latencies::new(settings(1.0, 2), begin).unwrap();
    latencies.record(10 * MS, begin);
    assert_eq!(latencies.delay(begin), None);
    latencies.record(10 * MS, begin);
    let first = latencies.delay(begin).expect("as soon as there are enough");
    latencies.record(1_000 * MS, begin + (WINDOW / 32).saturating_sub(MS));
    assert_eq!(latencies.delay(begin + (WINDOW / 32).saturating_sub(MS)), Some(first));
    latencies.record(10 * MS, begin + WINDOW / 32);
    assert!(latencies.delay(begin + WINDOW / 32) >= Some(1_000 * MS));
}

#[test]
fn the_floor_is_the_shortest_delay_and_the_ceiling_is_ten_minutes() {
    let now = start();
    let latencies = Latencies::new(settings(0.5, 1).floor(5 * MS), now).unwrap();
    latencies.record(Duration::ZERO, now);
    assert_eq!(latencies.delay(now), Some(5 * MS));
    let latencies = Latencies::new(settings(0.5, 1), now).unwrap();
    latencies.record(Duration::MAX, now);
    assert_eq!(latencies.delay(now), Some(Duration::from_secs(600)));
}

#[test]
fn time_that_goes_back_is_the_present() {
    let early = start();
    let begin = early + 10 * WINDOW;
    let latencies = Latencies::new(settings(0.5, 1), begin).unwrap();
    latencies.record(MS, early);
    assert!(latencies.delay(begin).is_some());
    latencies.record(2 * MS, begin + 3 * WINDOW);
    latencies.record(2 * MS, begin + WINDOW);
    assert_eq!(latencies.snapshot(begin + 3 * WINDOW).samples, 2);
}

#[test]
fn a_call_cut_short_counts_as_one_that_takes_longer() {
    let now = start();
    let latencies = Latencies::new(settings(0.5, 2), now).unwrap();
    latencies.record_at_least(20 * MS, now);
    latencies.record_at_least(20 * MS, now);
    assert_eq!(latencies.delay(now), None, "none has ended");
    latencies.record(10 * MS, now);
    latencies.record(30 * MS, now);
    let snapshot = latencies.snapshot(now);
    assert_eq!((snapshot.samples, snapshot.cut_short), (2, 2));
    // One in four has ended after 10 ms, and the others after 30 ms at the earliest.
    assert!(snapshot.delay >= Some(30 * MS), "{snapshot:?}");
}

/// With a long tail: one call in ten takes up to a hundred times as long.
fn latency(random: &mut SmallRng) -> Duration {
    let base = random.random_range(5.0..15.0);
    let factor: f64 = if random.random_bool(0.1) { random.random_range(1.0..100.0) } else { 1.0 };
    Duration::from_secs_f64(base * factor / 1_000.0)
}

fn true_percentile(percentile: f64) -> Duration {
    let mut random = SmallRng::seed_from_u64(1);
    let mut all: Vec<_> = (0..100_000).map(|_| latency(&mut random)).collect();
    all.sort_unstable();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
    all[(percentile * 100_000.0) as usize]
}

fn true_share_below(limit: Duration) -> f64 {
    let mut random = SmallRng::seed_from_u64(1);
    f64::from((0..100_000).map(|_| u32::from(latency(&mut random) < limit)).sum::<u32>()) / 100_000.0
}

/// How the simulation counts a call whose hedge was faster.
#[derive(Clone, Copy, PartialEq)]
enum Counted {
    AtLeast,
    AsEnded,
    Not,
}

/// The mean delay over 30,000 hedged calls so far apart, in milliseconds.
fn mean_delay(seed: u64, apart: Duration, counted: Counted) -> f64 {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut now = start();
    let latencies = Latencies::new(settings(0.95, 100), now).unwrap();
    let (mut sum, mut calls) = (0.0, 0.0);
    for _ in 0..30_000 {
        now += apart;
        let first = latency(&mut random);
        let delay = latencies.delay(now);
        if let Some(delay) = delay {
            sum += delay.as_secs_f64();
            calls += 1.0;
        }
        let hedge = delay.map(|delay| delay + latency(&mut random));
        match hedge.filter(|&hedge| hedge < first) {
            None => latencies.record(first, now),
            Some(hedge) if counted == Counted::AtLeast => latencies.record_at_least(hedge, now),
            Some(hedge) if counted == Counted::AsEnded => latencies.record(hedge, now),
            Some(_) => {}
        }
    }
    1_000.0 * sum / calls
}

#[test]
fn the_percentile_does_not_drift_by_the_calls_that_hedges_cut_short() {
    let truth = 1_000.0 * true_percentile(0.95).as_secs_f64();
    for (apart, seed) in [(10 * MS, 1), (100 * MS, 2), (300 * MS, 3)] {
        let mean = mean_delay(seed, apart, Counted::AtLeast);
        assert!(mean >= truth * 0.95 && mean <= truth * 1.05, "{mean} for {truth}");
    }
    // The danger is real, with few calls as with many.
    for counted in [Counted::AsEnded, Counted::Not] {
        let drifted = mean_delay(3, 300 * MS, counted);
        assert!(drifted < truth * 0.5, "{drifted} for {truth}");
    }
}

/// A window in which there are thousands of these calls, so that chance is small.
fn hedging() -> Hedging {
    let window = Duration::from_secs(600);
    Hedging::new(HedgeConfig::default().delay(settings(0.95, 100).window(window))).unwrap()
}

/// Calls one after another in virtual time, each cut off by its caller after `patience`.
async fn call_often(hedging: &Hedging, calls: usize, patience: Duration) -> (u32, Duration) {
    let mut random = SmallRng::seed_from_u64(7);
    for _ in 0..calls {
        let call = hedging.call(|_| {
            let latency = latency(&mut random);
            async move {
                tokio::time::sleep(latency).await;
                Ok::<_, Error<()>>(())
            }
        });
        let _ = tokio::time::timeout(patience, call).await;
    }
    let snapshot = hedging.snapshot();
    (u32::try_from(snapshot.started).unwrap(), snapshot.delay.unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_hedged_service_is_measured_without_drift_too_and_one_call_in_twenty_is_hedged() {
    let hedging = hedging();
    let (started, delay) = call_often(&hedging, 20_000, Duration::MAX).await;
    let truth = true_percentile(0.95);
    assert!(delay >= truth.mul_f64(0.85) && delay <= truth.mul_f64(1.15), "{delay:?} for {truth:?}");
    assert!((800..1_200).contains(&started), "{started} of 20000");
    assert!(hedging.snapshot().won > 100);
}

#[tokio::test(start_paused = true)]
async fn impatient_callers_do_not_draw_the_percentile_down() {
    let truth = true_percentile(0.95);
    let hedging = hedging();
    // So impatient that nearly every call that is hedged is given up.
    let (_, delay) = call_often(&hedging, 20_000, truth + 2 * MS).await;
    assert!(delay >= truth.mul_f64(0.85) && delay <= truth.mul_f64(1.15), "{delay:?} for {truth:?}");
}

#[tokio::test(start_paused = true)]
async fn attempts_that_a_timeout_ends_do_not_draw_the_percentile_down() {
    let truth = true_percentile(0.95);
    // One in eight takes longer than this. If they were forgotten, the percentile would be that of the others.
    let limit = truth / 8;
    let hedging = hedging();
    let mut random = SmallRng::seed_from_u64(7);
    for _ in 0..20_000 {
        let call = hedging.call(|_| {
            let latency = latency(&mut random);
            async move {
                tokio::time::sleep(latency.min(limit)).await;
                if latency < limit { Ok::<_, Error<()>>(()) } else { Err(TimedOut::new("attempt", limit).into()) }
            }
        });
        let _ = call.await;
    }
    let (snapshot, measured) = (hedging.snapshot(), hedging.latencies().unwrap().snapshot(start()));
    let ended = true_share_below(limit);
    assert!((0.85..0.94).contains(&ended), "{ended}");
    assert!(measured.cut_short > 1_000, "{measured:?}");
    assert!(snapshot.delay.unwrap() >= limit, "{snapshot:?}: longer than {limit:?}, and nobody knows how much");
    assert!(snapshot.started < 3_000, "{snapshot:?}: those that failed, and none before");
}

#[tokio::test(start_paused = true)]
async fn a_first_attempt_that_fails_is_cut_short_then_and_not_when_its_call_ends() {
    let leaf = Leaf::default();
    let hedging = Arc::new(Hedging::new(HedgeConfig::default().delay(settings(0.9, 1))).unwrap());
    let mut service = HedgeLayer::with_hedging(Arc::clone(&hedging)).idempotent().layer(leaf.clone());
    let mut failing = task::spawn(service.call("read"));
    assert_pending!(failing.poll());
    advance(10 * MS).await;
    leaf.end(0, failed("fast"));
    assert_pending!(failing.poll());
    advance(1_000 * MS).await;
    leaf.end(1, Ok(1));
    assert_ready_eq!(failing.poll(), Ok(1));

    let mut read = task::spawn(service.call("read"));
    assert_pending!(read.poll());
    advance(20 * MS).await;
    leaf.end(2, Ok(1));
    assert_ready_eq!(read.poll(), Ok(1));
    let delay = hedging.snapshot().delay.expect("one was measured");
    assert!(delay >= 20 * MS && delay <= 21 * MS, "{delay:?}: of those that got so far, all had ended");
}

#[test]
fn hedging_does_not_go_on_and_off_with_the_windows() {
    let begin = start();
    // Between 60 and 120 calls count.
    let latencies = Latencies::new(settings(0.95, 100).window(30_000 * MS), begin).unwrap();
    let mut found = Vec::new();
    for number in 0..1_200_u32 {
        let now = begin + number * 500 * MS;
        latencies.record(10 * MS, now);
        found.push(latencies.delay(now).is_some());
    }
    assert_eq!(found.iter().position(|found| *found), Some(99));
    assert!(found[99..].iter().all(|found| *found));

    // Fewer than half of them: none is hedged, until there are enough again.
    let mut now = begin + 600_000 * MS;
    let mut record = |apart: Duration, calls: u32| {
        for _ in 0..calls {
            now += apart;
            latencies.record(10 * MS, now);
        }
        latencies.delay(now).is_some()
    };
    assert!(!record(1_400 * MS, 100), "22 to 43 count");
    assert!(!record(500 * MS, 50));
    assert!(record(500 * MS, 200));
}

#[tokio::test(start_paused = true)]
async fn until_enough_was_measured_only_a_failure_starts_a_hedge() {
    let leaf = Leaf::default();
    let layer = HedgeLayer::new(HedgeConfig::default().delay(settings(0.5, 2))).unwrap().idempotent();
    let mut service = layer.layer(leaf.clone());
    for number in 0..2 {
        let mut call = task::spawn(service.call("read"));
        assert_pending!(call.poll());
        advance(10 * MS).await;
        assert!(!call.is_woken());
        leaf.end(number, Ok(1));
        assert_ready_eq!(call.poll(), Ok(1));
    }
    let delay = layer.handle().snapshot().delay.expect("two calls were measured");
    assert!(delay >= 10 * MS && delay <= 11 * MS);
    let mut call = task::spawn(service.call("read"));
    assert_pending!(call.poll());
    advance(11 * MS).await;
    assert_pending!(call.poll());
    assert_eq!(leaf.running(), [2, 3]);
}

#[tokio::test(start_paused = true)]
async fn first_attempts_are_measured_and_those_that_fail_are_cut_short() {
    let leaf = Leaf::default();
    let hedging = Arc::new(Hedging::new(HedgeConfig::default().delay(settings(0.5, 1))).unwrap());
    let layer = HedgeLayer::with_hedging(Arc::clone(&hedging)).idempotent_if(|request| *request == "read");
    let mut service = layer.layer(leaf.clone());
    let samples = || hedging.snapshot().samples;
    let cut_short = || hedging.latencies().unwrap().snapshot(start()).cut_short;

    let mut failing = task::spawn(service.call("read"));
    assert_pending!(failing.poll());
    leaf.end(0, failed("fast"));
    assert_pending!(failing.poll());
    leaf.end(1, Ok(1));
    assert_ready_eq!(failing.poll(), Ok(1));
    assert_eq!((samples(), cut_short()), (0, 1), "neither the hedge nor a fast failure, which would have taken longer");

    let mut write = task::spawn(service.call("write"));
    assert_pending!(write.poll());
    leaf.end(2, Ok(1));
    assert_ready_eq!(write.poll(), Ok(1));
    assert_eq!(samples(), 0, "what is not hedged is not measured");

    drop(task::spawn(service.call("read")));
    assert_eq!(cut_short(), 1, "what was never polled");

    let mut read = task::spawn(service.call("read"));
    assert_pending!(read.poll());
    advance(10 * MS).await;
    leaf.end(4, Ok(1));
    assert_ready_eq!(read.poll(), Ok(1));
    assert_eq!(samples(), 1);

    let mut dropped = task::spawn(service.call("read"));
    assert_pending!(dropped.poll());
    drop(dropped);
    assert_eq!((samples(), cut_short()), (1, 2));

    let mut fatal = task::spawn(hedging.call_with(mainstay_core::classify_fn(hedge_support::class), NoBudget, |_| {
        lift(async { Err::<u32, _>("fatal") })
    }));
    assert_ready_eq!(fatal.poll(), failed("fatal"));
    assert_eq!((samples(), cut_short()), (1, 3));
}

#[test]
fn threads_lose_no_call() {
    let begin = start();
    let latencies = Latencies::new(settings(0.5, 1), begin).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..10_000).for_each(|n| latencies.record(Duration::from_micros(n), begin)));
        }
    });
    assert_eq!(latencies.snapshot(begin).samples, 40_000);
}
