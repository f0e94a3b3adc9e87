//! What runs sagas.

use super::{
    ask::{Ask, Reply},
    builder::EngineBuilder,
    config::Config,
    handle::{Handle, Held},
    life::{Begin, New, spawn},
    operator::Operator,
    outcome::{AskError, CancelAck, SignalAck, StartError},
    seat::{Seat, Stage},
    shared::Shared,
};
use crate::{
    Data, Payload, Saga, SagaId,
    journal::{Journal, JournalError},
    text::{cut, is_key},
};
use mainstay_core::{Reason, Refused};
use serde::Serialize;
use std::{
    fmt::{self, Debug, Formatter},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::{OwnedSemaphorePermit, oneshot},
    time::timeout,
};

/// Runs sagas of every definition given to it, and goes on with those that another run has left behind.
///
/// Each saga has a task of its own. A step runs after the journal has kept that it is about to; a saga goes on after the journal has
/// kept how its step ended. After a crash the journal is read and the saga goes on from there, by the same code. Clones are the same
/// engine.
///
/// # Stopping
///
/// [`shutdown`](Self::shutdown) lets what is under way end, and leaves the sagas to the next engine. Dropping the last clone does the
/// same without waiting. Killing the process loses nothing that was acknowledged.
///
/// Shut an engine down before its runtime is dropped, which ends its tasks where they are: nobody gives their sagas back then, and a
/// journal that lives on in this process takes them for owned. The next engine on it does not claim them by itself; it takes each
/// that is asked something by [`cancel`](Self::cancel), [`signal`](Self::signal) or an [`operator`](Self::operator). A journal that is
/// opened again has no such sagas.
///
/// # Examples
///
/// ```
/// use mainstay_saga::{Draft, Engine, Out, Outcome, Saga, journal::Memory};
///
/// fn greeting<'s>(mut s: Draft<'s, ()>, name: Out<'s, String>) -> Out<'s, String> {
///     s.read("greet", name, async |_, name| Ok(format!("hello, {name}")))
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let greeting = Saga::define("greeting", 1, greeting)?;
/// let engine = Engine::builder((), Memory::new()).register(&greeting).start().await?;
///
/// let handle = engine.start(&greeting, "first", "Ada".to_owned()).await?;
/// assert_eq!(handle.outcome().await?, Outcome::Completed("hello, Ada".to_owned()));
///
/// let again = engine.start(&greeting, "first", "Bob".to_owned()).await?;
/// assert!(!again.is_new(), "the key was used before");
/// assert_eq!(again.outcome().await?.completed().as_deref(), Some("hello, Ada"));
/// # Ok(())
/// # }
/// ```
pub struct Engine<A> {
    alive: Arc<Alive<A>>,
}

/// What lives as long as somebody has the engine.
struct Alive<A> {
    shared: Arc<Shared<A>>,
}

impl<A> Drop for Alive<A> {
    fn drop(&mut self) {
        self.shared.drain();
    }
}

/// What a shutdown left.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stopped {
    /// The sagas in which something was under way and was dropped: whether it happened is not known. The next engine goes on with
    /// them like after a crash.
    pub interrupted: Vec<SagaId>,
}

impl<A: Send + Sync + 'static> Engine<A> {
    /// `journal` keeps the records; `app` is lent to every step.
    pub fn builder(app: impl Into<Arc<A>>, journal: impl Journal) -> EngineBuilder<A> {
        EngineBuilder::new(app, journal)
    }

    pub(crate) fn new(shared: Arc<Shared<A>>) -> Self {
        Self { alive: Arc::new(Alive { shared }) }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared<A>> {
        &self.alive.shared
    }

    /// Starts a saga. `Ok` means that the journal has it: it will come to an end whatever happens to this process.
    ///
    /// A `key` of 1 to 256 bytes tells a repeated start from a new one: if a saga of this name was started with it before, whatever
    /// its version and input, the handle is of that one.
    ///
    /// What runs is the code of the definition that was registered with this name and version; the
    /// [deadline](Saga::deadline) is that of `saga`.
    ///
    /// # Errors
    ///
    /// As [`StartError`] says.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the saga may have been started or not; to start it again with the same key is safe.
    pub async fn start<I: Data, O: Data>(
        &self,
        saga: &Saga<A, I, O>,
        key: &str,
        input: I,
    ) -> Result<Handle<O>, StartError> {
        let new = self.check(saga, key, &input)?;
        let room = self.admit()?;
        let held = self.launch(new, room);
        self.started(held).await
    }

    /// A handle of a saga that was started before.
    ///
    /// `saga` only says of which type its outcome is. Whether there is such a saga is found when it is waited for.
    pub fn handle<I, O: Data>(&self, saga: &Saga<A, I, O>, id: SagaId) -> Handle<O> {
        let _ = saga;
        Handle::new(self.hold(self.shared().registry.seat(id)), false)
    }

    /// Asks for a saga to be undone, and keeps that in the journal, with up to 8 KiB of the reason.
    ///
    /// # Errors
    ///
    /// As [`AskError`] says.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the saga may be cancelled or not; to ask again is safe.
    pub async fn cancel(&self, id: SagaId, reason: impl Into<Arc<str>>) -> Result<CancelAck, AskError> {
        let reason = cut(reason.into());
        self.ask(id, |reply| Ask::Cancel { reason, reply }).await
    }

    /// Gives a step what it waits for; it may come before the step waits.
    ///
    /// A step takes one signal, the first. `signal_id`, of 1 to 256 bytes, tells a repeated delivery of it,
    /// [`AlreadyReceived`](SignalAck::AlreadyReceived), from another signal that comes too late to count,
    /// [`OtherReceived`](SignalAck::OtherReceived).
    ///
    /// # Errors
    ///
    /// As [`AskError`] says.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the signal may be kept or not; to send it again is safe.
    pub async fn signal<T: Serialize + ?Sized>(
        &self,
        id: SagaId,
        step: &str,
        signal_id: &str,
        payload: &T,
    ) -> Result<SignalAck, AskError> {
        if !is_key(signal_id) {
            return Err(AskError::InvalidSignalId);
        }
        let payload = Payload::encode(payload).map_err(AskError::Unwritable)?;
        let (step, id_of_signal) = (step.into(), signal_id.into());
        self.ask(id, |reply| Ask::Signal { step, id: id_of_signal, payload, reply }).await
    }

    /// What a person does with sagas, in that person's name.
    pub fn operator(&self, name: impl Into<Arc<str>>) -> Operator<A> {
        Operator::new(self.clone(), cut(name.into()))
    }

    /// Stops: nothing new is begun, what is under way ends, and the sagas are left to the next engine.
    ///
    /// What is still under way after this time is dropped.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the engine stops all the same, and waits for what is under way as long as that takes.
    pub async fn shutdown(&self, deadline: Duration) -> Stopped {
        let shared = self.shared();
        shared.drain();
        if timeout(deadline, shared.registry.emptied()).await.is_ok() {
            return Stopped { interrupted: Vec::new() };
        }
        let interrupted = shared.registry.running().iter().map(|seat| seat.id).collect();
        shared.kill();
        Stopped { interrupted }
    }

    /// How many sagas are in memory.
    pub fn in_memory(&self) -> usize {
        self.shared().registry.running_count()
    }

    /// The settings.
    pub fn config(&self) -> Config {
        self.shared().config
    }

    /// Takes the recorder of metrics that is installed now, for all that is counted from here on. A journal in a file has a
    /// function of its own.
    #[cfg(feature = "metrics")]
    #[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
    pub fn rebind_metrics(&self) {
        for known in &self.shared().known {
            known.observers.rebind_metrics(&known.definition.graph);
        }
    }

    pub(crate) fn check<I: Data, O>(&self, saga: &Saga<A, I, O>, key: &str, input: &I) -> Result<New<A>, StartError> {
        let graph = &saga.definition().graph;
        let known = self.shared().known(graph.name(), graph.version());
        let known = known.filter(|known| known.definition.graph.fingerprint() == graph.fingerprint());
        let not_registered = || StartError::NotRegistered { saga: graph.name().into(), version: graph.version() };
        let known = Arc::clone(known.ok_or_else(not_registered)?);
        if !is_key(key) {
            return Err(StartError::InvalidKey);
        }
        let input = Payload::encode(input).map_err(StartError::Unwritable)?;
        Ok(New { known, graph: Arc::clone(graph), key: key.into(), input })
    }

    fn admit(&self) -> Result<OwnedSemaphorePermit, StartError> {
        if self.shared().is_stopping() {
            return Err(StartError::Stopped);
        }
        let room = Arc::clone(&self.shared().room).try_acquire_owned();
        room.map_err(|_| StartError::Refused(Refused::new(Reason::BulkheadFull, self.shared().config.name)))
    }

    /// Lets a task make the saga.
    pub(crate) fn launch(&self, new: New<A>, room: OwnedSemaphorePermit) -> Held {
        let shared = self.shared();
        let seat = Arc::new(Seat::new(SagaId::new(shared.clock.now()), Stage::Starting));
        shared.registry.add(&seat);
        spawn(shared, Arc::clone(&seat), Begin::New(new), Some(room));
        self.hold(seat)
    }

    pub(crate) async fn started<O>(&self, held: Held) -> Result<Handle<O>, StartError> {
        match held.seat().see(begun).await {
            Begun::New => Ok(Handle::new(held, true)),
            Begun::Existing(id) => Ok(Handle::new(self.hold(self.shared().registry.seat(id)), false)),
            Begun::Failed(error) => Err(StartError::Journal(error)),
            Begun::Stopped => Err(StartError::Stopped),
        }
    }

    fn hold(&self, seat: Arc<Seat>) -> Held {
        Held::new(&self.shared().base, seat)
    }

    /// Asks something of a saga, and waits for the answer.
    pub(crate) async fn ask<T>(&self, id: SagaId, ask: impl FnOnce(Reply<T>) -> Ask) -> Result<T, AskError> {
        let shared = self.shared();
        if shared.is_stopping() {
            return Err(AskError::Stopped);
        }
        let (reply, answer) = oneshot::channel();
        if let Some(seat) = shared.registry.ask(id, ask(reply)) {
            spawn(shared, seat, Begin::Asked, None);
        }
        // The task broke, or was dropped with its runtime, after it had taken the wish: it may be kept.
        answer.await.unwrap_or_else(|_| {
            Err(AskError::Journal(JournalError::Ambiguous("the task of the saga ended without an answer".into())))
        })
    }
}

/// What became of a start.
enum Begun {
    New,
    Existing(SagaId),
    Failed(JournalError),
    Stopped,
}

fn begun(stage: &mut Stage) -> Option<Begun> {
    match stage {
        Stage::Starting => None,
        Stage::NotStarted(error) => Some(error.take().map_or(Begun::Stopped, Begun::Failed)),
        Stage::Existing(id) => Some(Begun::Existing(*id)),
        Stage::Running | Stage::Parked(_) | Stage::Ended(_) | Stage::Away => Some(Begun::New),
    }
}

impl<A> Clone for Engine<A> {
    fn clone(&self) -> Self {
        Self { alive: Arc::clone(&self.alive) }
    }
}

impl<A> Debug for Engine<A> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("config", &self.alive.shared.config).finish_non_exhaustive()
    }
}
