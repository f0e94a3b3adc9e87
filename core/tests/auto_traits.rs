//! Which threads the public types may cross, and how large they are.

use mainstay_core::{
    AnyError, Attempt, Boundary, BoundaryFuture, BoundaryLayer, BoxError, Class, Classify, ClassifyFn, Deadline, Error,
    Failure, FromBelow, Idempotent, InvalidConfig, Lift, MostUncertain, Priority, Reason, Refused, TimedOut,
    Uncertainty, Verdict,
    window::{Counts, LastCalls, TimeSpan, Vote},
};
use static_assertions::{assert_impl_all, assert_not_impl_any, assert_obj_safe, const_assert};
use std::{error, hash::Hash, rc::Rc};

/// One line for each type that is `Send`, `Sync`, `Unpin` and `'static` if its parameters are.
macro_rules! all_auto_traits {
    ($($type:ty),* $(,)?) => { $(assert_impl_all!($type: Send, Sync, Unpin);)* };
}

all_auto_traits! {
    AnyError, Attempt, Boundary<()>, BoundaryFuture<()>, BoundaryLayer, BoxError, Class, ClassifyFn<()>, Counts,
    Deadline, Error<()>, Failure, FromBelow, Idempotent, InvalidConfig, LastCalls, Lift<()>, MostUncertain<()>, Priority,
    Reason, Refused, TimeSpan, TimedOut, Uncertainty, Verdict<'static>, Vote,
}

assert_impl_all!(Refused: Copy, Eq, error::Error);
assert_impl_all!(TimedOut: Copy, Eq, error::Error);
assert_impl_all!(Reason: Copy, Eq, Hash);
assert_impl_all!(Error<u8>: Copy, Eq);
assert_impl_all!(Error<std::io::Error>: error::Error);
assert_impl_all!(FromBelow: error::Error);
assert_impl_all!(InvalidConfig: error::Error);

// Pinned, and as movable between threads as what they wrap.
assert_not_impl_any!(Lift<std::marker::PhantomPinned>: Unpin);
assert_not_impl_any!(BoundaryFuture<std::marker::PhantomPinned>: Unpin);
assert_not_impl_any!(Lift<Rc<()>>: Send, Sync);
assert_not_impl_any!(Error<Rc<()>>: Send, Sync);

assert_obj_safe!(Classify<(), ()>);

const_assert!(size_of::<Refused>() <= 40);
const_assert!(size_of::<Error<()>>() <= 48);
const_assert!(size_of::<Result<(), Error<BoxError>>>() <= 48);

#[cfg(feature = "http")]
mod http {
    use super::*;
    use mainstay_core::{
        HttpStatus,
        http::{
            ClassifyBody, EmptyBody, End, Protocol, RefusalResponse, RefusalResponseFuture, RefusalResponseLayer,
            Rejection, SettleBody,
        },
    };

    all_auto_traits! {
        EmptyBody, End<'static>, HttpStatus, Protocol, RefusalResponse<()>, RefusalResponseFuture<()>,
        RefusalResponseLayer, Rejection, SettleBody<(), fn(End<'_>)>,
    }

    assert_impl_all!(Rejection: Copy, Eq, error::Error);
    assert_impl_all!(RefusalResponse<()>: Clone);
    assert_not_impl_any!(SettleBody<std::marker::PhantomPinned, fn(End<'_>)>: Unpin);
    assert_not_impl_any!(RefusalResponseFuture<std::marker::PhantomPinned>: Unpin);

    // A settler has one end to take: a body that could be cloned would give it two.
    assert_not_impl_any!(SettleBody<(), fn(End<'_>)>: Clone);

    assert_obj_safe!(ClassifyBody<(), ()>);

    const_assert!(size_of::<Rejection>() <= 48);
    // The future of a call, and one rejection in its place.
    const_assert!(size_of::<RefusalResponseFuture<[u64; 8]>>() <= 80);
}

#[cfg(feature = "grpc")]
all_auto_traits! { mainstay_core::GrpcStatus }
