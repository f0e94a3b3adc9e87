//! The budget against a slow and obvious account of it, and on many threads.
#![expect(clippy::float_cmp, reason = "a balance is whole units, divided once")]

use mainstay_retry::{Budget, BudgetConfig, BudgetSnapshot, Token};
use proptest::prelude::*;
use std::{
    sync::{
        Arc, Barrier,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

/// A token in the unit of the account.
const TOKEN: u128 = 1_000_000;

#[derive(Clone, Copy, Debug)]
enum Step {
    Deposit,
    Withdraw,
    /// Of the tokens that are out, this one.
    GiveBack(usize),
    Look,
    Later(Duration),
    Back(Duration),
    Reconfigure(Settings),
}

/// Settings in whole units, so that the account needs no float.
#[derive(Clone, Copy, Debug)]
struct Settings {
    ratio: u32,
    cap: u32,
    reserve: u32,
}

impl Settings {
    fn config(self) -> BudgetConfig {
        BudgetConfig::default()
            .ratio(f64::from(self.ratio) / 1e6)
            .cap(self.cap)
            .initial(0)
            .reserve_rate(f64::from(self.reserve) / 1e6)
    }
}

fn settings() -> impl Strategy<Value = Settings> {
    let ratio = prop_oneof![Just(0), Just(100_000), Just(600_000), 0..=1_000_000_u32];
    let reserve = prop_oneof![2 => Just(0), 1 => Just(1), 1 => 1..=3_000_000_u32];
    (ratio, 1..=20_u32, reserve).prop_map(|(ratio, cap, reserve)| Settings { ratio, cap, reserve })
}

fn step() -> impl Strategy<Value = Step> {
    let time = prop_oneof![
        (0..10_u64).prop_map(Duration::from_nanos),
        (0..2_000_000_000_u64).prop_map(Duration::from_nanos),
        (0..1_000_000_000_u64).prop_map(Duration::from_secs),
    ];
    prop_oneof![
        6 => Just(Step::Deposit),
        6 => Just(Step::Withdraw),
        2 => any::<usize>().prop_map(Step::GiveBack),
        1 => Just(Step::Look),
        3 => time.clone().prop_map(Step::Later),
        1 => time.prop_map(Step::Back),
        1 => settings().prop_map(Step::Reconfigure),
    ]
}

/// All that ever came in and went out, never rounded but where a gain becomes whole units.
struct Account {
    settings: Settings,
    balance: u128,
    /// The right side of the bound, in units and in units / 10^9.
    earned: u128,
    gained: u128,
    /// What of `gained` has been added to the balance, in units.
    added: u128,
    /// The latest moment of a reserve, or of a change of the settings.
    latest: Option<Instant>,
    out: u64,
}

impl Account {
    fn new(settings: Settings, initial: u32, now: Instant) -> Self {
        let initial = u128::from(initial) * TOKEN;
        let latest = (settings.reserve > 0).then_some(now);
        Self { settings, balance: initial, earned: initial, gained: 0, added: 0, latest, out: 0 }
    }

    fn cap(&self) -> u128 {
        u128::from(self.settings.cap) * TOKEN
    }

    fn add(&mut self, units: u128) {
        self.balance = (self.balance + units).min(self.cap());
    }

    fn pass(&mut self, now: Instant) {
        // Without a reserve nobody looks at the time.
        let Some(latest) = self.latest.filter(|_| self.settings.reserve > 0) else { return };
        let past = now.saturating_duration_since(latest);
        self.latest = Some(latest.max(now));
        self.gained += past.as_nanos() * u128::from(self.settings.reserve);
        let whole = self.gained / 1_000_000_000;
        self.add(whole - self.added);
        self.added = whole;
    }

    fn deposit(&mut self) {
        self.earned += u128::from(self.settings.ratio);
        self.add(self.settings.ratio.into());
    }

    fn withdraw(&mut self) -> bool {
        let is_paid = self.balance >= TOKEN;
        if is_paid {
            self.balance -= TOKEN;
            self.out += 1;
        }
        is_paid
    }

    fn give_back(&mut self) {
        self.out -= 1;
        self.add(TOKEN);
    }

    fn reconfigure(&mut self, settings: Settings, now: Instant) {
        self.latest = self.latest.max(Some(now));
        self.settings = settings;
        self.add(0);
    }

    fn is_within_bound(&self) -> bool {
        u128::from(self.out) * TOKEN <= self.earned + self.gained / 1_000_000_000
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn the_budget_is_the_account(
        first in settings(),
        initial in 0..=20_u32,
        steps in prop::collection::vec((0..4_usize, step()), 1..200),
    ) {
        let mut now = tokio::time::Instant::now().into_std() + Duration::from_secs(1 << 32);
        let initial = initial.min(first.cap);
        let budget = Arc::new(Budget::new_at(first.config().initial(initial), now).unwrap());
        let clones: [_; 4] = std::array::from_fn(|_| budget.clone());
        let mut account = Account::new(first, initial, now);
        let mut tokens = Vec::<Token>::new();
        for (clone, step) in steps {
            let budget = &clones[clone];
            match step {
                Step::Deposit => {
                    budget.deposit();
                    account.deposit();
                }
                Step::Withdraw => {
                    account.pass(now);
                    let token = budget.withdraw(now);
                    prop_assert_eq!(token.is_some(), account.withdraw());
                    tokens.extend(token);
                }
                Step::GiveBack(_) if tokens.is_empty() => {}
                Step::GiveBack(at) => {
                    let token = tokens.swap_remove(at % tokens.len());
                    budget.give_back(token);
                    account.give_back();
                }
                Step::Look => account.pass(now),
                Step::Later(time) => now += time,
                Step::Back(time) => now = now.checked_sub(time).unwrap_or(now),
                Step::Reconfigure(settings) => {
                    account.pass(now);
                    budget.reconfigure_at(settings.config(), now).unwrap();
                    account.reconfigure(settings, now);
                }
            }
            prop_assert!(account.is_within_bound());
            if matches!(step, Step::Look | Step::Withdraw | Step::Reconfigure(_)) {
                let seen = budget.snapshot_at(now);
                #[expect(clippy::cast_precision_loss, reason = "few tokens")]
                let balance = account.balance as f64 / 1e6;
                prop_assert_eq!(seen.balance, balance);
                prop_assert_eq!(seen.withdrawn - seen.given_back, account.out);
            }
        }
    }
}

/// What the threads have done; counted so that the bound holds for every reading of it.
#[derive(Default)]
struct Ledger {
    /// Before the deposit.
    deposits: AtomicU64,
    /// After the withdrawal.
    withdrawn: AtomicU64,
    /// Before it is given back.
    given_back: AtomicU64,
}

const THREADS: usize = 4;
const ROUNDS: u32 = 100_000;

fn work(thread: usize, budget: &Budget, ledger: &Ledger, now: Instant) {
    let mut random = thread as u64;
    for _ in 0..ROUNDS {
        // Knuth's generator: any will do.
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        match random >> 62 {
            0 | 1 => {
                ledger.deposits.fetch_add(1, SeqCst);
                budget.deposit();
            }
            choice => {
                if let Some(token) = budget.withdraw(now) {
                    ledger.withdrawn.fetch_add(1, SeqCst);
                    if choice == 2 {
                        ledger.given_back.fetch_add(1, SeqCst);
                        budget.give_back(token);
                    }
                }
            }
        }
    }
}

/// Runs threads against one budget, watches the bound meanwhile, and returns what they did.
fn run(config: BudgetConfig, ratio: u64) -> (BudgetSnapshot, Ledger) {
    let now = tokio::time::Instant::now().into_std();
    let budget = Arc::new(Budget::new_at(config, now).unwrap());
    let ledger = Ledger::default();
    let done = AtomicBool::new(false);
    // Together, or the first would be done before the last has started.
    let barrier = Barrier::new(THREADS);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (budget, ledger, barrier) = (&budget, &ledger, &barrier);
                scope.spawn(move || {
                    barrier.wait();
                    work(thread, budget, ledger, now);
                })
            })
            .collect();
        scope.spawn(|| {
            while !done.load(SeqCst) {
                thread::yield_now();
                // In this order: what is read later can only make the right side larger.
                let withdrawn = ledger.withdrawn.load(SeqCst) * 1_000_000;
                let given_back = ledger.given_back.load(SeqCst) * 1_000_000;
                let earned = u64::from(config.initial) * 1_000_000 + ratio * ledger.deposits.load(SeqCst);
                assert!(withdrawn <= earned + given_back, "{withdrawn} {earned} {given_back}");
            }
        });
        for worker in workers {
            worker.join().unwrap();
        }
        done.store(true, SeqCst);
    });
    (budget.snapshot_at(now), ledger)
}

#[test]
fn threads_keep_the_bound_at_every_moment() {
    let (seen, ledger) = run(BudgetConfig::default().ratio(0.3), 300_000);
    assert!(seen.withdrawn == ledger.withdrawn.into_inner() && seen.exhausted > 0, "{seen:?}");
}

#[test]
fn threads_lose_nothing_that_is_not_above_the_cap() {
    let (seen, ledger) = run(BudgetConfig::default().ratio(0.3).initial(5).cap(1_000_000), 300_000);
    let [deposits, withdrawn, given_back] =
        [ledger.deposits, ledger.withdrawn, ledger.given_back].map(AtomicU64::into_inner);
    assert_eq!((seen.withdrawn, seen.given_back), (withdrawn, given_back));
    let units = 5_000_000 + 300_000 * deposits + 1_000_000 * given_back - 1_000_000 * withdrawn;
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let balance = units as f64 / 1e6;
    assert_eq!(seen.balance, balance);
}
