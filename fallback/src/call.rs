//! Without tower: call, else this.

use mainstay_core::{Refusable, Uncertainty};
use pin_project::pin_project;
use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

/// Answers what `value` makes of the error, if `future` ends in one.
///
/// `value` is called at most once, when `future` has been dropped, and not at all on a success.
///
/// # Cancel safety
///
/// Dropping the returned future drops `future`; nothing else is held.
///
/// # Examples
///
/// ```
/// use mainstay_fallback::fallback;
///
/// async fn price(item: u32) -> Result<u32, String> {
///     Err(format!("no connection for item {item}"))
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// assert_eq!(fallback(price(7), |error| error.len() as u32).await, 24);
/// # }
/// ```
pub const fn fallback<F, T, E, V>(future: F, value: V) -> FallbackFuture<F, V>
where
    F: Future<Output = Result<T, E>>,
    V: FnOnce(E) -> T,
{
    FallbackFuture { state: Call::Asked { future, value } }
}

/// Answers what the future that `other` makes answers, if `future` ends in an error.
///
/// `other` sees that error. It is called at most once, when `future` has been dropped, and not at all on a success. That is a
/// second attempt: where the first may have been executed, that may be twice.
///
/// # Errors
///
/// If both fail, the error that leaves more open: timed out before failed before refused; of equals that of the second.
///
/// # Cancel safety
///
/// Dropping the returned future drops what is running, `future` or the other one.
///
/// # Examples
///
/// ```
/// use mainstay_core::lift;
/// use mainstay_fallback::fallback_to;
///
/// async fn price(item: u32) -> Result<u32, String> {
///     Err(format!("no connection for item {item}"))
/// }
///
/// async fn price_of_yesterday(item: u32) -> Result<u32, String> {
///     Ok(item * 100)
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let price = fallback_to(lift(price(7)), |_| lift(price_of_yesterday(7))).await;
/// assert_eq!(price, Ok(700));
/// # }
/// ```
pub const fn fallback_to<F, T, E, V, G>(future: F, other: V) -> FallbackToFuture<F, V, G, E>
where
    F: Future<Output = Result<T, E>>,
    E: Refusable,
    V: FnOnce(&E) -> G,
    G: Future<Output = Result<T, E>>,
{
    FallbackToFuture { state: State::First { future, other } }
}

/// The future of [`fallback`].
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct FallbackFuture<F, V> {
    #[pin]
    state: Call<F, V>,
}

#[pin_project(project = CallProjected, project_replace = CallReplaced)]
enum Call<F, V> {
    Asked {
        #[pin]
        future: F,
        value: V,
    },
    Answered,
}

/// The future of [`fallback_to`].
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct FallbackToFuture<F, V, G, E> {
    #[pin]
    state: State<F, V, G, E>,
}

#[pin_project(project = StateProjected, project_replace = StateReplaced)]
enum State<F, V, G, E> {
    First {
        #[pin]
        future: F,
        other: V,
    },
    Second {
        original: Option<E>,
        #[pin]
        future: G,
    },
    Answered,
}

impl<F, T, E, V> Future for FallbackFuture<F, V>
where
    F: Future<Output = Result<T, E>>,
    V: FnOnce(E) -> T,
{
    type Output = T;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let mut state = self.project().state;
        if let CallProjected::Asked { future, .. } = state.as_mut().project() {
            // Pending: the future will wake us.
            let error = match ready!(future.poll(cx)) {
                Ok(answer) => return Poll::Ready(answer),
                Err(error) => error,
            };
            // The future is dropped here.
            if let CallReplaced::Asked { value, .. } = state.project_replace(Call::Answered) {
                return Poll::Ready(value(error));
            }
        }
        panic!("the future was polled after its answer")
    }
}

impl<F, T, E, V, G> Future for FallbackToFuture<F, V, G, E>
where
    F: Future<Output = Result<T, E>>,
    E: Refusable,
    V: FnOnce(&E) -> G,
    G: Future<Output = Result<T, E>>,
{
    type Output = Result<T, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            match state.as_mut().project() {
                StateProjected::First { future, .. } => {
                    // Pending: the first future will wake us.
                    let original = match ready!(future.poll(cx)) {
                        Err(error) => error,
                        answer @ Ok(_) => return Poll::Ready(answer),
                    };
                    // The first future is dropped here.
                    if let StateReplaced::First { other, .. } = state.as_mut().project_replace(State::Answered) {
                        let future = other(&original);
                        state.set(State::Second { original: Some(original), future });
                    }
                }
                StateProjected::Second { original, future } => {
                    // Pending: the second future will wake us.
                    let second = ready!(future.poll(cx));
                    let original = original.take();
                    state.set(State::Answered);
                    return Poll::Ready(second.map_err(|second| more_uncertain(original, second)));
                }
                StateProjected::Answered => panic!("the future was polled after its answer"),
            }
        }
    }
}

/// Of equals the second.
fn more_uncertain<E: Refusable>(original: Option<E>, second: E) -> E {
    original.filter(|original| Uncertainty::of(original) > Uncertainty::of(&second)).unwrap_or(second)
}

impl<F, V> fmt::Debug for FallbackFuture<F, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FallbackFuture").finish_non_exhaustive()
    }
}

impl<F, V, G, E> fmt::Debug for FallbackToFuture<F, V, G, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FallbackToFuture").finish_non_exhaustive()
    }
}
