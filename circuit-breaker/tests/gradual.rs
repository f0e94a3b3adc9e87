//! What a recovering circuit promises: its stages.

mod support;

use mainstay_circuit_breaker::{Config, OpenFor, Outcome, Permit, State, Window};
use mainstay_core::window::{Counts, Vote};
use proptest::prelude::*;
use std::time::{Duration, Instant};
use support::{Driver, NANO, counts, fragile, just_under, ms, secs, sequences};

const STAGE: Duration = secs(10);

/// As good as never by chance, so that only calls that are admitted for certain pass.
const NEVER: f64 = f64::MIN_POSITIVE;

/// As good as always by chance.
const ALWAYS: f64 = 1.0 - f64::EPSILON / 2.0;

/// A rate window; a stage is judged from two votes on.
fn rates() -> Config {
    Config::default().window(Window::Last(10)).minimum_calls(2).probes(2).failure_rate(0.5)
}

/// Three stages in which only the calls pass that have to.
fn strict(config: Config) -> Config {
    config.gradual([NEVER, 2.0 * NEVER, 3.0 * NEVER], STAGE)
}

/// A circuit in its first stage.
fn recovering(config: Config) -> Driver {
    let mut driver = Driver::open(config);
    let probe = driver.first_probe();
    driver.settle(probe, Outcome::Success);
    while driver.state() == State::HalfOpen {
        driver.call(Outcome::Success);
    }
    assert_eq!(driver.state(), State::Recovering);
    driver
}

fn stage(driver: &Driver) -> Option<u32> {
    driver.snapshot().stage
}

// ===== forwards =====

#[test]
fn the_circuit_closes_after_one_good_call_in_each_stage() {
    for config in [rates(), fragile(), fragile().window(Window::Within(secs(10))).minimum_calls(1)] {
        let mut driver = recovering(strict(config));
        let first = driver.snapshot().generation;
        for number in 0..3 {
            let seen = driver.snapshot();
            assert_eq!((seen.state, seen.stage, seen.votes), (State::Recovering, Some(number), counts(0, 0, 0)));
            assert_eq!(seen.generation, first + u64::from(number), "each stage is a generation");
            driver.call(Outcome::Success);
            driver.wait(just_under(STAGE));
            assert_eq!(stage(&driver), Some(number), "not a moment earlier");
            driver.wait(NANO);
        }
        let seen = driver.snapshot();
        assert_eq!((seen.state, seen.stage, seen.reopenings), (State::Closed, None, 0));
        assert_eq!((seen.votes, seen.generation), (counts(0, 0, 0), first + 3));
    }
}

#[test]
fn without_the_setting_the_probes_close() {
    let mut driver = Driver::open(rates());
    driver.close();
    assert_eq!(driver.snapshot().stage, None);
}

#[test]
fn the_end_of_a_stage_is_found_out_by_the_next_call() {
    for probes_first in [false, true] {
        let mut driver = recovering(strict(rates()));
        driver.call(Outcome::Success);
        driver.wait(STAGE * 5);
        assert_eq!(driver.state(), State::Recovering);
        if probes_first {
            assert!(driver.circuit.check(driver.now).is_ok());
            assert_eq!(driver.circuit.watch().borrow().generation, driver.snapshot().generation);
        }
        assert!(driver.take().is_probe(), "the first call of the next stage");
        assert_eq!(stage(&driver), Some(1), "it begins when it is found out, however late");
        assert_eq!(driver.admit().unwrap_err().retry_after(), Some(STAGE));
    }
}

#[test]
fn a_settlement_votes_in_its_own_stage_after_the_time_too() {
    let mut driver = recovering(strict(rates()));
    let late = driver.take();
    driver.wait(STAGE * 2);
    driver.settle(late, Outcome::Success);
    assert_eq!((driver.state(), stage(&driver)), (State::Recovering, Some(1)), "a stage lasts until there is a vote");
}

#[test]
fn a_client_with_one_call_a_minute_recovers() {
    let mut driver = recovering(strict(rates()));
    for _ in 0..3 {
        driver.wait(secs(60));
        driver.call_of(secs(1), Outcome::Success);
    }
    driver.wait(secs(60));
    assert_eq!(driver.snapshot().state, State::Closed);
}

// ===== who passes =====

#[test]
fn only_the_first_call_passes_for_certain_and_the_others_hear_when_the_stage_ends() {
    let mut driver = recovering(strict(rates()));
    let first = driver.take();
    assert!(first.is_probe());
    assert_eq!(driver.snapshot().probes, 1);
    driver.wait(secs(4));
    assert_eq!(driver.admit().unwrap_err().retry_after(), Some(secs(6)));
    driver.settle(first, Outcome::Success);
    assert_eq!(driver.admit().unwrap_err().retry_after(), Some(secs(6)), "it has voted: now chance decides");
    let seen = driver.snapshot();
    assert_eq!((seen.refused, seen.probes, seen.retry_after), (2, 0, None), "some calls are admitted");
}

#[test]
fn each_stage_admits_its_share() {
    const CALLS: u32 = 20_000;
    for seed in 0..5 {
        let mut driver = recovering(rates().seed(seed).gradual([0.01, 0.1, 0.25, 0.5], STAGE));
        for share in [0.01, 0.1, 0.25, 0.5] {
            driver.call(Outcome::Success);
            let admitted = (0..CALLS).filter_map(|_| driver.admit().ok()).inspect(|call| assert!(!call.is_probe()));
            let admitted = u32::try_from(admitted.count()).unwrap();
            let deviation = (f64::from(CALLS) * share * (1.0 - share)).sqrt();
            let off = (f64::from(admitted) - f64::from(CALLS) * share).abs();
            assert!(off < 4.5 * deviation, "{admitted} of {CALLS}, share {share}, seed {seed}");
            driver.wait(STAGE);
        }
        assert_eq!(driver.snapshot().state, State::Closed);
    }
}

#[test]
fn the_same_seed_admits_the_same_calls() {
    let admitted = |seed| {
        let driver = recovering(rates().seed(seed).gradual([0.5], STAGE));
        driver.call(Outcome::Success);
        (0..64).map(|_| driver.admit().is_ok()).collect::<Vec<_>>()
    };
    assert_eq!(admitted(1), admitted(1));
    assert_ne!(admitted(1), admitted(2));
}

// ===== backwards =====

#[test]
fn a_stage_opens_again_at_its_rate_and_its_minimum() {
    for (minimum, probes, needed) in [(2, 3, 2), (20, 3, 3), (1, 1, 1)] {
        let growing = OpenFor::Growing { first: secs(1), factor: 2.0, max: secs(99) };
        let config = rates().minimum_calls(minimum).probes(probes).open_for(growing).gradual([ALWAYS], STAGE);
        let driver = recovering(config);
        for failure in 1..=needed {
            assert_eq!(driver.state(), State::Recovering, "failure {failure} of {needed}");
            driver.call(Outcome::Failure);
        }
        let seen = driver.snapshot();
        assert_eq!((seen.state, seen.reopenings, seen.retry_after), (State::Open, 1, Some(secs(2))));
        assert_eq!(seen.stage, None);
    }
}

#[test]
fn a_stage_never_opens_on_a_good_call() {
    let driver = recovering(rates().probes(3).minimum_calls(3).gradual([ALWAYS], STAGE));
    driver.calls(2, Outcome::Failure);
    driver.call(Outcome::Success);
    assert_eq!((driver.state(), driver.snapshot().votes), (State::Recovering, counts(3, 2, 0)));
    driver.call(Outcome::Failure);
    assert_eq!(driver.state(), State::Open);
}

#[test]
fn one_early_failure_is_not_held_against_a_service_that_is_well() {
    // Under a threshold of one in a thousand it would take a thousand good calls to outvote it.
    let mut driver = recovering(rates().failure_rate(0.001).probes(3).minimum_calls(3).gradual([ALWAYS], STAGE));
    driver.call(Outcome::Failure);
    driver.calls(5, Outcome::Success);
    assert_eq!((driver.state(), driver.snapshot().votes), (State::Recovering, counts(0, 0, 0)));
    driver.call(Outcome::Success);
    driver.wait(STAGE);
    driver.call(Outcome::Success);
    assert_eq!(driver.state(), State::Closed);
}

#[test]
fn each_stage_counts_anew() {
    let mut driver = recovering(rates().failure_rate(0.4).gradual([0.5, ALWAYS], STAGE));
    driver.call(Outcome::Success);
    driver.wait(STAGE);
    assert_eq!((stage(&driver), driver.snapshot().votes), (Some(1), counts(0, 0, 0)));
    driver.call(Outcome::Failure);
    assert_eq!(driver.state(), State::Recovering, "one vote is not enough in this stage");
}

#[test]
fn a_stage_with_bad_votes_goes_on_until_they_are_good_or_enough() {
    for (last, state) in [(Outcome::Success, State::Recovering), (Outcome::Failure, State::Open)] {
        let mut driver = recovering(strict(rates()));
        driver.call(Outcome::Failure);
        driver.wait(STAGE);
        assert_eq!((stage(&driver), driver.snapshot().votes), (Some(0), counts(1, 1, 0)), "it is not over");
        driver.call(last);
        assert_eq!(driver.state(), state);
    }
    let mut driver = recovering(strict(rates().failure_rate(0.4)));
    driver.call(Outcome::Failure);
    driver.wait(STAGE);
    driver.call(Outcome::Success);
    assert_eq!(stage(&driver), Some(0), "one of two is still bad");
    let probe = driver.take();
    assert_eq!(driver.admit().unwrap_err().retry_after(), None, "nobody knows when votes will be good");
    driver.settle(probe, Outcome::Success);
    assert_eq!(stage(&driver), Some(1), "one of three");
}

#[test]
fn failures_in_a_row_open_a_stage_again() {
    let config = |limit, probes| Config::default().window(Window::Consecutive(limit)).probes(probes);
    for (limit, probes, needed) in [(1, 3, 1), (5, 3, 3), (2, 3, 2)] {
        let driver = recovering(config(limit, probes).failure_rate(1.0).gradual([ALWAYS], STAGE));
        driver.calls(needed - 1, Outcome::Failure);
        driver.call(Outcome::Success);
        driver.calls(needed - 1, Outcome::Failure);
        assert_eq!(driver.state(), State::Recovering, "not in a row, {limit} and {probes}");
        driver.call(Outcome::Failure);
        assert_eq!(driver.state(), State::Open, "{limit} and {probes}");
    }
}

#[test]
fn a_service_that_only_fails_does_not_come_through_with_one_call_a_stage() {
    let config = Config::default().window(Window::Consecutive(5)).failure_rate(1.0).probes(3);
    let mut driver = recovering(strict(config));
    for failure in 1..=3 {
        assert_eq!(stage(&driver), Some(0), "before failure {failure}");
        driver.call(Outcome::Failure);
        driver.wait(STAGE * 2);
    }
    assert_eq!(driver.state(), State::Open);
}

#[test]
fn slow_calls_open_a_stage_again() {
    let config = rates().slow(secs(1), 1.0).gradual([ALWAYS], STAGE);
    for (slow, config) in [("of their own", config.clone()), ("with failures", config.slow_is_failure(secs(1)))] {
        let mut driver = Driver::open(config);
        let probe = driver.first_probe();
        driver.settle(probe, Outcome::Success);
        driver.call(Outcome::Success);
        driver.call_of(secs(2), Outcome::Success);
        assert_eq!(driver.state(), State::Recovering, "{slow}");
        driver.call_of(secs(2), Outcome::Success);
        assert_eq!(driver.state(), State::Open, "{slow}");
    }
}

#[test]
fn an_overload_opens_a_stage_again_at_once() {
    let driver = recovering(strict(rates()).open_on_overload(secs(60)));
    driver.call(Outcome::Overloaded(Some(secs(7))));
    let seen = driver.snapshot();
    assert_eq!((seen.state, seen.retry_after, seen.reopenings), (State::Open, Some(secs(7)), 1));
}

// ===== late, silent and abandoned calls =====

#[test]
fn a_late_result_of_one_stage_does_not_vote_in_another() {
    for outcome in [Outcome::Success, Outcome::Failure, Outcome::Overloaded(Some(secs(9))), Outcome::Abandoned] {
        let mut driver = recovering(rates().minimum_calls(1).gradual([0.5, 0.6], STAGE).open_on_overload(secs(60)));
        let late: Vec<Permit> = (0..64).filter_map(|_| driver.admit().ok()).take(3).collect();
        driver.settle(driver.take_some(), Outcome::Success);
        driver.wait(STAGE);
        for (late, stage) in late.into_iter().zip([Some(1), None]) {
            let before = driver.snapshot();
            assert_eq!(before.stage, stage);
            driver.settle(late, outcome);
            assert_eq!(driver.snapshot(), before, "after {outcome:?}");
            driver.call(Outcome::Success);
            driver.wait(STAGE);
        }
    }
}

#[test]
fn an_abandoned_first_call_gives_its_place_back() {
    for outcome in [Outcome::Abandoned, Outcome::Ignored] {
        let driver = recovering(strict(rates()));
        for _ in 0..100 {
            driver.call(outcome);
        }
        let seen = driver.snapshot();
        assert_eq!((seen.stage, seen.probes, seen.votes), (Some(0), 0, counts(0, 0, 0)), "{outcome:?}");
    }
}

#[test]
fn a_silent_first_call_has_failed_at_its_deadline() {
    let mut driver = recovering(strict(rates()).probe_deadline(secs(3)));
    for failed in 0..2 {
        assert_eq!(driver.snapshot().votes, counts(failed, failed, 0));
        let _silent = driver.take();
        driver.wait(if failed == 0 { STAGE } else { just_under(secs(3)) });
        assert_eq!(driver.state(), State::Recovering);
    }
    driver.wait(NANO + secs(5));
    let seen = driver.snapshot();
    assert_eq!((seen.state, seen.retry_after), (State::Open, Some(secs(25))), "as of the deadline");
}

#[test]
fn a_first_call_that_is_not_silent_is_waited_for() {
    let mut driver = recovering(strict(rates()).probe_deadline(secs(3)));
    let long = driver.take();
    for _ in 0..20 {
        driver.wait(secs(2));
        driver.circuit.renew(&long, driver.now);
    }
    driver.settle(long, Outcome::Success);
    assert_eq!(stage(&driver), Some(1));
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Admit,
    Settle(Outcome),
    Drop,
    Wait,
}

#[test]
fn no_sequence_of_acts_wedges_a_stage() {
    let acts = [
        Act::Admit,
        Act::Settle(Outcome::Success),
        Act::Settle(Outcome::Failure),
        Act::Settle(Outcome::Abandoned),
        Act::Drop,
        Act::Wait,
    ];
    for window in [Window::Consecutive(2), Window::Last(5)] {
        let config = strict(rates().window(window).minimum_calls(2).failure_rate(0.6));
        for acts in sequences(&acts, 6) {
            let mut driver = recovering(config.clone());
            let mut held = Vec::new();
            for &act in &acts {
                match act {
                    Act::Admit => held.extend(driver.admit().ok()),
                    Act::Settle(outcome) if !held.is_empty() => driver.settle(held.remove(0), outcome),
                    Act::Drop if !held.is_empty() => drop(held.remove(0)),
                    Act::Wait => driver.wait(secs(30)),
                    _ => {}
                }
            }
            drop(held);
            // From here on all is well: whatever time it takes, one call a minute closes the circuit.
            let mut calls = 0;
            while driver.snapshot().state != State::Closed {
                driver.wait(secs(60));
                driver.call(Outcome::Success);
                calls += 1;
                assert!(calls < 12, "after {acts:?}, {window:?}: {:?}", driver.snapshot());
            }
        }
    }
}

// ===== operators, live changes, shadow mode =====

#[test]
fn an_operator_takes_a_circuit_out_of_any_stage() {
    for (command, state) in [
        (mainstay_circuit_breaker::Circuit::isolate as fn(&_), State::Isolated),
        (mainstay_circuit_breaker::Circuit::disable, State::Disabled),
        (mainstay_circuit_breaker::Circuit::reset, State::Closed),
    ] {
        let driver = recovering(strict(rates()));
        let late = driver.take();
        command(&driver.circuit);
        let seen = driver.snapshot();
        assert_eq!((seen.state, seen.stage, seen.probes), (state, None, 0));
        driver.settle(late, Outcome::Failure);
        assert_eq!(driver.snapshot(), seen);
    }
}

#[test]
fn a_live_change_applies_to_the_present_stage_and_causes_no_transition() {
    let mut driver = recovering(strict(rates()));
    driver.call(Outcome::Success);
    driver.wait(secs(4));
    let before = driver.snapshot();

    driver.reconfigure(rates().gradual([NEVER, 0.5], secs(7)));
    assert_eq!((driver.snapshot().generation, driver.snapshot().votes), (before.generation, before.votes));
    assert_eq!(driver.admit().unwrap_err().retry_after(), Some(secs(3)), "from its start");
    driver.reconfigure(rates().gradual([ALWAYS], secs(7)));
    assert!(driver.admit().is_ok(), "the share too");

    driver.wait(secs(3));
    assert_eq!(driver.snapshot().state, State::Closed, "it was the last stage of the new settings");
}

#[test]
fn fewer_stages_than_have_been_passed_leave_the_last_share() {
    let mut driver = recovering(strict(rates()));
    for _ in 0..2 {
        driver.call(Outcome::Success);
        driver.wait(STAGE);
    }
    assert_eq!(stage(&driver), Some(2));
    driver.call(Outcome::Success);
    driver.reconfigure(rates().gradual([NEVER, ALWAYS], STAGE));
    assert!(driver.admit().is_ok());
    assert_eq!(stage(&driver), Some(2));
    driver.wait(STAGE);
    assert_eq!(driver.snapshot().state, State::Closed);
}

#[test]
fn a_stage_that_is_switched_off_is_the_last() {
    let mut driver = recovering(strict(rates()));
    driver.reconfigure(rates());
    assert_eq!((driver.state(), stage(&driver)), (State::Recovering, Some(0)));
    driver.call(Outcome::Success);
    assert_eq!(driver.admit().unwrap_err().retry_after(), Some(STAGE));
    driver.wait(STAGE);
    assert_eq!(driver.snapshot().state, State::Closed);
}

#[test]
fn votes_of_a_stage_start_again_when_their_rules_change() {
    let mut driver = recovering(strict(rates()));
    driver.call(Outcome::Success);
    driver.reconfigure(strict(rates()).failure_rate(0.6));
    assert_eq!(driver.snapshot().votes, counts(0, 0, 0));
    driver.wait(STAGE);
    assert_eq!(stage(&driver), Some(0));
    driver.call(Outcome::Success);
    assert_eq!(stage(&driver), Some(1));
}

#[test]
fn a_row_in_a_stage_starts_again_with_its_votes() {
    let config = Config::default().window(Window::Consecutive(3)).failure_rate(1.0).gradual([ALWAYS], STAGE);
    let driver = recovering(config.clone());
    driver.calls(2, Outcome::Failure);
    driver.reconfigure(config.failure_rate(0.9));
    driver.calls(2, Outcome::Failure);
    assert_eq!(driver.state(), State::Recovering);
    driver.call(Outcome::Failure);
    assert_eq!(driver.state(), State::Open);
}

#[test]
fn in_shadow_mode_a_stage_runs_and_refuses_nothing() {
    let mut driver = recovering(strict(rates()).shadow(true));
    let first = driver.take();
    let before = driver.snapshot().refused;
    driver.calls(100, Outcome::Failure);
    let seen = driver.snapshot();
    assert_eq!((seen.refused - before, seen.votes, seen.state), (100, counts(0, 0, 0), State::Recovering));
    driver.settle(first, Outcome::Success);
    driver.wait(STAGE);
    assert_eq!(stage(&driver), Some(1));
}

#[test]
fn stages_at_the_ends_of_their_ranges_work() {
    let sixteen: Vec<f64> = (1..=16).map(|share| f64::from(share) / 17.0).collect();
    for (shares, time) in [
        (vec![NEVER], NANO),
        (vec![ALWAYS], Duration::from_hours(24)),
        (sixteen.clone(), NANO),
        (sixteen, Duration::from_hours(24)),
    ] {
        let mut driver = recovering(rates().gradual(shares.clone(), time).probes(1));
        for _ in shares {
            driver.call(Outcome::Success);
            driver.now -= ms(1);
            assert_eq!(driver.snapshot().state, State::Recovering, "a clock that goes backwards is harmless");
            driver.wait(ms(1) + time);
            driver.snapshot();
        }
        assert_eq!(driver.state(), State::Closed);
    }
}

impl Driver {
    /// The next call that chance admits.
    fn take_some(&self) -> Permit {
        (0..1_000).find_map(|_| self.admit().ok()).expect("one of a thousand passes")
    }
}

// ===== a slow, obvious model =====

/// One recovering phase, told by definition. Which calls chance admits is the circuit's own affair.
struct Model {
    config: Config,
    generation: u64,
    number: usize,
    since: Instant,
    votes: Vec<Vote>,
    /// The probe that is out: the number of the call, and its deadline.
    probe: Option<(usize, Instant)>,
    end: Option<End>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Closed,
    Opened(Instant),
}

impl Model {
    fn bad(&self) -> bool {
        let of = u32::try_from(self.votes.len()).unwrap();
        let rate = |votes: usize| {
            of > 0 && f64::from(u32::try_from(votes).unwrap()) / f64::from(of) >= self.config.failure_rate
        };
        match self.config.window {
            Window::Consecutive(_) => self.votes.last().is_some_and(|vote| vote.failed),
            _ => rate(self.votes.iter().filter(|vote| vote.failed).count()),
        }
    }

    fn vote(&mut self, vote: Vote, at: Instant) {
        self.votes.push(vote);
        let row = self.votes.iter().rev().take_while(|vote| vote.failed).count();
        let probes = self.config.probes as usize;
        let opens = match self.config.window {
            Window::Consecutive(limit) => row >= probes.min(limit as usize),
            _ => vote.failed && self.bad() && self.votes.len() >= probes.min(self.config.minimum_calls as usize),
        };
        let minimum = probes.min(self.config.minimum_calls as usize);
        let has_rate = !matches!(self.config.window, Window::Consecutive(_));
        if opens {
            self.end = Some(End::Opened(at));
        } else if has_rate && self.bad() && self.votes.len() >= 2 * minimum {
            self.votes.clear();
        }
    }

    fn expire(&mut self, now: Instant) {
        if let Some((_, deadline)) = self.probe.filter(|(_, deadline)| *deadline <= now && self.end.is_none()) {
            self.probe = None;
            self.vote(Vote { failed: true, slow: false }, deadline);
        }
    }

    fn passed(&self, now: Instant) -> bool {
        now >= self.since + STAGE
    }

    fn look(&mut self, now: Instant) {
        self.expire(now);
        if self.end.is_none() && self.passed(now) && !self.votes.is_empty() && !self.bad() {
            self.generation += 1;
            self.number += 1;
            (self.since, self.probe) = (now, None);
            self.votes.clear();
            if self.number == self.config.gradual.as_ref().unwrap().shares.len() {
                self.end = Some(End::Closed);
            }
        }
    }

    fn has_to_admit(&self, now: Instant) -> bool {
        self.probe.is_none() && (self.votes.is_empty() || self.passed(now))
    }
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Admit,
    Settle(usize, Outcome),
    Drop(usize),
    Wait(u64),
    Look,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let outcomes = || {
        prop::sample::select(vec![
            Outcome::Success,
            Outcome::Success,
            Outcome::Success,
            Outcome::Failure,
            Outcome::Ignored,
            Outcome::Abandoned,
        ])
    };
    let event = prop_oneof![
        8 => Just(Event::Admit),
        8 => (any::<usize>(), outcomes()).prop_map(|(which, outcome)| Event::Settle(which, outcome)),
        1 => any::<usize>().prop_map(Event::Drop),
        6 => (0_u64..=12).prop_map(Event::Wait),
        2 => Just(Event::Look),
    ];
    prop::collection::vec(event, 20..120)
}

proptest! {
    #[test]
    fn does_what_the_model_does(
        window in prop_oneof![(1..=4_u32).prop_map(Window::Consecutive), (1..=9_u32).prop_map(Window::Last)],
        (minimum, probes, deadline) in (1..=4_u32, 1..=4_u32, 1..=25_u64),
        rate in prop::sample::select(vec![0.25, 0.5, 1.0]),
        shares in prop::sample::subsequence(vec![0.1, 0.5, 0.9], 1..=3),
        seed in any::<u64>(),
        events in events(),
    ) {
        let config = Config::default().window(window).minimum_calls(minimum).probes(probes).failure_rate(rate);
        let config = config.probe_deadline(secs(deadline)).gradual(shares, STAGE).seed(seed);
        let mut driver = recovering(config.clone());
        let generation = driver.snapshot().generation;
        let (since, votes) = (driver.now, Vec::new());
        let mut model = Model { config, generation, number: 0, since, votes, probe: None, end: None };
        let mut held = Vec::new();
        for (call, event) in events.into_iter().enumerate() {
            match event {
                Event::Admit => {
                    model.look(driver.now);
                    if model.end.is_some() {
                        break;
                    }
                    let has_to = model.has_to_admit(driver.now);
                    match driver.admit() {
                        Ok(permit) => {
                            prop_assert_eq!(permit.is_probe(), has_to);
                            if has_to {
                                model.probe = Some((call, driver.now + secs(deadline)));
                            }
                            held.push((call, model.generation, permit));
                        }
                        Err(refused) => {
                            let rest = (model.since + STAGE).saturating_duration_since(driver.now);
                            prop_assert!(!has_to);
                            prop_assert_eq!(refused.retry_after(), Some(rest).filter(|rest| !rest.is_zero()));
                        }
                    }
                }
                Event::Settle(which, outcome) if !held.is_empty() => {
                    let (call, generation, permit) = held.remove(which % held.len());
                    let is_probe = permit.is_probe();
                    driver.settle(permit, outcome);
                    model.expire(driver.now);
                    if model.end.is_none() && generation == model.generation {
                        let is_out = model.probe.is_some_and(|(out, _)| out == call);
                        if is_out {
                            model.probe = None;
                        }
                        let votes = matches!(outcome, Outcome::Success | Outcome::Failure) && (is_out || !is_probe);
                        if votes {
                            model.vote(Vote { failed: outcome == Outcome::Failure, slow: false }, driver.now);
                        }
                    }
                }
                Event::Drop(which) if !held.is_empty() => drop(held.remove(which % held.len())),
                Event::Wait(time) => driver.wait(secs(time)),
                Event::Look => {
                    model.look(driver.now);
                    driver.snapshot();
                }
                Event::Settle(..) | Event::Drop(_) => {}
            }
            if model.end.is_some() {
                break;
            }
            prop_assert_eq!(driver.state(), State::Recovering, "{:?}", event);
        }
        model.look(driver.now);
        let seen = driver.snapshot();
        match model.end {
            None => {
                let mut votes = Counts::default();
                model.votes.iter().for_each(|&vote| votes += vote.into());
                prop_assert_eq!((seen.state, seen.votes), (State::Recovering, votes));
                prop_assert_eq!((seen.stage.map(|stage| stage as usize), seen.generation), (Some(model.number), model.generation));
                prop_assert_eq!(seen.probes == 1, model.probe.is_some());
            }
            Some(End::Closed) => prop_assert_eq!(seen.state, State::Closed),
            Some(End::Opened(at)) => {
                let rest = (at + secs(30)).saturating_duration_since(driver.now);
                let expected = (State::Open, Some(rest).filter(|rest| !rest.is_zero()));
                prop_assert_eq!((seen.state, seen.retry_after), expected);
            }
        }
    }
}
