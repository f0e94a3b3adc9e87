//! A service that does what it is told, for the tests of the retry.
#![allow(dead_code, reason = "each test file takes what it needs")]

use mainstay_core::{Error, Reason, Refused, TimedOut};
use mainstay_retry::{Backoff, Config, Jitter};
use std::{
    collections::VecDeque,
    future::{Future, pending},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, Waker},
    time::Duration,
};
use tokio::time::Instant;
use tower::Service;

pub(crate) type Answer = Result<&'static str, Error<&'static str>>;

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// How an attempt ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    With(Answer),
    Never,
    PanicInCall,
    PanicInPoll,
}

pub(crate) const OK: End = End::With(Ok("espresso"));
pub(crate) const FAILED: End = End::With(Err(Error::Inner("reset")));
pub(crate) const REFUSED: End = End::With(Err(Error::Refused(Refused::new(Reason::CircuitOpen, "test"))));
pub(crate) const TIMED_OUT: End = End::With(Err(Error::TimedOut(TimedOut::new("test", SECOND))));

/// What `poll_ready` says.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Readiness {
    Ready,
    Pending,
    Broken,
}

/// A service whose clones follow one script: an end for each call, and success when the script is over.
pub(crate) struct Leaf {
    script: Arc<Mutex<Script>>,
    /// Of this value alone.
    is_ready: bool,
}

#[derive(Default)]
pub(crate) struct Script {
    ends: VecDeque<End>,
    readiness: VecDeque<Readiness>,
    pub(crate) calls: Vec<(Instant, u32)>,
    pub(crate) wakers: Vec<Waker>,
    pub(crate) alive: usize,
}

impl Leaf {
    pub(crate) fn new<const N: usize>(ends: [End; N]) -> Self {
        Self::with(ends.into())
    }

    pub(crate) fn with(ends: VecDeque<End>) -> Self {
        Self { script: Arc::new(Mutex::new(Script { ends, ..Script::default() })), is_ready: false }
    }

    /// What `poll_ready` says, one after the other; then it is ready.
    pub(crate) fn readiness<const N: usize>(self, readiness: [Readiness; N]) -> Self {
        self.script().readiness = readiness.into();
        self
    }

    pub(crate) fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// How often it was called.
    pub(crate) fn calls(&self) -> usize {
        self.script().calls.len()
    }

    /// When it was called, from the first call on.
    pub(crate) fn times(&self) -> Vec<Duration> {
        let script = self.script();
        script.calls.iter().map(|(at, _)| at.duration_since(script.calls[0].0)).collect()
    }

    /// Another handle to the same script.
    pub(crate) fn handle(&self) -> Self {
        self.clone()
    }
}

impl Clone for Leaf {
    fn clone(&self) -> Self {
        Self { script: Arc::clone(&self.script), is_ready: false }
    }
}

impl Service<u32> for Leaf {
    type Response = &'static str;
    type Error = Error<&'static str>;
    type Future = Attempt;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        let mut script = self.script();
        match script.readiness.pop_front().unwrap_or(Readiness::Ready) {
            Readiness::Ready => {}
            Readiness::Pending => {
                script.wakers.push(cx.waker().clone());
                return Poll::Pending;
            }
            Readiness::Broken => return Poll::Ready(Err(Error::Inner("broken"))),
        }
        drop(script);
        self.is_ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u32) -> Attempt {
        assert!(std::mem::take(&mut self.is_ready), "the value that is called is the one that was ready");
        let mut script = self.script();
        script.calls.push((Instant::now(), request));
        script.alive += 1;
        let end = script.ends.pop_front().unwrap_or(OK);
        drop(script);
        let alive = Alive(self.clone());
        assert!(!matches!(end, End::PanicInCall), "panic in call");
        Attempt(Box::pin(async move {
            let _alive = alive;
            match end {
                End::With(answer) => answer,
                End::Never => pending().await,
                End::PanicInCall | End::PanicInPoll => panic!("panic in poll"),
            }
        }))
    }
}

/// Counts itself as long as it lives.
struct Alive(Leaf);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.script().alive -= 1;
    }
}

pub(crate) struct Attempt(Pin<Box<dyn Future<Output = Answer> + Send + Sync>>);

impl Future for Attempt {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer> {
        self.0.as_mut().poll(cx)
    }
}

/// Retries that do not wait.
pub(crate) fn at_once() -> Config {
    Config::default().backoff(Backoff::constant(Duration::ZERO))
}

/// Retries after 1 s, 2 s, 4 s.
pub(crate) fn doubling() -> Config {
    Config::default().backoff(Backoff::exponential(SECOND).jitter(Jitter::None))
}
