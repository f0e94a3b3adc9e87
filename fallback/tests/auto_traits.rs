//! Which types can be sent, shared and moved, and how large a call is.

use mainstay_core::{AnyError, Error};
use mainstay_fallback::{
    Cloned, Failed, Fallback, FallbackFuture, FallbackLayer, FallbackToFuture, Function, Nobody, OnError, OnlyIf,
    Other, OtherFuture, ResponseFuture, Value,
};
use static_assertions::{assert_impl_all, assert_not_impl_any};
use std::{cell::Cell, future::Ready, marker::PhantomPinned, rc::Rc};
use tower::util::ServiceFn;

type Answer = Result<(), Error<()>>;
type Plain = fn(Answer) -> Answer;
type When = Failed<AnyError>;
/// Can be sent, and cannot be shared.
type Unshared = Cell<u8>;
/// Can be neither sent nor shared.
type Local = Rc<u8>;
type Second = ServiceFn<fn(()) -> Ready<Answer>>;

assert_impl_all!(FallbackLayer<Function<Plain>>: Send, Sync, Unpin, Copy);
assert_impl_all!(FallbackLayer<OnError<Plain>>: Send, Sync, Unpin, Copy);
assert_impl_all!(FallbackLayer<Value<String>>: Send, Sync, Unpin, Clone);
assert_impl_all!(FallbackLayer<Other<Second>>: Send, Sync, Unpin, Copy);
assert_impl_all!(FallbackLayer<Function<Plain>, OnlyIf<When, Plain>, Plain>: Send, Sync, Unpin, Copy);
assert_not_impl_any!(FallbackLayer<Function<Local>>: Send, Sync, Copy);

assert_impl_all!(Fallback<(), Function<Plain>>: Send, Sync, Unpin, Copy);
assert_impl_all!(Fallback<Unshared, Function<Plain>>: Send, Unpin, Clone);
assert_not_impl_any!(Fallback<Unshared, Function<Plain>>: Sync, Copy);
assert_not_impl_any!(Fallback<Local, Function<Plain>>: Send, Sync);
assert_not_impl_any!(Fallback<(), Value<Unshared>>: Send, Sync);

assert_impl_all!(ResponseFuture<Ready<Answer>, Function<Plain>, When, Nobody>: Send, Sync, Unpin);
assert_impl_all!(ResponseFuture<PhantomPinned, Function<Plain>, When, Nobody>: Send, Sync);
assert_not_impl_any!(ResponseFuture<PhantomPinned, Function<Plain>, When, Nobody>: Unpin);
assert_not_impl_any!(ResponseFuture<Local, Function<Plain>, When, Nobody>: Send, Sync);
assert_not_impl_any!(ResponseFuture<Ready<Answer>, Function<Plain>, When, Nobody>: Clone);
assert_impl_all!(OtherFuture<Ready<Answer>, Second, (), When, Nobody>: Send, Sync, Unpin);
assert_not_impl_any!(OtherFuture<Local, Second, (), When, Nobody>: Send, Sync);
assert_impl_all!(FallbackFuture<Ready<Answer>, Plain>: Send, Sync, Unpin);
assert_not_impl_any!(FallbackFuture<Local, Plain>: Send, Sync);
assert_impl_all!(FallbackToFuture<Ready<Answer>, Plain, Ready<Answer>, Error<()>>: Send, Sync, Unpin);
assert_not_impl_any!(FallbackToFuture<Ready<Answer>, Plain, Local, Error<()>>: Send, Sync);

assert_impl_all!(Failed<AnyError>: Send, Sync, Unpin, Copy);
assert_impl_all!(Nobody: Send, Sync, Unpin, Copy);
assert_impl_all!(Cloned: Send, Sync, Unpin, Copy);

#[test]
fn a_call_with_a_plain_function_carries_a_name_and_no_more() {
    fn size<A>(_: FallbackLayer<A>) -> usize {
        size_of::<ResponseFuture<[u8; 64], A, When, Nobody>>()
    }
    assert!(size(FallbackLayer::on_error(|(): ()| ())) <= 64 + 24);
}
