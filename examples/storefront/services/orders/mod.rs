//! Orders: takes an order through all services, and keeps the table of orders.
//!
//! With resilience on an order is a saga, and goes on when its customer leaves or this process dies. With resilience off it is a
//! row of calls.

mod by_hand;
mod participants;
mod process;
mod saga;
mod table;
mod told;

pub(crate) use self::{
    process::{Apart, serve},
    table::OrderLedger,
};

use self::{
    participants::{Order, Participants, Receipt},
    saga::OrderSaga,
    table::Table,
    told::Told,
};
use crate::{
    experiment::Plan,
    pool::Pool,
    server::Server,
    stacks::{self, Circuits, Resilience, Times},
    traffic::Traffic,
    wire::{self, IDEMPOTENCY_KEY, TRACEPARENT},
};
use axum::{
    Json, Router,
    extract::{State, rejection::JsonRejection},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http::{HeaderMap, StatusCode, header::AUTHORIZATION};
use mainstay::{
    BoxError, Reason, Refused,
    circuit_breaker::Circuit,
    saga::{
        Cause, Config, Engine, FailedAs, Outcome, Participant, Record, SagaId, StartError,
        journal::{Embedded, Filter, Journal, JournalError, Phase},
    },
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};
use tokio::{task::spawn_blocking, time::Instant};

/// How long the engine waits for what is under way when the shop closes.
const GRACE: Duration = Duration::from_secs(1);
/// Sagas that are listed at once.
const PAGE: usize = 1_000;

/// All that the service has to know.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Settings {
    pub(crate) resilience: Resilience,
    pub(crate) plan: Plan,
    /// 0 is a free one.
    pub(crate) port: u16,
    /// Of the journal and of the table of orders.
    pub(crate) directory: PathBuf,
    pub(crate) peers: Peers,
}

/// Whom it calls.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Peers {
    pub(crate) users: SocketAddr,
    pub(crate) inventory: SocketAddr,
    pub(crate) payment: SocketAddr,
    pub(crate) notifications: SocketAddr,
}

/// The service, in this process.
#[derive(Debug)]
pub(crate) struct Orders {
    pub(crate) server: Server,
    pub(crate) to_payment: Traffic,
    /// Between orders and payment; with resilience on.
    pub(crate) circuits: Option<Circuits>,
    sagas: Option<Sagas>,
}

/// What stands in the table, and how the sagas stand; none with resilience off.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct OrdersLedger {
    pub(crate) orders: OrderLedger,
    pub(crate) sagas: Option<SagaLedger>,
}

/// How the sagas stand, by the journal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SagaLedger {
    pub(crate) started: usize,
    pub(crate) completed: usize,
    pub(crate) compensated: usize,
    /// Why those were compensated.
    pub(crate) causes: BTreeMap<String, usize>,
    pub(crate) abandoned: usize,
    /// Those that have not ended, by id.
    pub(crate) running: Vec<String>,
    pub(crate) parked: Vec<String>,
    /// Those that another process had left when this one started.
    pub(crate) recovered: usize,
}

/// How many sagas have not ended.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Open {
    pub(crate) running: usize,
}

/// How orders are taken through.
#[derive(Clone, Debug)]
enum Takes {
    ByHand(Participants),
    BySaga(Sagas),
}

#[derive(Clone, Debug)]
struct Sagas {
    engine: Engine<Participants>,
    saga: OrderSaga,
    journal: Embedded,
    told: Told,
    table: Table,
    /// Of payment.
    circuit: Arc<Circuit>,
    recovered: usize,
}

#[derive(Debug, Deserialize)]
struct Wish {
    product: u32,
    cents: u32,
}

impl Orders {
    /// Opens the journal and the table, goes on with what was left, and listens.
    pub(crate) async fn open(settings: &Settings) -> Result<Self, BoxError> {
        let Settings { resilience, plan, port, directory, peers } = settings;
        let times = Times::of(plan);
        let participant = |name, peer| stacks::participant(*resilience, name, peer, times).map(Participant::http);
        let (payment, to_payment, circuits) = stacks::payment(*resilience, peers.payment, times)?;
        let participants = Participants {
            users: participant("users", peers.users)?,
            inventory: participant("inventory", peers.inventory)?,
            payment: Participant::http(payment),
            notifications: participant("notifications", peers.notifications)?,
            table: Table::open(&directory.join("orders.jsonl"))?,
            told: Told::default(),
        };
        let takes = match &circuits {
            None => Takes::ByHand(participants),
            Some(circuits) => Takes::BySaga(Sagas::start(settings, participants, Arc::clone(&circuits.payment)).await?),
        };
        let sagas = match &takes {
            Takes::ByHand(_) => None,
            Takes::BySaga(sagas) => Some(sagas.clone()),
        };
        let pool = Pool::planned_for("orders", plan.rate);
        let server = Server::start(Server::bind(*port).await?, pool.clone(), routes(&pool, takes))?;
        Ok(Self { server, to_payment, circuits, sagas })
    }

    /// Stops, and leaves what has not ended to the next one.
    pub(crate) async fn close(self) {
        self.server.stop().await;
        if let Some(sagas) = self.sagas {
            sagas.engine.shutdown(GRACE).await;
            sagas.journal.close().await;
        }
    }
}

impl Sagas {
    async fn start(settings: &Settings, shop: Participants, circuit: Arc<Circuit>) -> Result<Self, BoxError> {
        let path = settings.directory.join("sagas.redb");
        let journal = spawn_blocking(|| Embedded::open(path)).await??;
        let recovered = open(&journal).await?;
        let saga = saga::define(Times::of(&settings.plan))?;
        let (told, table) = (shop.told.clone(), shop.table.clone());
        let config = Config::default().name("orders").poll_interval(Duration::from_millis(100));
        let engine = Engine::builder(shop, journal.clone()).register(&saga).config(config).start().await?;
        Ok(Self { engine, saga, journal, told, table, circuit, recovered })
    }

    /// Waits until it is known how the order ends. Whoever leaves earlier finds it under the same key.
    async fn run(&self, order: Order) -> Response {
        // An order that cannot be paid is not begun.
        if let Err(refused) = self.circuit.check(Instant::now().into_std()) {
            return wire::rejected(refused.into());
        }
        let mut listening = self.told.listen(&order.key);
        let key = order.key.clone();
        let handle = match self.engine.start(&self.saga, &key, order).await {
            Ok(handle) => handle,
            Err(StartError::Refused(refused)) => return wire::rejected(refused.into()),
            Err(error) => {
                return wire::problem(StatusCode::INTERNAL_SERVER_ERROR, "not_started", &chain(&error), &json!({}));
            }
        };
        let outcome = tokio::select! {
            biased;
            ends = listening.ends() => return match ends {
                Ok(receipt) => yes(&key, receipt),
                Err(failed) => no(failed.outcome, &failed.text, failed.retry_after),
            },
            outcome = handle.outcome() => outcome,
        };
        match outcome {
            Ok(outcome) => ended(&key, outcome),
            Err(error) => {
                let details = json!({ "saga": handle.id().to_string() });
                wire::problem(StatusCode::INTERNAL_SERVER_ERROR, "order_open", &chain(&error), &details)
            }
        }
    }

    async fn ledger(&self) -> Result<SagaLedger, JournalError> {
        let mut ledger = SagaLedger { recovered: self.recovered, ..SagaLedger::default() };
        let mut last = None;
        loop {
            let page = self.journal.list(Filter::default(), last, PAGE).await?;
            for summary in &page {
                ledger.started += 1;
                match summary.phase {
                    Phase::Completed => ledger.completed += 1,
                    Phase::Compensated => {
                        ledger.compensated += 1;
                        *ledger.causes.entry(self.cause(summary.id).await?).or_default() += 1;
                    }
                    Phase::Abandoned => ledger.abandoned += 1,
                    Phase::Parked => ledger.parked.push(summary.id.to_string()),
                    _ => ledger.running.push(summary.id.to_string()),
                }
            }
            match page.last() {
                Some(summary) if page.len() == PAGE => last = Some(summary.id),
                _ => return Ok(ledger),
            }
        }
    }

    /// Why a saga was compensated, in a word.
    async fn cause(&self, id: SagaId) -> Result<String, JournalError> {
        let stored = self.journal.load(id).await?;
        let cause = stored.iter().rev().find_map(|stored| match Record::decode(&stored.bytes) {
            Ok(Record::Turned { cause }) => Some(cause),
            _ => None,
        });
        Ok(cause.map_or_else(|| "unknown".to_owned(), |cause| in_a_word(&cause)))
    }
}

/// What a participant said no by, or who has failed.
fn in_a_word(cause: &Cause) -> String {
    match cause {
        Cause::StepFailed { outcome, error, .. } if outcome.is_final() => error.to_string(),
        Cause::StepFailed { step, .. } => format!("{step} failed"),
        other => format!("{other:?}"),
    }
}

/// How many sagas have not ended and need no operator.
async fn open(journal: &Embedded) -> Result<usize, JournalError> {
    let filter = Filter { phases: vec![Phase::Forward, Phase::Backward], ..Filter::default() };
    Ok(journal.list(filter, None, usize::MAX).await?.len())
}

/// `POST /orders` in the pool; `GET /ledger` and `GET /open`
fn routes(pool: &Pool, takes: Takes) -> Router {
    let orders = Router::new().route("/orders", post(take)).with_state(takes.clone());
    let books = Router::new().route("/ledger", get(ledger)).route("/open", get(still_open)).with_state(takes);
    pool.guard(orders).merge(books)
}

async fn take(State(takes): State<Takes>, headers: HeaderMap, wish: Result<Json<Wish>, JsonRejection>) -> Response {
    let wish = match wish {
        Ok(Json(wish)) => wish,
        Err(rejection) => return wire::problem(rejection.status(), "bad_order", &rejection.body_text(), &json!({})),
    };
    let text = |name| wire::text(&headers, &name).map(str::to_owned);
    let Some(key) = text(IDEMPOTENCY_KEY) else { return wire::no_key() };
    let order = Order {
        key,
        product: wish.product,
        cents: wish.cents.into(),
        credential: text(AUTHORIZATION),
        trace: text(TRACEPARENT),
    };
    let response = match takes {
        Takes::BySaga(sagas) => sagas.run(order).await,
        Takes::ByHand(shop) => match by_hand::order(&shop, &order).await {
            Ok(receipt) => yes(&order.key, receipt),
            Err(error) => no(error.outcome(), &error.to_string(), error.retry_after()),
        },
    };
    wire::with_trace(&headers, response)
}

fn ended(order: &str, outcome: Outcome<Receipt>) -> Response {
    match outcome {
        Outcome::Completed(receipt) => yes(order, receipt),
        Outcome::Compensated(Cause::StepFailed { outcome, error, .. }) => no(outcome, &error, None),
        other => no(FailedAs::Unknown, &format!("{other:?}"), None),
    }
}

fn yes(order: &str, receipt: Receipt) -> Response {
    let Receipt { receipt, captured_cents } = receipt;
    let body = json!({ "success": true, "order": order, "receipt": receipt, "captured_cents": captured_cents });
    (StatusCode::CREATED, Json(body)).into_response()
}

/// There is no order, and no money is kept for it; with resilience off nobody knows.
fn no(outcome: FailedAs, why: &str, retry_after: Option<Duration>) -> Response {
    if outcome.is_final()
        && let Some((status, message)) = rejection(why)
    {
        return wire::problem(status, why, message, &json!({}));
    }
    if outcome == FailedAs::NotExecuted {
        // Only a circuit refuses here, that of payment.
        let refused = Refused::new(Reason::CircuitOpen, "payment");
        return wire::rejected(retry_after.map_or(refused, |wait| refused.with_retry_after(wait)).into());
    }
    wire::problem(StatusCode::BAD_GATEWAY, "order_failed", why, &json!({}))
}

/// What participants that work say no by.
fn rejection(code: &str) -> Option<(StatusCode, &'static str)> {
    match code {
        "out_of_stock" => Some((StatusCode::CONFLICT, "there is none left")),
        "no_such_product" => Some((StatusCode::UNPROCESSABLE_ENTITY, "this is not sold here")),
        "blocked" => Some((StatusCode::FORBIDDEN, "this account may not order")),
        _ => None,
    }
}

async fn ledger(State(takes): State<Takes>) -> Response {
    let (table, sagas) = match &takes {
        Takes::ByHand(shop) => (&shop.table, None),
        Takes::BySaga(sagas) => match sagas.ledger().await {
            Ok(ledger) => (&sagas.table, Some(ledger)),
            Err(error) => return unreadable(&error),
        },
    };
    Json(OrdersLedger { orders: table.ledger(), sagas }).into_response()
}

async fn still_open(State(takes): State<Takes>) -> Response {
    let running = match &takes {
        Takes::ByHand(_) => 0,
        Takes::BySaga(sagas) => match open(&sagas.journal).await {
            Ok(running) => running,
            Err(error) => return unreadable(&error),
        },
    };
    Json(Open { running }).into_response()
}

fn unreadable(error: &JournalError) -> Response {
    wire::problem(StatusCode::INTERNAL_SERVER_ERROR, "journal", &chain(error), &json!({}))
}

/// An error with its sources.
fn chain(error: &dyn std::error::Error) -> String {
    let sources = std::iter::successors(error.source(), |error| error.source());
    sources.fold(error.to_string(), |text, source| format!("{text}: {source}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_refused_by_a_circuit_is_told_when_to_come_back_and_others_are_not() {
        let wait = Some(Duration::from_secs(3));
        let refused = no(FailedAs::NotExecuted, "refused", wait);
        assert_eq!((refused.status().as_u16(), &refused.headers()["retry-after"]), (503, &"3".parse().unwrap()));
        assert_eq!(no(FailedAs::Unknown, "broken", wait).status(), 502);
    }

    fn because(outcome: FailedAs, error: &str) -> Cause {
        Cause::StepFailed { step: "charge-payment".into(), outcome, error: error.into() }
    }

    #[test]
    fn who_asks_later_is_told_by_what_is_known_of_the_step() {
        let told = |outcome| ended("a", outcome).status().as_u16();
        let turned = |outcome, error| told(Outcome::Compensated(because(outcome, error)));
        assert_eq!(told(Outcome::Completed(Receipt { receipt: 1, captured_cents: 500 })), 201);
        assert_eq!(turned(FailedAs::Rejected, "out_of_stock"), 409);
        assert_eq!(turned(FailedAs::NotExecuted, "refused"), 503);
        assert_eq!(turned(FailedAs::Unknown, "broken"), 502);
        assert_eq!(told(Outcome::Compensated(Cause::DeadlinePassed)), 502);
    }

    #[test]
    fn a_cause_in_a_word_is_the_code_of_a_no_or_the_step_that_failed() {
        assert_eq!(in_a_word(&because(FailedAs::Rejected, "out_of_stock")), "out_of_stock");
        assert_eq!(in_a_word(&because(FailedAs::Rejected, "no_such_card")), "no_such_card");
        assert_eq!(in_a_word(&because(FailedAs::Unknown, "out_of_stock")), "charge-payment failed");
        assert_eq!(in_a_word(&because(FailedAs::NotExecuted, "refused")), "charge-payment failed");
        assert_eq!(in_a_word(&Cause::DeadlinePassed), "DeadlinePassed");
    }

    #[test]
    fn only_who_was_rejected_is_told_so_and_by_what_is_known_here() {
        assert_eq!(no(FailedAs::Rejected, "blocked", None).status(), 403);
        assert_eq!(no(FailedAs::RejectedForKey, "out_of_stock", None).status(), 409);
        assert_eq!(no(FailedAs::Rejected, "the order is Cancelled", None).status(), 502);
        assert_eq!(no(FailedAs::Unknown, "blocked", None).status(), 502, "whatever it is called");
        assert_eq!(no(FailedAs::NotExecuted, "blocked", None).status(), 503);
    }
}
