//! Which types can be sent, shared and moved, and how large a call is.

mod hedge_support;

use hedge_support::{Leaf, Req, config, layer};
use mainstay_core::{AnyError, Error};
use mainstay_retry::{
    Budget, Cloned, Hedge, HedgeConfig, HedgeDelay, HedgeFuture, HedgeLayer, HedgeSnapshot, Hedging, Latencies,
    LatencySnapshot, Marked, NoBudget, Percentile,
};
use static_assertions::{assert_impl_all, assert_not_impl_any};
use std::{
    cell::Cell,
    future::{Ready, ready},
    panic::{RefUnwindSafe, UnwindSafe},
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
};
use tower::{Layer, Service, ServiceExt, service_fn};

type Shared = Arc<Hedging>;
type Fixed = &'static Hedging;

assert_impl_all!(Hedging: Send, Sync, Unpin);
assert_not_impl_any!(Hedging: Clone);
assert_impl_all!(Latencies: Send, Sync, Unpin, UnwindSafe, RefUnwindSafe);
assert_impl_all!(HedgeConfig: Send, Sync, Unpin, Copy, PartialEq, Default);
assert_impl_all!(HedgeDelay: Send, Sync, Unpin, Copy, PartialEq);
assert_impl_all!(Percentile: Send, Sync, Unpin, Copy, PartialEq, Default);
assert_impl_all!(HedgeSnapshot: Send, Sync, Unpin, Clone, Eq);
assert_impl_all!(LatencySnapshot: Send, Sync, Unpin, Copy, Eq);
assert_impl_all!(HedgeLayer: Send, Sync, Unpin, Clone);
assert_impl_all!(HedgeLayer<Cloned, AnyError, NoBudget, Fixed>: Send, Sync, Unpin, Copy);
assert_impl_all!(HedgeLayer<Cloned, AnyError, Arc<Budget>>: Send, Sync, Unpin, Clone);
assert_not_impl_any!(HedgeLayer<Cloned, AnyError, NoBudget, Rc<Hedging>>: Send, Sync);
assert_impl_all!(Hedge<()>: Send, Sync, Unpin, Clone);
assert_impl_all!(Hedge<(), Cloned, AnyError, NoBudget, Fixed>: Copy);
assert_impl_all!(Hedge<Cell<u8>>: Send, Unpin, Clone);
assert_not_impl_any!(Hedge<Cell<u8>>: Sync);
assert_not_impl_any!(Hedge<Rc<u8>>: Send, Sync);

type Call<S> = HedgeFuture<S, Req, Cloned<Marked>, AnyError, NoBudget, Shared>;

assert_impl_all!(Call<Leaf>: Send, Sync);
assert_not_impl_any!(Call<Leaf>: Clone);

const fn is_send<T: Send>(_: &T) {}

#[test]
fn a_plain_call_can_be_sent_if_its_work_can() {
    let hedging = Hedging::new(config()).unwrap();
    is_send(&hedging.call(|_| ready(Ok::<_, Error<()>>(()))));
    let shared = Arc::new(hedging);
    is_send(&async move { shared.call(async |_| Ok::<_, Error<()>>(())).await });
}

/// Neither `Clone` nor `Debug`, and of one thread.
struct Plain(#[expect(dead_code, reason = "makes the type local to a thread")] Rc<u8>);

#[test]
fn responses_and_errors_need_not_be_anything() {
    for fail in [false, true] {
        let leaf = service_fn(move |(): ()| {
            let plain = Plain(Rc::new(1));
            ready(if fail { Err(Error::Inner(plain)) } else { Ok(plain) })
        });
        let mut service = layer(config()).layer(leaf);
        let mut cx = Context::from_waker(Waker::noop());
        assert!(service.poll_ready(&mut cx).is_ready());
        let answer = Box::pin(service.call(())).as_mut().poll(&mut cx);
        assert_eq!(answer.map(|answer| answer.is_err()), Poll::Ready(fail));
    }
}

/// A request that cannot be cloned passes through, if there is another way to send it again, or none.
#[derive(Debug, PartialEq)]
struct Unclonable(u32);

#[tokio::test]
async fn a_request_need_not_be_clone_if_it_is_sent_again_in_another_way() {
    let repeat = mainstay_retry::repeat_fn(|request: &Unclonable, _| Some(Unclonable(request.0)));
    let service = HedgeLayer::new(config())
        .unwrap()
        .repeat(repeat)
        .layer(service_fn(async |request: Unclonable| Ok::<_, Error<()>>(request)));
    assert_eq!(service.oneshot(Unclonable(7)).await, Ok(Unclonable(7)));
}

/// What the layer and the plain call add to the future that they run, on a machine of 64 bits.
#[cfg(target_pointer_width = "64")]
#[test]
fn a_call_is_not_much_larger_than_what_it_runs() {
    #[derive(Clone)]
    struct Large;
    impl Service<Req> for Large {
        type Response = u32;
        type Error = Error<()>;
        type Future = LargeFuture;
        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error<()>>> {
            Poll::Ready(Ok(()))
        }
        fn call(&mut self, _: Req) -> LargeFuture {
            LargeFuture([0; 1_024])
        }
    }
    struct LargeFuture([u8; 1_024]);
    impl Future for LargeFuture {
        type Output = Result<u32, Error<()>>;
        fn poll(self: std::pin::Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
            Poll::Ready(Ok(u32::from(self.0[0])))
        }
    }
    assert!(size_of::<Call<Large>>() <= 1_024 + 352, "{}", size_of::<Call<Large>>() - 1_024);
    assert!(size_of::<Hedge<[u8; 64]>>() <= 64 + 8);

    let hedging = Hedging::new(config()).unwrap();
    let call = hedging.call(|_| Large.call("read"));
    assert!(size_of_val(&call) <= 2 * 1_024 + 512, "{}", size_of_val(&call));
}

#[test]
fn the_service_can_be_boxed_and_its_parts_taken_out() {
    let hedges = layer(config());
    let mut service = hedges.layer(service_fn(async |(): ()| Ok::<_, Error<()>>(())));
    let _: &_ = service.get_ref();
    let _: &mut _ = service.get_mut();
    let _ = service.clone().into_inner();
    assert!(Arc::ptr_eq(&service.handle(), &hedges.handle()), "one policy");
    assert!(!Arc::ptr_eq(&service.handle(), &hedges.fresh().handle()));
    let boxed = service.boxed_clone();
    is_send(&boxed);
}

#[test]
fn debug_names_the_policy_and_shows_no_request() {
    let hedges = layer(config().name("debugged"));
    let mut service = hedges.layer(Leaf::default());
    let call = service.call("hunter2");
    let texts = [
        format!("{hedges:?}"),
        format!("{call:?}"),
        format!("{:?}", hedges.layer(Ready::<()>::into_inner as fn(_) -> _)),
    ];
    for text in texts {
        assert!(text.contains("debugged") && !text.contains("hunter2"), "{text}");
    }
}
