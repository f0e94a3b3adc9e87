//! The provider's books: what was captured, and whether anybody paid twice.

use crate::recent::Recent;
use serde::Serialize;
use std::sync::{Arc, Mutex, PoisonError};

/// Receipts and purchases that are remembered; more than come in a minute at the highest rate.
const REMEMBERED: usize = 65_536;

/// The books of one provider.
#[derive(Clone, Debug)]
pub(crate) struct Books {
    ledger: Arc<Mutex<Ledger>>,
}

/// What stands in the books.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Balance {
    /// Amounts that were taken from somebody.
    pub(crate) captured: usize,
    /// Requests whose key was known: they were given the first receipt, and nothing was taken.
    pub(crate) repeated: usize,
    /// Amounts that were taken for a purchase that had been paid already.
    pub(crate) charged_twice: usize,
}

/// What the customer gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Receipt {
    pub(crate) receipt: usize,
    pub(crate) captured_cents: u64,
}

#[derive(Debug)]
struct Ledger {
    balance: Balance,
    receipts: Recent<String, Receipt>,
    /// What the auditor looks at: it does not trust the keys.
    purchases: Recent<String, ()>,
}

impl Books {
    pub(crate) fn new() -> Self {
        let (receipts, purchases) = (Recent::of(REMEMBERED), Recent::of(REMEMBERED));
        Self { ledger: Arc::new(Mutex::new(Ledger { balance: Balance::default(), receipts, purchases })) }
    }

    /// Takes an amount, unless that was done for this key already.
    ///
    /// The purchase is what the request belongs to, whatever its key: one visit of one customer.
    pub(crate) fn capture(&self, key: Option<&str>, purchase: Option<&str>, cents: u64) -> Receipt {
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        let key = key.map(str::to_owned);
        if let Some(first) = key.as_ref().and_then(|key| ledger.receipts.get(key)).copied() {
            ledger.balance.repeated += 1;
            return first;
        }
        ledger.balance.captured += 1;
        let receipt = Receipt { receipt: ledger.balance.captured, captured_cents: cents };
        if let Some(key) = key {
            ledger.receipts.insert(key, receipt);
        }
        ledger.audit(purchase);
        receipt
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
        assert_eq!(books.balance(), Balance { captured: 2, repeated: 1, charged_twice: 0 });
    }

    #[test]
    fn whoever_sends_no_key_or_another_one_pays_twice_and_the_auditor_sees_it() {
        let books = Books::new();
        for key in [Some("a"), None, Some("b")] {
            books.capture(key, Some("visit 1"), 500);
        }
        assert_eq!(books.balance(), Balance { captured: 3, repeated: 0, charged_twice: 2 });
    }
}
