//! How the key of a request is found.

use super::{Circuits, KeyedCircuit};
use crate::clock::Clock;
use std::{borrow::Borrow, fmt, hash::Hash, marker::PhantomData};

/// Finds the circuit of a request.
///
/// Implemented for functions by [`ByRef`] and [`ByValue`], and with the feature `http` by `ByAuthority`.
pub trait KeyOf<Req> {
    /// The key that is kept.
    type Key;

    /// The circuit of a request; `None` if it is to be sent unguarded.
    fn circuit(&self, request: &Req, circuits: &Circuits<Self::Key>) -> Option<KeyedCircuit<Self::Key>>;
}

/// The key is a part of the request, and is copied only when it is new.
pub struct ByRef<F, Q: ?Sized> {
    key: F,
    _of: PhantomData<fn(&Q)>,
}

/// The key is computed from the request: a number, or something else that is cheap to make.
#[derive(Clone, Copy)]
pub struct ByValue<F> {
    key: F,
}

/// The key is the host and port of the request's URI, whatever the case of its letters. A request without them, or with more
/// than 255 bytes of them, goes unguarded.
#[cfg(feature = "http")]
#[derive(Clone, Copy, Debug, Default)]
pub struct ByAuthority;

impl<F, Q: ?Sized> ByRef<F, Q> {
    /// A function from a request to the part that is its key.
    pub const fn new(key: F) -> Self {
        Self { key, _of: PhantomData }
    }
}

impl<F> ByValue<F> {
    /// A function from a request to its key.
    pub const fn new(key: F) -> Self {
        Self { key }
    }
}

impl<F, Q, Req> KeyOf<Req> for ByRef<F, Q>
where
    F: Fn(&Req) -> &Q,
    Q: Hash + Eq + ToOwned + ?Sized,
    Q::Owned: Borrow<Q>,
{
    type Key = Q::Owned;

    #[inline]
    fn circuit(&self, request: &Req, circuits: &Circuits<Self::Key>) -> Option<KeyedCircuit<Self::Key>> {
        circuits.get_at((self.key)(request), Clock)
    }
}

impl<F, K, Req> KeyOf<Req> for ByValue<F>
where
    F: Fn(&Req) -> K,
    K: Hash + Eq + Clone,
{
    type Key = K;

    #[inline]
    fn circuit(&self, request: &Req, circuits: &Circuits<K>) -> Option<KeyedCircuit<K>> {
        circuits.get_at(&(self.key)(request), Clock)
    }
}

#[cfg(feature = "http")]
impl<B> KeyOf<http::Request<B>> for ByAuthority {
    type Key = http::uri::Authority;

    #[inline]
    fn circuit(&self, request: &http::Request<B>, circuits: &Circuits<Self::Key>) -> Option<KeyedCircuit<Self::Key>> {
        /// The longest host name of the DNS.
        const LONGEST: usize = 255;
        let Some(authority) = request.uri().authority().filter(|authority| authority.as_str().len() <= LONGEST) else {
            circuits.count_unguarded();
            return None;
        };
        // Of a URI that was parsed, an authority keeps the whole text: the key has its own.
        let own = || authority.as_str().parse().unwrap_or_else(|_| authority.clone());
        circuits.get_or_make(authority, own, Clock)
    }
}

impl<F: Clone, Q: ?Sized> Clone for ByRef<F, Q> {
    fn clone(&self) -> Self {
        Self::new(self.key.clone())
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
