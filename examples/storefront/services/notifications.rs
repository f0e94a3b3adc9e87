//! Notifications: tells customers that their orders are confirmed, each once.

use crate::{
    recent::Recent,
    wire::{self, IDEMPOTENCY_KEY},
};
use axum::{
    Json, Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http::HeaderMap;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::{Arc, Mutex, PoisonError};

/// What was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Messages {
    pub(crate) sent: usize,
    /// Requests whose key was known: nothing was sent for them.
    pub(crate) repeated: usize,
}

#[derive(Clone, Debug)]
pub(crate) struct Outbox {
    inner: Arc<Mutex<(Messages, Recent<String, ()>)>>,
}

impl Outbox {
    pub(crate) fn new() -> Self {
        Self { inner: Arc::new(Mutex::new((Messages::default(), Recent::of(wire::REMEMBERED)))) }
    }

    fn send(&self, key: &str) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let (messages, known) = &mut *inner;
        if known.get(&key.to_owned()).is_some() {
            messages.repeated += 1;
            return;
        }
        messages.sent += 1;
        known.insert(key.to_owned(), ());
    }

    fn messages(&self) -> Messages {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).0
    }
}

/// `POST /messages`, `GET /ledger`
pub(crate) fn routes(outbox: Outbox) -> Router {
    Router::new()
        .route("/messages", post(send))
        .route("/ledger", get(|State(outbox): State<Outbox>| async move { Json(outbox.messages()) }))
        .with_state(outbox)
}

async fn send(State(outbox): State<Outbox>, headers: HeaderMap) -> Response {
    let Some(key) = wire::text(&headers, &IDEMPOTENCY_KEY) else { return wire::no_key() };
    outbox.send(key);
    Json(json!({ "success": true })).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_sent_once_for_each_key() {
        let outbox = Outbox::new();
        for key in ["a", "b", "a"] {
            outbox.send(key);
        }
        assert_eq!(outbox.messages(), Messages { sent: 2, repeated: 1 });
    }
}
