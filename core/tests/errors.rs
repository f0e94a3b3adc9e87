//! What errors say: one level of text, the rest in `source`, and a verdict that looks at the error itself alone.

use mainstay_core::{
    Boundary, BoundaryLayer, BoxError, Error, FromBelow, Reason, Refusable, Refused, TimedOut, Verdict,
};
use std::{
    future::{Ready, ready},
    io,
    task::{Context, Poll},
    time::Duration,
};
use tower::{Service, ServiceBuilder, ServiceExt, service_fn};

const REFUSED: Refused = Refused::new(Reason::CircuitOpen, "mailer");
const TIMED_OUT: TimedOut = TimedOut::new("mailer", Duration::from_millis(250));

const REASONS: [(Reason, &str); 8] = [
    (Reason::BudgetExhausted, "the retry budget is exhausted"),
    (Reason::BulkheadFull, "the bulkhead is full"),
    (Reason::CircuitOpen, "the circuit is open"),
    (Reason::DeadlinePassed, "the deadline has passed"),
    (Reason::FlightFailed, "the shared load failed"),
    (Reason::NoEndpoint, "no endpoint can take the call"),
    (Reason::RateLimited, "the rate limit is reached"),
    (Reason::Throttled, "the service accepts too few calls"),
];

/// Every level of an error, from the outside in.
fn levels(error: &(dyn std::error::Error + 'static)) -> Vec<String> {
    std::iter::successors(Some(error), |&error| error.source()).map(ToString::to_string).collect()
}

#[test]
fn every_reason_has_its_words() {
    for (reason, words) in REASONS {
        assert_eq!(reason.to_string(), words);
        assert_eq!(Refused::new(reason, "mailer").to_string(), format!("refused by `mailer`: {words}"));
    }
}

#[test]
fn each_level_prints_itself_alone() {
    let inner = Error::Inner(io::Error::other(REFUSED));
    assert_eq!(
        levels(&Error::Inner(inner)),
        ["the service failed", "the service failed", "refused by `mailer`: the circuit is open"]
    );
}

#[test]
fn a_refusal_and_a_timeout_print_once_and_have_no_source() {
    let refused: Error<io::Error> = REFUSED.into();
    assert_eq!(levels(&refused), ["refused by `mailer`: the circuit is open"]);
    let timed_out: Error<io::Error> = TIMED_OUT.into();
    assert_eq!(levels(&timed_out), ["timed out by `mailer` after 250ms"]);
}

#[test]
fn the_verdict_of_the_flat_error_is_its_variant() {
    let error: Error<()> = REFUSED.into();
    assert_eq!(error.verdict(), Verdict::Refused(&REFUSED));
    assert_eq!(error.refused(), Some(&REFUSED));
    let error: Error<()> = TIMED_OUT.into();
    assert_eq!(error.verdict(), Verdict::TimedOut(&TIMED_OUT));
    assert_eq!(error.refused(), None);
    assert_eq!(Error::Inner(()).verdict(), Verdict::Other);
}

#[test]
fn only_the_service_s_own_error_is_inner() {
    assert_eq!(Error::Inner("reset").into_inner(), Some("reset"));
    assert_eq!(Error::<&str>::from(REFUSED).into_inner(), None);
    assert_eq!(Error::<&str>::from(TIMED_OUT).into_inner(), None);
}

#[test]
fn a_leaf_that_failed_on_a_refusal_of_its_own_was_executed() {
    let error: Error<Error<()>> = Error::Inner(REFUSED.into());
    assert_eq!(error.verdict(), Verdict::Other);
    assert_eq!(error.refused(), None);
}

#[test]
fn the_verdict_of_a_box_is_what_is_in_it() {
    assert_eq!(BoxError::from(REFUSED).verdict(), Verdict::Refused(&REFUSED));
    assert_eq!(BoxError::from(TIMED_OUT).verdict(), Verdict::TimedOut(&TIMED_OUT));
    assert_eq!(BoxError::from("reset").verdict(), Verdict::Other);
}

#[test]
fn the_verdict_of_a_box_does_not_look_at_sources() {
    let wrapped: BoxError = io::Error::other(REFUSED).into();
    assert_eq!(wrapped.verdict(), Verdict::Other);
    let flat: BoxError = Error::<io::Error>::from(REFUSED).into();
    assert_eq!(flat.verdict(), Verdict::Other);
}

async fn above_a_boundary(error: impl Fn() -> BoxError) -> BoxError {
    let leaf = service_fn(async |()| Err::<(), _>(error()));
    Boundary::new(leaf).oneshot(()).await.unwrap_err()
}

#[tokio::test]
async fn a_refusal_from_below_a_boundary_is_a_failure_of_the_service() {
    for make in [|| REFUSED.into(), || TIMED_OUT.into()] as [fn() -> BoxError; 2] {
        let above = above_a_boundary(make).await;
        assert_eq!(above.verdict(), Verdict::Other);
        assert_eq!(levels(&*above), ["the service failed".to_owned(), make().to_string()]);
        let below = above.downcast::<FromBelow>().unwrap().into_inner();
        assert_ne!(below.verdict(), Verdict::Other);
    }
}

#[tokio::test]
async fn another_error_passes_a_boundary_as_it_is() {
    let above = above_a_boundary(|| "reset".into()).await;
    assert_eq!(levels(&*above), ["reset"]);
    assert!(!above.is::<FromBelow>());
}

#[tokio::test]
async fn a_response_passes_a_boundary() {
    let leaf = service_fn(async |n: u32| Ok::<_, BoxError>(n + 1));
    let mut stack = ServiceBuilder::new().layer(BoundaryLayer::new()).service(leaf);
    assert_eq!(stack.ready().await.unwrap().call(1).await.unwrap(), 2);
}

/// Refuses in its readiness.
struct NeverReady;

impl Service<()> for NeverReady {
    type Response = ();
    type Error = Refused;
    type Future = Ready<Result<(), Refused>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Refused>> {
        Poll::Ready(Err(REFUSED))
    }

    fn call(&mut self, (): ()) -> Self::Future {
        ready(Err(REFUSED))
    }
}

#[tokio::test]
async fn a_refusal_in_the_readiness_below_a_boundary_is_a_failure_too() {
    let mut stack = Boundary::new(NeverReady);
    let error = stack.ready().await.err().unwrap();
    assert_eq!(error.verdict(), Verdict::Other);
    assert!(error.is::<FromBelow>());
}

#[test]
fn a_boundary_gives_its_service_back() {
    let mut stack = Boundary::new(1);
    *stack.get_mut() += 1;
    assert_eq!(*stack.get_ref(), 2);
    assert_eq!(stack.into_inner(), 2);
}
