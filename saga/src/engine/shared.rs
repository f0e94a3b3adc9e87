//! What all parts of an engine share.

use super::{
    clock::Clock, config::Config, draws::Draws, observe::Observers, outcome::AskError, registry::Registry, seat::Seat,
    trace,
};
use crate::{
    Graph,
    define::Definition,
    journal::{Journal, JournalError, JournalFuture},
};
use futures_util::future::{Either, select};
use mainstay_retry::Backoff;
use std::{
    fmt::{self, Debug, Formatter},
    ops::Deref,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// What does not depend on the application.
pub(crate) struct Base {
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) clock: Clock,
    pub(crate) config: Config,
    pub(crate) draws: Draws,
    pub(crate) registry: Registry,
    /// Room for sagas in memory.
    pub(crate) room: Arc<Semaphore>,
    /// What is registered.
    pub(crate) graphs: Vec<Arc<Graph>>,
    /// Its names and versions, as a claim wants them.
    pub(crate) claimable: Arc<[(Arc<str>, u32)]>,
    stop: AtomicU8,
    /// Wakes the dispatcher.
    stopping: Notify,
}

/// What the tasks of an engine share.
pub(crate) struct Shared<A> {
    pub(crate) base: Arc<Base>,
    pub(crate) app: Arc<A>,
    pub(crate) known: Vec<Arc<Known<A>>>,
}

/// A definition that an engine was given.
pub(crate) struct Known<A> {
    pub(crate) definition: Definition<A>,
    pub(crate) observers: Observers,
}

impl<A> Deref for Shared<A> {
    type Target = Base;

    fn deref(&self) -> &Base {
        &self.base
    }
}

impl<A> Shared<A> {
    pub(crate) fn known(&self, saga: &str, version: u32) -> Option<&Arc<Known<A>>> {
        self.known.iter().find(|known| {
            let graph = &known.definition.graph;
            graph.version() == version && graph.name() == saga
        })
    }
}

const RUNNING: u8 = 0;
const DRAINING: u8 = 1;
const KILLED: u8 = 2;

/// How long a journal that failed is left alone.
const PAUSES: Backoff = Backoff::exponential(Duration::from_millis(50)).cap(Duration::from_secs(5));

/// Why a journal was given up on.
#[derive(Debug)]
pub(crate) enum Failed {
    /// The engine gives up everything at once.
    Killed,
    /// Asking again does not help.
    Journal(JournalError),
}

impl Failed {
    /// What those are told who asked something.
    pub(crate) fn tell(&self) -> AskError {
        match self {
            Self::Killed => AskError::Stopped,
            Self::Journal(JournalError::NotFound) => AskError::NotFound,
            // The error itself is for the log.
            Self::Journal(error) => AskError::Journal(JournalError::Transient(error.to_string().into())),
        }
    }
}

impl Base {
    pub(crate) fn new(journal: Arc<dyn Journal>, config: Config, graphs: Vec<Arc<Graph>>) -> Self {
        let claimable = graphs.iter().map(|graph| (Arc::from(graph.name()), graph.version())).collect();
        Self {
            journal,
            clock: Clock::new(),
            config,
            draws: Draws::new(config.seed),
            registry: Registry::default(),
            room: Arc::new(Semaphore::new(config.max_in_memory)),
            graphs,
            claimable,
            stop: AtomicU8::new(RUNNING),
            stopping: Notify::new(),
        }
    }

    pub(crate) fn graph(&self, saga: &str, version: u32) -> Option<&Arc<Graph>> {
        self.graphs.iter().find(|graph| graph.version() == version && graph.name() == saga)
    }

    /// Whether nothing new is to be begun.
    pub(crate) fn is_stopping(&self) -> bool {
        // Acquire: whoever sees it sees what was done before it was set.
        self.stop.load(Ordering::Acquire) != RUNNING
    }

    /// Whether everything is to be dropped.
    pub(crate) fn is_killed(&self) -> bool {
        // Acquire: as above.
        self.stop.load(Ordering::Acquire) == KILLED
    }

    pub(crate) fn drain(&self) {
        self.stop_as(DRAINING);
    }

    pub(crate) fn kill(&self) {
        self.stop_as(KILLED);
    }

    fn stop_as(&self, how: u8) {
        // Acquire and release: the tasks that are woken below see it. It only grows, so a drain after a kill takes nothing back.
        self.stop.fetch_max(how, Ordering::AcqRel);
        self.stopping.notify_waiters();
        for seat in self.registry.running() {
            seat.poke();
        }
    }

    /// Room for one more saga, in the order of asking; none if the engine stops before.
    pub(crate) async fn place(&self) -> Option<OwnedSemaphorePermit> {
        let stopped = pin!(self.stopped());
        let room = pin!(Arc::clone(&self.room).acquire_owned());
        match select(stopped, room).await {
            Either::Left(_) => None,
            Either::Right((room, _)) => room.ok(),
        }
    }

    /// Waits until the engine stops.
    pub(crate) async fn stopped(&self) {
        loop {
            let mut stopping = pin!(self.stopping.notified());
            stopping.as_mut().enable();
            if self.is_stopping() {
                return;
            }
            stopping.await;
        }
    }

    /// Asks the journal until it answers for certain, and lets `meanwhile` have every turn in which it does not.
    pub(crate) async fn persist<'j, T>(
        &'j self,
        seat: &Seat,
        ask: impl FnMut(&'j dyn Journal) -> JournalFuture<'j, T>,
        meanwhile: impl FnMut(&mut Context<'_>),
    ) -> Result<T, Failed> {
        let is_open = |error: &JournalError| {
            matches!(error, JournalError::Transient(_) | JournalError::Ambiguous(_) | JournalError::Full)
        };
        self.persist_while(seat, is_open, ask, meanwhile).await
    }

    /// The same, while the errors are such that it is to be asked again.
    pub(crate) async fn persist_while<'j, T>(
        &'j self,
        seat: &Seat,
        mut is_open: impl FnMut(&JournalError) -> bool,
        mut ask: impl FnMut(&'j dyn Journal) -> JournalFuture<'j, T>,
        mut meanwhile: impl FnMut(&mut Context<'_>),
    ) -> Result<T, Failed> {
        let mut failures = 0;
        loop {
            let error = match self.unless_killed(seat, ask(&*self.journal), &mut meanwhile).await? {
                Ok(answer) => return Ok(answer),
                Err(error) if is_open(&error) => error,
                Err(error) => return Err(Failed::Journal(error)),
            };
            let pause = PAUSES.delay(failures, Duration::ZERO, self.draws.next());
            trace::journal_failed(self.config.name, seat.id, &error, pause);
            // Boxed: it is rare, and every append would have room for it.
            self.unless_killed(seat, Box::pin(tokio::time::sleep(pause)), &mut meanwhile).await?;
            failures = failures.saturating_add(1);
        }
    }

    /// Waits for this, unless the engine gives up everything.
    async fn unless_killed<F: Future>(
        &self,
        seat: &Seat,
        future: F,
        meanwhile: &mut impl FnMut(&mut Context<'_>),
    ) -> Result<F::Output, Failed> {
        let mut future = pin!(future);
        let mut poked = pin!(seat.asked());
        std::future::poll_fn(|cx| {
            if let Poll::Ready(answer) = future.as_mut().poll(cx) {
                return Poll::Ready(Ok(answer));
            }
            meanwhile(cx);
            // What is asked is seen to once the journal has answered; only a kill does not wait.
            while !self.is_killed() {
                if poked.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                poked.set(seat.asked());
            }
            Poll::Ready(Err(Failed::Killed))
        })
        .await
    }
}

impl Debug for Base {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Base").field("config", &self.config).finish_non_exhaustive()
    }
}
