//! What a call allocates: nothing. And what it asks of the clock: nothing, if it succeeds at once.
//!
//! Run with the features off and on: with `tracing` and no subscriber, with `metrics` and no recorder.

use allocation_counter::measure;
use mainstay_core::{Error, Reason, Refused};
use mainstay_retry::{Backoff, Budget, BudgetConfig, Config, NoBudget, Pay, Retries, RetryLayer, Tagged, repeat_fn};
use std::{
    convert::Infallible,
    future::{Ready, ready},
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};
use tower::{Layer, Service};

type Answer = Result<u32, Error<Infallible>>;

/// Refuses the first calls.
#[derive(Clone, Copy)]
struct Leaf {
    refuses: u32,
}

impl Service<u32> for Leaf {
    type Response = u32;
    type Error = Error<Infallible>;
    type Future = Ready<Answer>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u32) -> Self::Future {
        if self.refuses == 0 {
            return ready(Ok(request));
        }
        self.refuses -= 1;
        ready(Err(Refused::new(Reason::CircuitOpen, "test").into()))
    }
}

const CALLS: u32 = 1_000;

/// How often `act` allocates, once it has run before.
fn allocations(mut act: impl FnMut()) -> u64 {
    act();
    measure(act).count_total
}

fn answer<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer,
        Poll::Pending => panic!("the leaf is ready at once"),
    }
}

/// The allocations of many calls, each of which is refused a few times.
fn of_calls<L>(layer: &L, refuses: u32) -> u64
where
    L: Layer<Leaf>,
    L::Service: Service<u32, Response = u32, Error = Error<Infallible>>,
{
    let calls = || {
        for _ in 0..CALLS {
            let mut service = layer.layer(Leaf { refuses });
            assert!(service.poll_ready(&mut Context::from_waker(Waker::noop())).is_ready());
            assert_eq!(answer(service.call(1)), Ok(1));
        }
    };
    allocations(calls)
}

fn at_once() -> Config {
    Config::default().backoff(Backoff::constant(Duration::ZERO))
}

fn budget() -> Budget {
    Budget::new(BudgetConfig::default().ratio(1.0)).unwrap()
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| drop(std::hint::black_box(Box::new(1)))), 1);
}

/// Outside of a runtime, so that a timer would panic.
#[test]
fn a_call_that_succeeds_at_once_allocates_nothing_and_sets_no_timer() {
    let layer = RetryLayer::new(Config::default().deadline(Duration::from_secs(1))).unwrap();
    assert_eq!(of_calls(&layer, 0), 0);
    assert_eq!(of_calls(&layer.budget(Arc::new(budget())), 0), 0);
    let budget: &'static Budget = Box::leak(Box::new(budget()));
    assert_eq!(of_calls(&layer.budget(budget), 0), 0);
    let seeded = RetryLayer::new(Config::default().seed(7)).unwrap();
    assert_eq!(of_calls(&seeded, 0), 0);
    assert_eq!(of_calls(&layer.repeat(repeat_fn(|request: &u32, _| Some(*request))), 0), 0);
}

#[test]
fn a_call_that_is_sent_again_allocates_once_however_often() {
    let layer = RetryLayer::new(at_once()).unwrap();
    assert_eq!(of_calls(&layer, 1), u64::from(CALLS));
    assert_eq!(of_calls(&layer, 2), u64::from(CALLS));
    let plenty = BudgetConfig::default().initial(10_000).cap(10_000);
    assert_eq!(of_calls(&layer.budget(Arc::new(Budget::new(plenty).unwrap())), 2), u64::from(CALLS));
}

#[test]
fn a_failure_that_is_not_sent_again_allocates_nothing() {
    let layer = RetryLayer::new(at_once()).unwrap();
    let failed = tower::service_fn(|request: u32| ready(Err::<u32, _>(Error::Inner(request))));
    let mut service = layer.layer(failed);
    assert_eq!(allocations(|| assert!(answer(service.call(1)).is_err())), 0);
}

#[test]
fn a_plain_call_allocates_nothing() {
    fn of<P: Pay>(retries: &Retries<mainstay_core::AnyError, P>) -> u64 {
        allocations(|| (0..CALLS).for_each(|n| assert_eq!(answer(retries.call(|_| ready(Answer::Ok(n)))), Ok(n))))
    }
    let retries = Retries::new(at_once()).unwrap();
    assert_eq!(of(&retries), 0);
    assert_eq!(of(&retries.budget(&budget())), 0);
}

#[test]
fn a_clone_allocates_nothing() {
    let service = RetryLayer::new(at_once()).unwrap().budget(Arc::new(budget())).layer(Leaf { refuses: 0 });
    assert_eq!(allocations(|| drop(std::hint::black_box(service.clone()))), 0);
}

#[test]
fn a_policy_without_a_budget_is_copied() {
    const fn is_copy<T: Copy>(_: &T) {}
    let layer = RetryLayer::new(at_once()).unwrap();
    is_copy(&layer);
    is_copy(&layer.repeat(Tagged::new()).idempotent().budget(NoBudget));
}

#[cfg(feature = "http")]
#[test]
fn an_empty_body_is_kept_for_nothing() {
    use http_body_util::{Empty, Full};
    use mainstay_retry::{HttpRepeat, Repeat};

    fn of<B: http_body::Body + Unpin>(body: impl Fn() -> B) -> u64 {
        let (mut request, mut bare) = (Some(http::Request::new(body())), Some(http::Request::new(())));
        let sent = measure(|| drop(HttpRepeat::new().first(request.take().unwrap()))).count_total;
        // The head has to be copied, and the attempt is put into its extensions, whatever the body.
        let head = measure(|| {
            let (head, ()) = bare.take().unwrap().into_parts();
            let mut first = http::Request::from_parts(head.clone(), ());
            mainstay_core::Meta::set_meta(&mut first, mainstay_core::Attempt::FIRST);
            drop((first, head));
        });
        sent - head.count_total
    }
    assert_eq!(of(Empty::<bytes::Bytes>::new), 0);
    assert_eq!(of(|| Full::new(bytes::Bytes::from_static(b"one flat white"))), 1, "the place of its recording");
}

#[cfg(feature = "http")]
#[test]
fn a_first_attempt_over_http_allocates_a_copy_of_the_headers_and_the_place_of_its_number() {
    use mainstay_retry::{HttpRepeat, Repeat};

    let of = |mut request: Option<http::Request<http_body_util::Empty<bytes::Bytes>>>| {
        measure(|| drop(HttpRepeat::new().first(request.take().unwrap()))).count_total
    };
    let request = || http::Request::get("/").body(http_body_util::Empty::new()).unwrap();
    assert_eq!(of(Some(request())), 3, "extensions, their table, and the number");
    let mut with_header = request();
    with_header.headers_mut().insert("accept", http::HeaderValue::from_static("text/plain"));
    assert_eq!(of(Some(with_header.clone())), 5, "and of the copied headers the index and the list");
    with_header.headers_mut().insert("user-agent", http::HeaderValue::from_str("a till").unwrap());
    assert_eq!(of(Some(with_header.clone())), 5, "a value that is shared already");
    with_header.headers_mut().insert("user-agent", http::HeaderValue::from_str("a till").unwrap());
    assert_eq!(of(Some(with_header)), 6, "a value that is shared from now on");
}
