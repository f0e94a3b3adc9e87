//! Why a sliding log on a store must decide in one step: what becomes of one that removes, counts and adds, as three commands,
//! with the time as the member of a sorted set.
//!
//! The store is a model; every order in which it can get the commands of its callers is tried.

use mainstay_rate_limit::{Limiter, Quota, Rule};
use std::{collections::BTreeMap, time::Duration};

const LIMIT: usize = 3;
const PERIOD: u64 = 60_000;

/// A sorted set: members, each with a score.
#[derive(Clone, Default)]
struct Store {
    set: BTreeMap<String, u64>,
}

impl Store {
    fn remove_until(&mut self, score: u64) {
        self.set.retain(|_, other| *other > score);
    }

    fn count(&self) -> usize {
        self.set.len()
    }

    fn add(&mut self, member: String, score: u64) {
        self.set.insert(member, score);
    }
}

/// One call on its way. The store runs one command at a time.
#[derive(Clone)]
struct Call {
    at: u64,
    commands: fn(&mut Store, &mut Self),
    step: usize,
    counted: usize,
    admitted: Option<bool>,
}

impl Call {
    fn new(at: u64, commands: fn(&mut Store, &mut Self)) -> Self {
        Self { at, commands, step: 0, counted: 0, admitted: None }
    }
}

/// The next of three commands.
fn three_commands(store: &mut Store, call: &mut Call) {
    match call.step {
        0 => store.remove_until(call.at - PERIOD),
        1 => call.counted = store.count(),
        _ if call.counted < LIMIT => {
            store.add(call.at.to_string(), call.at);
            call.admitted = Some(true);
        }
        _ => call.admitted = Some(false),
    }
    call.step += 1;
}

/// A script, which the store runs at once; the member is a number that it gives to each.
fn one_script(store: &mut Store, call: &mut Call) {
    store.remove_until(call.at - PERIOD);
    let admitted = store.count() < LIMIT;
    if admitted {
        let number = store.set.len();
        store.add(format!("{}-{number}", call.at), call.at);
    }
    call.admitted = Some(admitted);
}

/// How many are admitted, for each order in which the commands can come.
fn orders(store: &Store, calls: &[Call]) -> Vec<usize> {
    let unsettled: Vec<_> = (0..calls.len()).filter(|call| calls[*call].admitted.is_none()).collect();
    if unsettled.is_empty() {
        return vec![calls.iter().filter(|call| call.admitted == Some(true)).count()];
    }
    let next = |call: usize| {
        let (mut store, mut calls) = (store.clone(), calls.to_vec());
        let commands = calls[call].commands;
        commands(&mut store, &mut calls[call]);
        orders(&store, &calls)
    };
    unsettled.into_iter().flat_map(next).collect()
}

/// With room for one.
fn nearly_full() -> Store {
    let mut store = Store::default();
    (1..LIMIT).for_each(|n| store.add(format!("earlier-{n}"), PERIOD));
    store
}

#[test]
fn last_place_is_given_to_both_in_twelve_of_twenty_orders() {
    let calls = [Call::new(PERIOD + 1, three_commands), Call::new(PERIOD + 2, three_commands)];
    let admitted = orders(&nearly_full(), &calls);
    assert_eq!((admitted.len(), admitted.iter().filter(|admitted| **admitted == 2).count()), (20, 12));
}

#[test]
fn however_many_callers_they_can_all_get_the_last_place() {
    let calls: Vec<_> = (1..=3).map(|n| Call::new(PERIOD + n, three_commands)).collect();
    assert_eq!(orders(&nearly_full(), &calls).into_iter().max(), Some(3));
}

#[test]
fn hundred_calls_in_one_millisecond_count_as_one() {
    let mut store = Store::default();
    let admitted = (0..100).filter(|_| {
        // One after the other: nobody races.
        let mut call = Call::new(PERIOD, three_commands);
        (0..3).for_each(|_| three_commands(&mut store, &mut call));
        call.admitted == Some(true)
    });
    assert_eq!(admitted.count(), 100);
    assert_eq!(store.count(), 1);
}

#[test]
fn script_admits_the_limit_in_every_order_and_in_one_millisecond() {
    let calls: Vec<_> = (0..5).map(|_| Call::new(PERIOD, one_script)).collect();
    assert!(orders(&nearly_full(), &calls).into_iter().all(|admitted| admitted == 1));
    assert!(orders(&Store::default(), &calls).into_iter().all(|admitted| admitted == LIMIT));
}

#[test]
fn clock_of_a_caller_that_is_ahead_empties_the_log_even_of_a_script() {
    let mut store = Store::default();
    (1..=LIMIT).for_each(|n| store.add(format!("earlier-{n}"), PERIOD));
    let mut admitted_at = |at| {
        let mut call = Call::new(at, one_script);
        one_script(&mut store, &mut call);
        call.admitted
    };
    // It is `PERIOD + 1`, and two callers come; the clock of the second is ahead by a period.
    assert_eq!([PERIOD + 1, 2 * PERIOD + 1].map(&mut admitted_at), [Some(false), Some(true)]);
    assert_eq!(store.count(), 1, "whatever counted is gone");
}

#[test]
fn log_of_this_crate_admits_the_limit_in_one_moment_whoever_asks() {
    let quota = Quota::new(LIMIT as u64, Duration::from_millis(PERIOD)).unwrap();
    let now = tokio::time::Instant::now().into_std();
    let limiter = Limiter::new_at(Rule::sliding_log(quota), now).unwrap();
    let admitted: usize = std::thread::scope(|scope| {
        let threads = [(); 4].map(|()| scope.spawn(|| (0..25).filter(|_| limiter.check_at(now).allowed).count()));
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(admitted, LIMIT);
}
