//! What the budget earns, pays and takes back.
#![expect(clippy::float_cmp, reason = "a balance is whole units, divided once")]
#![expect(clippy::unchecked_time_subtraction, reason = "of moments that are far enough from the first")]

use mainstay_core::Now;
use mainstay_retry::{Budget, BudgetConfig, BudgetSnapshot, Charge, NoBudget, Pay, Token};
use static_assertions::{assert_impl_all, assert_not_impl_any};
use std::{
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

assert_impl_all!(Budget: Send, Sync, Unpin);
assert_not_impl_any!(Budget: Clone);
assert_impl_all!(Token: Send, Sync, Unpin);
assert_not_impl_any!(Token: Clone);
assert_impl_all!(BudgetConfig: Send, Sync, Copy, PartialEq, Default);
assert_impl_all!(BudgetSnapshot: Send, Sync, Clone, PartialEq);
assert_impl_all!(Charge<Arc<Budget>>: Send, Sync, Unpin);
assert_not_impl_any!(Charge<Arc<Budget>>: Clone);
assert_impl_all!(Arc<Budget>: Pay);
assert_impl_all!(Rc<Budget>: Pay);
assert_impl_all!(&'static Budget: Pay);
assert_impl_all!(NoBudget: Pay, Copy, Send, Sync);

/// Any moment will do: only differences count.
fn start() -> Instant {
    tokio::time::Instant::now().into_std()
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// A clock that must not be read.
#[derive(Clone, Copy)]
struct Unread;

impl Now for Unread {
    fn now(self) -> Instant {
        panic!("the clock was read")
    }
}

fn empty() -> BudgetConfig {
    BudgetConfig::default().initial(0).cap(1_000_000)
}

fn budget(config: BudgetConfig) -> Budget {
    Budget::new_at(config, Unread).expect("the test means a valid configuration, without a reserve")
}

fn withdraw_all(budget: &Budget, now: impl Now + Copy) -> u64 {
    std::iter::from_fn(|| budget.withdraw(now)).take(2_000_000).map(drop).count() as u64
}

#[track_caller]
fn assert_balance(budget: &Budget, balance: f64) {
    let seen = budget.snapshot_at(Unread).balance;
    assert!((seen - balance).abs() < 1e-9, "{seen} instead of {balance}");
}

// ===== what it earns =====

#[test]
fn every_ratio_is_exact() {
    for (ratio, successes, retries) in [
        (0.6, 1_000, 600),
        (0.3, 1_000, 300),
        (0.4, 1_000, 400),
        (0.75, 1_000, 750),
        (0.9, 1_000, 900),
        (0.1, 10, 1),
        (0.1, 9, 0),
        (0.7, 10, 7),
        (1.0, 1_000, 1_000),
        (0.0, 1_000, 0),
        (0.51, 100, 51),
        (1.0 / 3.0, 1_000, 333),
        (2.0 / 3.0, 3, 2),
        (0.000_001, 999_999, 0),
        (0.000_001, 1_000_000, 1),
    ] {
        let budget = budget(empty().ratio(ratio));
        for _ in 0..successes {
            budget.deposit();
        }
        assert_eq!(withdraw_all(&budget, Unread), retries, "{ratio} of {successes}");
    }
}

#[test]
fn a_ratio_is_rounded_to_the_nearest_millionth() {
    for (ratio, of_ten_million) in [(0.000_001_4, 10.0), (0.000_001_6, 20.0), (0.333_333_6, 3_333_340.0)] {
        let budget = budget(empty().ratio(ratio).cap(u32::MAX));
        for _ in 0..10_000 {
            budget.deposit();
        }
        assert_balance(&budget, of_ten_million / 1_000.0);
    }
}

#[test]
fn what_is_earned_above_the_cap_is_lost() {
    let budget = budget(BudgetConfig::default().ratio(0.4).initial(2).cap(3));
    for balance in [2.4, 2.8, 3.0, 3.0] {
        budget.deposit();
        assert_balance(&budget, balance);
    }
    assert_eq!(withdraw_all(&budget, Unread), 3);
    assert_balance(&budget, 0.0);
}

#[test]
fn without_a_success_there_is_what_there_was_to_begin_with() {
    let budget = budget(BudgetConfig::default().initial(7));
    assert_eq!(withdraw_all(&budget, Unread), 7);
    assert!(budget.withdraw(Unread).is_none());
}

// ===== what it pays and takes back =====

#[test]
fn a_token_is_paid_whole_or_not_at_all() {
    let budget = budget(empty().ratio(0.999_999));
    budget.deposit();
    assert!(budget.withdraw(Unread).is_none());
    assert_balance(&budget, 0.999_999);
    budget.deposit();
    let _ = budget.withdraw(Unread).expect("nearly two tokens");
    assert_balance(&budget, 0.999_998);
}

#[test]
fn what_is_given_back_can_be_paid_again() {
    let budget = budget(BudgetConfig::default().initial(1));
    for _ in 0..3 {
        let token = budget.withdraw(Unread).expect("it was given back");
        assert!(budget.withdraw(Unread).is_none());
        budget.give_back(token);
    }
    let seen = budget.snapshot_at(Unread);
    assert_eq!((seen.withdrawn, seen.given_back, seen.exhausted), (3, 3, 3));
}

#[test]
fn giving_back_does_not_go_above_the_cap() {
    let budget = budget(BudgetConfig::default().ratio(1.0).initial(2).cap(2));
    let token = budget.withdraw(Unread).expect("there are two");
    budget.deposit();
    budget.give_back(token);
    assert_balance(&budget, 2.0);
    assert_eq!(withdraw_all(&budget, Unread), 2);
}

#[test]
fn a_charge_is_given_back_unless_it_was_spent() {
    let budget = Arc::new(budget(BudgetConfig::default().initial(2)));
    let spent = budget.charge().expect("there are two");
    let dropped = budget.charge().expect("there is one");
    assert!(budget.charge().is_none());
    spent.spend();
    assert_balance(&budget, 0.0);
    drop(dropped);
    assert_balance(&budget, 1.0);
    let seen = budget.snapshot_at(Unread);
    assert_eq!((seen.withdrawn, seen.given_back, seen.exhausted), (2, 1, 1));
}

#[test]
fn a_handle_deposits_in_the_budget() {
    let budget = Arc::new(budget(empty().ratio(0.5)));
    Pay::deposit(&budget);
    Pay::deposit(&budget.clone());
    assert_balance(&budget, 1.0);
}

#[test]
fn without_a_budget_all_is_paid() {
    let charges: Vec<_> = (0..1_000).map(|_| NoBudget.charge().expect("always")).collect();
    for charge in charges {
        charge.spend();
    }
    NoBudget.deposit();
    drop(NoBudget.charge());
}

// ===== shadow mode =====

#[test]
fn in_shadow_mode_all_is_paid_and_what_would_not_have_been_is_counted() {
    let budget = Arc::new(budget(BudgetConfig::default().ratio(0.5).initial(1).shadow(true)));
    for _ in 0..4 {
        budget.charge().expect("always").spend();
    }
    let seen = budget.snapshot_at(Unread);
    assert_eq!((seen.withdrawn, seen.exhausted), (1, 3));
    assert_balance(&budget, 0.0);

    budget.deposit();
    budget.deposit();
    budget.charge().expect("always").spend();
    assert_eq!(budget.snapshot_at(Unread).withdrawn, 2, "the balance is that of a budget that refuses");
}

#[test]
fn in_shadow_mode_nothing_is_given_back_that_was_not_taken() {
    let budget = Arc::new(budget(BudgetConfig::default().initial(1).shadow(true)));
    let charges = [budget.charge(), budget.charge(), budget.charge()];
    drop(charges);
    assert_balance(&budget, 1.0);
    let seen = budget.snapshot_at(Unread);
    assert_eq!((seen.withdrawn, seen.given_back, seen.exhausted), (1, 1, 2));
}

#[test]
fn what_was_not_taken_in_shadow_mode_is_not_given_back_after_it_either() {
    let budget = budget(BudgetConfig::default().initial(0).shadow(true));
    let token = budget.withdraw(Unread).expect("always");
    budget.reconfigure_at(BudgetConfig::default().initial(0), start()).expect("it is valid");
    budget.give_back(token);
    assert_balance(&budget, 0.0);
}

// ===== the reserve =====

fn with_reserve(rate: f64, now: Instant) -> Budget {
    Budget::new_at(empty().reserve_rate(rate), now).expect("it is valid")
}

#[test]
fn the_reserve_is_gained_with_time_alone() {
    let now = start();
    let budget = with_reserve(0.5, now);
    assert!(budget.withdraw(now).is_none());
    assert!(budget.withdraw(now + Duration::from_nanos(1_999_999_999)).is_none());
    assert!(budget.withdraw(now + secs(2)).is_some(), "and asking has cost nothing of it");
    assert!(budget.withdraw(now + secs(2)).is_none());
    assert_eq!(budget.snapshot_at(now + secs(5)).balance, 1.5);
}

#[test]
fn nothing_of_the_reserve_is_lost_by_asking_often() {
    let now = start();
    // A millionth of a token in a third of a second and a bit: each question finds less than there is room for.
    let budget = with_reserve(0.000_003, now);
    let often = (0..=10_000_000_u64).step_by(9).map(|micros| now + Duration::from_micros(micros));
    for moment in often {
        budget.snapshot_at(moment);
    }
    assert_eq!(budget.snapshot_at(now + secs(10)).balance, 0.000_03);
}

#[test]
fn after_ten_years_the_budget_is_full_and_no_more() {
    let now = start();
    let budget = Budget::new_at(BudgetConfig::default().initial(0).cap(5).reserve_rate(1_000_000.0), now).unwrap();
    let later = now + secs(10 * 365 * 24 * 3_600);
    assert_eq!(withdraw_all(&budget, later), 5);
    assert_eq!(budget.snapshot_at(later).balance, 0.0);
}

#[test]
fn the_farthest_moment_overflows_nothing() {
    let now = start();
    let far = (0..64).rev().map(|bit| secs(1 << bit)).fold(now, |far, step| far.checked_add(step).unwrap_or(far));
    let config = BudgetConfig::default().initial(0).cap(u32::MAX).reserve_rate(1_000_000.0);
    let budget = Budget::new_at(config, now).unwrap();
    assert_eq!(budget.snapshot_at(far).balance, f64::from(u32::MAX));
    assert!(budget.withdraw(far).is_some());
    assert!(budget.withdraw(now).is_some());
}

#[test]
fn a_clock_that_steps_back_gains_nothing() {
    let now = start() + secs(1_000);
    let budget = with_reserve(1.0, now);
    assert_eq!(budget.snapshot_at(now + secs(10)).balance, 10.0);
    for back in [9, 5, 1, 10] {
        assert_eq!(budget.snapshot_at(now + secs(10) - secs(back)).balance, 10.0);
        assert_eq!(budget.snapshot_at(now + secs(10)).balance, 10.0, "no second is gained twice");
    }
    assert_eq!(budget.snapshot_at(now + secs(11)).balance, 11.0);
}

#[test]
fn a_moment_before_the_first_is_harmless() {
    let now = start() + secs(1_000);
    let budget = with_reserve(1.0, now);
    assert!(budget.withdraw(now - secs(500)).is_none());
    assert_eq!(budget.snapshot_at(now + secs(1)).balance, 1.0);
}

// ===== another configuration =====

#[test]
fn reconfiguring_keeps_the_balance_up_to_the_new_cap() {
    let now = start();
    let budget = budget(BudgetConfig::default().initial(8).cap(10));
    budget.reconfigure_at(BudgetConfig::default().initial(1).cap(20), now).unwrap();
    assert_balance(&budget, 8.0);
    budget.reconfigure_at(BudgetConfig::default().initial(1).cap(5), now).unwrap();
    assert_balance(&budget, 5.0);
    budget.reconfigure_at(BudgetConfig::default().cap(20), now).unwrap();
    assert_balance(&budget, 5.0);
    assert_eq!(budget.config(), BudgetConfig::default().cap(20));
}

#[test]
fn another_ratio_is_that_of_later_successes() {
    let budget = budget(empty().ratio(0.1));
    budget.deposit();
    budget.reconfigure_at(empty().ratio(0.5), start()).unwrap();
    budget.deposit();
    assert_balance(&budget, 0.6);
}

#[test]
fn another_reserve_counts_from_the_moment_that_it_is_set() {
    let now = start();
    let budget = budget(empty());
    budget.reconfigure_at(empty().reserve_rate(2.0), now + secs(100)).unwrap();
    assert_eq!(budget.snapshot_at(now + secs(101)).balance, 2.0);
    // What the old one has gained since it was last asked is kept.
    budget.reconfigure_at(empty().reserve_rate(1.0), now + secs(102)).unwrap();
    assert_eq!(budget.snapshot_at(now + secs(103)).balance, 5.0);
    budget.reconfigure_at(empty(), now + secs(104)).unwrap();
    assert_balance(&budget, 6.0);
}

#[test]
fn a_reserve_switched_off_and_on_by_a_clock_that_went_back_gains_nothing_twice() {
    let now = start();
    let on = empty().cap(1_000).reserve_rate(1.0);
    let budget = Budget::new_at(on, now).unwrap();
    budget.reconfigure_at(on.reserve_rate(0.0), now + secs(100)).unwrap();
    assert_eq!(budget.snapshot_at(now + secs(90)).balance, 100.0);
    budget.reconfigure_at(on, now + secs(50)).unwrap();
    assert_eq!(budget.snapshot_at(now + secs(110)).balance, 110.0, "110 seconds at one a second");
}

#[test]
fn a_reserve_set_by_a_clock_that_went_back_gains_nothing_twice() {
    let now = start() + secs(1_000);
    let budget = with_reserve(1.0, now);
    assert_eq!(budget.snapshot_at(now + secs(10)).balance, 10.0);
    budget.reconfigure_at(empty().reserve_rate(2.0), now + secs(5)).unwrap();
    assert_eq!(budget.snapshot_at(now + secs(10)).balance, 10.0);
    assert_eq!(budget.snapshot_at(now + secs(11)).balance, 12.0);
}

#[test]
fn an_invalid_configuration_changes_nothing() {
    let budget = budget(BudgetConfig::default().name("a"));
    let before = budget.config();
    let error = budget.reconfigure_at(BudgetConfig::default().name("b"), start()).unwrap_err();
    assert_eq!(error.to_string(), "`name` is \"b\", allowed is \"a\", which it had");
    let error = budget.reconfigure_at(before.cap(0), start()).unwrap_err();
    assert_eq!(error.field(), "cap");
    assert_eq!(budget.config(), before);
    assert_balance(&budget, 10.0);
}

#[tokio::test(start_paused = true)]
async fn the_shell_takes_the_time_of_tokio() {
    let budget = Arc::new(Budget::new(empty().reserve_rate(1.0)).unwrap());
    assert!(budget.charge().is_none());
    tokio::time::advance(secs(1)).await;
    budget.charge().expect("a second has passed").spend();
    tokio::time::advance(secs(2)).await;
    assert_eq!(budget.snapshot().balance, 2.0);
    budget.reconfigure(empty().reserve_rate(2.0)).unwrap();
    tokio::time::advance(secs(1)).await;
    assert_eq!(budget.snapshot().balance, 4.0);
}

// ===== settings =====

#[test]
fn every_extreme_setting_is_refused_or_works() {
    let rates =
        [f64::NAN, f64::INFINITY, -f64::INFINITY, -0.0, 0.0, -0.1, 1e-7, 1e-6, 0.5, 1.0, 1.000_001, 1e6, 1e7, f64::MAX];
    let numbers = [0, 1, u32::MAX / 2, u32::MAX];
    let mut made = 0;
    for ratio in rates {
        for reserve in rates {
            for initial in numbers {
                for cap in numbers {
                    let config = BudgetConfig::default().ratio(ratio).reserve_rate(reserve).initial(initial).cap(cap);
                    made += u32::from(try_it(config));
                }
            }
        }
    }
    // 5 ratios, 7 rates, and of the pairs of numbers those with 0 < cap >= initial.
    assert_eq!(made, 5 * 7 * 9);
}

fn try_it(config: BudgetConfig) -> bool {
    let now = start() + secs(1_000);
    let Ok(budget) = Budget::new_at(config, now) else { return false };
    for (step, moment) in [now, now + secs(1), now - secs(999), now + secs(1 << 40)].into_iter().enumerate() {
        budget.deposit();
        if let Some(token) = budget.withdraw(moment).filter(|_| step % 2 == 0) {
            budget.give_back(token);
        }
        let seen = budget.snapshot_at(moment);
        assert!(seen.balance >= 0.0 && seen.balance <= f64::from(config.cap), "{config:?}");
    }
    true
}

#[test]
fn what_is_wrong_is_named_with_what_is_allowed() {
    let table = [
        (BudgetConfig::default().name(""), "`name` is \"\", allowed is 1 to 128 bytes"),
        (BudgetConfig::default().ratio(f64::NAN), "`ratio` is NaN, allowed is 0.0, or 0.000001 to 1.0"),
        (BudgetConfig::default().ratio(1e-7), "`ratio` is 1e-7, allowed is 0.0, or 0.000001 to 1.0"),
        (BudgetConfig::default().initial(11), "`initial` is 11, allowed is 0 to 10"),
        (BudgetConfig::default().cap(0).initial(0), "`cap` is 0, allowed is 1 to 4294967295"),
        (
            BudgetConfig::default().reserve_rate(-1.0),
            "`reserve_rate` is -1.0, allowed is 0.0, or 0.000001 to 1000000.0",
        ),
    ];
    for (config, message) in table {
        assert_eq!(Budget::new(config).unwrap_err().to_string(), message);
    }
}

#[test]
fn the_defaults_are_those_of_the_documentation() {
    let config = BudgetConfig::default();
    assert_eq!((config.name, config.ratio, config.initial, config.cap), ("retry-budget", 0.1, 10, 10));
    assert_eq!((config.reserve_rate, config.shadow), (0.0, false));
}

#[test]
fn nothing_allocates_once_it_has_been_made() {
    let budget = Arc::new(budget(BudgetConfig::default()));
    // With `metrics` the handles are made once.
    drop(budget.charge());
    let info = allocation_counter::measure(|| {
        for _ in 0..100 {
            budget.deposit();
            drop(budget.charge());
        }
        let _ = withdraw_all(&budget, Unread);
    });
    assert_eq!(info.count_total, 0);
}
