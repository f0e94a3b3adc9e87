//! What the compiler knows of journals: they are shared between threads, cloned, and printed.

#![cfg(feature = "testkit")]

use mainstay_saga::{
    journal::{Journal, JournalError, JournalFuture, Memory},
    testkit::FaultyJournal,
};
use static_assertions::assert_impl_all;
use std::{error::Error, fmt::Debug, sync::Arc};

assert_impl_all!(Memory: Journal, Clone, Debug, Default, Send, Sync, Unpin);
assert_impl_all!(FaultyJournal<Memory>: Journal, Clone, Debug, Send, Sync, Unpin);
assert_impl_all!(Arc<dyn Journal>: Journal, Clone, Send, Sync, Unpin);
assert_impl_all!(JournalError: Error, Send, Sync, Unpin);
assert_impl_all!(JournalFuture<'_, ()>: Send, Unpin);

#[cfg(feature = "redb")]
mod in_a_file {
    use super::{Debug, Error, Journal, assert_impl_all};
    use mainstay_saga::{
        journal::{Embedded, EmbeddedConfig, OpenError},
        testkit::RawCommits,
    };

    assert_impl_all!(Embedded: Journal, Clone, Debug, Send, Sync, Unpin);
    assert_impl_all!(EmbeddedConfig: Copy, Debug, Default, PartialEq, Send, Sync);
    assert_impl_all!(OpenError: Error, Send, Sync);
    assert_impl_all!(RawCommits: Debug, Send);
}
