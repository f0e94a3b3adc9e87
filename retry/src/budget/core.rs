//! The budget: the balance, what it earns, what it pays.

use super::{BudgetConfig, bucket::Bucket, bucket::TOKEN, observe::Metrics, reserve::Reserve, terms::Terms};
use crate::{
    clock::Clock,
    sync::{AtomicU64, Mutex, MutexGuard, Ordering},
};
use mainstay_core::{InvalidConfig, Now};
use std::{fmt, sync::PoisonError};

/// What retries and hedges are paid from, so that they cannot bury a service that is in trouble.
///
/// Each success earns a share of a token, each retry and each hedge costs a whole one. It is shared, by an `Arc` or as a
/// `&'static`, by everything that calls the same service: the clones of a layer, several layers, retries and hedges.
///
/// # The bound
///
/// At every moment, in whatever order the threads come:
///
/// ```text
/// withdrawn - given back <= initial + ratio * deposits + reserve_rate * elapsed
/// ```
///
/// For the balance is the right side minus the left side, minus what was lost at the cap, and it is never negative: a token
/// is taken whole or not at all, in one exchange. Giving back cannot break this. It returns to the balance at most the one
/// token that this very withdrawal took, which is why it asks for the [`Token`]; at the cap it returns less.
///
/// # Cost
///
/// [`deposit`](Self::deposit), the only thing that a healthy call does, takes no lock, reads no clock and writes nothing while
/// the budget is full. [`withdraw`](Self::withdraw) takes a short lock and reads the time only if there is a
/// [reserve](BudgetConfig::reserve_rate).
///
/// # Examples
///
/// ```
/// use mainstay_retry::{Budget, BudgetConfig};
///
/// let now = tokio::time::Instant::now().into_std();
/// let budget = Budget::new_at(BudgetConfig::default().initial(1).ratio(0.5), now)?;
///
/// let token = budget.withdraw(now).expect("there is one to begin with");
/// assert!(budget.withdraw(now).is_none());
///
/// // The retry never started.
/// budget.give_back(token);
/// assert!(budget.withdraw(now).is_some());
///
/// budget.deposit();
/// assert!(budget.withdraw(now).is_none(), "one success is half a token");
/// budget.deposit();
/// assert!(budget.withdraw(now).is_some());
/// # Ok::<(), mainstay_core::InvalidConfig>(())
/// ```
pub struct Budget {
    bucket: Bucket,
    /// A copy of what the configuration says, as [`Terms`].
    terms: AtomicU64,
    withdrawn: AtomicU64,
    given_back: AtomicU64,
    exhausted: AtomicU64,
    settings: Mutex<Settings>,
    name: &'static str,
    metrics: Metrics,
}

#[derive(Debug)]
struct Settings {
    config: BudgetConfig,
    reserve: Reserve,
}

/// What was paid for one retry or hedge; a plain token.
///
/// It belongs to the budget that gave it, and is [given back](Budget::give_back) there if what it paid for never starts.
/// Dropped, it is spent. Given to another budget, it makes money there that was never earned; a [`Charge`](crate::Charge), which
/// gives it back by itself, cannot.
#[derive(Debug)]
#[must_use = "a token that is dropped is spent"]
pub struct Token {
    /// Not if the budget had nothing and is in shadow mode, or there is no budget.
    is_paid: bool,
}

impl Token {
    pub(super) const FREE: Self = Self { is_paid: false };
}

/// A budget at one moment.
///
/// The numbers are read one after the other, so calls in between may be in one and not yet in another.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct BudgetSnapshot {
    /// The configured name.
    pub name: &'static str,
    /// The tokens that can be withdrawn now; a whole one is needed.
    pub balance: f64,
    /// Tokens withdrawn since the budget was made.
    pub withdrawn: u64,
    /// Those of them that were given back.
    pub given_back: u64,
    /// Withdrawals that were refused. In shadow mode, those that would have been.
    pub exhausted: u64,
}

impl Budget {
    /// A budget with its initial tokens. With a reserve, its first moment is that of tokio's clock.
    ///
    /// # Errors
    ///
    /// If a setting is out of its range; the error names both.
    pub fn new(config: BudgetConfig) -> Result<Self, InvalidConfig> {
        Self::new_at(config, Clock)
    }

    /// A budget with its initial tokens, whose first moment is `now`; it is read only if there is a reserve.
    ///
    /// # Errors
    ///
    /// If a setting is out of its range; the error names both.
    pub fn new_at(config: BudgetConfig, now: impl Now) -> Result<Self, InvalidConfig> {
        config.check()?;
        let terms = Terms::new(&config);
        let since = terms.has_reserve().then(|| now.now());
        let reserve = Reserve::new(config.units_per_second(), since);
        Ok(Self {
            bucket: Bucket::new(u64::from(config.initial) * TOKEN),
            terms: AtomicU64::new(terms.word()),
            withdrawn: AtomicU64::new(0),
            given_back: AtomicU64::new(0),
            exhausted: AtomicU64::new(0),
            settings: Mutex::new(Settings { config, reserve }),
            name: config.name,
            metrics: Metrics::new(config.name),
        })
    }

    /// Earns the share of one success: of a call that ended well, at whichever attempt.
    ///
    /// One deposit per call and not per attempt: what failed earns nothing, so a service in trouble stops paying for the
    /// retries that it is sent.
    #[inline]
    pub fn deposit(&self) {
        let terms = self.terms();
        self.bucket.add(terms.earned(), terms.cap());
    }

    /// Takes a token, if there is a whole one; in shadow mode always.
    ///
    /// `now` is read only if there is a reserve. A moment before one that was seen gains nothing.
    pub fn withdraw(&self, now: impl Now) -> Option<Token> {
        let terms = self.terms();
        self.accrue(terms, now);
        let token = if self.bucket.take(terms.cap()) { Some(self.paid()) } else { self.exhausted(terms) };
        self.metrics.balance(self.bucket.units(terms.cap()));
        token
    }

    /// Returns what a retry or hedge has cost that never started; up to the cap.
    #[expect(clippy::needless_pass_by_value, reason = "a token is given back once")]
    pub fn give_back(&self, token: Token) {
        if !token.is_paid {
            return;
        }
        let cap = self.terms().cap();
        self.bucket.add(TOKEN, cap);
        // Relaxed: a counter.
        self.given_back.fetch_add(1, Ordering::Relaxed);
        self.metrics.balance(self.bucket.units(cap));
    }

    /// The budget as it is now, by tokio's clock, which is read only if there is a reserve.
    pub fn snapshot(&self) -> BudgetSnapshot {
        self.snapshot_at(Clock)
    }

    /// The budget as it is `now`; it is read only if there is a reserve.
    pub fn snapshot_at(&self, now: impl Now) -> BudgetSnapshot {
        let terms = self.terms();
        self.accrue(terms, now);
        let units = self.bucket.units(terms.cap());
        self.metrics.balance(units);
        BudgetSnapshot {
            name: self.name,
            balance: tokens(units),
            // Relaxed, all three: counters.
            withdrawn: self.withdrawn.load(Ordering::Relaxed),
            given_back: self.given_back.load(Ordering::Relaxed),
            exhausted: self.exhausted.load(Ordering::Relaxed),
        }
    }

    /// The configured name.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The present configuration.
    pub fn config(&self) -> BudgetConfig {
        self.lock().config
    }

    /// Takes another configuration from now on by tokio's clock, as [`reconfigure_at`](Self::reconfigure_at).
    ///
    /// # Errors
    ///
    /// If a setting is out of its range, or the name is another one; then nothing is changed.
    pub fn reconfigure(&self, config: BudgetConfig) -> Result<(), InvalidConfig> {
        self.reconfigure_at(config, Clock)
    }

    /// Takes another configuration from `now` on and keeps the balance, up to the new cap.
    ///
    /// [`initial`](BudgetConfig::initial) says nothing any more. A deposit on another thread at the same time may still be
    /// by the old ratio.
    ///
    /// # Errors
    ///
    /// If a setting is out of its range, or the name is another one; then nothing is changed.
    pub fn reconfigure_at(&self, config: BudgetConfig, now: impl Now) -> Result<(), InvalidConfig> {
        config.check()?;
        if config.name != self.name {
            return Err(InvalidConfig::new("name", config.name, format!("{:?}, which it had", self.name)));
        }
        let now = now.now();
        let terms = Terms::new(&config);
        let mut settings = self.lock();
        let gained = settings.reserve.gain(now);
        // By the old cap: what lies above it, after that was lowered, is gone for good.
        self.bucket.add(gained, self.terms().cap());
        settings.reserve.set_rate(config.units_per_second(), now);
        settings.config = config;
        // Release: who sees that there is no reserve any more also sees what it has gained.
        self.terms.store(terms.word(), Ordering::Release);
        Ok(())
    }

    /// Takes the metrics recorder that is installed now, if the budget has met another one before.
    #[cfg(feature = "metrics")]
    #[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
    pub fn rebind_metrics(&self) {
        self.metrics.rebind();
    }

    /// Adds what the reserve has gained.
    fn accrue(&self, terms: Terms, now: impl Now) {
        if terms.has_reserve() {
            // Read before the lock is taken.
            let now = now.now();
            let mut settings = self.lock();
            let gained = settings.reserve.gain(now);
            // Still under the lock, or one who finds nothing more to gain could come before what was gained is there.
            self.bucket.add(gained, self.terms().cap());
        }
    }

    fn paid(&self) -> Token {
        // Relaxed: a counter.
        self.withdrawn.fetch_add(1, Ordering::Relaxed);
        Token { is_paid: true }
    }

    #[cold]
    fn exhausted(&self, terms: Terms) -> Option<Token> {
        // Relaxed: a counter.
        self.exhausted.fetch_add(1, Ordering::Relaxed);
        self.metrics.exhausted();
        terms.is_shadow().then_some(Token::FREE)
    }

    #[inline]
    fn terms(&self) -> Terms {
        // Acquire: with the terms comes the balance that was made for them.
        Terms::from_word(self.terms.load(Ordering::Acquire))
    }

    fn lock(&self) -> MutexGuard<'_, Settings> {
        // Nothing foreign runs under the lock, so a panic there would be a bug of ours; other calls go on all the same.
        self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let terms = self.terms();
        let balance = tokens(self.bucket.units(terms.cap()));
        f.debug_struct("Budget").field("name", &self.name).field("balance", &balance).finish_non_exhaustive()
    }
}

#[expect(clippy::cast_precision_loss, reason = "at most 2^32 tokens of 10^6 units, which is below 2^53")]
pub(super) fn tokens(units: u64) -> f64 {
    units as f64 / TOKEN as f64
}
