//! The circuits of many keys: each is its own, there are never too many, and none is forgotten that must not be.

mod support;

use allocation_counter::measure;
use mainstay_circuit_breaker::{Circuit, Circuits, Config, KeyedCircuit, KeyedConfig, OpenFor, Outcome, State, Window};
use proptest::prelude::*;
use std::{
    borrow::Borrow,
    cell::Cell,
    collections::{BTreeMap, HashMap},
    hash::{Hash, Hasher},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Barrier, Mutex},
    thread,
    time::{Duration, Instant},
};
use support::{just_under, ms, secs, start};

const IDLE: Duration = secs(600);

/// Opens at the third failure in a row, for a minute.
fn config() -> Config {
    Config::default().name("keyed").window(Window::Consecutive(3)).open_for(secs(60)).probes(1)
}

fn of(max_keys: u32) -> KeyedConfig {
    KeyedConfig::from(config()).max_keys(max_keys)
}

fn circuits<K>(config: impl Into<KeyedConfig>) -> Circuits<K> {
    Circuits::new(config).expect("the test means a valid configuration")
}

/// A call that takes no time; `None` if it was unguarded, and whether it was admitted otherwise.
fn call(circuits: &Circuits<u32>, key: u32, outcome: Outcome, now: Instant) -> Option<bool> {
    let circuit = circuits.get_at(&key, now)?;
    Some(call_of(&circuit, outcome, now))
}

fn call_of(circuit: &Circuit, outcome: Outcome, now: Instant) -> bool {
    circuit.admit(now).map(|permit| circuit.settle(permit, outcome, now)).is_ok()
}

fn calls(circuits: &Circuits<u32>, key: u32, times: u32, outcome: Outcome, now: Instant) {
    (0..times).for_each(|_| assert!(call(circuits, key, outcome, now).is_some()));
}

fn keys(circuits: &Circuits<u32>) -> Vec<u32> {
    let mut keys: Vec<_> = circuits.handles().map(|circuit| *circuit.key()).collect();
    keys.sort_unstable();
    keys
}

// ===== a circuit per key =====

#[test]
fn each_key_has_a_circuit_of_its_own() {
    let (circuits, now) = (circuits::<u32>(config()), start());
    calls(&circuits, 1, 3, Outcome::Failure, now);
    calls(&circuits, 2, 3, Outcome::Success, now);
    assert_eq!(call(&circuits, 1, Outcome::Success, now), Some(false));
    assert_eq!(call(&circuits, 2, Outcome::Success, now), Some(true));
    assert_eq!(circuits.peek(&1).unwrap().state(), State::Open);
    assert_eq!((circuits.len(), keys(&circuits)), (2, vec![1, 2]));
    let handle = circuits.get_at(&1, now).unwrap();
    assert_eq!((*handle.key(), handle.name()), (1, "keyed"));
}

#[test]
fn to_peek_makes_nothing() {
    let circuits = circuits::<u32>(config());
    assert!(circuits.peek(&1).is_none() && circuits.is_empty());
}

#[test]
fn a_key_is_looked_up_in_borrowed_form() {
    let (circuits, now) = (circuits::<String>(config()), start());
    assert!(circuits.get_at("a.example", now).is_some());
    assert!(circuits.peek("a.example").is_some() && circuits.peek(&String::from("a.example")).is_some());
    assert_eq!(circuits.len(), 1);
}

#[test]
fn operators_command_single_keys_and_see_all() {
    let (circuits, now) = (circuits::<u32>(config()), start());
    (0..5).for_each(|key| calls(&circuits, key, 1, Outcome::Success, now));
    circuits.peek(&3).unwrap().isolate();
    let seen: BTreeMap<_, _> = circuits.snapshots_at(now).map(|(circuit, seen)| (*circuit.key(), seen.state)).collect();
    let expected = (0..5).map(|key| (key, if key == 3 { State::Isolated } else { State::Closed })).collect();
    assert_eq!(seen, expected);
}

#[test]
fn fresh_circuits_have_the_settings_and_not_the_keys() {
    let (circuits, now) = (circuits::<u32>(KeyedConfig::from(config().seed(1)).max_keys(7).idle(secs(3))), start());
    calls(&circuits, 1, 3, Outcome::Failure, now);
    let fresh = circuits.fresh();
    assert!(fresh.is_empty());
    assert_eq!((fresh.config().max_keys, fresh.config().idle), (7, secs(3)));
    assert_ne!(fresh.config().circuit.seed, Some(1), "they must not jitter alike");
}

#[test]
fn of_one_seed_each_circuit_draws_its_own_and_all_are_the_same_in_the_next_run() {
    let seeds = |seed| {
        let (circuits, now) = (circuits::<u32>(config().seed(seed)), start());
        [1, 2, 3].map(|key| circuits.get_at(&key, now).unwrap().config().seed)
    };
    let first = seeds(1);
    assert_eq!(first, seeds(1));
    assert!(first != seeds(2) && first[0] != first[1] && first[1] != first[2] && first[0].is_some());
}

// ===== who may go =====

/// A circuit with this past must stay: for ever, or (`true`) until it was unused for the idle time and a minute.
fn stays(until_idle: bool, past: impl Fn(&Circuit, Instant)) {
    let (circuits, now) = (circuits::<u32>(of(1)), start());
    past(&circuits.get_at(&0, now).unwrap(), now);
    for (key, at) in (1..).zip([now, now + just_under(IDLE)]) {
        assert_eq!(call(&circuits, key, Outcome::Success, at), None, "there is no room");
        assert_eq!(keys(&circuits), [0]);
        assert_eq!((circuits.snapshot().unguarded, circuits.snapshot().evicted), (key.into(), 0));
    }
    let later = now + IDLE + secs(60);
    // Twice: a second chance.
    let _ = call(&circuits, 3, Outcome::Success, later);
    assert_eq!(call(&circuits, 3, Outcome::Success, later + IDLE).is_some(), until_idle);
    assert_eq!(keys(&circuits), [if until_idle { 3 } else { 0 }]);
}

#[test]
fn a_circuit_with_a_failure_counted_stays_until_it_is_idle() {
    stays(true, |circuit, now| assert!(call_of(circuit, Outcome::Failure, now)));
}

#[test]
fn a_circuit_with_an_abandoned_call_stays_until_it_is_idle() {
    stays(true, |circuit, now| assert!(call_of(circuit, Outcome::Abandoned, now)));
}

#[test]
fn a_circuit_with_a_slow_call_stays_until_it_is_idle() {
    let slow = config().window(Window::Last(10)).slow(ms(1), 1.0);
    let (circuits, now) = (circuits::<u32>(KeyedConfig::from(slow).max_keys(1)), start());
    let circuit = circuits.get_at(&0, now).unwrap();
    circuit.settle(circuit.admit(now).unwrap(), Outcome::Success, now + ms(2));
    drop(circuit);
    assert_eq!(call(&circuits, 1, Outcome::Success, now + just_under(IDLE)), None);
    assert_eq!(call(&circuits, 1, Outcome::Success, now + IDLE), Some(true));
}

#[test]
fn an_open_circuit_stays_and_one_whose_time_is_over_until_it_is_idle() {
    stays(true, |circuit, now| (0..3).for_each(|_| assert!(call_of(circuit, Outcome::Failure, now))));
    stays(false, |circuit, now| {
        circuit.reconfigure_at(config().open_for(OpenFor::Fixed(Duration::MAX)), now).unwrap();
        (0..3).for_each(|_| assert!(call_of(circuit, Outcome::Failure, now)));
    });
}

#[test]
fn an_open_circuit_that_is_idle_stays_as_long_as_it_refuses() {
    let long = KeyedConfig::from(config().open_for(IDLE * 2)).max_keys(1);
    let (circuits, now) = (circuits::<u32>(long), start());
    calls(&circuits, 0, 3, Outcome::Failure, now);
    for at in [IDLE, IDLE + secs(1), just_under(IDLE * 2)] {
        assert_eq!(call(&circuits, 1, Outcome::Success, now + at), None);
    }
    assert_eq!(call(&circuits, 1, Outcome::Success, now + IDLE * 2), Some(true));
}

#[test]
fn a_half_open_circuit_stays_until_it_is_idle() {
    stays(true, |circuit, now| {
        (0..3).for_each(|_| assert!(call_of(circuit, Outcome::Failure, now)));
        assert!(call_of(circuit, Outcome::Ignored, now + secs(60)));
        assert_eq!(circuit.state(), State::HalfOpen);
    });
}

#[test]
fn what_an_operator_has_said_stays() {
    stays(false, |circuit, _| circuit.isolate());
    stays(false, |circuit, _| circuit.disable());
}

#[test]
fn a_spotless_circuit_goes_at_once() {
    let (circuits, now) = (circuits::<u32>(of(1)), start());
    for key in 0..100 {
        assert_eq!(call(&circuits, key, Outcome::Success, now), Some(true));
        assert_eq!(keys(&circuits), [key]);
    }
    assert_eq!((circuits.snapshot().evicted, circuits.snapshot().unguarded), (99, 0));
}

#[test]
fn a_circuit_with_a_call_in_flight_or_another_handle_stays() {
    let (circuits, now) = (circuits::<u32>(of(1)), start());
    let handle = circuits.get_at(&0, now).unwrap();
    for at in [now, now + IDLE, now + IDLE * 10] {
        assert_eq!(call(&circuits, 1, Outcome::Success, at), None);
    }
    assert!(call_of(&handle, Outcome::Success, now + IDLE * 10));
    drop(handle);
    assert_eq!(call(&circuits, 1, Outcome::Success, now + IDLE * 10), Some(true));
}

#[test]
fn a_key_that_is_used_again_has_a_second_chance() {
    let (circuits, now) = (circuits::<u32>(of(2)), start());
    (0..2).for_each(|key| calls(&circuits, key, 1, Outcome::Success, now));
    calls(&circuits, 0, 1, Outcome::Success, now);
    calls(&circuits, 2, 1, Outcome::Success, now);
    assert_eq!(keys(&circuits), [0, 2], "the one that was used once had to go");
}

#[test]
fn idle_counts_from_when_the_hand_last_found_it_used() {
    let (circuits, now) = (circuits::<u32>(of(1)), start());
    calls(&circuits, 0, 1, Outcome::Failure, now);
    // Used half-way, which the hand sees at the next new key.
    let half = now + IDLE / 2;
    calls(&circuits, 0, 1, Outcome::Ignored, half);
    assert_eq!(call(&circuits, 1, Outcome::Success, half), None);
    assert_eq!(call(&circuits, 1, Outcome::Success, half + just_under(IDLE)), None);
    assert_eq!(call(&circuits, 1, Outcome::Success, half + IDLE), Some(true));
}

#[test]
fn the_hand_looks_at_no_more_than_eight_and_goes_on_next_time() {
    let (circuits, now) = (circuits::<u32>(of(20)), start());
    (0..20).for_each(|key| calls(&circuits, key, 1, if key == 17 { Outcome::Success } else { Outcome::Failure }, now));
    let found: Vec<_> = (0..3).map(|_| call(&circuits, 99, Outcome::Success, now).is_some()).collect();
    assert_eq!(found, [false, false, true], "after 8, 16 and 18 looks");
    assert_eq!(circuits.snapshot().unguarded, 2);
    assert!(circuits.peek(&17).is_none());

    for (spotless, found) in [(7, true), (8, false)] {
        let circuits = self::circuits::<u32>(of(20));
        let outcome = |key| if key == spotless { Outcome::Success } else { Outcome::Failure };
        (0..20).for_each(|key| calls(&circuits, key, 1, outcome(key), now));
        assert_eq!(call(&circuits, 99, Outcome::Success, now).is_some(), found, "slot {spotless}");
    }
}

#[test]
fn a_second_chance_is_given_in_a_table_of_one_too() {
    let (circuits, now) = (circuits::<u32>(of(1)), start());
    calls(&circuits, 0, 2, Outcome::Success, now);
    assert_eq!(call(&circuits, 1, Outcome::Success, now), None);
    assert_eq!(call(&circuits, 1, Outcome::Success, now), Some(true));
}

#[test]
fn to_peek_is_no_use() {
    let (circuits, now) = (circuits::<u32>(of(2)), start());
    (0..2).for_each(|key| calls(&circuits, key, 1, Outcome::Success, now));
    assert!(circuits.peek(&0).is_some());
    calls(&circuits, 2, 1, Outcome::Success, now);
    assert_eq!(keys(&circuits), [1, 2]);
}

#[test]
fn unguarded_calls_are_admitted_and_make_nothing() {
    let (circuits, now) = (circuits::<String>(of(1)), start());
    let handle = circuits.get_at("kept", now).unwrap();
    let info = measure(|| (0..1_000).for_each(|_| assert!(circuits.get_at("another", now).is_none())));
    assert_eq!(info.count_total, 0);
    assert_eq!((circuits.snapshot().unguarded, circuits.len()), (1_000, 1));
    drop(handle);
}

// ===== many keys that somebody makes up =====

#[test]
fn a_million_hostile_keys_change_nothing_for_a_hundred_honest_ones() {
    const HONEST: u32 = 100;
    const HOSTILE: u32 = 1_000_000;
    // In bytes: a thousand circuits and what finds them.
    const CEILING: u64 = 2_000_000;
    let now = start();
    let alone = circuits::<u32>(of(1_000));
    let honest = |circuits: &Circuits<u32>, round: u32, now: Instant| -> Vec<_> {
        (0..HONEST)
            .map(|key| {
                // Ten of them fail always, and are open most of the time; ten now and then.
                let fails = key % 10 == 0 || (key % 10 == 1 && round.is_multiple_of(3));
                let outcome = if fails { Outcome::Failure } else { Outcome::Success };
                let answer = call(circuits, key, outcome, now).expect("there is room");
                (answer, circuits.peek(&key).unwrap().state())
            })
            .collect()
    };
    let mut refused = 0;
    let info = measure(|| {
        let crowded = circuits::<u32>(of(1_000));
        for key in 0..HOSTILE {
            if key % 10_000 == 0 {
                let (round, now) = (key / 10_000, now + secs(key.into()) / 1_000);
                let (expected, seen) = (honest(&alone, round, now), honest(&crowded, round, now));
                assert_eq!(seen, expected, "round {round}");
                refused += seen.iter().filter(|answer| !answer.0).count();
            }
            let now = now + secs(key.into()) / 1_000;
            // Now and then one fails once, and thereby keeps its place for a while.
            let outcome = if key % 5_000 == 4_999 { Outcome::Failure } else { Outcome::Success };
            call(&crowded, HONEST + key, outcome, now);
            assert!(key % 1_000 != 0 || crowded.len() <= 1_000);
        }
        assert_eq!(crowded.len(), 1_000);
        assert!(crowded.snapshot().evicted > u64::from(HOSTILE / 2), "{:?}", crowded.snapshot());
    });
    assert!(refused > 500, "{refused}");
    assert!(info.bytes_max < CEILING, "{} bytes at most", info.bytes_max);
}

#[test]
fn hostile_keys_that_fail_fill_the_table_and_no_honest_key_is_refused() {
    let (circuits, now) = (circuits::<u32>(of(100)), start());
    calls(&circuits, 0, 3, Outcome::Failure, now);
    (1..10_000).for_each(|key| _ = call(&circuits, key, Outcome::Failure, now));
    assert_eq!(call(&circuits, 0, Outcome::Success, now), Some(false), "still open");
    assert_eq!(call(&circuits, 77_777, Outcome::Success, now), None, "unguarded, not refused");
    // All of them are forgotten when they are idle.
    let later = now + IDLE;
    (20_000..20_100).for_each(|key| _ = call(&circuits, key, Outcome::Success, later));
    assert_eq!(call(&circuits, 77_777, Outcome::Success, later), Some(true));
}

// ===== keys whose code does as it likes =====

/// All hashes are equal, and comparing and dropping calls back.
struct Rude {
    number: u32,
    circuits: Option<Arc<Circuits<Self>>>,
}

thread_local! {
    static BANG: Cell<Option<&'static str>> = const { Cell::new(None) };
}

fn bang(at: &'static str) {
    if BANG.get() == Some(at) {
        BANG.set(None);
        panic!("bang");
    }
}

impl Rude {
    fn visit(&self) {
        if let Some(circuits) = &self.circuits {
            // A lock that is held by this thread would not be had again.
            let _ = (circuits.len(), circuits.config(), circuits.fresh());
        }
    }
}

impl Clone for Rude {
    fn clone(&self) -> Self {
        bang("clone");
        self.visit();
        Self { number: self.number, circuits: self.circuits.clone() }
    }
}

impl PartialEq for Rude {
    fn eq(&self, other: &Self) -> bool {
        bang("eq");
        self.visit();
        self.number == other.number
    }
}

impl Eq for Rude {}

impl Hash for Rude {
    fn hash<H: Hasher>(&self, state: &mut H) {
        bang("hash");
        self.visit();
        state.write_u8(1);
    }
}

impl Drop for Rude {
    fn drop(&mut self) {
        self.visit();
        bang("drop");
    }
}

#[test]
fn no_code_of_a_key_runs_under_a_lock_and_equal_hashes_are_told_apart() {
    let (circuits, now) = (Arc::new(circuits::<Rude>(of(20))), start());
    let key = |number| Rude { number, circuits: Some(Arc::clone(&circuits)) };
    for round in 0..3 {
        for number in 0..20 {
            let circuit = circuits.get_at(&key(number), now).unwrap();
            assert_eq!(circuit.key().number, number);
            let expected = u64::from(number % 3 * round).min(3);
            assert_eq!(circuit.snapshot_at(now).votes.failed.min(3), expected.min(3), "{number}");
            (0..number % 3).for_each(|_| _ = call_of(&circuit, Outcome::Failure, now));
        }
        assert_eq!(circuits.len(), 20);
    }
    // From the middle of the twins those go that are spotless, and the others are still found.
    for number in 100..107 {
        let _ = circuits.get_at(&key(number), now);
    }
    for number in (0..20).filter(|number| number % 3 != 0) {
        assert_eq!(circuits.peek(&key(number)).unwrap().key().number, number);
    }
    let mut seen: Vec<_> = circuits.handles().map(|circuit| circuit.key().number).collect();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 20);
    assert!(seen.iter().all(|&number| circuits.peek(&key(number)).is_some()));
}

#[test]
fn twins_are_found_when_one_of_them_is_gone() {
    let (circuits, now) = (circuits::<Rude>(of(20)), start());
    let key = |number| Rude { number, circuits: None };
    for number in 0..20 {
        let outcome = if number % 4 == 1 { Outcome::Success } else { Outcome::Failure };
        assert!(call_of(&circuits.get_at(&key(number), now).unwrap(), outcome, now));
    }
    circuits.reconfigure_at(of(15), now).unwrap();
    assert_eq!(circuits.len(), 15);
    for number in 0..20 {
        assert_eq!(circuits.peek(&key(number)).is_some(), number % 4 != 1, "{number}");
    }
}

/// While it is copied, a key does something to the circuits that it is copied for.
struct Meddler(&'static dyn Fn());

impl PartialEq for Meddler {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Meddler {}

impl Hash for Meddler {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u8(1);
    }
}

impl Clone for Meddler {
    fn clone(&self) -> Self {
        (self.0)();
        Self(&|| ())
    }
}

#[test]
fn a_key_that_comes_while_it_is_made_is_not_made_twice() {
    let circuits: &'static Circuits<Meddler> = Box::leak(Box::new(circuits(of(5))));
    let now = start();
    let meddle: &'static _ = Box::leak(Box::new(move || {
        let faster = circuits.get_at(&Meddler(&|| ()), now).unwrap();
        assert!(call_of(&faster, Outcome::Failure, now));
    }));
    let circuit = circuits.get_at(&Meddler(meddle), now).unwrap();
    assert_eq!((circuits.len(), circuit.snapshot_at(now).votes.failed), (1, 1));
}

#[test]
fn a_circuit_that_is_made_while_the_settings_change_has_the_new_ones() {
    let circuits: &'static Circuits<Meddler> = Box::leak(Box::new(circuits(of(5))));
    let now = start();
    let later = || of(5).circuit(config().open_for(secs(7)));
    let meddle: &'static _ = Box::leak(Box::new(move || circuits.reconfigure_at(later(), now).unwrap()));
    let circuit = circuits.get_at(&Meddler(meddle), now).unwrap();
    assert_eq!(circuit.config(), later().circuit);
}

#[test]
fn the_place_that_was_free_may_be_taken_while_a_key_is_made() {
    let circuits: &'static Circuits<Busy> = Box::leak(Box::new(circuits(of(1))));
    let now = start();
    let circuit = circuits.get_at(&Busy(0, Some(Other(circuits))), now);
    assert!(circuit.is_none(), "the other key has it, with a failure counted");
    assert_eq!((circuits.len(), circuits.snapshot().unguarded), (1, 1));
}

/// While it is copied, another key comes and fails.
#[derive(PartialEq, Eq, Hash)]
struct Busy(u32, Option<Other>);

/// Equal to all others.
struct Other(&'static Circuits<Busy>);

impl PartialEq for Other {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Other {}

impl Hash for Other {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

impl Clone for Busy {
    fn clone(&self) -> Self {
        if let Some(Other(circuits)) = &self.1 {
            assert!(call_of(&circuits.get_at(&Self(1, None), start()).unwrap(), Outcome::Failure, start()));
        }
        Self(self.0, None)
    }
}

#[test]
fn a_key_that_panics_leaves_everything_working() {
    let (circuits, now) = (circuits::<Rude>(of(2)), start());
    let key = |number| Rude { number, circuits: None };
    let get = |number: u32, at| {
        let key = key(number);
        BANG.set(Some(at));
        let panicked = catch_unwind(AssertUnwindSafe(|| circuits.get_at(&key, now).is_some())).is_err();
        BANG.set(None);
        assert!(panicked, "{at}");
    };
    get(1, "hash");
    get(1, "clone");
    assert!(circuits.is_empty());
    assert!(circuits.get_at(&key(1), now).is_some());
    get(2, "eq");
    get(2, "clone");
    assert!(circuits.get_at(&key(2), now).is_some());
    assert_eq!(circuits.len(), 2);
    // The one that is evicted.
    get(3, "drop");
    assert!(circuits.get_at(&key(4), now).is_some());
    assert_eq!((circuits.len(), circuits.snapshot().unguarded), (2, 0));
}

// ===== settings =====

#[test]
fn settings_out_of_range_are_refused_by_name() {
    let now = start();
    for (config, field) in [
        (of(0), "max_keys"),
        (of(1_000_001), "max_keys"),
        (of(u32::MAX), "max_keys"),
        (of(1).idle(Duration::ZERO), "idle"),
        (of(1).circuit(config().failure_rate(2.0)), "failure_rate"),
        (of(1).circuit(config().name("")), "name"),
    ] {
        assert_eq!(Circuits::<u32>::new(config.clone()).unwrap_err().field(), field);
        let circuits = circuits::<u32>(of(3));
        assert_eq!(circuits.reconfigure_at(config, now).unwrap_err().field(), field);
        assert_eq!(circuits.config(), of(3), "nothing is changed");
    }
    let circuits = circuits::<u32>(of(3));
    assert_eq!(circuits.reconfigure_at(config().name("another"), now).unwrap_err().field(), "name");
}

#[test]
fn the_extremes_that_are_allowed_work() {
    let now = start();
    for config in [of(1).idle(Duration::from_nanos(1)), of(1_000_000).idle(Duration::MAX)] {
        let circuits = circuits::<u32>(config);
        for (key, at) in (0..100).zip(std::iter::successors(Some(now), |&at| Some(at + secs(1_000_000_000)))) {
            let _ = call(&circuits, key, Outcome::Failure, at);
        }
        assert!(circuits.len() <= circuits.config().max_keys as usize);
    }
}

#[test]
fn a_live_change_reaches_every_circuit_and_keeps_its_state() {
    let (circuits, now) = (circuits::<u32>(config().seed(5)), start());
    (0..100).for_each(|key| calls(&circuits, key, if key % 2 == 0 { 3 } else { 2 }, Outcome::Failure, now));
    let seeds: HashMap<_, _> = circuits.handles().map(|circuit| (*circuit.key(), circuit.config().seed)).collect();

    circuits.reconfigure_at(config().seed(5).window(Window::Consecutive(4)).open_for(secs(5)), now).unwrap();
    for (circuit, seen) in circuits.snapshots_at(now) {
        let (state, wait) = if circuit.key() % 2 == 0 { (State::Open, Some(secs(5))) } else { (State::Closed, None) };
        assert_eq!((seen.state, seen.retry_after), (state, wait));
        assert_eq!(circuit.config().window, Window::Consecutive(4));
        assert_eq!(circuit.config().seed, seeds[circuit.key()], "each keeps its own");
    }
    calls(&circuits, 1, 1, Outcome::Failure, now);
    assert_eq!(circuits.peek(&1).unwrap().state(), State::Closed);
    calls(&circuits, 1, 1, Outcome::Failure, now);
    assert_eq!(circuits.peek(&1).unwrap().state(), State::Open);
    assert_eq!(circuits.get_at(&1_000, now).unwrap().config().open_for, OpenFor::Fixed(secs(5)), "new ones too");

    circuits.reconfigure_at(config().seed(6), now).unwrap();
    let mut anew: Vec<_> = circuits.handles().map(|circuit| circuit.config().seed).collect();
    anew.sort_unstable();
    anew.dedup();
    assert_eq!(anew.len(), 101, "a seed for each, not one for all");
}

#[test]
fn with_fewer_keys_allowed_those_go_that_may() {
    let (circuits, now) = (circuits::<u32>(of(100)), start());
    (0..100).for_each(|key| calls(&circuits, key, 1, if key < 30 { Outcome::Failure } else { Outcome::Success }, now));
    circuits.reconfigure_at(of(50), now).unwrap();
    assert_eq!(circuits.len(), 50);
    circuits.reconfigure_at(of(10), now).unwrap();
    assert_eq!(keys(&circuits), (0..30).collect::<Vec<_>>(), "these must not");
    assert_eq!(call(&circuits, 200, Outcome::Success, now), None);
    for _ in 0..10 {
        let _ = call(&circuits, 200, Outcome::Success, now + IDLE);
    }
    assert_eq!(circuits.len(), 10, "they have gone when they were idle");
}

#[cfg(feature = "serde")]
#[test]
fn the_settings_are_read_from_a_file() {
    let written = "max_keys = 50\nidle = \"5m\"\n[circuit]\nname = \"keyed\"\nopen_for = \"60s\"\nprobes = 1\n";
    let read: KeyedConfig = toml::from_str(&format!("{written}[circuit.window]\nconsecutive = 3\n")).unwrap();
    assert_eq!(read, of(50).idle(secs(300)));
    assert_eq!(toml::from_str::<KeyedConfig>("").unwrap(), KeyedConfig::default());
    assert!(toml::from_str::<KeyedConfig>("keys = 3").is_err());
}

// ===== cost, metrics =====

#[test]
fn a_call_of_a_known_key_allocates_nothing() {
    for window in [Window::Consecutive(5), Window::Last(100), Window::Within(secs(10))] {
        let (circuits, now) = (circuits::<String>(config().window(window)), start());
        let hosts: Vec<_> = (0..100).map(|host| format!("host-{host}")).collect();
        let round = || {
            for host in &hosts {
                let circuit = circuits.get_at(host.as_str(), now).unwrap();
                assert!(call_of(&circuit, Outcome::Success, now));
                assert!(circuits.peek(host.as_str()).is_some());
            }
            assert_eq!(circuits.handles().count(), 100);
        };
        round();
        assert_eq!(measure(round).count_total, 0, "{window:?}");
    }
}

#[cfg(feature = "metrics")]
#[test]
fn ten_thousand_keys_make_no_more_series_than_one() {
    use metrics_util::debugging::{DebugValue, DebuggingRecorder};
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    metrics::with_local_recorder(&recorder, || {
        let (circuits, now) = (circuits::<u32>(of(100)), start());
        for key in 0..10_000 {
            // All of those before are idle.
            let now = now + IDLE * key;
            (0..3).for_each(|_| _ = call(&circuits, key, Outcome::Failure, now));
        }
        assert!(circuits.snapshot().evicted > 9_000, "{:?}", circuits.snapshot());
        let mut sum = 0.0;
        let series = snapshotter.snapshot().into_vec();
        // Six states, six transitions into them, one counter of refusals.
        assert!(series.len() <= 13, "{}", series.len());
        for (key, _, _, value) in series {
            for label in key.key().labels().filter(|label| label.key() == "circuit") {
                assert_eq!(label.value(), "keyed");
            }
            if let DebugValue::Gauge(value) = value {
                sum += value.into_inner();
            }
        }
        #[expect(clippy::cast_precision_loss, reason = "at most a hundred")]
        let keys = circuits.len() as f64;
        assert!((sum - keys).abs() < 1e-9, "the gauges count the circuits that are there: {sum} of {keys}");
    });
}

// ===== a naive model =====

#[derive(Clone, Copy, Debug)]
enum Step {
    Call(u32, Outcome),
    /// Takes a handle and keeps it.
    Hold(u32),
    Release(usize),
    Isolate(u32),
    Reset(u32),
    Wait(Duration),
    Limit(u32),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    const OUTCOMES: [Outcome; 4] = [Outcome::Success, Outcome::Failure, Outcome::Ignored, Outcome::Abandoned];
    let key = || 0_u32..14;
    let outcome = prop_oneof![4 => Just(Outcome::Success), 2 => prop::sample::select(OUTCOMES.to_vec())];
    let wait = prop_oneof![Just(ms(1)), Just(secs(59)), Just(secs(60)), Just(IDLE), Just(just_under(IDLE))];
    let step = prop_oneof![
        20 => (key(), outcome).prop_map(|(key, outcome)| Step::Call(key, outcome)),
        2 => key().prop_map(Step::Hold),
        2 => (0_usize..4).prop_map(Step::Release),
        1 => key().prop_map(Step::Isolate),
        1 => key().prop_map(Step::Reset),
        2 => wait.prop_map(Step::Wait),
        1 => (1_u32..12).prop_map(Step::Limit),
    ];
    prop::collection::vec(step, 0..150)
}

/// A circuit that nobody evicts, told the same.
struct Mirror {
    circuit: Circuit,
    used: Instant,
}

impl Mirror {
    /// The rule of the documentation.
    fn may_go(&self, held: bool, now: Instant) -> bool {
        let seen = self.circuit.snapshot_at(now);
        let refuses = match seen.state {
            State::Closed | State::HalfOpen => false,
            State::Open => seen.retry_after != Some(Duration::ZERO) && seen.retry_after.is_some(),
            _ => true,
        };
        let spotless = seen.state == State::Closed && seen.votes.failed == 0 && seen.abandoned == 0;
        !held && (spotless || (now.duration_since(self.used) >= IDLE && !refuses))
    }
}

proptest! {
    #[test]
    fn nothing_goes_that_must_not_and_there_are_never_too_many(steps in steps(), max in 1_u32..12) {
        let circuits = circuits::<u32>(of(max));
        let (mut now, mut max, mut most) = (start(), max as usize, max as usize);
        let mut mirrors = BTreeMap::<u32, Mirror>::new();
        let mut held: Vec<KeyedCircuit<u32>> = Vec::new();
        let (mut unguarded, mut evicted) = (0, 0);
        for step in steps {
            let mut new = None;
            match step {
                Step::Wait(time) => now += time,
                Step::Release(at) if at < held.len() => drop(held.swap_remove(at)),
                Step::Release(_) => {}
                Step::Limit(limit) => {
                    circuits.reconfigure_at(of(limit), now).unwrap();
                    max = limit as usize;
                    most = circuits.len().max(max);
                }
                Step::Isolate(key) => {
                    if let Some(circuit) = circuits.peek(&key) {
                        circuit.isolate();
                        mirrors[&key].circuit.isolate();
                    }
                }
                Step::Reset(key) => {
                    if let Some(circuit) = circuits.peek(&key) {
                        circuit.reset();
                        mirrors[&key].circuit.reset();
                    }
                }
                Step::Call(key, _) | Step::Hold(key) => {
                    let known = mirrors.contains_key(&key);
                    match circuits.get_at(&key, now) {
                        None => {
                            unguarded += 1;
                            prop_assert!(!known && circuits.len() >= max, "there was room");
                        }
                        Some(circuit) => new = Some((key, circuit, known)),
                    }
                }
            }
            // Before the call is made: what is gone must have been allowed to go as it was.
            let here = keys(&circuits);
            let gone: Vec<_> = mirrors.keys().copied().filter(|key| !here.contains(key)).collect();
            for key in gone {
                let mirror = mirrors.remove(&key).unwrap();
                let in_use = held.iter().any(|circuit| *circuit.key() == key);
                prop_assert!(mirror.may_go(in_use, now), "{} {:?}", key, mirror.circuit.snapshot_at(now));
                evicted += 1;
            }
            prop_assert!(here.len() <= most.max(max));
            most = here.len().max(max);
            if let Some((key, circuit, known)) = new {
                prop_assert_eq!(*circuit.key(), key);
                let mirror = mirrors.entry(key).or_insert_with(|| {
                    assert!(!known);
                    Mirror { circuit: Circuit::new_at(config(), now).unwrap(), used: now }
                });
                mirror.used = now;
                if let Step::Call(_, outcome) = step {
                    let (one, other) = (call_of(&circuit, outcome, now), call_of(&mirror.circuit, outcome, now));
                    prop_assert_eq!(one, other);
                } else {
                    held.push(circuit);
                }
            }
            for (key, mirror) in &mirrors {
                let circuit = circuits.peek(key).expect("the model has the keys that are there");
                prop_assert_eq!(circuit.snapshot_at(now), mirror.circuit.snapshot_at(now));
            }
            let seen = circuits.snapshot();
            prop_assert_eq!((seen.keys, seen.evicted, seen.unguarded), (mirrors.len(), evicted, unguarded));
        }
    }
}

// ===== threads =====

#[test]
fn two_threads_lose_no_vote_and_make_no_key_twice() {
    const CALLS: u32 = 20_000;
    let (circuits, now, begin) = (circuits::<u32>(config().window(Window::Last(1_000))), start(), Barrier::new(2));
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                begin.wait();
                (0..CALLS).for_each(|call_number| calls(&circuits, call_number % 200, 1, Outcome::Success, now));
            });
        }
    });
    assert_eq!(keys(&circuits), (0..200).collect::<Vec<_>>());
    for (_, seen) in circuits.snapshots_at(now) {
        assert_eq!(seen.votes.calls, u64::from(2 * CALLS / 200));
    }
}

#[test]
fn two_threads_under_pressure_keep_the_bound_and_what_must_be_kept() {
    let (circuits, now, begin) = (circuits::<u32>(of(50)), start(), Barrier::new(3));
    (0..20).for_each(|key| calls(&circuits, key, 3, Outcome::Failure, now));
    let admitted = Mutex::new(0);
    thread::scope(|scope| {
        for thread in 1..=2_u32 {
            let (circuits, begin, admitted) = (&circuits, &begin, &admitted);
            scope.spawn(move || {
                begin.wait();
                for number in 0..30_000 {
                    let _ = call(circuits, 1_000_000 * thread + number, Outcome::Success, now);
                    if call(circuits, number % 20, Outcome::Success, now) == Some(true) {
                        *admitted.lock().unwrap() += 1;
                    }
                }
            });
        }
        begin.wait();
        for wait in 0..200_u32 {
            circuits.reconfigure_at(of(50).circuit(config().open_for(secs(60 + u64::from(wait % 7)))), now).unwrap();
            assert!(circuits.len() <= 50);
            assert!(circuits.handles().count() <= 50);
        }
    });
    assert_eq!(admitted.into_inner().unwrap(), 0, "the open ones stayed open");
    assert!((0..20).all(|key| circuits.peek(&key).unwrap().state() == State::Open));
    let last = circuits.config().circuit.open_for;
    assert!(circuits.handles().all(|circuit| circuit.config().open_for == last), "all have the last settings");
}

#[test]
fn debug_shows_no_key() {
    let (circuits, now) = (circuits::<String>(config()), start());
    let circuit = circuits.get_at("hunter2", now).unwrap();
    let key: &str = circuit.key().borrow();
    for text in [format!("{circuits:?}"), format!("{circuit:?}"), format!("{:?}", circuits.handles())] {
        assert!(!text.contains(key), "{text}");
    }
}

#[test]
fn a_key_whose_drop_changes_the_settings_does_so() {
    use std::sync::{Arc, Mutex, OnceLock};

    static CIRCUITS: OnceLock<Circuits<Meddler>> = OnceLock::new();
    static TIMES: Mutex<u32> = Mutex::new(0);

    #[derive(Clone, PartialEq, Eq, Hash)]
    struct Meddler(u32, Arc<()>);

    impl Drop for Meddler {
        fn drop(&mut self) {
            if Arc::strong_count(&self.1) == 1
                && let Some(circuits) = CIRCUITS.get()
            {
                circuits.reconfigure_at(of(60), start()).unwrap();
                *TIMES.lock().unwrap() += 1;
            }
        }
    }

    let circuits = CIRCUITS.get_or_init(|| circuits(of(100)));
    for key in 0..50 {
        let key = Meddler(key, Arc::new(()));
        drop(circuits.get_at(&key, start()));
    }
    circuits.reconfigure_at(of(10), start()).unwrap();
    assert!(*TIMES.lock().unwrap() >= 40);
}

#[test]
fn a_configuration_that_waits_is_refused() {
    let config = Config::default().on_open(mainstay_circuit_breaker::OnOpen::Wait);
    assert_eq!(Circuits::<u32>::new(config).unwrap_err().field(), "circuit.on_open");
}
