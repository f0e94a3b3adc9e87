//! The balance, the terms and the reserve, in every order that two threads can bring about.
//!
//! Each model names the results that the threads have when one goes after the other, or step by step. What they do at
//! once must have one of these results, and each of them must be met: a model that tries too few orders fails as well.

use crate::{Budget, BudgetConfig, Token};
use loom::{sync::Arc, thread};
use std::{
    collections::HashSet,
    fmt::Debug,
    hash::Hash,
    sync::Mutex,
    time::{Duration, Instant},
};

const SECOND: Duration = Duration::from_secs(1);

/// Runs the model in all orders; its results have to be these, no more and no fewer.
fn results_are<T, const N: usize>(expected: [T; N], model: impl Fn() -> T + Send + Sync + 'static)
where
    T: Debug + Eq + Hash + Send + 'static,
{
    // Of std, because it belongs to all runs together.
    let met = std::sync::Arc::new(Mutex::new(HashSet::new()));
    let results = met.clone();
    loom::model(move || {
        let result = model();
        results.lock().unwrap().insert(result);
    });
    assert_eq!(*met.lock().unwrap(), HashSet::from(expected));
}

fn start() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// One token to begin with, and room for two.
fn config() -> BudgetConfig {
    BudgetConfig::default().ratio(0.5).initial(1).cap(2)
}

fn empty() -> BudgetConfig {
    config().initial(0)
}

fn budget(config: BudgetConfig) -> Arc<Budget> {
    Arc::new(Budget::new_at(config, start()).unwrap())
}

fn is_paid(budget: &Budget) -> bool {
    budget.withdraw(start()).is_some()
}

/// In thousandths of a token.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few thousand")]
fn balance(budget: &Budget, now: Instant) -> u32 {
    (budget.snapshot_at(now).balance * 1_000.0).round() as u32
}

/// Runs both at once.
fn race<A: 'static, B>(
    budget: &Arc<Budget>,
    one: impl FnOnce(&Budget) -> A + 'static,
    other: impl FnOnce(&Budget) -> B,
) -> (A, B) {
    let shared = budget.clone();
    let thread = thread::spawn(move || one(&shared));
    let other = other(budget);
    (thread.join().unwrap(), other)
}

#[test]
fn loom_the_last_token_is_paid_once() {
    results_are([(true, false), (false, true)], || {
        let budget = budget(config());
        let paid = race(&budget, is_paid, is_paid);
        let seen = budget.snapshot_at(start());
        assert_eq!((seen.withdrawn, seen.exhausted, balance(&budget, start())), (1, 1, 0));
        paid
    });
}

#[test]
fn loom_two_deposits_are_both_there() {
    results_are([1_000], || {
        let budget = budget(empty());
        race(&budget, Budget::deposit, Budget::deposit);
        balance(&budget, start())
    });
}

#[test]
fn loom_a_deposit_makes_a_token_whole_before_it_is_taken_or_after() {
    results_are([(true, 0), (false, 1_000)], || {
        let budget = budget(empty());
        budget.deposit();
        let ((), paid) = race(&budget, Budget::deposit, is_paid);
        (paid, balance(&budget, start()))
    });
}

#[test]
fn loom_at_the_cap_a_deposit_is_lost_unless_a_token_is_taken_before() {
    results_are([0, 500], || {
        let budget = budget(config().cap(1));
        let ((), paid) = race(&budget, Budget::deposit, is_paid);
        assert!(paid);
        balance(&budget, start())
    });
}

#[test]
fn loom_what_is_given_back_is_there_for_one() {
    results_are([(true, 0), (false, 1_000)], || {
        let budget = budget(config());
        let token = budget.withdraw(start()).unwrap();
        let ((), paid) = race(&budget, |budget| budget.give_back(token), is_paid);
        (paid, balance(&budget, start()))
    });
}

#[test]
fn loom_giving_back_and_a_deposit_stay_under_the_cap() {
    results_are([1_000], || {
        let budget = budget(config().cap(1));
        let token = budget.withdraw(start()).unwrap();
        race(&budget, |budget| budget.give_back(token), Budget::deposit);
        balance(&budget, start())
    });
}

#[test]
fn loom_a_second_is_gained_once() {
    results_are([(true, false), (false, true)], || {
        let now = start();
        let budget = Arc::new(Budget::new_at(empty().reserve_rate(1.0), now).unwrap());
        let later = move |budget: &Budget| budget.withdraw(now + SECOND).is_some();
        let paid = race(&budget, later, later);
        assert_eq!(balance(&budget, now + SECOND), 0);
        paid
    });
}

#[test]
fn loom_what_another_thread_has_gained_is_there() {
    results_are([(true, true)], || {
        let now = start();
        let budget = Arc::new(Budget::new_at(empty().reserve_rate(1.0), now).unwrap());
        let paid = race(
            &budget,
            move |budget| budget.withdraw(now + SECOND).is_some(),
            |budget| budget.withdraw(now + 2 * SECOND).is_some(),
        );
        assert_eq!(balance(&budget, now + 2 * SECOND), 0);
        paid
    });
}

#[test]
fn loom_a_deposit_is_by_the_old_terms_or_by_the_new() {
    results_are([500, 250], || {
        let budget = budget(empty());
        let now = start();
        race(&budget, Budget::deposit, move |budget| budget.reconfigure_at(empty().ratio(0.25), now).unwrap());
        balance(&budget, now)
    });
}

#[test]
fn loom_under_a_lower_cap_there_is_never_more() {
    results_are([1_000], || {
        let budget = budget(config());
        let now = start();
        race(&budget, Budget::deposit, move |budget| budget.reconfigure_at(config().cap(1), now).unwrap());
        balance(&budget, now)
    });
}

#[test]
fn loom_what_the_reserve_gained_is_there_when_it_is_switched_off() {
    results_are([true], || {
        let now = start();
        let budget = Arc::new(Budget::new_at(empty().reserve_rate(1.0), now).unwrap());
        let (paid, ()) = race(
            &budget,
            move |budget| budget.withdraw(now + SECOND).is_some(),
            |budget| budget.reconfigure_at(empty(), now + SECOND).unwrap(),
        );
        paid
    });
}

#[test]
fn loom_in_shadow_mode_only_what_was_taken_is_given_back() {
    results_are([1_000], || {
        let budget = budget(config().shadow(true));
        let give_back = |budget: &Budget| {
            let token: Token = budget.withdraw(start()).unwrap();
            budget.give_back(token);
        };
        race(&budget, give_back, give_back);
        balance(&budget, start())
    });
}
