//! Which types can be sent, shared and moved, and how large a call is.

use mainstay_core::Error;
use mainstay_timeout::{Config, DeadlineFn, InMeta, NoDeadline, ResponseFuture, Timeout, TimeoutLayer, Within};
use static_assertions::{assert_impl_all, assert_not_impl_any};
use std::{
    cell::{Cell, UnsafeCell},
    future::Ready,
    marker::PhantomPinned,
    rc::Rc,
};
use tokio::time::Sleep;

type Answer = Result<(), Error<()>>;
/// Can be sent, and cannot be shared.
type Unshared = Cell<u8>;
/// Can be neither sent nor shared.
type Local = Rc<u8>;

assert_impl_all!(Config: Send, Sync, Unpin, Copy, Eq, Default);
assert_impl_all!(NoDeadline: Send, Sync, Unpin, Copy);
assert_impl_all!(InMeta: Send, Sync, Unpin, Copy);
assert_impl_all!(DeadlineFn<fn(), fn()>: Send, Sync, Unpin, Copy);
assert_not_impl_any!(DeadlineFn<Local, fn()>: Send, Sync, Copy);

assert_impl_all!(TimeoutLayer: Send, Sync, Unpin, Copy);
assert_impl_all!(TimeoutLayer<InMeta>: Send, Sync, Unpin, Copy);
assert_not_impl_any!(TimeoutLayer<Local>: Send, Sync, Copy);

assert_impl_all!(Timeout<()>: Send, Sync, Unpin, Copy);
assert_impl_all!(Timeout<(), InMeta>: Send, Sync, Unpin, Copy);
assert_impl_all!(Timeout<Unshared>: Send, Unpin, Clone);
assert_not_impl_any!(Timeout<Unshared>: Sync, Copy);
assert_not_impl_any!(Timeout<Local>: Send, Sync);
assert_not_impl_any!(Timeout<UnsafeCell<()>>: Clone);

// The timer is held inline, so no future is `Unpin`.
assert_impl_all!(ResponseFuture<Ready<Answer>>: Send, Sync);
assert_not_impl_any!(ResponseFuture<Ready<Answer>>: Unpin, Clone);
assert_impl_all!(ResponseFuture<PhantomPinned>: Send, Sync);
assert_impl_all!(ResponseFuture<Unshared>: Send);
assert_not_impl_any!(ResponseFuture<Unshared>: Sync);
assert_not_impl_any!(ResponseFuture<Local>: Send, Sync);
assert_impl_all!(Within<Ready<Answer>>: Send, Sync);
assert_not_impl_any!(Within<Local>: Send, Sync);

#[test]
fn a_call_is_little_larger_than_its_timer() {
    assert!(size_of::<ResponseFuture<()>>() <= size_of::<Sleep>() + 64, "{}", size_of::<ResponseFuture<()>>());
    assert!(size_of::<Within<()>>() <= size_of::<ResponseFuture<()>>() + 40, "{}", size_of::<Within<()>>());
}

#[cfg(feature = "http")]
mod headers {
    use super::{Answer, Local, Ready, Unshared, assert_impl_all, assert_not_impl_any};
    use mainstay_timeout::{
        DeadlineFromHeader, DeadlineFromHeaderLayer, DeadlineToHeader, DeadlineToHeaderFuture, DeadlineToHeaderLayer,
        HeaderForm,
    };

    assert_impl_all!(DeadlineFromHeaderLayer: Send, Sync, Unpin, Copy);
    assert_impl_all!(DeadlineFromHeader<()>: Send, Sync, Unpin, Copy);
    assert_not_impl_any!(DeadlineFromHeader<Local>: Send, Sync);
    assert_impl_all!(DeadlineToHeaderLayer: Send, Sync, Unpin, Copy, Default);
    assert_impl_all!(DeadlineToHeader<()>: Send, Sync, Unpin, Copy);
    assert_not_impl_any!(DeadlineToHeader<Local>: Send, Sync);
    assert_impl_all!(HeaderForm: Send, Sync, Unpin, Copy, Eq, Default);
    assert_impl_all!(DeadlineToHeaderFuture<Ready<Answer>>: Send, Sync, Unpin);
    assert_impl_all!(DeadlineToHeaderFuture<Unshared>: Send);
    assert_not_impl_any!(DeadlineToHeaderFuture<Unshared>: Sync);
}
