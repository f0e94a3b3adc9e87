//! The books of the whole shop: what the services have written down, each for itself, has to fit together.

use crate::{
    books::Balance,
    services::{
        notifications::Messages,
        orders::{OrderLedger, OrdersLedger},
    },
    stacks::Http,
    stock::StockLedger,
};
use axum::body::Body;
use http::Request;
use http_body_util::BodyExt;
use mainstay::BoxError;
use serde::{Serialize, de::DeserializeOwned};
use std::{net::SocketAddr, time::Duration};
use tokio::time::timeout;

/// How long a service may take to read its ledger out.
const READING: Duration = Duration::from_secs(10);

/// Whether the books balance, and what does not if not.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Audit {
    pub(crate) ok: bool,
    pub(crate) problems: Vec<String>,
    #[serde(flatten)]
    pub(crate) ledgers: Option<Ledgers>,
}

/// What the services have written down.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Ledgers {
    pub(crate) provider: Balance,
    pub(crate) inventory: StockLedger,
    #[serde(flatten)]
    pub(crate) orders: OrdersLedger,
    pub(crate) notifications: Messages,
}

/// Where the ledgers are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Where {
    pub(crate) provider: SocketAddr,
    pub(crate) inventory: SocketAddr,
    pub(crate) orders: SocketAddr,
    pub(crate) notifications: SocketAddr,
}

impl Audit {
    pub(crate) fn of(ledgers: Result<Ledgers, BoxError>) -> Self {
        match ledgers {
            Ok(ledgers) => {
                let problems = ledgers.problems();
                Self { ok: problems.is_empty(), problems, ledgers: Some(ledgers) }
            }
            Err(error) => {
                Self { ok: false, problems: vec![format!("a ledger cannot be read: {error}")], ledgers: None }
            }
        }
    }
}

impl Ledgers {
    pub(crate) async fn read(http: &Http, from: Where) -> Result<Self, BoxError> {
        Ok(Self {
            provider: get(http, from.provider, "/ledger").await?,
            inventory: get(http, from.inventory, "/ledger").await?,
            orders: get(http, from.orders, "/ledger").await?,
            notifications: get(http, from.notifications, "/ledger").await?,
        })
    }

    /// Amounts that were taken and not given back.
    pub(crate) const fn kept(&self) -> usize {
        self.provider.captured.saturating_sub(self.provider.refunded)
    }

    /// What does not fit together.
    fn problems(&self) -> Vec<String> {
        let Self { provider, inventory, orders: OrdersLedger { orders, sagas }, notifications } = self;
        let OrderLedger { confirmed, confirmed_cents, unsettled, .. } = *orders;
        let kept_cents = i128::from(provider.captured_cents) - i128::from(provider.refunded_cents);
        let sagas = sagas.clone().unwrap_or_default();
        let rules = [
            (self.kept() == confirmed, format!("{} amounts are kept for {confirmed} confirmed orders", self.kept())),
            (
                kept_cents == i128::from(confirmed_cents),
                format!("{kept_cents} cents are kept for confirmed orders of {confirmed_cents}"),
            ),
            (provider.refunded <= provider.captured, "more was given back than taken".to_owned()),
            (provider.charged_twice == 0, format!("{} customers were charged twice", provider.charged_twice)),
            (inventory.lowest >= 0, format!("a product had {} pieces", inventory.lowest)),
            (inventory.adds_up(), format!("pieces were lost or made: {inventory:?}")),
            (inventory.open == 0, format!("{} pieces are reserved for nobody", inventory.open)),
            (
                inventory.confirmed == confirmed,
                format!("{} pieces are sold in {confirmed} confirmed orders", inventory.confirmed),
            ),
            (unsettled == 0, format!("{unsettled} orders are neither confirmed nor cancelled")),
            (
                notifications.sent == confirmed,
                format!("{} customers were told of {confirmed} confirmed orders", notifications.sent),
            ),
            (sagas.running.is_empty(), format!("these sagas have not ended: {}", sagas.running.join(", "))),
            (sagas.parked.is_empty(), format!("these sagas wait for an operator: {}", sagas.parked.join(", "))),
        ];
        rules.into_iter().filter(|(holds, _)| !holds).map(|(_, problem)| problem).collect()
    }
}

/// What a service answers, within a time.
pub(crate) async fn get<T: DeserializeOwned>(http: &Http, from: SocketAddr, path: &str) -> Result<T, BoxError> {
    let request = Request::get(format!("http://{from}{path}")).body(Body::empty())?;
    let answer = async { Ok::<_, BoxError>(http.request(request).await?.into_body().collect().await?.to_bytes()) };
    Ok(serde_json::from_slice(&timeout(READING, answer).await??)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::orders::SagaLedger;

    /// Three orders, of which one was undone after it had been paid.
    fn balanced() -> Ledgers {
        Ledgers {
            provider: Balance {
                captured: 3,
                captured_cents: 1_500,
                refunded: 1,
                refunded_cents: 500,
                ..Balance::default()
            },
            inventory: StockLedger { initial: 10, left: 8, lowest: 0, open: 0, released: 1, confirmed: 2 },
            orders: OrdersLedger {
                orders: OrderLedger { unsettled: 0, confirmed: 2, confirmed_cents: 1_000, cancelled: 1 },
                sagas: Some(SagaLedger::default()),
            },
            notifications: Messages { sent: 2, repeated: 1 },
        }
    }

    #[test]
    fn books_that_balance_have_no_problem() {
        let audit = Audit::of(Ok(balanced()));
        assert!(audit.ok && audit.problems.is_empty(), "{audit:?}");
    }

    #[test]
    fn each_rule_that_is_broken_is_named() {
        type Break = fn(&mut Ledgers);
        let breaks: [(Break, &[&str]); 14] = [
            // Taken without an order, an order without money, and a wrong amount.
            (|ledgers| ledgers.provider.captured += 1, &["3 amounts are kept for 2"]),
            (|ledgers| ledgers.provider.refunded += 1, &["1 amounts are kept for 2"]),
            (|ledgers| ledgers.provider.captured_cents += 1, &["1001 cents are kept for confirmed orders of 1000"]),
            (|ledgers| ledgers.provider.refunded_cents += 1, &["999 cents"]),
            (|ledgers| ledgers.provider.refunded += 3, &["0 amounts are kept", "more was given back than taken"]),
            (|ledgers| ledgers.provider.charged_twice += 1, &["1 customers were charged twice"]),
            (|ledgers| ledgers.inventory.lowest = -1, &["a product had -1 pieces"]),
            (|ledgers| ledgers.inventory.left -= 1, &["pieces were lost or made"]),
            (
                |ledgers| {
                    ledgers.inventory.open += 1;
                    ledgers.inventory.left -= 1;
                },
                &["1 pieces are reserved for nobody"],
            ),
            (
                |ledgers| {
                    ledgers.inventory.confirmed += 1;
                    ledgers.inventory.left -= 1;
                },
                &["3 pieces are sold in 2 confirmed orders"],
            ),
            (|ledgers| ledgers.orders.orders.unsettled += 1, &["1 orders are neither confirmed nor cancelled"]),
            (|ledgers| ledgers.notifications.sent -= 1, &["1 customers were told of 2"]),
            (|ledgers| sagas(ledgers).running.push("one".to_owned()), &["these sagas have not ended: one"]),
            (|ledgers| sagas(ledgers).parked.push("two".to_owned()), &["these sagas wait for an operator: two"]),
        ];
        for (break_it, said) in breaks {
            let mut ledgers = balanced();
            break_it(&mut ledgers);
            let audit = Audit::of(Ok(ledgers));
            assert!(!audit.ok);
            assert_eq!(audit.problems.len(), said.len(), "{audit:?}");
            assert!(audit.problems.iter().zip(said).all(|(problem, said)| problem.contains(said)), "{audit:?}");
        }
    }

    fn sagas(ledgers: &mut Ledgers) -> &mut SagaLedger {
        ledgers.orders.sagas.as_mut().unwrap()
    }

    #[test]
    fn books_that_cannot_be_read_do_not_balance() {
        let audit = Audit::of(Err("gone".into()));
        assert!(!audit.ok && audit.problems[0].contains("gone"), "{audit:?}");
    }
}
