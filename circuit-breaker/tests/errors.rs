//! What the breaker does to errors, and what errors do to the breaker.

use mainstay_circuit_breaker::{Circuit, CircuitBreakerLayer, Config, State, Window};
use mainstay_core::{
    BoundaryLayer, BoxError, Class, Error, Failure, FromBelow, Reason, Refusable, Refused, TimedOut, Verdict,
    classify_fn,
};
use std::{
    fmt,
    future::{Future, pending},
    num::TryFromIntError,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};
use tokio_test::assert_ok;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn, timeout::error::Elapsed};

fn config() -> Config {
    Config::default().window(Window::Consecutive(2)).open_for(Duration::from_secs(10))
}

fn layer(name: &'static str) -> CircuitBreakerLayer {
    CircuitBreakerLayer::new(config().name(name)).unwrap()
}

fn refused_by<T>(answer: &Result<T, BoxError>) -> Option<&'static str> {
    match answer.as_ref().err()?.verdict() {
        Verdict::Refused(refused) => Some(refused.by()),
        Verdict::TimedOut(_) | Verdict::Other => None,
    }
}

// ===== typed =====

/// Fails to compile if a layer wraps the error once more.
fn has_error<E>(
    service: impl Service<u32, Response = u8, Error = E, Future: Future>,
) -> impl Service<u32, Response = u8, Error = E> {
    service
}

#[tokio::test(start_paused = true)]
async fn many_layers_over_a_typed_error_keep_one_flat_error() {
    let stack = ServiceBuilder::new()
        .layer(layer("outermost"))
        .layer(layer("middle"))
        .layer(layer("innermost"))
        .map_err(Error::Inner)
        .service_fn(async |n: u32| u8::try_from(n));
    let mut stack = has_error::<Error<TryFromIntError>>(stack);

    assert_eq!(stack.ready().await.unwrap().call(7).await, Ok(7));
    let error = stack.ready().await.unwrap().call(256).await.unwrap_err();
    assert_eq!(error, Error::Inner(u8::try_from(256).unwrap_err()));
}

#[tokio::test(start_paused = true)]
async fn refusals_of_an_inner_breaker_do_not_open_an_outer_one() {
    let (outer, inner) = (layer("outer"), layer("inner"));
    let (outside, inside) = (outer.handle(), inner.handle());
    let mut stack = ServiceBuilder::new()
        .layer(outer)
        .layer(inner)
        .map_err(Error::Inner)
        .service_fn(async |n: u32| u8::try_from(n));
    inside.isolate();

    for _ in 0..10 {
        let error = stack.ready().await.unwrap().call(1).await.unwrap_err();
        assert_eq!(error.refused().map(Refused::by), Some("inner"));
    }
    assert_eq!((outside.state(), outside.snapshot().votes.calls), (State::Closed, 0));
    assert_eq!((outside.snapshot().refused, inside.snapshot().refused), (0, 10));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_ignored_probes_meet_gives_the_slots_back() {
    let outer = CircuitBreakerLayer::new(config().name("outer").probes(1)).unwrap();
    let inner = layer("inner");
    let (outside, inside) = (outer.handle(), inner.handle());
    let mut stack = ServiceBuilder::new()
        .layer(outer)
        .layer(inner)
        .map_err(Error::Inner)
        .service_fn(async |n: u32| u8::try_from(n));
    for _ in 0..2 {
        assert!(stack.ready().await.unwrap().call(256).await.is_err());
    }
    assert_eq!((outside.state(), inside.state()), (State::Open, State::Open));
    tokio::time::advance(Duration::from_secs(10)).await;
    inside.isolate();

    for _ in 0..5 {
        let error = stack.ready().await.unwrap().call(1).await.unwrap_err();
        assert_eq!(error.refused().map(Refused::by), Some("inner"));
    }
    assert_eq!((outside.state(), outside.snapshot().probes), (State::HalfOpen, 0));
    inside.reset();
    assert_ok!(stack.ready().await.unwrap().call(1).await);
    assert_eq!(outside.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn the_errors_value_is_the_very_one_that_the_service_gave() {
    let value = Arc::new("the value");
    let service = layer("test").layer(service_fn({
        let value = Arc::clone(&value);
        move |(): ()| std::future::ready(Err::<(), _>(Error::Inner(Arc::clone(&value))))
    }));
    let Err(Error::Inner(answer)) = service.oneshot(()).await else { panic!("the service fails") };
    assert!(Arc::ptr_eq(&answer, &value));
}

#[tokio::test(start_paused = true)]
async fn a_timeout_from_further_in_is_a_failure_and_passes_unchanged() {
    let layer = layer("test");
    let timed_out = TimedOut::new("below", Duration::from_secs(1));
    let service =
        layer.layer(service_fn(move |(): ()| std::future::ready(Err::<(), Error<fmt::Error>>(timed_out.into()))));

    for _ in 0..2 {
        assert_eq!(service.clone().oneshot(()).await, Err(Error::TimedOut(timed_out)));
    }
    assert_eq!(layer.handle().state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_says_who_why_and_how_long() {
    let layer = layer("payments");
    let service = layer.layer(service_fn(async |n: u32| u8::try_from(n)).map_err(Error::Inner));
    for _ in 0..2 {
        let _ = service.clone().oneshot(256).await;
    }
    tokio::time::advance(Duration::from_secs(4)).await;

    let refused = Refused::new(Reason::CircuitOpen, "payments").with_retry_after(Duration::from_secs(6));
    assert_eq!(service.clone().oneshot(1).await, Err(Error::Refused(refused)));
    layer.handle().isolate();
    assert_eq!(service.oneshot(1).await, Err(Error::Refused(Refused::new(Reason::CircuitOpen, "payments"))));
}

// ===== boxed =====

#[tokio::test(start_paused = true)]
async fn towers_timeout_in_the_middle_of_a_boxed_stack_is_a_failure() {
    let (outer, inner) = (layer("outer"), layer("inner"));
    let (outside, inside) = (outer.handle(), inner.handle());
    let mut stack = ServiceBuilder::new()
        .layer(outer)
        .timeout(Duration::from_secs(1))
        .layer(inner)
        .layer(BoundaryLayer::new())
        .service_fn(|(): ()| pending::<Result<(), BoxError>>());

    for _ in 0..2 {
        let error = stack.ready().await.unwrap().call(()).await.unwrap_err();
        assert!(error.is::<Elapsed>());
    }
    assert_eq!(outside.state(), State::Open);
    assert_eq!(refused_by(&stack.ready().await.unwrap().call(()).await), Some("outer"));
    // Below the timeout nobody waited for the end, and nothing else came.
    assert_eq!(inside.state(), State::Open);
    outside.reset();
    assert_eq!(refused_by(&stack.ready().await.unwrap().call(()).await), Some("inner"));
    assert_eq!(outside.snapshot().votes.calls, 0);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_from_below_the_boundary_is_a_failure_and_can_be_taken_out_of_it() {
    let mailer = Refused::new(Reason::CircuitOpen, "mailer");
    let leaf = || service_fn(move |(): ()| std::future::ready(Err::<(), BoxError>(mailer.into())));
    let (marked, unmarked) = (layer("marked"), layer("unmarked"));

    for _ in 0..2 {
        let error = marked.layer(BoundaryLayer::new().layer(leaf())).oneshot(()).await.unwrap_err();
        let below = error.downcast::<FromBelow>().unwrap().into_inner();
        assert_eq!(*below.downcast::<Refused>().unwrap(), mailer);
        assert_eq!(refused_by(&unmarked.layer(leaf()).oneshot(()).await), Some("mailer"));
    }
    assert_eq!((marked.handle().state(), unmarked.handle().state()), (State::Open, State::Closed));
}

#[tokio::test(start_paused = true)]
async fn an_error_in_a_box_comes_out_of_the_stack_as_it_went_in() {
    let service = layer("test").layer(service_fn(async |n: u32| u8::try_from(n).map_err(BoxError::from)));
    let error = service.oneshot(256).await.unwrap_err();
    assert_eq!(*error.downcast::<TryFromIntError>().unwrap(), u8::try_from(256).unwrap_err());
}

// ===== an enum of one's own =====

#[derive(Debug, PartialEq)]
enum ShopError {
    Busy(Refused),
    Late(TimedOut),
    OutOfStock,
}

impl From<Refused> for ShopError {
    fn from(refused: Refused) -> Self {
        Self::Busy(refused)
    }
}

impl From<TimedOut> for ShopError {
    fn from(timed_out: TimedOut) -> Self {
        Self::Late(timed_out)
    }
}

impl Refusable for ShopError {
    fn verdict(&self) -> Verdict<'_> {
        match self {
            Self::Busy(refused) => Verdict::Refused(refused),
            Self::Late(timed_out) => Verdict::TimedOut(timed_out),
            Self::OutOfStock => Verdict::Other,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_enum_of_ones_own_carries_the_refusal() {
    let layer = layer("shop");
    let busy = Refused::new(Reason::BulkheadFull, "till");
    let service = layer.layer(service_fn(move |n: u32| {
        std::future::ready(Err::<(), _>(if n == 0 { ShopError::OutOfStock } else { busy.into() }))
    }));

    for _ in 0..5 {
        assert_eq!(service.clone().oneshot(1).await, Err(ShopError::Busy(busy)));
    }
    assert_eq!(layer.handle().state(), State::Closed);
    for _ in 0..2 {
        assert_eq!(service.clone().oneshot(0).await, Err(ShopError::OutOfStock));
    }
    let Err(ShopError::Busy(refused)) = service.oneshot(0).await else { panic!("the circuit is open") };
    assert_eq!((refused.by(), refused.retry_after()), ("shop", Some(Duration::from_secs(10))));
}

#[tokio::test(start_paused = true)]
async fn a_plain_call_takes_an_error_enum_of_ones_own() {
    let circuit = Circuit::new(config()).unwrap();
    for _ in 0..2 {
        assert_eq!(circuit.call(async || Err::<(), _>(ShopError::OutOfStock)).await, Err(ShopError::OutOfStock));
    }
    assert!(matches!(circuit.call(async || Err::<(), _>(ShopError::OutOfStock)).await, Err(ShopError::Busy(_))));
}

// ===== classifiers =====

#[tokio::test(start_paused = true)]
async fn a_response_can_be_a_failure_and_reaches_the_caller_all_the_same() {
    let layer = layer("test").classify(classify_fn(|result: Result<&u16, &Error<fmt::Error>>| match result {
        Ok(500..) => Class::Failure(Failure::Overloaded { retry_after: None }),
        Ok(_) => Class::Success,
        Err(_) => Class::Failure(Failure::Transient),
    }));
    let service = layer.layer(service_fn(async |status: u16| Ok::<_, fmt::Error>(status)).map_err(Error::Inner));

    assert_eq!(service.clone().oneshot(503).await, Ok(503));
    assert_eq!(service.clone().oneshot(204).await, Ok(204), "which ends the row");
    for _ in 0..2 {
        assert_eq!(service.clone().oneshot(503).await, Ok(503));
    }
    assert!(matches!(service.oneshot(204).await, Err(Error::Refused(_))));
}

#[tokio::test(start_paused = true)]
async fn an_error_can_be_a_success_or_say_nothing() {
    let layer = layer("test").classify(classify_fn(|result: Result<&(), &Error<u8>>| match result {
        Err(Error::Inner(0)) => Class::Success,
        Err(Error::Inner(1)) => Class::Ignored,
        _ => Class::Failure(Failure::Permanent),
    }));
    let service = layer.layer(service_fn(async |n: u8| Err::<(), _>(Error::Inner(n))));

    for n in [2, 1, 1, 0, 2, 1, 0, 2] {
        assert_eq!(service.clone().oneshot(n).await, Err(Error::Inner(n)));
    }
    assert_eq!(layer.handle().state(), State::Closed);
    // What is ignored does not end a row.
    for n in [1, 2] {
        assert_eq!(service.clone().oneshot(n).await, Err(Error::Inner(n)));
    }
    assert_eq!(layer.handle().state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn each_answer_is_classified_once_and_a_refusal_from_further_in_never() {
    let asked = Arc::new(AtomicU32::new(0));
    let counting = classify_fn({
        let asked = Arc::clone(&asked);
        move |_: Result<&(), &Error<u8>>| {
            asked.fetch_add(1, Ordering::Relaxed);
            Class::Success
        }
    });
    let layer = layer("test").classify(counting);
    let refused = Refused::new(Reason::RateLimited, "below");
    let service = layer.layer(service_fn(move |n: u8| {
        std::future::ready(match n {
            0 => Ok(()),
            1 => Err(Error::Inner(1)),
            _ => Err(refused.into()),
        })
    }));

    for n in 0..5 {
        let _ = service.clone().oneshot(n).await;
    }
    layer.handle().isolate();
    let _ = service.oneshot(0).await;
    assert_eq!(asked.load(Ordering::Relaxed), 2);
}
