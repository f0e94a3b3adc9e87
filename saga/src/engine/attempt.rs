//! One attempt of a step, or of an undo.

use super::{
    observe::{Stopwatch, Took},
    trace::Span,
};
use crate::{
    Payload, StepError, UndoError,
    panics::{caught, quietly},
};
use futures_util::future::BoxFuture;
use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::Sleep;

/// What an attempt runs.
pub(crate) enum Work {
    Do(BoxFuture<'static, Result<Payload, StepError>>),
    Undo(BoxFuture<'static, Result<(), UndoError>>),
}

/// How an attempt ended.
#[derive(Debug)]
pub(crate) enum Ending {
    Do(Result<Payload, StepError>),
    Undo(Result<(), UndoError>),
    /// It was not begun: what it reads is not what it was written for.
    Unreadable {
        undo: bool,
        error: String,
    },
}

/// An attempt that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) step: usize,
    pub(crate) ending: Ending,
    pub(crate) took: Took,
}

/// An attempt under way: bounded in time, and whatever it does, it ends with an answer.
pub(crate) struct Attempt {
    step: usize,
    undo: bool,
    /// `None` once it has ended.
    work: Option<Work>,
    limit: Option<Duration>,
    /// Made when it has to be waited for.
    alarm: Option<Pin<Box<Sleep>>>,
    span: Span,
    stopwatch: Stopwatch,
}

impl Attempt {
    pub(crate) const fn new(
        step: usize,
        work: Work,
        limit: Option<Duration>,
        span: Span,
        stopwatch: Stopwatch,
    ) -> Self {
        let undo = matches!(work, Work::Undo(_));
        Self { step, undo, work: Some(work), limit, alarm: None, span, stopwatch }
    }

    fn end(&mut self, ending: Ending) -> Poll<Ended> {
        let took = self.stopwatch.read();
        quietly(|| drop(self.work.take()));
        self.alarm = None;
        Poll::Ready(Ended { step: self.step, ending, took })
    }

    fn is_late(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(limit) = self.limit else { return false };
        self.alarm.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit))).as_mut().poll(cx).is_ready()
    }
}

impl Future for Attempt {
    type Output = Ended;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Ended> {
        let this = &mut *self;
        let Some(work) = &mut this.work else { return Poll::Pending };
        match this.span.in_scope(|| caught(|| work.poll(cx))) {
            Ok(Poll::Ready(ending)) => this.end(ending),
            Ok(Poll::Pending) if this.is_late(cx) => this.end(too_late(this.undo, this.limit)),
            Ok(Poll::Pending) => Poll::Pending,
            Err(panic) => this.end(unknown(this.undo, &panic)),
        }
    }
}

impl Work {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        match self {
            Self::Do(future) => future.as_mut().poll(cx).map(Ending::Do),
            Self::Undo(future) => future.as_mut().poll(cx).map(Ending::Undo),
        }
    }
}

/// How an attempt ended that panicked: a step may have done half of its work.
pub(crate) fn unknown(undo: bool, text: &str) -> Ending {
    if undo { Ending::Undo(Err(UndoError::try_again(text))) } else { Ending::Do(Err(StepError::unknown(text))) }
}

fn too_late(undo: bool, limit: Option<Duration>) -> Ending {
    unknown(undo, &format!("did not end within {:?}", limit.unwrap_or_default()))
}

impl Drop for Attempt {
    fn drop(&mut self) {
        quietly(|| drop(self.work.take()));
    }
}
