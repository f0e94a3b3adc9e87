//! Which requests are declared idempotent.

/// Says of a request, seen as a `T`, whether executing it twice is the same as executing it once.
///
/// [`Unmarked`], [`Marked`] and [`MarkedIf`] are what `idempotent()` and `idempotent_if(…)` of the policies put in place.
pub trait Mark<T: ?Sized> {
    /// Whether the request is declared idempotent.
    fn is_marked(&self, seen: &T) -> bool;
}

/// A [`Repeat`](crate::Repeat) that leaves it to a [`Mark`] which requests are idempotent.
///
/// It is behind `idempotent()` and `idempotent_if(…)` of the layers.
pub trait Markable {
    /// The same with another mark.
    type With<M>;

    /// Puts a mark in place of the present one.
    fn with_mark<M>(self, mark: M) -> Self::With<M>;
}

/// No request is declared idempotent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unmarked;

/// All requests are declared idempotent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Marked;

/// Those requests are idempotent for which a closure says so.
#[derive(Clone, Copy, Debug)]
pub struct MarkedIf<F>(pub F);

impl<T: ?Sized> Mark<T> for Unmarked {
    fn is_marked(&self, _seen: &T) -> bool {
        false
    }
}

impl<T: ?Sized> Mark<T> for Marked {
    fn is_marked(&self, _seen: &T) -> bool {
        true
    }
}

impl<T: ?Sized, F: Fn(&T) -> bool> Mark<T> for MarkedIf<F> {
    fn is_marked(&self, seen: &T) -> bool {
        (self.0)(seen)
    }
}
