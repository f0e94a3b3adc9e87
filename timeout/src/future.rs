//! The answer of a call, or the end of its time.

use crate::observe;
use mainstay_core::{Deadline, Refusable, Refused, TimedOut};
use pin_project::pin_project;
use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};
use tokio::{
    task::coop::{has_budget_remaining, unconstrained},
    time::{Sleep, sleep_until},
};

/// The future of [`Timeout`](crate::Timeout) and of [`timeout`](crate::timeout()).
///
/// # Cancel safety
///
/// Dropping it drops the inner future; nothing else is held but a timer.
///
/// # Panics
///
/// If it has to wait outside of a tokio runtime with a timer, or is polled again after an answer that was its own.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<F> {
    #[pin]
    state: State<F>,
}

#[pin_project(project = StateProjected)]
enum State<F> {
    Started {
        #[pin]
        inner: F,
        /// Made at the first pending.
        #[pin]
        timer: Option<Sleep>,
        limit: Limit,
        name: &'static str,
    },
    Refused(Refused),
    Answered,
}

/// How long to wait.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Limit {
    Never,
    /// So long from the first pending poll.
    After(Duration),
    /// Until then; the call has started at the instant.
    At(Deadline, Instant),
}

impl<F> ResponseFuture<F> {
    pub(crate) const fn started(inner: F, name: &'static str, limit: Limit) -> Self {
        Self { state: State::Started { inner, timer: None, limit, name } }
    }

    pub(crate) const fn refused(refused: Refused) -> Self {
        Self { state: State::Refused(refused) }
    }

    /// Changes the limit of a call that was not polled yet.
    pub(crate) fn set_limit(self: Pin<&mut Self>, new: Limit) {
        if let StateProjected::Started { limit, .. } = self.project().state.project() {
            *limit = new;
        }
    }
}

impl Limit {
    /// The timer, unless the clock cannot count so far.
    fn timer(self) -> Option<Sleep> {
        let end = match self {
            Self::Never => return None,
            Self::After(time) => tokio::time::Instant::now().checked_add(time)?,
            Self::At(deadline, _) => deadline.instant().into(),
        };
        // Tokio rounds up to its next tick, and panics where that cannot be counted.
        end.checked_add(Duration::from_millis(1))?;
        Some(sleep_until(end))
    }

    /// How long that was; computed only for a call that times out.
    fn duration(self) -> Duration {
        match self {
            Self::Never => Duration::MAX,
            Self::After(time) => time,
            Self::At(deadline, start) => deadline.instant().saturating_duration_since(start),
        }
    }
}

impl<F, T, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<T, E>>,
    E: Refusable,
{
    type Output = Result<T, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        match state.as_mut().project() {
            StateProjected::Started { inner, timer, limit, name } => {
                // At the first poll there is no timer, and a call that is answered then asks for nothing.
                let had_budget = timer.is_some() && has_budget_remaining();
                if let Poll::Ready(answer) = inner.poll(cx) {
                    return Poll::Ready(answer);
                }
                // Pending: the inner future will wake us, or the timer.
                if !is_over(timer, limit, had_budget, cx) {
                    return Poll::Pending;
                }
                let timed_out = TimedOut::new(name, limit.duration());
                state.set(State::Answered);
                observe::timed_out(&timed_out);
                Poll::Ready(Err(timed_out.into()))
            }
            StateProjected::Refused(refused) => {
                let refused = *refused;
                state.set(State::Answered);
                observe::refused(&refused);
                Poll::Ready(Err(refused.into()))
            }
            StateProjected::Answered => panic!("the future was polled after its answer"),
        }
    }
}

/// Whether the time is over; starts the timer if that has not been done.
fn is_over(mut timer: Pin<&mut Option<Sleep>>, limit: &mut Limit, had_budget: bool, cx: &mut Context<'_>) -> bool {
    if timer.is_none() {
        timer.set(limit.timer());
    }
    let Some(timer) = timer.as_pin_mut() else {
        *limit = Limit::Never;
        return false;
    };
    // An inner future that uses up tokio's budget at each poll must not keep the timer from being asked.
    if had_budget && !has_budget_remaining() {
        return Pin::new(&mut unconstrained(timer)).poll(cx).is_ready();
    }
    timer.poll(cx).is_ready()
}

impl<F> fmt::Debug for ResponseFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").field("state", &self.state).finish()
    }
}

impl<F> fmt::Debug for State<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started { limit, name, .. } => {
                f.debug_struct("Started").field("limit", limit).field("name", name).finish_non_exhaustive()
            }
            Self::Refused(refused) => f.debug_tuple("Refused").field(refused).finish(),
            Self::Answered => f.write_str("Answered"),
        }
    }
}
