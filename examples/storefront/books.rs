//! The provider's books: what was captured and given back, and whether anybody paid twice.

use crate::{recent::Recent, wire::REMEMBERED};
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex, PoisonError};

/// The books of one provider.
#[derive(Clone, Debug)]
pub(crate) struct Books {
    ledger: Arc<Mutex<Ledger>>,
}

/// What stands in the books.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Balance {
    /// Amounts that were taken from somebody.
    pub(crate) captured: usize,
    /// Requests whose key was known: they were given the first receipt, and nothing was taken.
    pub(crate) repeated: usize,
    /// Amounts that were taken for a purchase that had been paid already.
    pub(crate) charged_twice: usize,
    pub(crate) captured_cents: u64,
    /// Amounts that were given back.
    pub(crate) refunded: usize,
    pub(crate) refunded_cents: u64,
}

/// What the customer gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Receipt {
    pub(crate) receipt: usize,
    pub(crate) captured_cents: u64,
}

/// What became of a key.
#[derive(Clone, Copy, Debug)]
enum Charge {
    Taken(Receipt),
    /// Nothing is taken for it any more.
    GivenBack,
}

#[derive(Debug)]
struct Ledger {
    balance: Balance,
    charges: Recent<String, Charge>,
    /// What the auditor looks at: it does not trust the keys.
    purchases: Recent<String, ()>,
}

impl Books {
    pub(crate) fn new() -> Self {
        let (charges, purchases) = (Recent::of(REMEMBERED), Recent::of(REMEMBERED));
        Self { ledger: Arc::new(Mutex::new(Ledger { balance: Balance::default(), charges, purchases })) }
    }

    /// Takes an amount, unless that was done for this key already. `None` if it was given back.
    ///
    /// The purchase is what the request belongs to, whatever its key: one visit of one customer.
    pub(crate) fn capture(&self, key: Option<&str>, purchase: Option<&str>, cents: u64) -> Option<Receipt> {
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        let key = key.map(str::to_owned);
        match key.as_ref().and_then(|key| ledger.charges.get(key)).copied() {
            Some(Charge::Taken(first)) => {
                ledger.balance.repeated += 1;
                return Some(first);
            }
            Some(Charge::GivenBack) => return None,
            None => {}
        }
        ledger.balance.captured += 1;
        ledger.balance.captured_cents += cents;
        let receipt = Receipt { receipt: ledger.balance.captured, captured_cents: cents };
        if let Some(key) = key {
            ledger.charges.insert(key, Charge::Taken(receipt));
        }
        ledger.audit(purchase);
        Some(receipt)
    }

    /// Gives back what was taken for a key, once, and says how much that was. From then on nothing is taken for this key, also
    /// if nothing was before: the request for it may still be on its way.
    pub(crate) fn refund(&self, key: &str) -> u64 {
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(charge) = ledger.charges.get_mut(&key.to_owned()) else {
            ledger.charges.insert(key.to_owned(), Charge::GivenBack);
            return 0;
        };
        let Charge::Taken(receipt) = std::mem::replace(charge, Charge::GivenBack) else { return 0 };
        ledger.balance.refunded += 1;
        ledger.balance.refunded_cents += receipt.captured_cents;
        receipt.captured_cents
    }

    pub(crate) fn balance(&self) -> Balance {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner).balance
    }
}

impl Ledger {
    fn audit(&mut self, purchase: Option<&str>) {
        let Some(purchase) = purchase.map(str::to_owned) else { return };
        if self.purchases.get(&purchase).is_some() {
            self.balance.charged_twice += 1;
        } else {
            self.purchases.insert(purchase, ());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_key_gets_the_first_receipt_and_takes_nothing() {
        let books = Books::new();
        let first = books.capture(Some("a"), Some("visit 1"), 500);
        assert_eq!(books.capture(Some("a"), Some("visit 1"), 900), first);
        assert_ne!(books.capture(Some("b"), Some("visit 2"), 500), first);
        let balance = Balance { captured: 2, repeated: 1, captured_cents: 1_000, ..Balance::default() };
        assert_eq!(books.balance(), balance);
    }

    #[test]
    fn whoever_sends_no_key_or_another_one_pays_twice_and_the_auditor_sees_it() {
        let books = Books::new();
        for key in [Some("a"), None, Some("b")] {
            books.capture(key, Some("visit 1"), 500);
        }
        let balance = Balance { captured: 3, charged_twice: 2, captured_cents: 1_500, ..Balance::default() };
        assert_eq!(books.balance(), balance);
    }

    #[test]
    fn what_is_given_back_is_given_back_once_and_never_taken_again() {
        let books = Books::new();
        books.capture(Some("a"), None, 500);
        assert_eq!([books.refund("a"), books.refund("a")], [500, 0]);
        assert_eq!(books.capture(Some("a"), None, 500), None);

        // The refund has overtaken the capture.
        assert_eq!(books.refund("b"), 0);
        assert_eq!(books.capture(Some("b"), None, 500), None);

        let balance = books.balance();
        assert_eq!((balance.captured, balance.captured_cents), (1, 500));
        assert_eq!((balance.refunded, balance.refunded_cents), (1, 500));
    }
}
