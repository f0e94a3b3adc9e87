//! What there is to sell, and for whom it is kept.

use crate::{recent::Recent, services::catalog::PRODUCTS, wire};
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex, PoisonError};

/// More than customers ask for in any run.
const PLENTY: i64 = 10_000;

/// The stock of one inventory.
#[derive(Clone, Debug)]
pub(crate) struct Stock {
    shelves: Arc<Mutex<Shelves>>,
}

/// What stands in the inventory's books.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StockLedger {
    /// Pieces at the beginning, and pieces that are neither sold nor kept for somebody.
    pub(crate) initial: i64,
    pub(crate) left: i64,
    /// The fewest pieces that any product ever had left.
    pub(crate) lowest: i64,
    /// Reservations that are neither released nor confirmed, those that were released, and those that were sold.
    pub(crate) open: usize,
    pub(crate) released: usize,
    pub(crate) confirmed: usize,
}

impl StockLedger {
    /// Whether every piece is accounted for.
    pub(crate) fn adds_up(&self) -> bool {
        let gone = i64::try_from(self.open + self.confirmed);
        gone.is_ok_and(|gone| self.left + gone == self.initial)
    }
}

/// Why it is not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    OutOfStock,
    /// There is no such product.
    Unknown,
    /// What was released is not reserved or confirmed any more.
    Released,
    /// What is sold is not released.
    Confirmed,
    /// Nothing was reserved.
    NotReserved,
}

#[derive(Debug)]
struct Shelves {
    ledger: StockLedger,
    left: Vec<i64>,
    /// By the key that it was asked for with.
    reservations: Recent<String, Reservation>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reservation {
    Open { product: usize },
    Released,
    Confirmed,
}

/// Of a few products there is one piece: they run out, so that some orders are rejected.
const fn pieces(product: u32) -> i64 {
    if product % 200 == 50 { 1 } else { PLENTY }
}

impl Stock {
    pub(crate) fn new() -> Self {
        let left: Vec<_> = (1..=PRODUCTS).map(pieces).collect();
        let initial = left.iter().sum();
        let ledger = StockLedger { initial, left: initial, ..StockLedger::default() };
        let reservations = Recent::of(wire::REMEMBERED);
        Self { shelves: Arc::new(Mutex::new(Shelves { ledger, left, reservations })) }
    }

    /// Keeps one piece, unless that was done for this key already.
    pub(crate) fn reserve(&self, key: &str, product: u32) -> Result<(), Refusal> {
        self.with(|shelves| match shelves.reservations.get(&key.to_owned()) {
            Some(Reservation::Open { .. } | Reservation::Confirmed) => Ok(()),
            Some(Reservation::Released) => Err(Refusal::Released),
            None => shelves.take(key, product),
        })
    }

    /// Puts back what was reserved with this key. If nothing was, nothing ever will be: the request may be on its way.
    pub(crate) fn release(&self, key: &str) -> Result<(), Refusal> {
        self.with(|shelves| {
            let Some(reservation) = shelves.reservations.get_mut(&key.to_owned()) else {
                shelves.reservations.insert(key.to_owned(), Reservation::Released);
                return Ok(());
            };
            match *reservation {
                Reservation::Released => Ok(()),
                Reservation::Confirmed => Err(Refusal::Confirmed),
                Reservation::Open { product } => {
                    *reservation = Reservation::Released;
                    shelves.left[product] += 1;
                    shelves.ledger.left += 1;
                    shelves.ledger.open -= 1;
                    shelves.ledger.released += 1;
                    Ok(())
                }
            }
        })
    }

    /// Sells what was reserved with this key.
    pub(crate) fn confirm(&self, key: &str) -> Result<(), Refusal> {
        self.with(|shelves| {
            let reservation = shelves.reservations.get_mut(&key.to_owned()).ok_or(Refusal::NotReserved)?;
            match *reservation {
                Reservation::Confirmed => Ok(()),
                Reservation::Released => Err(Refusal::Released),
                Reservation::Open { .. } => {
                    *reservation = Reservation::Confirmed;
                    shelves.ledger.open -= 1;
                    shelves.ledger.confirmed += 1;
                    Ok(())
                }
            }
        })
    }

    pub(crate) fn ledger(&self) -> StockLedger {
        self.with(|shelves| shelves.ledger)
    }

    fn with<T>(&self, act: impl FnOnce(&mut Shelves) -> T) -> T {
        act(&mut self.shelves.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Shelves {
    fn take(&mut self, key: &str, product: u32) -> Result<(), Refusal> {
        let product = usize::try_from(product).ok().and_then(|number| number.checked_sub(1)).ok_or(Refusal::Unknown)?;
        let left = self.left.get_mut(product).ok_or(Refusal::Unknown)?;
        if *left == 0 {
            return Err(Refusal::OutOfStock);
        }
        *left -= 1;
        self.ledger.lowest = self.ledger.lowest.min(*left);
        self.ledger.left -= 1;
        self.ledger.open += 1;
        self.reservations.insert(key.to_owned(), Reservation::Open { product });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_piece_is_kept_for_one_and_comes_back() {
        let stock = Stock::new();
        assert_eq!([stock.reserve("a", 50), stock.reserve("a", 50)], [Ok(()); 2], "the same reservation");
        assert_eq!(stock.reserve("b", 50), Err(Refusal::OutOfStock));
        assert_eq!([stock.release("a"), stock.release("a")], [Ok(()); 2], "put back once");
        assert_eq!(stock.reserve("b", 50), Ok(()));
        assert_eq!(stock.reserve("c", 50), Err(Refusal::OutOfStock));

        let ledger = stock.ledger();
        assert_eq!((ledger.open, ledger.released, ledger.confirmed, ledger.lowest), (1, 1, 0, 0));
        assert_eq!(ledger.left, ledger.initial - 1);
    }

    #[test]
    fn what_is_released_before_it_is_reserved_is_never_reserved() {
        let stock = Stock::new();
        assert_eq!(stock.release("a"), Ok(()));
        assert_eq!(stock.reserve("a", 1), Err(Refusal::Released));
        assert_eq!(stock.confirm("a"), Err(Refusal::Released));
        assert_eq!(stock.ledger().left, stock.ledger().initial);
    }

    #[test]
    fn what_is_sold_is_sold_once_and_not_put_back() {
        let stock = Stock::new();
        assert_eq!(stock.confirm("a"), Err(Refusal::NotReserved));
        stock.reserve("a", 1).unwrap();
        assert_eq!([stock.confirm("a"), stock.confirm("a"), stock.reserve("a", 1)], [Ok(()); 3]);
        assert_eq!(stock.release("a"), Err(Refusal::Confirmed));
        let ledger = stock.ledger();
        assert_eq!((ledger.open, ledger.confirmed, ledger.initial - ledger.left), (0, 1, 1));
    }

    #[test]
    fn what_nobody_sells_cannot_be_reserved() {
        for product in [0, PRODUCTS + 1, u32::MAX] {
            assert_eq!(Stock::new().reserve("a", product), Err(Refusal::Unknown));
        }
    }
}
