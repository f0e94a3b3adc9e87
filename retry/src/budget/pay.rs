//! How a policy pays.

use super::{Budget, core::Token};
use crate::clock::Clock;
use std::ops::Deref;

/// How a policy pays for what it sends again: from a [`Budget`], or from [`NoBudget`].
///
/// It is implemented for every handle to a budget, so for `Arc<Budget>` and for `&'static Budget`; a policy asks for nothing
/// but this.
///
/// # Examples
///
/// ```
/// use mainstay_retry::{Budget, BudgetConfig, Pay};
/// use std::sync::Arc;
///
/// let budget = Arc::new(Budget::new(BudgetConfig::default().initial(2))?);
///
/// let started = budget.charge().expect("there are two tokens");
/// let cancelled = budget.charge().expect("and this is the second");
/// assert!(budget.charge().is_none());
///
/// started.spend();
/// drop(cancelled);
/// assert_eq!(budget.snapshot().balance, 1.0);
/// # Ok::<(), mainstay_core::InvalidConfig>(())
/// ```
pub trait Pay: Clone {
    /// Earns what one call earns that ended well.
    fn deposit(&self);

    /// Pays for one attempt more; `None` if it cannot be paid.
    fn pay(&self) -> Option<Token>;

    /// Returns what was paid for an attempt that never started.
    fn refund(&self, token: Token);

    /// Pays for one attempt more, and takes it back unless the attempt [is made](Charge::spend); `None` if it cannot be paid.
    fn charge(&self) -> Option<Charge<Self>> {
        let token = self.pay()?;
        Some(Charge { payer: self.clone(), token: Some(token) })
    }
}

impl<H: Deref<Target = Budget> + Clone> Pay for H {
    #[inline]
    fn deposit(&self) {
        Budget::deposit(self);
    }

    fn pay(&self) -> Option<Token> {
        Budget::withdraw(self, Clock)
    }

    fn refund(&self, token: Token) {
        Budget::give_back(self, token);
    }
}

/// No budget: every retry and every hedge is paid.
///
/// It fits where something else bounds the load: a queue that is short and refuses, a rate limit, one call in a batch job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NoBudget;

impl Pay for NoBudget {
    #[inline]
    fn deposit(&self) {}

    fn pay(&self) -> Option<Token> {
        Some(Token::FREE)
    }

    fn refund(&self, _token: Token) {}
}

/// Pays like the handle inside, and earns nothing: for every policy but the outermost that pays from one budget in one stack.
///
/// A call that ends well passes each of them on its way out. If each earned, that one success would count as many times, and
/// the ratio with it.
///
/// ```
/// use mainstay_core::Error;
/// use mainstay_retry::{Budget, BudgetConfig, Config, HedgeConfig, HedgeLayer, RetryLayer, SpendOnly};
/// use std::sync::Arc;
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let budget = Arc::new(Budget::new(BudgetConfig::default().initial(0).ratio(0.25))?);
/// let prices = ServiceBuilder::new()
///     .layer(RetryLayer::new(Config::default())?.idempotent().budget(Arc::clone(&budget)))
///     .layer(HedgeLayer::new(HedgeConfig::default())?.idempotent().budget(SpendOnly(Arc::clone(&budget))))
///     .service(service_fn(async |id: u32| Ok::<_, Error<std::io::Error>>(id * 3)));
///
/// prices.oneshot(7).await?;
/// assert_eq!(budget.snapshot().balance, 0.25, "once");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct SpendOnly<P>(pub P);

impl<P: Pay> Pay for SpendOnly<P> {
    #[inline]
    fn deposit(&self) {}

    fn pay(&self) -> Option<Token> {
        self.0.pay()
    }

    fn refund(&self, token: Token) {
        self.0.refund(token);
    }
}

/// What was paid for an attempt that has not started yet; given back when dropped.
///
/// It is taken when the attempt is decided on, and so counts while the attempt still waits: those that leave a wait together
/// have all been paid. A call that is cancelled in the wait, or that cannot start its attempt, has cost nothing.
#[derive(Debug)]
#[must_use = "a charge that is dropped is given back"]
pub struct Charge<B: Pay> {
    payer: B,
    /// Until it is spent.
    token: Option<Token>,
}

impl<B: Pay> Charge<B> {
    /// The attempt starts: what was paid for it is gone.
    pub fn spend(mut self) {
        self.token = None;
    }
}

impl<B: Pay> Drop for Charge<B> {
    fn drop(&mut self) {
        if let Some(token) = self.token.take() {
            self.payer.refund(token);
        }
    }
}
