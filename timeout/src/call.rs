//! Without tower: any future, with a time or a deadline.

use crate::{
    clock::now,
    future::{Limit, ResponseFuture},
};
use mainstay_core::{Deadline, Reason, Refusable, Refused};
use pin_project::pin_project;
use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

/// Gives `future` this much time, from the end of its first poll.
///
/// A future with a plain error is lifted by [`lift`](mainstay_core::lift); the error type is then
/// [`Error<E>`](mainstay_core::Error). `by` is the name that the error, logs and metrics have; it is not checked.
///
/// The clock is asked, and the timer made, when the first poll was pending; how long that poll took does not count. Tokio's
/// timers tick in milliseconds, and fire late rather than early. So a time of zero ends at the next tick, after at least one
/// poll and maybe many. [`Duration::MAX`], and whatever else the clock cannot count, is for ever.
///
/// # Errors
///
/// [`TimedOut`](mainstay_core::TimedOut) when the time is over, or the error of the future.
///
/// # Cancel safety
///
/// Dropping the returned future drops `future`. So does the end of the time, before the error is returned: what `future` was
/// about to do is done in part.
///
/// # Panics
///
/// If it has to wait outside of a tokio runtime with a timer.
///
/// # Examples
///
/// ```
/// use mainstay_core::{Error, lift};
/// use mainstay_timeout::timeout;
/// use std::{future::pending, io, time::Duration};
///
/// async fn fetch() -> Result<u32, io::Error> {
///     pending().await
/// }
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// let answer = timeout("fetch", Duration::from_secs(1), lift(fetch())).await;
/// assert!(matches!(answer, Err(Error::TimedOut(_))));
/// # }
/// ```
pub const fn timeout<F, T, E>(by: &'static str, time: Duration, future: F) -> ResponseFuture<F>
where
    F: Future<Output = Result<T, E>>,
    E: Refusable,
{
    ResponseFuture::started(future, by, Limit::After(time))
}

/// Gives `future` time until `deadline`, and does not poll it if that has passed at the first poll.
///
/// # Errors
///
/// [`Refused`] if the deadline has passed before the first poll, [`TimedOut`](mainstay_core::TimedOut) when it passes later, or
/// the error of the future.
///
/// # Cancel safety
///
/// As [`timeout`].
///
/// # Panics
///
/// As [`timeout`].
///
/// # Examples
///
/// ```
/// use mainstay_core::{Deadline, Error, lift};
/// use mainstay_timeout::within;
/// use std::{io, time::Duration};
///
/// async fn charge(cents: u32) -> Result<u32, io::Error> {
///     Ok(cents)
/// }
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// let now = tokio::time::Instant::now().into_std();
/// let deadline = Deadline::after(now, Duration::from_secs(1));
/// assert_eq!(within("charge", deadline, lift(charge(99))).await.unwrap(), 99);
///
/// tokio::time::advance(Duration::from_secs(1)).await;
/// assert!(matches!(within("charge", deadline, lift(charge(99))).await, Err(Error::Refused(_))));
/// # }
/// ```
pub const fn within<F, T, E>(by: &'static str, deadline: Deadline, future: F) -> Within<F>
where
    F: Future<Output = Result<T, E>>,
    E: Refusable,
{
    Within { inner: ResponseFuture::started(future, by, Limit::Never), by, deadline: Some(deadline) }
}

/// The future of [`within`].
#[pin_project]
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Within<F> {
    #[pin]
    inner: ResponseFuture<F>,
    by: &'static str,
    /// Until the first poll.
    deadline: Option<Deadline>,
}

impl<F, T, E> Future for Within<F>
where
    F: Future<Output = Result<T, E>>,
    E: Refusable,
{
    type Output = Result<T, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let Some(deadline) = this.deadline.take() {
            let now = now();
            if deadline.has_passed(now) {
                let refused = Refused::new(Reason::DeadlinePassed, this.by);
                this.inner.set(ResponseFuture::refused(refused));
            } else {
                this.inner.as_mut().set_limit(Limit::At(deadline, now));
            }
        }
        this.inner.poll(cx)
    }
}
