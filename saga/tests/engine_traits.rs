//! Which types of the engine can be sent, shared and moved, and what need not be anything.

use mainstay_saga::{
    AskError, CancelAck, Config, Engine, EngineBuilder, EngineError, Handle, Inspection, Operator, Outcome,
    OutcomeFuture, RunError, SagaService, SignalAck, Start, StartError, Stopped, WaitError,
};
use static_assertions::{assert_impl_all, assert_not_impl_any};
use std::{error::Error, fmt::Debug};

/// Shared by the steps, and neither `Clone` nor `Debug`.
struct App;

/// Can be sent, and cannot be shared.
type Unshared = std::cell::Cell<u8>;

assert_impl_all!(Config: Copy, Debug, Default, PartialEq, Send, Sync, Unpin);
assert_impl_all!(Engine<App>: Clone, Debug, Send, Sync, Unpin);
assert_impl_all!(EngineBuilder<App>: Debug, Send, Sync, Unpin);
assert_impl_all!(Operator<App>: Clone, Debug, Send, Sync, Unpin);
assert_impl_all!(Handle<Unshared>: Clone, Debug, Send, Sync, Unpin);
assert_impl_all!(SagaService<App, Unshared, Unshared>: Clone, Debug, Send, Unpin);
assert_impl_all!(OutcomeFuture<Unshared>: Debug, Send, Unpin);
assert_not_impl_any!(OutcomeFuture<Unshared>: Clone);
assert_impl_all!(Start<u8>: Clone, Debug, PartialEq, Send, Sync, Unpin);
assert_impl_all!(Outcome<u8>: Clone, Debug, PartialEq, Send, Sync, Unpin);
assert_impl_all!(Inspection: Clone, Debug, Send, Sync);
assert_impl_all!(CancelAck: Copy, Debug, PartialEq, Send, Sync);
assert_impl_all!(SignalAck: Copy, Debug, PartialEq, Send, Sync);
assert_impl_all!(Stopped: Clone, Debug, PartialEq, Send, Sync);
assert_impl_all!(StartError: Error, Send, Sync);
assert_impl_all!(WaitError: Error, Send, Sync);
assert_impl_all!(AskError: Error, Send, Sync);
assert_impl_all!(EngineError: Error, Send, Sync);
assert_impl_all!(RunError: Error, Send, Sync);

#[test]
fn futures_of_the_engine_can_be_sent() {
    fn sent<T: Send>(_: &T) {}
    let futures = |engine: Engine<App>, saga: mainstay_saga::Saga<App, u8, u8>, handle: Handle<u8>| {
        sent(&engine.start(&saga, "key", 1));
        sent(&handle.outcome());
        sent(&engine.cancel(handle.id(), "why"));
        sent(&engine.signal(handle.id(), "step", "id", &1));
        sent(&engine.shutdown(std::time::Duration::ZERO));
        sent(&engine.operator("ada").inspect(handle.id()));
    };
    let _ = futures;
}
