//! Answers that need no other service.

use std::{fmt, sync::Arc};

/// Makes the answer to a call that failed.
///
/// [`Value`], [`Function`] and [`OnError`] do; so can types of one's own, given to
/// [`FallbackLayer::with`](crate::FallbackLayer::with).
pub trait Answer<Res, E>: Synchronous {
    /// Whether it answers such an outcome; if not, the call does not fall back, and nobody is told. Any, by default.
    fn takes(&self, failed: Result<&Res, &E>) -> bool {
        let _ = failed;
        true
    }

    /// Makes the answer. `failed` is how the call ended: in an error, or in a response that is a failure.
    ///
    /// # Errors
    ///
    /// That is an answer too.
    fn answer(self, failed: Result<Res, E>) -> Result<Res, E>;
}

/// Marks the types that are [`Answer`]s, whatever the call; so the compiler tells them from [`Other`](crate::Other).
pub trait Synchronous {}

/// Answers with a value, which is cloned when it is needed.
#[derive(Debug)]
pub struct Value<V> {
    value: Arc<V>,
}

/// Answers with what a function makes of the outcome.
#[derive(Clone, Copy)]
pub struct Function<F> {
    make: F,
}

/// Answers errors with what a function makes of them.
#[derive(Clone, Copy)]
pub struct OnError<F> {
    make: F,
}

impl<V> Value<V> {
    pub(crate) fn new(value: V) -> Self {
        Self { value: Arc::new(value) }
    }
}

impl<F> Function<F> {
    pub(crate) const fn new(make: F) -> Self {
        Self { make }
    }
}

impl<F> OnError<F> {
    pub(crate) const fn new(make: F) -> Self {
        Self { make }
    }
}

impl<V> Clone for Value<V> {
    fn clone(&self) -> Self {
        Self { value: Arc::clone(&self.value) }
    }
}

impl<V> Synchronous for Value<V> {}

impl<F> Synchronous for Function<F> {}

impl<F> Synchronous for OnError<F> {}

impl<V: Clone, E> Answer<V, E> for Value<V> {
    fn answer(self, _: Result<V, E>) -> Result<V, E> {
        Ok((*self.value).clone())
    }
}

impl<Res, E, F> Answer<Res, E> for Function<F>
where
    F: FnOnce(Result<Res, E>) -> Result<Res, E>,
{
    fn answer(self, failed: Result<Res, E>) -> Result<Res, E> {
        (self.make)(failed)
    }
}

impl<Res, E, F> Answer<Res, E> for OnError<F>
where
    F: FnOnce(E) -> Res,
{
    fn takes(&self, failed: Result<&Res, &E>) -> bool {
        failed.is_err()
    }

    fn answer(self, failed: Result<Res, E>) -> Result<Res, E> {
        failed.or_else(|error| Ok((self.make)(error)))
    }
}

// Closures have no `Debug`, and so the functions are left out.
impl<F> fmt::Debug for Function<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Function").finish_non_exhaustive()
    }
}

impl<F> fmt::Debug for OnError<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnError").finish_non_exhaustive()
    }
}
