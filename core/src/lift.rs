//! From a plain error to the flat one.

use crate::Error;
use pin_project::pin_project;
use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

/// Turns the plain error of `future` into [`Error::Inner`], once, at the bottom.
///
/// The policies can be used without tower by wrapping any future whose error carries refusals; this makes one of a future
/// whose error does not.
///
/// # Cancel safety
///
/// Dropping the returned future drops `future`; nothing else is held.
///
/// # Examples
///
/// ```
/// use mainstay_core::{Error, lift};
///
/// async fn fetch() -> Result<u32, std::num::ParseIntError> {
///     "seven".parse()
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// assert!(matches!(lift(fetch()).await, Err(Error::Inner(_))));
/// # }
/// ```
pub const fn lift<F, T, E>(future: F) -> Lift<F>
where
    F: Future<Output = Result<T, E>>,
{
    Lift { future }
}

/// The future of [`lift`].
#[pin_project]
#[derive(Clone, Copy, Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Lift<F> {
    #[pin]
    future: F,
}

impl<F, T, E> Future for Lift<F>
where
    F: Future<Output = Result<T, E>>,
{
    type Output = Result<T, Error<E>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().future.poll(cx).map_err(Error::Inner)
    }
}
