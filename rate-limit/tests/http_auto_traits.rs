//! Which types of the layer for HTTP can be sent, shared and moved, and how large a call is.
#![cfg(feature = "http")]

use http::{Request, Response};
use mainstay_core::http::EmptyBody;
use mainstay_rate_limit::{
    KeyedLimiter, Limiter, Quota,
    http::{
        Bearer, ClientId, ClientKey, Digest, Fields, Forwarded, ForwardedFor, Head, Header, HttpRateLimit,
        HttpRateLimitLayer, HttpResponseFuture, Identify, IdentifyFn, Network, OrElse, Peer, RateLimitFields, Subject,
        identify_fn,
    },
};
use static_assertions::{assert_impl_all, assert_not_impl_any};
use std::{
    cell::Cell,
    future::{Pending, Ready},
    hash::Hash,
    marker::PhantomPinned,
    panic::{RefUnwindSafe, UnwindSafe},
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
};
use tower::{Layer, Service, ServiceExt, service_fn};

type Shared = Arc<KeyedLimiter<ClientId>>;
type Answer = Result<Response<()>, ()>;
/// Can be sent, and cannot be shared.
type Unshared = Cell<u8>;
/// Can be neither sent nor shared.
type Local = Rc<u8>;

assert_impl_all!(ClientKey<'static>: Send, Sync, Unpin, UnwindSafe, RefUnwindSafe, Copy, Eq, Hash);
assert_impl_all!(ClientId: Send, Sync, Unpin, UnwindSafe, RefUnwindSafe, Copy, Eq, Hash);
assert_impl_all!(Digest: Send, Sync, Unpin, UnwindSafe, RefUnwindSafe, Copy, Eq, Hash);
assert_impl_all!(Network: Send, Sync, Unpin, UnwindSafe, RefUnwindSafe, Copy, Eq, Hash);
assert_impl_all!(Fields: Send, Sync, Unpin, UnwindSafe, RefUnwindSafe, Copy, Eq, Default);
assert_impl_all!(RateLimitFields: Send, Sync, Unpin, Clone);
assert_impl_all!(Head<'static>: Send, Sync, Unpin, Copy);

assert_impl_all!(Bearer: Identify, Send, Sync, Unpin, Copy, Default);
assert_impl_all!(Header: Identify, Send, Sync, Unpin, Clone);
assert_impl_all!(ForwardedFor: Identify, Send, Sync, Unpin, Copy);
assert_impl_all!(Forwarded: Identify, Send, Sync, Unpin, Copy);
assert_impl_all!(Peer: Identify, Send, Sync, Unpin, Copy, Default);
assert_impl_all!(Peer<Unshared>: Send, Sync, Unpin, Copy);
assert_impl_all!(Subject<u64>: Identify, Send, Sync, Unpin, Copy);
assert_impl_all!(Subject<Local>: Send, Sync, Unpin, Copy);
assert_impl_all!(OrElse<Bearer, Peer>: Identify, Send, Sync, Unpin, Copy);
assert_not_impl_any!(OrElse<Bearer, Local>: Send, Sync);
assert_not_impl_any!(IdentifyFn<Local>: Send, Sync);
assert_impl_all!(Arc<Bearer>: Identify);

assert_impl_all!(HttpRateLimitLayer<Bearer>: Send, Sync, Unpin, Clone);
assert_impl_all!(HttpRateLimitLayer<Bearer, &'static Limiter>: Send, Sync, Unpin, Clone);
assert_not_impl_any!(HttpRateLimitLayer<Local>: Send, Sync);
assert_not_impl_any!(HttpRateLimitLayer<Bearer, Rc<Limiter>>: Send, Sync);
assert_not_impl_any!(HttpRateLimitLayer<Bearer, Shared, Local>: Send, Sync);
assert_not_impl_any!(HttpRateLimitLayer<Bearer, Shared, EmptyBody, Local>: Send, Sync);

assert_impl_all!(HttpRateLimit<(), Bearer>: Send, Sync, Unpin, Clone);
assert_impl_all!(HttpRateLimit<Unshared, Bearer>: Send, Unpin, Clone);
assert_not_impl_any!(HttpRateLimit<Unshared, Bearer>: Sync);
assert_not_impl_any!(HttpRateLimit<Local, Bearer>: Send, Sync);

assert_impl_all!(HttpResponseFuture<Ready<Answer>, ()>: Send, Sync, Unpin);
assert_impl_all!(HttpResponseFuture<PhantomPinned, ()>: Send, Sync);
assert_not_impl_any!(HttpResponseFuture<PhantomPinned, ()>: Unpin);
assert_impl_all!(HttpResponseFuture<Ready<Unshared>, ()>: Send, Unpin);
assert_not_impl_any!(HttpResponseFuture<Local, ()>: Send, Sync);
assert_not_impl_any!(HttpResponseFuture<Ready<Answer>, Local>: Send, Sync);
assert_not_impl_any!(HttpResponseFuture<Ready<Answer>, ()>: Clone);

const fn assert_static<T: 'static>() {}

const _: () = {
    assert_static::<HttpRateLimitLayer<Bearer>>();
    assert_static::<HttpRateLimit<(), Bearer>>();
    assert_static::<HttpResponseFuture<Pending<Answer>, ()>>();
};

fn layer() -> HttpRateLimitLayer<Bearer> {
    HttpRateLimitLayer::new(Quota::per_minute(1).unwrap(), Bearer).unwrap()
}

/// What the layer adds to the future and to the service, on a machine of 64 bits.
#[cfg(target_pointer_width = "64")]
#[test]
fn a_call_is_not_much_larger_than_what_it_runs() {
    type Inner = [u8; 1_024];

    assert!(size_of::<ClientId>() <= 32);
    assert!(size_of::<ClientKey<'static>>() <= 32);
    assert!(size_of::<HttpResponseFuture<Inner, ()>>() <= size_of::<Inner>() + 96);
    assert!(size_of::<HttpRateLimit<Inner, Bearer>>() <= size_of::<Inner>() + 24);
}

/// Neither `Clone` nor `Debug`, and of one thread.
#[derive(Default)]
struct Plain(#[expect(dead_code, reason = "makes the type local to a thread")] Rc<u8>);

#[test]
fn bodies_and_errors_need_not_be_anything() {
    for fail in [false, true] {
        let leaf = service_fn(move |request: Request<Plain>| {
            std::future::ready(if fail { Err(request.into_body()) } else { Ok(Response::new(request.into_body())) })
        });
        let mut service = layer().layer(leaf);
        let mut cx = Context::from_waker(Waker::noop());
        assert!(service.poll_ready(&mut cx).is_ready());
        let answer = Box::pin(service.call(Request::default())).as_mut().poll(&mut cx);
        assert_eq!(answer.map(|answer| answer.is_err()), Poll::Ready(fail));
    }
}

#[test]
fn the_service_can_be_boxed_and_its_parts_taken_out() {
    let leaf = service_fn(async |_: Request<()>| Answer::Ok(Response::new(())));
    let mut service = layer().layer(leaf);
    let _: &_ = service.get_ref();
    let _: &mut _ = service.get_mut();
    let _ = service.clone().into_inner();
    let boxed = service.boxed_clone();
    drop(boxed.clone());
}

#[test]
fn debug_names_the_limiter_and_shows_no_request() {
    let layer = layer().with_body(|_, _: &mut Response<()>| ());
    let mut service = layer.layer(service_fn(async |_: Request<()>| Answer::Ok(Response::new(()))));
    for text in [format!("{layer:?}"), format!("{:?}", layer.layer(()))] {
        assert!(text.contains("rate-limit"), "{text}");
    }
    let request = || Request::get("/").header("authorization", "Bearer hunter2").body(()).unwrap();
    for state in ["Allowed", "Refused"] {
        let text = format!("{:?}", service.call(request()));
        assert!(text.contains(state) && !text.contains("hunter2"), "{text}");
    }
    let all = Header::named(http::header::COOKIE).or_else(identify_fn(|_| None)).or_else(Peer::new());
    let text = format!("{:?}", all.or_else(Subject::of(|_: &u8| ClientKey::Unknown)));
    assert!(text.contains("cookie") && text.contains("Peer") && text.contains("Subject"), "{text}");
}
