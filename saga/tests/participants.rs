//! What a step is told by a tower service.

use futures_util::FutureExt;
use mainstay_circuit_breaker::{CircuitBreakerLayer, Config, Window};
use mainstay_core::{
    AnyError, BoxError, Class, Error, Failure, Reason, Refusable, Refused, TimedOut, Verdict, classify_fn,
};
use mainstay_saga::{
    Cause, Draft, Effect, Engine, ErrorText, FailedAs, Out, Outcome, ParkReason, Participant, Saga, Step, StepCx,
    StepError, UndoError, WaitError, journal::Memory,
};
use std::{
    error, fmt,
    future::{Ready, ready},
    io,
    pin::pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};
use tokio_test::{assert_pending, assert_ready, task};
use tower::{
    Service, ServiceBuilder, service_fn,
    util::{BoxCloneService, BoxCloneSyncService},
};

const WAIT: Duration = Duration::from_secs(7);

fn refusal() -> Refused {
    Refused::new(Reason::CircuitOpen, "test").with_retry_after(WAIT)
}

/// What is known, and when to come back.
fn told<T>(result: Result<T, StepError>) -> (FailedAs, Option<Duration>) {
    let error = result.map(drop).unwrap_err();
    (error.outcome(), error.retry_after())
}

/// What a step is told if the call ends like this, with and without the word that there is a boundary, and by itself.
fn after<E: Refusable + ErrorText<M> + 'static, M>(answer: fn() -> E) -> [(FailedAs, Option<Duration>); 3] {
    let participant = Participant::new(service_fn(move |(): ()| ready(Err::<(), _>(answer()))));
    [
        told(participant.call(()).now_or_never().unwrap()),
        told(participant.above_boundary().call(()).now_or_never().unwrap()),
        told(Err::<(), _>(StepError::of(answer()))),
    ]
}

/// An error with a source.
#[derive(Debug)]
struct Lost(io::Error);

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection is lost")
    }
}

impl error::Error for Lost {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        Some(&self.0)
    }
}

fn lost() -> Lost {
    Lost(io::Error::other("reset"))
}

/// An error of one's own.
#[derive(Debug)]
enum Own {
    Refused(Refused),
    TimedOut(TimedOut),
    Lost(Lost),
}

impl From<Refused> for Own {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl From<TimedOut> for Own {
    fn from(timed_out: TimedOut) -> Self {
        Self::TimedOut(timed_out)
    }
}

impl Refusable for Own {
    fn verdict(&self) -> Verdict<'_> {
        match self {
            Self::Refused(refused) => Verdict::Refused(refused),
            Self::TimedOut(timed_out) => Verdict::TimedOut(timed_out),
            Self::Lost(_) => Verdict::Other,
        }
    }
}

impl fmt::Display for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no payment")
    }
}

impl error::Error for Own {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Refused(refused) => Some(refused),
            Self::TimedOut(timed_out) => Some(timed_out),
            Self::Lost(lost) => Some(lost),
        }
    }
}

#[test]
fn the_end_of_a_call_is_told_by_its_verdict() {
    fn by_verdict<E: Refusable + ErrorText<M> + 'static, M>(failed: fn() -> E) {
        assert_eq!(after::<E, M>(|| refusal().into()), [(FailedAs::NotExecuted, Some(WAIT)); 3]);
        assert_eq!(
            after::<E, M>(|| Refused::new(Reason::BulkheadFull, "test").into()),
            [(FailedAs::NotExecuted, None); 3]
        );
        assert_eq!(after::<E, M>(|| TimedOut::new("test", WAIT).into()), [(FailedAs::Unknown, None); 3]);
        assert_eq!(after::<E, M>(failed), [(FailedAs::Unknown, None); 3]);
    }
    by_verdict(|| Error::Inner(lost()));
    by_verdict(|| Error::<BoxError>::Inner(lost().into()));
    by_verdict(|| Own::Lost(lost()));
    // The service worked, and was then refused something itself.
    by_verdict(|| Error::Inner(refusal()));
    by_verdict(|| Error::<BoxError>::Inner(refusal().into()));
}

#[test]
fn all_that_an_error_says_is_kept() {
    fn kept<E: Refusable + ErrorText<M> + 'static, M>(answer: fn() -> E) -> String {
        let participant = Participant::new(service_fn(move |(): ()| ready(Err::<(), _>(answer()))));
        let error = participant.call(()).now_or_never().unwrap().unwrap_err().to_string();
        assert_eq!(StepError::of(answer()).to_string(), error);
        assert_eq!(*answer().into_text(), *error);
        error
    }
    let whole = "the service failed: the connection is lost: reset";
    assert_eq!(kept(|| Error::Inner(lost())), whole);
    assert_eq!(kept(|| Error::<BoxError>::Inner(lost().into())), whole);
    assert_eq!(kept(|| BoxError::from(lost())), "the connection is lost: reset");
    assert_eq!(kept(|| Own::Lost(lost())), "no payment: the connection is lost: reset");

    let refused = "refused by `test`: the circuit is open";
    assert_eq!(kept(|| Error::<Lost>::Refused(refusal())), refused);
    assert_eq!(kept(|| Error::<BoxError>::Refused(refusal())), refused);
    assert_eq!(kept(|| BoxError::from(refusal())), refused);
    assert_eq!(kept(|| Own::Refused(refusal())), format!("no payment: {refused}"));
}

#[test]
fn a_refusal_in_a_box_is_proof_only_above_a_boundary() {
    let service = service_fn(|(): ()| ready(Err::<(), BoxError>(refusal().into())));
    let anywhere = Participant::new(service);
    assert_eq!(told(anywhere.call(()).now_or_never().unwrap()), (FailedAs::Unknown, Some(WAIT)));
    let above = anywhere.above_boundary().classify(AnyError);
    assert_eq!(told(above.call(()).now_or_never().unwrap()), (FailedAs::NotExecuted, Some(WAIT)));

    let failing = service_fn(|(): ()| ready(Err::<(), BoxError>("reset".into())));
    let failing = Participant::new(failing).above_boundary();
    assert_eq!(told(failing.call(()).now_or_never().unwrap()), (FailedAs::Unknown, None));
}

/// The stack of most: boxed at the bottom, flat above it.
type Usual = BoxCloneSyncService<u64, u64, Error<BoxError>>;

struct Bank {
    payments: Participant<Usual>,
}

/// Takes up to 100, and breaks the connection at more; after one of those the circuit is open.
fn usual() -> Usual {
    let circuit = Config::default().name("payments").window(Window::Consecutive(1));
    let leaf = service_fn(async |cents: u64| if cents <= 100 { Ok(cents) } else { Err(BoxError::from(lost())) });
    let stack = ServiceBuilder::new().layer(CircuitBreakerLayer::new(circuit).unwrap()).map_err(Error::Inner);
    BoxCloneSyncService::new(stack.service(leaf))
}

fn payment<'s>(mut s: Draft<'s, Bank>, cents: Out<'s, u64>) -> Out<'s, u64> {
    let paid = s.step(
        Step::named("pay").attempts(1).undo_attempts(1),
        cents,
        async |cx, cents| cx.app().payments.call(cents).await,
        async |cx, cents, _: Effect<u64>| Ok(cx.app().payments.call(cents).await.map(drop)?),
    );
    s.step(Step::named("book").attempts(1), paid, book, async |_, _, _: Effect<u64>| Ok(()))
}

/// Through `?`, in a function of its own.
async fn book(cx: StepCx<Bank>, cents: u64) -> Result<u64, StepError> {
    let booked = cx.app().payments.call(cents).await?;
    Ok(booked + 1)
}

#[tokio::test(start_paused = true)]
async fn a_usual_stack_takes_part_as_it_is() {
    let saga = Saga::define("payment", 1, payment).unwrap();
    let bank = Bank { payments: Participant::new(usual()) };
    let engine = Engine::builder(bank, Memory::new()).register(&saga).start().await.unwrap();
    let end = async |key, cents| engine.start(&saga, key, cents).await.unwrap().outcome().await.unwrap();
    let failed = |outcome, error: &str| {
        Outcome::Compensated(Cause::StepFailed { step: "pay".into(), outcome, error: error.into() })
    };

    assert_eq!(end("works", 99).await, Outcome::Completed(100));
    let broken = engine.start(&saga, "breaks", 101).await.unwrap();
    assert!(matches!(broken.outcome().await, Err(WaitError::Parked(ParkReason::UndoFailed { .. }))), "it is refused");
    engine.operator("ann").mark_compensated(broken.id(), "pay", "I looked").await.unwrap();
    assert_eq!(
        broken.outcome().await.unwrap(),
        failed(FailedAs::Unknown, "the service failed: the connection is lost: reset")
    );
    assert_eq!(end("refused", 99).await, failed(FailedAs::NotExecuted, "refused by `payments`: the circuit is open"));
}

#[test]
fn a_stack_that_cannot_be_shared_takes_part_too() {
    let stack = BoxCloneService::new(usual());
    let participant = Participant::new(stack);
    assert_eq!(participant.call(99).now_or_never().unwrap(), Ok(99));
    assert_eq!(told(participant.call(101).now_or_never().unwrap()), (FailedAs::Unknown, None));
    let (outcome, wait) = told(participant.call(99).now_or_never().unwrap());
    assert_eq!((outcome, wait.is_some()), (FailedAs::NotExecuted, true));
}

/// Is never ready, or only when asked a second time; panics if it is called before.
struct Unready<E> {
    asked: u32,
    answer: fn() -> Poll<Result<(), E>>,
}

impl<E> Clone for Unready<E> {
    fn clone(&self) -> Self {
        Self { asked: 0, answer: self.answer }
    }
}

impl<E> Service<u32> for Unready<E> {
    type Response = u32;
    type Error = E;
    type Future = Ready<Result<u32, E>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), E>> {
        self.asked += 1;
        if self.asked == 1 { (self.answer)() } else { Poll::Ready(Ok(())) }
    }

    fn call(&mut self, n: u32) -> Self::Future {
        assert!(self.asked > 1, "called before it was ready");
        self.asked = 0;
        ready(Ok(n))
    }
}

#[test]
fn what_was_not_ready_was_not_executed() {
    let broken = |answer| Participant::new(Unready::<Error<io::Error>> { asked: 0, answer });
    let worker_gone = broken(|| Poll::Ready(Err(Error::Inner(io::Error::other("the worker is gone")))));
    assert_eq!(told(worker_gone.call(1).now_or_never().unwrap()), (FailedAs::NotExecuted, None));
    let timed_out = broken(|| Poll::Ready(Err(TimedOut::new("test", WAIT).into())));
    assert_eq!(told(timed_out.call(1).now_or_never().unwrap()), (FailedAs::NotExecuted, None));
    let refused = broken(|| Poll::Ready(Err(Error::Refused(refusal()))));
    assert_eq!(told(refused.call(1).now_or_never().unwrap()), (FailedAs::NotExecuted, Some(WAIT)));
    // Even in a box: whoever refused, it was before the call.
    let boxed = Participant::new(Unready::<BoxError> { asked: 0, answer: || Poll::Ready(Err(refusal().into())) });
    assert_eq!(told(boxed.call(1).now_or_never().unwrap()), (FailedAs::NotExecuted, Some(WAIT)));
}

#[test]
fn each_call_earns_its_own_readiness() {
    let slow = Participant::new(Unready::<Error<io::Error>> { asked: 0, answer: || Poll::Pending });
    let (mut first, mut second) = (task::spawn(slow.call(1)), task::spawn(slow.call(2)));
    assert_pending!(first.poll());
    assert_pending!(second.poll());
    assert_eq!(assert_ready!(first.poll()), Ok(1));
    assert_eq!(assert_ready!(second.poll()), Ok(2));
}

#[test]
fn a_call_is_made_when_its_future_runs() {
    let counter = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let calls = Arc::clone(&counter);
    let service = service_fn(move |(): ()| {
        // Only the number matters, and one thread does all of this.
        counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        ready(Ok::<_, Error<io::Error>>(()))
    });
    let call = Participant::new(service).call(());
    // Relaxed: one thread does all of this.
    let calls = || calls.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(calls(), 0);
    pin!(call).now_or_never().unwrap().unwrap();
    assert_eq!(calls(), 1);
}

fn judged_as(class: Class, sheds_first: bool) -> Result<u32, StepError> {
    let service = service_fn(|n: u32| ready(Ok::<_, Error<io::Error>>(n)));
    let participant = Participant::new(service);
    let participant = if sheds_first { participant.sheds_first() } else { participant };
    let participant = participant.classify(classify_fn(move |_: Result<&u32, &Error<io::Error>>| class));
    participant.call(5).now_or_never().unwrap()
}

#[test]
fn a_response_that_is_a_failure_may_have_been_executed() {
    let overloaded = Class::Failure(Failure::Overloaded { retry_after: Some(WAIT) });
    for sheds_first in [false, true] {
        assert_eq!(judged_as(Class::Success, sheds_first), Ok(5));
        assert_eq!(judged_as(Class::Ignored, sheds_first), Ok(5));
        assert_eq!(told(judged_as(Class::Failure(Failure::Transient), sheds_first)), (FailedAs::Unknown, None));
        assert_eq!(told(judged_as(Class::Failure(Failure::Permanent), sheds_first)), (FailedAs::Unknown, None));
    }
    assert_eq!(told(judged_as(overloaded, false)), (FailedAs::Unknown, Some(WAIT)));
    assert_eq!(told(judged_as(overloaded, true)), (FailedAs::NotExecuted, Some(WAIT)));
}

#[test]
fn a_response_that_is_a_failure_says_of_what_kind() {
    for (failure, said) in [
        (Failure::Transient, "the response is a failure that may pass"),
        (Failure::Permanent, "the response is a failure that will not pass"),
        (Failure::Overloaded { retry_after: None }, "the response says that the service is overloaded"),
    ] {
        assert_eq!(judged_as(Class::Failure(failure), false).unwrap_err().to_string(), said);
    }
}

#[test]
fn an_error_that_is_no_failure_has_no_response_either() {
    let lenient = classify_fn(|_: Result<&(), &Error<io::Error>>| Class::Success);
    let service = service_fn(|(): ()| ready(Err::<(), Error<io::Error>>(Error::Inner(io::Error::other("reset")))));
    let participant = Participant::new(service).classify(lenient);
    assert_eq!(told(participant.call(()).now_or_never().unwrap()), (FailedAs::Unknown, None));
}

#[test]
fn an_error_may_say_that_the_service_is_overloaded() {
    let busy = classify_fn(|result: Result<&(), &Error<io::Error>>| match result {
        Ok(()) => Class::Success,
        Err(_) => Class::Failure(Failure::Overloaded { retry_after: Some(WAIT) }),
    });
    let service = service_fn(|(): ()| ready(Err::<(), Error<io::Error>>(Error::Inner(io::Error::other("busy")))));
    let participant = Participant::new(service).classify(busy);
    assert_eq!(told(participant.call(()).now_or_never().unwrap()), (FailedAs::Unknown, Some(WAIT)));
    let participant = participant.sheds_first();
    let told_text = participant.call(()).now_or_never().unwrap().unwrap_err();
    assert_eq!(
        (told_text.outcome(), told_text.to_string().as_str()),
        (FailedAs::NotExecuted, "the service failed: busy")
    );
}

#[test]
fn an_undo_tries_again_what_a_participant_failed_in() {
    let rejected: UndoError = StepError::not_executed("busy").with_retry_after(WAIT).into();
    assert!(!rejected.is_final());
    assert_eq!((rejected.retry_after(), rejected.to_string().as_str()), (Some(WAIT), "busy"));
}

#[test]
fn a_question_mark_is_unknown_even_for_a_refusal() {
    // The first half was executed; the second was refused.
    fn two_halves() -> Result<(), StepError> {
        Err(refusal())?;
        Ok(())
    }
    assert_eq!(told(two_halves()), (FailedAs::Unknown, None));
    assert_eq!(StepError::of(Error::<io::Error>::Refused(refusal())).outcome(), FailedAs::NotExecuted);
    let boxed: BoxError = refusal().into();
    assert!(matches!(mainstay_core::Refusable::verdict(&boxed), Verdict::Refused(_)));
    assert_eq!(StepError::of(boxed).outcome(), FailedAs::Unknown);
}

#[cfg(feature = "http")]
mod http {
    use super::*;
    use ::http::Response;

    fn answered(status: u16, retry_after: Option<&str>) -> Result<u16, StepError> {
        let mut response = Response::builder().status(status);
        if let Some(wait) = retry_after {
            response = response.header("retry-after", wait);
        }
        let response = response.body(()).unwrap();
        let service = service_fn(move |(): ()| ready(Ok::<_, Error<io::Error>>(response.clone())));
        let participant = Participant::http(service);
        participant.call(()).now_or_never().unwrap().map(|response| response.status().as_u16())
    }

    #[test]
    fn responses_are_told_by_their_status() {
        for status in [500, 501, 502, 503, 504, 408] {
            assert_eq!(told(answered(status, None)), (FailedAs::Unknown, None), "{status}");
        }
        assert_eq!(told(answered(503, Some("7"))), (FailedAs::Unknown, Some(WAIT)));
        assert_eq!(told(answered(429, Some("7"))), (FailedAs::Unknown, Some(WAIT)));
        for status in [200, 201, 404, 409, 422] {
            assert_eq!(answered(status, None), Ok(status), "a service that works");
        }
    }
}

/// Charges, and has that written to a ledger whose circuit is open.
fn charged_and_noted(attempts: &Arc<Mutex<Vec<&'static str>>>) -> Saga<(), u64, ()> {
    let (charges, undos) = (Arc::clone(attempts), Arc::clone(attempts));
    let charge = Participant::new(service_fn(move |_: u64| {
        charges.lock().unwrap().push("charge");
        ready(Ok::<_, Error<io::Error>>(()))
    }));
    let open = || Err::<(), Error<io::Error>>(Refused::new(Reason::CircuitOpen, "ledger").into());
    let ledger = Participant::new(service_fn(move |_: u64| ready(open())));
    let both = move |_, cents| {
        let charge = charge.clone();
        async move {
            charge.call(cents).await?;
            ledger.call(cents).await.map_err(StepError::after_effects)
        }
    };
    let undo = move |_, _, _: Effect<()>| {
        undos.lock().unwrap().push("undo");
        ready(Ok(()))
    };
    Saga::define("order", 1, |mut s, cents| s.step(Step::named("charge").attempts(2), cents, both, undo)).unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_a_step_did_before_it_was_refused_is_undone() {
    let calls = Arc::default();
    let saga = charged_and_noted(&calls);
    let engine = Engine::builder((), Memory::new()).register(&saga).start().await.unwrap();
    let outcome = engine.start(&saga, "1", 10).await.unwrap().outcome().await.unwrap();
    assert!(matches!(outcome, Outcome::Compensated(Cause::StepFailed { outcome: FailedAs::Unknown, .. })));
    assert_eq!(*calls.lock().unwrap(), ["charge", "charge", "undo"]);
}
