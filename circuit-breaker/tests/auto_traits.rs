//! Which types can be sent, shared and moved, and how large a call is.

use mainstay_circuit_breaker::{
    Circuit, CircuitBreaker, CircuitBreakerLayer, Clock, Config, Gradual, Guard, OpenFor, Outcome, Permit,
    ResponseFuture, Slow, SlowRate, Snapshot, State, Status, Window,
};
use mainstay_core::{AnyError, Error};
use static_assertions::{assert_impl_all, assert_not_impl_any};
use std::{
    cell::{Cell, UnsafeCell},
    future::{Pending, Ready},
    hash::Hash,
    marker::PhantomPinned,
    panic::{RefUnwindSafe, UnwindSafe},
    rc::Rc,
    sync::Arc,
    task::{Context, Waker},
};
use tower::{Layer, Service, ServiceExt, service_fn};

type Shared = Arc<Circuit>;
type Fixed = &'static Circuit;
type Answer = Result<(), Error<()>>;
/// Can be sent, and cannot be shared.
type Unshared = Cell<u8>;
/// Can be neither sent nor shared.
type Local = Rc<u8>;

assert_impl_all!(Circuit: Send, Sync, Unpin, UnwindSafe, RefUnwindSafe);
assert_not_impl_any!(Circuit: Clone);
assert_impl_all!(Permit: Send, Sync, Unpin, UnwindSafe, RefUnwindSafe);
assert_not_impl_any!(Permit: Clone);
assert_impl_all!(Config: Send, Sync, Unpin, UnwindSafe, RefUnwindSafe, Clone, PartialEq, Default);
assert_impl_all!(Snapshot: Send, Sync, Unpin, UnwindSafe, RefUnwindSafe, Clone, PartialEq);
assert_impl_all!(State: Send, Sync, Unpin, Copy, Eq, Hash);
assert_impl_all!(Status: Send, Sync, Unpin, Copy, Eq);
assert_impl_all!(Outcome: Send, Sync, Unpin, Copy, Eq);
assert_impl_all!(Window: Send, Sync, Unpin, Copy, Eq);
assert_impl_all!(OpenFor: Send, Sync, Unpin, Copy, PartialEq);
assert_impl_all!(Slow: Send, Sync, Unpin, Copy, PartialEq);
assert_impl_all!(SlowRate: Send, Sync, Unpin, Copy, PartialEq);
assert_impl_all!(Gradual: Send, Sync, Unpin, UnwindSafe, RefUnwindSafe, Clone, PartialEq);
assert_impl_all!(Clock: Send, Sync, Unpin, Copy);

assert_impl_all!(Guard<Shared>: Send, Sync, Unpin);
assert_impl_all!(Guard<Fixed>: Send, Sync, Unpin);
assert_impl_all!(Guard<&'static Circuit>: Send, Sync, Unpin);
assert_not_impl_any!(Guard<Shared>: Clone);
assert_not_impl_any!(Guard<Rc<Circuit>>: Send, Sync);

assert_impl_all!(CircuitBreakerLayer: Send, Sync, Unpin, Clone);
assert_impl_all!(CircuitBreakerLayer<Fixed>: Send, Sync, Unpin, Clone);
assert_not_impl_any!(CircuitBreakerLayer<Shared, Local>: Send, Sync);
assert_not_impl_any!(CircuitBreakerLayer<Rc<Circuit>>: Send, Sync);

assert_impl_all!(CircuitBreaker<(), Shared, AnyError>: Send, Sync, Unpin, Clone);
assert_impl_all!(CircuitBreaker<Unshared, Shared, AnyError>: Send, Unpin, Clone);
assert_not_impl_any!(CircuitBreaker<Unshared, Shared, AnyError>: Sync);
assert_not_impl_any!(CircuitBreaker<Local, Shared, AnyError>: Send, Sync);
assert_not_impl_any!(CircuitBreaker<UnsafeCell<()>, Shared, AnyError>: Clone);

assert_impl_all!(ResponseFuture<Ready<Answer>, Shared, AnyError>: Send, Sync, Unpin);
assert_impl_all!(ResponseFuture<Ready<Answer>, Fixed, AnyError>: Send, Sync, Unpin);
assert_impl_all!(ResponseFuture<PhantomPinned, Shared, AnyError>: Send, Sync);
assert_not_impl_any!(ResponseFuture<PhantomPinned, Shared, AnyError>: Unpin);
assert_impl_all!(ResponseFuture<Ready<Unshared>, Shared, AnyError>: Send, Unpin);
assert_not_impl_any!(ResponseFuture<Local, Shared, AnyError>: Send, Sync);
assert_not_impl_any!(ResponseFuture<Ready<Answer>, Shared, AnyError>: Clone);

const fn assert_static<T: 'static>() {}

const _: () = {
    assert_static::<Circuit>();
    assert_static::<Permit>();
    assert_static::<Config>();
    assert_static::<Snapshot>();
    assert_static::<Guard<Shared>>();
    assert_static::<CircuitBreakerLayer>();
    assert_static::<CircuitBreaker<(), Shared, AnyError>>();
    assert_static::<ResponseFuture<Pending<Answer>, Shared, AnyError>>();
};

fn is_send<T: Send>(value: T) -> T {
    value
}

#[test]
fn a_plain_call_can_be_sent_if_its_work_can() {
    let circuit = Circuit::new(Config::default()).unwrap();
    drop(is_send(circuit.call(|| std::future::ready(Answer::Ok(())))));
    drop(is_send(circuit.call_classified(AnyError, || std::future::ready(Answer::Ok(())))));
    let shared = Arc::new(circuit);
    drop(is_send(async move { shared.call(async || Answer::Ok(())).await }));
}

/// What the layer and the plain call add to the future that they run, on a machine of 64 bits.
#[cfg(target_pointer_width = "64")]
#[test]
fn a_call_is_not_much_larger_than_what_it_runs() {
    fn plain_call_over<F: Future<Output = Answer>>(circuit: &Circuit, work: impl FnOnce() -> F) -> usize {
        size_of_val(&circuit.call(work))
    }
    type Inner = [u8; 1_024];

    assert!(size_of::<Permit>() <= 32);
    assert!(size_of::<ResponseFuture<Inner, Shared, AnyError>>() <= size_of::<Inner>() + 48);
    assert!(size_of::<ResponseFuture<Inner, Fixed, AnyError>>() <= size_of::<Inner>() + 48);
    assert!(size_of::<ResponseFuture<Ready<Answer>, Shared, AnyError>>() <= 96);
    assert!(size_of::<CircuitBreaker<Inner, Shared, AnyError>>() <= size_of::<Inner>() + 56);

    let circuit = Circuit::new(Config::default()).unwrap();
    assert!(plain_call_over(&circuit, || std::future::ready(Answer::Ok(()))) <= 176);
    let large = plain_call_over(&circuit, || async {
        let kept = Inner::from([1; 1_024]);
        std::future::pending::<()>().await;
        if kept[0] == 1 { Ok(()) } else { Err(Error::Inner(())) }
    });
    assert!(large <= size_of::<Inner>() + 144, "{large}: the work is held once");
}

/// Neither `Clone` nor `Debug`, and of one thread.
struct Plain(#[expect(dead_code, reason = "makes the type local to a thread")] Rc<u8>);

#[test]
fn requests_responses_and_errors_need_not_be_anything() {
    let layer = CircuitBreakerLayer::new(Config::default()).unwrap();
    let leaf = |fail: bool| {
        service_fn(move |request: Plain| {
            std::future::ready(if fail { Err(Error::Inner(request)) } else { Ok(request) })
        })
    };
    for fail in [false, true] {
        let mut service = layer.layer(leaf(fail));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(service.poll_ready(&mut cx).is_ready());
        let answer = Box::pin(service.call(Plain(Rc::new(1)))).as_mut().poll(&mut cx);
        assert_eq!(answer.map(|answer| answer.is_err()), std::task::Poll::Ready(fail));
    }
    assert_eq!(layer.handle().snapshot().votes.failed, 1);
}

#[test]
fn the_service_can_be_boxed_and_its_parts_taken_out() {
    let layer = CircuitBreakerLayer::new(Config::default()).unwrap();
    let leaf = service_fn(async |(): ()| Answer::Ok(()));
    let mut service = layer.layer(leaf);
    let _: &_ = service.get_ref();
    let _: &mut _ = service.get_mut();
    let _ = service.clone().into_inner();
    let boxed = service.boxed_clone();
    drop(is_send(boxed.clone()));
}

#[test]
fn debug_names_the_circuit_and_shows_no_request() {
    let layer = CircuitBreakerLayer::new(Config::default().name("debugged")).unwrap();
    let guard = Guard::admit(layer.handle()).unwrap();
    for text in [format!("{layer:?}"), format!("{:?}", layer.layer(())), format!("{guard:?}")] {
        assert!(text.contains("debugged") && text.contains("Closed"), "{text}");
    }
    let mut service = layer.layer(service_fn(async |secret: &'static str| Ok::<_, Error<()>>(secret)));
    assert!(service.poll_ready(&mut Context::from_waker(Waker::noop())).is_ready());
    let future = service.call("hunter2");
    let text = format!("{future:?}");
    assert!(text.contains("debugged") && !text.contains("hunter2"), "{text}");
}
