//! Which types can be sent, shared and moved, how large a call is, and what need not be anything.

use mainstay_core::{AnyError, Error};
use mainstay_retry::{
    Always, Backoff, Budget, Charge, Clock, Cloned, Config, Course, Jitter, Marked, NoBudget, Policy, ResponseFuture,
    Retries, Retry, RetryLayer, Tagged, Unmarked, repeat_fn,
};
use static_assertions::{assert_impl_all, assert_not_impl_any};
use std::{
    cell::Cell,
    future::Ready,
    marker::PhantomData,
    panic::{RefUnwindSafe, UnwindSafe},
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
};
use tower::{Layer, Service, ServiceExt, service_fn};

type Answer = Result<(), Error<()>>;
type Shared = Arc<Budget>;
/// Can be sent, and cannot be shared.
type Unshared = Cell<u8>;
/// Can be neither sent nor shared.
type Local = Rc<u8>;

/// A service that answers with `T`.
struct Of<T>(PhantomData<fn() -> T>);

impl<T> Clone for Of<T> {
    fn clone(&self) -> Self {
        Self(PhantomData)
    }
}

impl<T, Req> Service<Req> for Of<T> {
    type Response = T;
    type Error = Error<()>;
    type Future = Ready<Result<T, Error<()>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Answer> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Req) -> Self::Future {
        std::future::ready(Err(Error::Inner(())))
    }
}

type Call<T, Req, P> = ResponseFuture<Of<T>, Req, Cloned, AnyError, P, Always>;

assert_impl_all!(Config: Send, Sync, Unpin, UnwindSafe, RefUnwindSafe, Copy, PartialEq, Default);
assert_impl_all!(Policy: Send, Sync, Unpin, Copy, PartialEq);
assert_impl_all!(Backoff: Send, Sync, Unpin, Copy, PartialEq, Default);
assert_impl_all!(Jitter: Send, Sync, Unpin, Copy, Eq);
assert_impl_all!(Course: Send, Sync, Unpin, Clone);
assert_impl_all!(Clock: Send, Sync, Unpin, Copy);
assert_impl_all!(Cloned: Send, Sync, Unpin, Copy, Default);
assert_impl_all!(Tagged<Marked>: Send, Sync, Unpin, Copy);
assert_impl_all!(Unmarked: Send, Sync, Unpin, Copy, Default);

assert_impl_all!(RetryLayer: Send, Sync, Unpin, Copy);
assert_impl_all!(RetryLayer<Cloned, AnyError, Shared>: Send, Sync, Unpin, Clone);
assert_impl_all!(RetryLayer<Cloned, AnyError, &'static Budget>: Send, Sync, Unpin, Copy);
assert_not_impl_any!(RetryLayer<Cloned, Local>: Send, Sync);
assert_not_impl_any!(RetryLayer<Cloned, AnyError, Rc<Budget>>: Send, Sync);

assert_impl_all!(Retry<()>: Send, Sync, Unpin, Clone);
assert_impl_all!(Retry<Unshared>: Send, Unpin, Clone);
assert_not_impl_any!(Retry<Unshared>: Sync);
assert_not_impl_any!(Retry<Local>: Send, Sync);

assert_impl_all!(Retries: Send, Sync, Unpin, Clone);
assert_not_impl_any!(Retries<AnyError, Rc<Budget>>: Send, Sync);

assert_impl_all!(Charge<Shared>: Send, Sync, Unpin);
assert_not_impl_any!(Charge<Shared>: Clone);

assert_impl_all!(Call<(), u8, NoBudget>: Send, Sync);
assert_impl_all!(Call<(), u8, Shared>: Send, Sync);
assert_impl_all!(Call<Unshared, u8, Shared>: Send);
assert_not_impl_any!(Call<Local, u8, Shared>: Send, Sync);
assert_not_impl_any!(Call<(), Local, Shared>: Send, Sync);
assert_not_impl_any!(Call<(), u8, Shared>: Clone);

#[cfg(feature = "http")]
mod http_types {
    use mainstay_retry::{HttpRepeat, KeptRequest, ReplayBody};
    use static_assertions::{assert_impl_all, assert_not_impl_any};
    use std::{cell::Cell, marker::PhantomPinned, rc::Rc};

    assert_impl_all!(HttpRepeat: Send, Sync, Unpin, Copy, Default);
    assert_impl_all!(ReplayBody<()>: Send, Sync, Unpin);
    assert_impl_all!(ReplayBody<Cell<u8>>: Send);
    assert_not_impl_any!(ReplayBody<Cell<u8>>: Sync);
    assert_not_impl_any!(ReplayBody<Rc<u8>>: Send, Sync);
    assert_not_impl_any!(ReplayBody<PhantomPinned>: Unpin);
    assert_impl_all!(KeptRequest<Cell<u8>>: Send, Sync);
    assert_not_impl_any!(KeptRequest<Rc<u8>>: Send, Sync);
}

#[test]
fn a_call_holds_little_more_than_its_course() {
    let own = size_of::<Call<(), u8, NoBudget>>() - size_of::<Course>();
    assert!(own <= 128, "{own}");
}

/// Neither `Clone` nor `Debug`, and of one thread.
struct Plain(#[expect(dead_code, reason = "makes the type local to a thread")] Rc<u8>);

#[test]
fn requests_responses_and_errors_need_not_be_anything() {
    let once = repeat_fn(|_: &Plain, _| None);
    let layer = RetryLayer::new(Config::default()).unwrap().repeat(once);
    for fail in [false, true] {
        let leaf = service_fn(move |request: Plain| {
            std::future::ready(if fail { Err(Error::Inner(request)) } else { Ok(request) })
        });
        let mut service = layer.layer(leaf);
        let mut cx = Context::from_waker(Waker::noop());
        assert!(service.poll_ready(&mut cx).is_ready());
        let answer = Box::pin(service.call(Plain(Rc::new(1)))).as_mut().poll(&mut cx);
        assert_eq!(answer.map(|answer| answer.is_err()), Poll::Ready(fail));
    }
}

#[test]
fn the_service_can_be_boxed_and_its_parts_taken_out() {
    let layer = RetryLayer::new(Config::default()).unwrap();
    let mut service = layer.layer(service_fn(async |(): ()| Answer::Ok(())));
    let _: &_ = service.get_ref();
    let _: &mut _ = service.get_mut();
    let _ = service.clone().into_inner();
    let boxed = service.boxed_clone();
    drop(boxed.clone());
}

#[test]
fn debug_names_the_policy_and_shows_no_request() {
    let layer = RetryLayer::new(Config::default().name("debugged")).unwrap();
    let retries = Retries::new(Config::default().name("debugged")).unwrap();
    for text in [format!("{layer:?}"), format!("{:?}", layer.layer(())), format!("{retries:?}")] {
        assert!(text.contains("debugged"), "{text}");
    }
    let mut service = layer.layer(service_fn(async |secret: &'static str| Ok::<_, Error<()>>(secret)));
    assert!(service.poll_ready(&mut Context::from_waker(Waker::noop())).is_ready());
    let text = format!("{:?}", service.call("hunter2"));
    assert!(text.contains("is_called: true") && !text.contains("hunter2"), "{text}");
}
