//! What a step is told by a tower service.

use futures_util::FutureExt;
use mainstay_core::{AnyError, BoxError, Class, Error, Failure, Reason, Refused, TimedOut, Verdict, classify_fn};
use mainstay_saga::{FailedAs, Participant, StepError, UndoError};
use std::{
    future::{Ready, ready},
    io,
    pin::pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio_test::{assert_pending, assert_ready, task};
use tower::{Service, service_fn};

const WAIT: Duration = Duration::from_secs(7);

fn refusal() -> Refused {
    Refused::new(Reason::CircuitOpen, "test").with_retry_after(WAIT)
}

/// What is known, and when to come back.
fn told<T>(result: Result<T, StepError>) -> (FailedAs, Option<Duration>) {
    let error = result.map(drop).unwrap_err();
    (error.outcome(), error.retry_after())
}

/// What a step is told if the call ends like this.
fn after<E>(answer: fn() -> E) -> (FailedAs, Option<Duration>)
where
    E: mainstay_core::Refusable + Into<BoxError>,
{
    let service = service_fn(move |(): ()| ready(Err::<(), _>(answer())));
    told(Participant::new(service).call(()).now_or_never().unwrap())
}

#[test]
fn the_end_of_a_call_is_told_by_its_verdict() {
    type E = Error<io::Error>;
    assert_eq!(after::<E>(|| Error::Refused(refusal())), (FailedAs::NotExecuted, Some(WAIT)));
    assert_eq!(after::<E>(|| Refused::new(Reason::BulkheadFull, "test").into()), (FailedAs::NotExecuted, None));
    assert_eq!(after::<E>(|| TimedOut::new("test", WAIT).into()), (FailedAs::Unknown, None));
    assert_eq!(after::<E>(|| Error::Inner(io::Error::other("reset"))), (FailedAs::Unknown, None));
    // The service worked, and was then refused something itself.
    assert_eq!(after::<Error<Refused>>(|| Error::Inner(refusal())), (FailedAs::Unknown, None));
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
    let counter = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
    let calls = std::sync::Arc::clone(&counter);
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
