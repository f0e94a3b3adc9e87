//! How the key of a request is found.

use std::{fmt, marker::PhantomData};

/// Finds the key of a request. Implemented for functions by [`ByRef`] and [`ByValue`].
pub trait KeyOf<Req> {
    /// The key.
    type Key: ?Sized;

    /// Hands the key of a request to `act`, once.
    fn with_key<R>(&self, request: &Req, act: impl FnOnce(&Self::Key) -> R) -> R;
}

/// The key is a part of the request.
pub struct ByRef<F, Q: ?Sized> {
    key: F,
    _of: PhantomData<fn(&Q)>,
}

/// The key is computed from the request.
#[derive(Clone, Copy)]
pub struct ByValue<F> {
    key: F,
}

impl<F, Q: ?Sized> ByRef<F, Q> {
    /// A function from a request to the part that is its key.
    pub const fn new<Req>(key: F) -> Self
    where
        // So that a closure is one for all lifetimes.
        F: Fn(&Req) -> &Q,
    {
        Self { key, _of: PhantomData }
    }
}

impl<F> ByValue<F> {
    /// A function from a request to its key.
    pub const fn new<Req, K>(key: F) -> Self
    where
        // As above.
        F: Fn(&Req) -> K,
    {
        Self { key }
    }
}

impl<F, Q: ?Sized, Req> KeyOf<Req> for ByRef<F, Q>
where
    F: Fn(&Req) -> &Q,
{
    type Key = Q;

    #[inline]
    fn with_key<R>(&self, request: &Req, act: impl FnOnce(&Q) -> R) -> R {
        act((self.key)(request))
    }
}

impl<F, K, Req> KeyOf<Req> for ByValue<F>
where
    F: Fn(&Req) -> K,
{
    type Key = K;

    #[inline]
    fn with_key<R>(&self, request: &Req, act: impl FnOnce(&K) -> R) -> R {
        act(&(self.key)(request))
    }
}

impl<F: Clone, Q: ?Sized> Clone for ByRef<F, Q> {
    fn clone(&self) -> Self {
        Self { key: self.key.clone(), _of: PhantomData }
    }
}

impl<F: Copy, Q: ?Sized> Copy for ByRef<F, Q> {}

impl<F, Q: ?Sized> fmt::Debug for ByRef<F, Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByRef").finish_non_exhaustive()
    }
}

impl<F> fmt::Debug for ByValue<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByValue").finish_non_exhaustive()
    }
}
