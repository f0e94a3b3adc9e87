//! An engine as a tower service.

use super::{
    engine::Engine,
    outcome::{Outcome, StartError, WaitError},
};
use crate::{Data, Saga};
use futures_util::future::BoxFuture;
use mainstay_core::{Error, Reason, Refused};
use std::{
    error,
    fmt::{self, Debug, Display, Formatter},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::sync::OwnedSemaphorePermit;
use tower_service::Service;

/// A saga that is to be started, as a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start<I> {
    key: Arc<str>,
    input: I,
}

impl<I> Start<I> {
    /// With this key, as in [`Engine::start`].
    pub fn new(key: impl Into<Arc<str>>, input: I) -> Self {
        Self { key: key.into(), input }
    }
}

/// Why a service has no outcome.
#[derive(Debug)]
#[non_exhaustive]
pub enum RunError {
    /// The saga was not started.
    Start(StartError),
    /// It was started, and its outcome is not known.
    Wait(WaitError),
}

/// Starts sagas of one definition, and answers with their outcome.
///
/// # Readiness
///
/// Ready when there is room for one more saga in the memory of the engine, which is then kept for the next call. Who waits for
/// room gets it in the order of asking, clones and other services of the engine included. An engine that was shut down is never
/// ready again, and says so by an error. Readiness is not cloned.
///
/// # Cancel safety
///
/// A saga goes on if the future of its response is dropped; the room is given back when it leaves memory. A future that is dropped
/// before its first poll has started none.
///
/// # Examples
///
/// ```
/// use mainstay_saga::{Draft, Engine, Out, Outcome, Saga, Start, journal::Memory};
/// use tower::ServiceExt;
///
/// fn double<'s>(mut s: Draft<'s, ()>, number: Out<'s, u32>) -> Out<'s, u32> {
///     s.read("double", number, async |_, number| Ok(number * 2))
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let double = Saga::define("double", 1, double)?;
/// let engine = Engine::builder((), Memory::new()).register(&double).start().await?;
///
/// let outcome = engine.service(&double).oneshot(Start::new("a", 21)).await?;
/// assert_eq!(outcome, Outcome::Completed(42));
/// # Ok(())
/// # }
/// ```
pub struct SagaService<A, I, O> {
    engine: Engine<A>,
    saga: Saga<A, I, O>,
    room: Room,
}

/// Room for one saga.
enum Room {
    None,
    Coming(BoxFuture<'static, Option<OwnedSemaphorePermit>>),
    Here(OwnedSemaphorePermit),
}

/// The outcome of a saga, when it has ended.
pub struct OutcomeFuture<O>(BoxFuture<'static, Result<Outcome<O>, Error<RunError>>>);

impl<A: Send + Sync + 'static> Engine<A> {
    /// A tower service that starts sagas of this definition and answers with their outcome.
    pub fn service<I: Data, O: Data>(&self, saga: &Saga<A, I, O>) -> SagaService<A, I, O> {
        SagaService { engine: self.clone(), saga: saga.clone(), room: Room::None }
    }

    fn poll_room(&self, room: &mut Room, cx: &mut Context<'_>) -> Poll<Result<(), Error<RunError>>> {
        loop {
            *room = match room {
                _ if self.shared().is_stopping() => return Poll::Ready(Err(stopped())),
                Room::Here(_) => return Poll::Ready(Ok(())),
                Room::None => {
                    let base = Arc::clone(&self.shared().base);
                    // Only who has to wait allocates.
                    match Arc::clone(&base.room).try_acquire_owned() {
                        Ok(permit) => Room::Here(permit),
                        Err(_) => Room::Coming(Box::pin(async move { base.place().await })),
                    }
                }
                Room::Coming(coming) => match coming.as_mut().poll(cx) {
                    Poll::Ready(permit) => permit.map_or(Room::None, Room::Here),
                    Poll::Pending => return Poll::Pending,
                },
            };
        }
    }
}

impl<A: Send + Sync + 'static, I: Data, O: Data> SagaService<A, I, O> {
    async fn run(
        engine: Engine<A>,
        saga: Saga<A, I, O>,
        start: Start<I>,
        room: OwnedSemaphorePermit,
    ) -> Result<Outcome<O>, RunError> {
        if engine.shared().is_stopping() {
            return Err(RunError::Start(StartError::Stopped));
        }
        let new = engine.check(&saga, &start.key, &start.input).map_err(RunError::Start)?;
        let held = engine.launch(new, room);
        let handle = engine.started::<O>(held).await.map_err(RunError::Start)?;
        // The saga and whoever waits for it need the engine no longer than the engine is wanted.
        drop(engine);
        handle.outcome().await.map_err(RunError::Wait)
    }
}

impl<A: Send + Sync + 'static, I: Data, O: Data> Service<Start<I>> for SagaService<A, I, O> {
    type Response = Outcome<O>;
    type Error = Error<RunError>;
    type Future = OutcomeFuture<O>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        let Self { engine, room, .. } = self;
        engine.poll_room(room, cx)
    }

    fn call(&mut self, start: Start<I>) -> Self::Future {
        let Room::Here(room) = std::mem::replace(&mut self.room, Room::None) else {
            // Who calls without asking whether it is ready takes what there is.
            let refused = Refused::new(Reason::BulkheadFull, self.engine.config().name);
            return OutcomeFuture(Box::pin(std::future::ready(Err(refused.into()))));
        };
        let running = Self::run(self.engine.clone(), self.saga.clone(), start, room);
        OutcomeFuture(Box::pin(async { running.await.map_err(Error::Inner) }))
    }
}

fn stopped() -> Error<RunError> {
    Error::Inner(RunError::Start(StartError::Stopped))
}

impl<O> Future for OutcomeFuture<O> {
    type Output = Result<Outcome<O>, Error<RunError>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl<A, I, O> Clone for SagaService<A, I, O> {
    fn clone(&self) -> Self {
        Self { engine: self.engine.clone(), saga: self.saga.clone(), room: Room::None }
    }
}

impl<A, I, O> Debug for SagaService<A, I, O> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("SagaService").field("engine", &self.engine).field("saga", &self.saga).finish_non_exhaustive()
    }
}

impl<O> Debug for OutcomeFuture<O> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutcomeFuture").finish_non_exhaustive()
    }
}

impl Display for RunError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Start(_) => "the saga was not started",
            Self::Wait(_) => "the outcome of the saga is not known",
        })
    }
}

impl error::Error for RunError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Start(error) => Some(error),
            Self::Wait(error) => Some(error),
        }
    }
}
