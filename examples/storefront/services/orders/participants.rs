//! Who takes part in an order, and how each is asked. With the same key each does the same thing once.

use super::{
    table::{Against, Table},
    told::Told,
};
use crate::{
    stacks::Upstream,
    wire::{IDEMPOTENCY_KEY, TRACEPARENT},
};
use axum::body::{Body, to_bytes};
use http::{
    Request,
    header::{AUTHORIZATION, CONTENT_TYPE},
};
use mainstay::{
    http::HttpStatus,
    saga::{Participant, StepError},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::io;

/// In bytes.
const LARGEST_ANSWER: usize = 64 * 1024;

/// A service behind its stack: what is refused was not executed, and a 5xx or a timeout may have been.
pub(super) type Service = Participant<Upstream, HttpStatus>;

/// The services that take part, and the table of orders.
#[derive(Clone, Debug)]
pub(super) struct Participants {
    pub(super) users: Service,
    pub(super) inventory: Service,
    pub(super) payment: Service,
    pub(super) notifications: Service,
    pub(super) table: Table,
    pub(super) told: Told,
}

/// What a customer wants, and what the request came with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Order {
    /// The key that the customer sent, or the gateway.
    pub(super) key: String,
    pub(super) product: u32,
    pub(super) cents: u64,
    pub(super) credential: Option<String>,
    pub(super) trace: Option<String>,
}

/// What the provider gave for the money.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Receipt {
    pub(super) receipt: u64,
    pub(super) captured_cents: u64,
}

/// One question to a participant.
struct Ask<'a> {
    service: &'a Service,
    path: &'static str,
    /// None for what changes nothing.
    key: Option<&'a str>,
    body: Value,
}

impl Participants {
    /// The name of the account.
    pub(super) async fn find_user(&self, order: &Order) -> Result<String, StepError> {
        let account =
            self.ask(order, Ask { service: &self.users, path: "/account", key: None, body: Value::Null }).await?;
        Ok(account["name"].as_str().unwrap_or_default().to_owned())
    }

    /// The key with which it is released and confirmed.
    pub(super) async fn reserve(&self, order: &Order, key: &str) -> Result<String, StepError> {
        self.tell(order, &self.inventory, "/reservations", key, json!({ "product": order.product })).await?;
        Ok(key.to_owned())
    }

    pub(super) async fn release(&self, order: &Order, key: &str, reservation: &str) -> Result<(), StepError> {
        self.tell(order, &self.inventory, "/releases", key, json!({ "reservation": reservation })).await.map(drop)
    }

    pub(super) async fn confirm_stock(&self, order: &Order, key: &str, reservation: &str) -> Result<(), StepError> {
        self.tell(order, &self.inventory, "/confirmations", key, json!({ "reservation": reservation })).await.map(drop)
    }

    pub(super) async fn charge(&self, order: &Order, key: &str) -> Result<Receipt, StepError> {
        let wish = json!({ "product": order.product, "cents": order.cents });
        let receipt = self.tell(order, &self.payment, "/charges", key, wish).await?;
        Ok(serde_json::from_value(receipt)?)
    }

    pub(super) async fn refund(&self, order: &Order, key: &str, charge: &str) -> Result<(), StepError> {
        self.tell(order, &self.payment, "/refunds", key, json!({ "charge": charge })).await.map(drop)
    }

    pub(super) async fn create_order(&self, order: &Order, key: &str) -> Result<String, StepError> {
        settled(self.table.create(key, order.cents).await)?;
        Ok(key.to_owned())
    }

    pub(super) async fn cancel_order(&self, key: &str) -> Result<(), StepError> {
        settled(self.table.cancel(key).await)
    }

    pub(super) async fn confirm_order(&self, order: &Order, key: &str) -> Result<(), StepError> {
        settled(self.table.confirm(key, order.cents).await)
    }

    pub(super) async fn notify(&self, order: &Order, key: &str, user: &str) -> Result<(), StepError> {
        let message = json!({ "to": user, "text": format!("product {} is yours", order.product) });
        self.tell(order, &self.notifications, "/messages", key, message).await.map(drop)
    }

    /// Asks for a change, which is made once for each key.
    async fn tell(
        &self,
        order: &Order,
        service: &Service,
        path: &'static str,
        key: &str,
        body: Value,
    ) -> Result<Value, StepError> {
        self.ask(order, Ask { service, path, key: Some(key), body }).await
    }

    /// The answer, if it is a 2xx. Of the others 5xx are failures; all else comes from a service that works and says no.
    async fn ask(&self, order: &Order, ask: Ask<'_>) -> Result<Value, StepError> {
        let response = ask.service.call(ask.request(order)).await?;
        let (head, body) = response.into_parts();
        let body = to_bytes(body, LARGEST_ANSWER).await?;
        let answer: Value = serde_json::from_slice(&body)?;
        if head.status.is_success() {
            return Ok(answer);
        }
        let code = answer["error"]["code"].as_str().unwrap_or(head.status.as_str());
        Err(StepError::rejected(code))
    }
}

impl Ask<'_> {
    fn request(&self, order: &Order) -> Request<Body> {
        let request = match self.key {
            None => Request::get(self.path),
            Some(key) => Request::post(self.path).header(IDEMPOTENCY_KEY, key),
        };
        let headers = [(TRACEPARENT, &order.trace), (AUTHORIZATION, &order.credential)];
        let request =
            headers.into_iter().fold(request.header(CONTENT_TYPE, "application/json"), |request, (name, value)| {
                match value {
                    Some(value) => request.header(name, value),
                    None => request,
                }
            });
        let body = if self.key.is_none() { Body::empty() } else { Body::from(self.body.to_string()) };
        request.body(body).expect("what came as a header is one")
    }
}

/// A change of the table: what was not written may be there all the same.
fn settled(changed: io::Result<Result<(), Against>>) -> Result<(), StepError> {
    changed?.map_err(|Against(standing)| StepError::rejected(format!("the order is {standing:?}")))
}
