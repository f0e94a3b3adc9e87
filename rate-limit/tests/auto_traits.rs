//! What can go to another thread, and how large things are.

use mainstay_rate_limit::{Decision, KeyedLimiter, KeyedReserved, Limiter, Quota, Reserved, Rule};
use static_assertions::{assert_impl_all, assert_not_impl_any};
use std::panic::{RefUnwindSafe, UnwindSafe};

assert_impl_all!(Limiter: Send, Sync, Unpin, UnwindSafe, RefUnwindSafe);
// The key is not kept, so it need not be `Send`.
assert_impl_all!(KeyedLimiter<std::rc::Rc<str>>: Send, Sync, Unpin);
assert_impl_all!(Quota: Copy, Send, Sync);
assert_impl_all!(Rule: Copy, Send, Sync);
assert_impl_all!(Decision: Copy, Send, Sync);
assert_impl_all!(Reserved: Send, Sync, Unpin);
assert_impl_all!(KeyedReserved: Send, Sync, Unpin);
// Each is given back once.
assert_not_impl_any!(Reserved: Clone);
assert_not_impl_any!(KeyedReserved: Clone);

#[test]
fn tokens_are_small() {
    assert!(size_of::<Decision>() <= 64);
    assert!(size_of::<Reserved>() <= 192);
    assert!(size_of::<KeyedReserved>() <= 216);
}
