//! Which layers, services and futures can be sent, shared and moved, and how large a call is.

use mainstay_core::Error;
use mainstay_rate_limit::{
    ByRef, ByValue, KeyedLimiter, KeyedRateLimit, KeyedRateLimitLayer, KeyedWaitingRateLimit,
    KeyedWaitingRateLimitLayer, LimitFuture, LimitLayer, LimitService, Limiter, One, Quota, RateLimit, RateLimitLayer,
    Reservation, ResponseFuture, WaitingRateLimit, WaitingRateLimitLayer, WaitingResponseFuture,
};
use static_assertions::{assert_impl_all, assert_not_impl_any};
use std::{
    cell::{Cell, UnsafeCell},
    future::Ready,
    marker::PhantomPinned,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};
use tower::{Layer, Service};

type Shared = Arc<Limiter>;
type Keys = Arc<KeyedLimiter<str>>;
type Fixed = &'static Limiter;
type Answer = Result<(), Error<()>>;
type Key = ByRef<fn(&Request) -> &str, str>;
/// Can be sent, and cannot be shared.
type Unshared = Cell<u8>;
/// Can be neither sent nor shared.
type Local = Rc<u8>;
type Request = String;

#[derive(Clone)]
struct Leaf;

impl Service<Request> for Leaf {
    type Response = ();
    type Error = Error<()>;
    type Future = Ready<Answer>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Answer> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request) -> Self::Future {
        std::future::ready(Ok(()))
    }
}

assert_impl_all!(Reservation<Shared>: Send, Sync, Unpin);
assert_impl_all!(Reservation<Fixed>: Send, Sync, Unpin);
assert_impl_all!(Reservation<Keys>: Send, Sync, Unpin);
assert_not_impl_any!(Reservation<Shared>: Clone);
assert_not_impl_any!(Reservation<Rc<Limiter>>: Send, Sync);

assert_impl_all!(RateLimitLayer: Send, Sync, Unpin, Clone);
assert_impl_all!(RateLimitLayer<Fixed>: Send, Sync, Unpin, Clone);
assert_impl_all!(WaitingRateLimitLayer: Send, Sync, Unpin, Clone);
assert_impl_all!(KeyedRateLimitLayer<Key, Keys>: Send, Sync, Unpin, Clone);
assert_impl_all!(KeyedWaitingRateLimitLayer<Key, Keys>: Send, Sync, Unpin, Clone);
assert_impl_all!(LimitLayer<Key, Keys>: Send, Sync, Unpin, Clone);
assert_not_impl_any!(RateLimitLayer<Rc<Limiter>>: Send, Sync);
assert_not_impl_any!(RateLimitLayer<Shared, Local>: Send, Sync);

assert_impl_all!(RateLimit<Leaf>: Send, Sync, Unpin, Clone);
assert_impl_all!(RateLimit<Unshared>: Send, Unpin);
assert_not_impl_any!(RateLimit<Unshared>: Sync);
assert_not_impl_any!(RateLimit<Local>: Send, Sync);
assert_not_impl_any!(RateLimit<UnsafeCell<()>>: Clone);
assert_impl_all!(WaitingRateLimit<Leaf>: Send, Sync, Unpin, Clone);
assert_not_impl_any!(WaitingRateLimit<Local>: Send, Sync);
assert_not_impl_any!(WaitingRateLimit<UnsafeCell<()>>: Clone);
assert_impl_all!(KeyedRateLimit<Leaf, Key, Keys>: Send, Sync, Unpin, Clone);
assert_impl_all!(KeyedWaitingRateLimit<Leaf, Key, Keys>: Send, Sync, Unpin, Clone);
assert_impl_all!(LimitService<Leaf, Key, Keys>: Send, Sync, Unpin, Clone);

assert_impl_all!(ResponseFuture<Ready<Answer>>: Send, Sync, Unpin);
assert_not_impl_any!(ResponseFuture<PhantomPinned>: Unpin);
assert_not_impl_any!(ResponseFuture<Local>: Send, Sync);
assert_impl_all!(WaitingResponseFuture<Leaf, Request, Keys>: Send, Sync);
assert_impl_all!(LimitFuture<Leaf, Request, Ready<()>>: Send, Sync, Unpin);

fn is_send<T: Send>(value: T) -> T {
    value
}

#[test]
fn plain_calls_can_be_sent() {
    let limiter = Limiter::new(Quota::per_second(1).unwrap()).unwrap();
    let keyed = KeyedLimiter::<str>::new(Quota::per_second(1).unwrap()).unwrap();
    drop(is_send(limiter.acquire(1, Duration::MAX)));
    drop(is_send(limiter.call(|| std::future::ready(Answer::Ok(())))));
    drop(is_send(keyed.acquire("a", 1, Duration::MAX)));
    drop(is_send(keyed.call("a", || std::future::ready(Answer::Ok(())))));
}

/// What the layers add to what they run, on a machine of 64 bits.
#[cfg(target_pointer_width = "64")]
#[test]
fn call_is_not_much_larger_than_what_it_runs() {
    type Inner = [u8; 1_024];
    assert!(size_of::<ResponseFuture<Inner>>() <= size_of::<Inner>() + 8);
    assert!(size_of::<RateLimit<Inner>>() <= size_of::<Inner>() + 16);
    assert!(size_of::<RateLimit<Inner, Fixed, One>>() <= size_of::<Inner>() + 16);
    assert!(size_of::<WaitingResponseFuture<Leaf, Request, Keys>>() <= 512);
    assert!(size_of::<KeyedRateLimit<Inner, ByValue<fn()>, Keys>>() <= size_of::<Inner>() + 32);
}

/// Neither `Clone` nor `Debug`, and of one thread.
struct Plain(#[expect(dead_code, reason = "makes the type local to a thread")] Rc<u8>);

#[test]
fn requests_responses_and_errors_need_not_be_anything() {
    let layer = RateLimitLayer::new(Quota::per_second(1).unwrap()).unwrap();
    let mut service =
        layer.layer(tower::service_fn(|request: Plain| std::future::ready(Err::<Plain, _>(Error::Inner(request)))));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(matches!(service.poll_ready(&mut cx), Poll::Ready(Ok(()))));
    let answer = Box::pin(service.call(Plain(Rc::new(1)))).as_mut().poll(&mut cx);
    assert!(matches!(answer, Poll::Ready(Err(Error::Inner(_)))));
}

#[test]
fn debug_shows_no_request() {
    let layer = RateLimitLayer::new(Quota::per_second(1).unwrap()).unwrap();
    let keyed = KeyedRateLimitLayer::new(Quota::per_second(1).unwrap(), |request: &Request| request.as_str()).unwrap();
    let (mut service, mut keyed_service) = (layer.layer(Leaf), keyed.clone().wait_at_most(Duration::ZERO).layer(Leaf));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(service.poll_ready(&mut cx).is_ready() && keyed_service.poll_ready(&mut cx).is_ready());
    let text = format!(
        "{layer:?} {keyed:?} {:?} {:?}",
        service.call("hunter2".to_owned()),
        keyed_service.call("hunter2".to_owned())
    );
    assert!(text.contains("rate-limit") && !text.contains("hunter2"), "{text}");
}
