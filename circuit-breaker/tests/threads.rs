//! One circuit on real threads: nothing is lost, nothing is given twice.

mod support;

use mainstay_circuit_breaker::{Circuit, Config, Outcome, State, Window};
use mainstay_core::window::Counts;
use std::{
    panic::resume_unwind,
    sync::{
        Barrier,
        atomic::{AtomicU32, AtomicU64, Ordering::SeqCst},
    },
    thread,
    time::Instant,
};
use support::{Driver, ms, secs};

const THREADS: u32 = 4;

/// Runs `work` on all threads at once; it is given the number of its thread.
fn on_threads(work: impl Fn(u32) + Sync) {
    let begin = Barrier::new(THREADS as usize);
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (work, begin) = (&work, &begin);
            scope.spawn(move || {
                begin.wait();
                work(thread);
            });
        }
    });
}

fn call(circuit: &Circuit, outcome: Outcome, now: Instant) {
    let permit = circuit.admit(now).expect("the circuit is closed");
    circuit.settle(permit, outcome, now);
}

#[test]
fn never_more_probes_are_unsettled_than_allowed() {
    const PROBES: u32 = 3;
    let config = Config::default().window(Window::Consecutive(1)).probes(PROBES);
    let (driver, first) = Driver::half_open(config);
    driver.settle(first, Outcome::Abandoned);
    let (out, most) = (AtomicU32::new(0), AtomicU32::new(0));
    let (admitted, refused) = (AtomicU64::new(0), AtomicU64::new(0));

    on_threads(|thread| {
        for i in 0..20_000_u32 {
            let Ok(permit) = driver.admit() else {
                refused.fetch_add(1, SeqCst);
                continue;
            };
            assert!(permit.is_probe());
            admitted.fetch_add(1, SeqCst);
            most.fetch_max(out.fetch_add(1, SeqCst) + 1, SeqCst);
            if i.is_multiple_of(64) {
                thread::yield_now();
            }
            out.fetch_sub(1, SeqCst);
            // What gives the slot back keeps the circuit half-open.
            let outcome = if (i + thread).is_multiple_of(2) { Outcome::Abandoned } else { Outcome::Ignored };
            driver.settle(permit, outcome);
        }
    });

    let (admitted, refused) = (admitted.into_inner(), refused.into_inner());
    assert!(most.into_inner() <= PROBES);
    assert_eq!(admitted + refused, u64::from(THREADS) * 20_000);
    let seen = driver.snapshot();
    assert_eq!((seen.state, seen.generation, seen.probes), (State::HalfOpen, 2, 0));
    assert_eq!(seen.refused, refused, "as many as were told so");
    for _ in 0..PROBES {
        driver.call(Outcome::Success);
    }
    assert_eq!(driver.state(), State::Closed);
}

#[test]
fn probes_are_unsettled_one_at_a_time_through_many_openings() {
    let driver = Driver::new(Config::default().window(Window::Consecutive(1)).probes(1).open_for(ms(1)));
    let (out, clock) = (AtomicU32::new(0), AtomicU64::new(0));

    on_threads(|thread| {
        for i in 0..5_000_u32 {
            let now = driver.now + ms(clock.fetch_add(1, SeqCst));
            let Ok(permit) = driver.circuit.admit(now) else { continue };
            if permit.is_probe() {
                assert_eq!(out.fetch_add(1, SeqCst), 0, "the only probe");
                if i.is_multiple_of(4) {
                    thread::yield_now();
                }
                out.fetch_sub(1, SeqCst);
            }
            let outcome = if (i + thread).is_multiple_of(3) { Outcome::Success } else { Outcome::Failure };
            driver.circuit.settle(permit, outcome, now);
        }
    });
    assert!(driver.snapshot().generation > 100, "it opened and closed all the time");
}

#[test]
fn no_vote_is_lost() {
    const CALLS: u32 = 2_500;
    let all = THREADS * CALLS;
    let windows = [Window::Last(all), Window::Within(secs(3_600))];
    for (window, timed) in windows.into_iter().flat_map(|window| [(window, false), (window, true)]) {
        let config = Config::default().window(window).failure_rate(1.0);
        let config = if timed { config.slow(secs(1), 1.0) } else { config };
        let driver = Driver::new(config);
        driver.call(Outcome::Success);

        // Calls overlap: each settles the one before last.
        on_threads(|thread| {
            let mut before = None;
            for i in 0..CALLS {
                let outcome = if (i + thread).is_multiple_of(5) { Outcome::Failure } else { Outcome::Success };
                if let Some((permit, outcome)) = before.replace((driver.take(), outcome)) {
                    driver.settle(permit, outcome);
                }
            }
            if let Some((permit, outcome)) = before {
                driver.settle(permit, outcome);
            }
        });

        let calls = u64::from(all) + u64::from(matches!(window, Window::Within(_)));
        let failed = u64::from(all / 5);
        let seen = driver.snapshot();
        assert_eq!((seen.state, seen.refused), (State::Closed, 0));
        assert_eq!(seen.votes, Counts { calls, failed, slow: 0 }, "{window:?}, timed: {timed}");
    }
}

#[test]
fn a_row_of_failures_is_counted_across_threads() {
    const CALLS: u32 = 5_000;
    let all = THREADS * CALLS;
    let driver = Driver::new(Config::default().window(Window::Consecutive(all + 1)));
    on_threads(|_| driver.calls(CALLS, Outcome::Failure));
    assert_eq!(driver.snapshot().votes.failed, u64::from(all));
    on_threads(|_| driver.calls(CALLS, Outcome::Success));
    assert_eq!(driver.snapshot().votes.failed, 0);
    on_threads(|_| driver.calls(CALLS, Outcome::Failure));
    assert_eq!(driver.state(), State::Closed);
    driver.call(Outcome::Failure);
    assert_eq!(driver.state(), State::Open, "one more than all of them");
}

#[test]
fn a_circuit_opens_once_however_many_threads_fail() {
    for window in [Window::Consecutive(50), Window::Last(50), Window::Within(secs(3_600))] {
        let driver = Driver::new(Config::default().window(window).minimum_calls(50));
        let (admitted, refused) = (AtomicU64::new(0), AtomicU64::new(0));
        on_threads(|_| {
            for _ in 0..500 {
                match driver.admit() {
                    Ok(permit) => {
                        admitted.fetch_add(1, SeqCst);
                        driver.settle(permit, Outcome::Failure);
                    }
                    Err(_) => _ = refused.fetch_add(1, SeqCst),
                }
            }
        });
        let seen = driver.snapshot();
        assert_eq!((seen.state, seen.generation, seen.votes.failed), (State::Open, 1, 50), "{window:?}");
        assert_eq!(seen.refused, refused.into_inner());
        assert_eq!(admitted.into_inner() + seen.refused, u64::from(THREADS) * 500);
    }
}

#[test]
fn a_live_change_loses_no_vote() {
    const CALLS: u32 = 2_000;
    let config = Config::default().window(Window::Last(CALLS * THREADS)).failure_rate(1.0);
    let driver = Driver::new(config.clone());
    driver.call(Outcome::Success);
    // One thread switches the timing of calls on and off, which changes the way that successes take.
    on_threads(|thread| {
        for i in 0..CALLS {
            if thread == 0 {
                let config = config.clone();
                driver.reconfigure(if i.is_multiple_of(2) { config.slow(secs(1), 1.0) } else { config });
            }
            call(&driver.circuit, Outcome::Success, driver.now);
        }
    });
    assert_eq!(driver.snapshot().votes.calls, u64::from(CALLS * THREADS));
}

#[test]
fn a_panicking_thread_takes_its_probe_with_it_and_nothing_else() {
    let (mut driver, first) = Driver::half_open(Config::default().window(Window::Consecutive(1)).probes(1));
    driver.settle(first, Outcome::Ignored);
    thread::scope(|scope| {
        let unwound = scope.spawn(|| {
            let _permit = driver.take();
            // Without the message of `panic!`.
            resume_unwind(Box::new("the call"));
        });
        assert!(unwound.join().is_err());
    });
    assert!(driver.admit().is_err(), "its probe is out");
    driver.wait(secs(30));
    assert_eq!((driver.snapshot().state, driver.snapshot().reopenings), (State::Open, 1), "and failed by its deadline");
    driver.close();
}
