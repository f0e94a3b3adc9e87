//! What stands for a value that a step will give.

use std::{
    fmt::{self, Debug, Formatter},
    marker::PhantomData,
};

/// Ties a handle to the saga in whose definition it was made: invariant, so that no two lifetimes are taken for one another.
pub(super) type Brand<'s> = PhantomData<fn(&'s ()) -> &'s ()>;

/// The input, or what a step will give; worth nothing outside of the definition that it was made in.
///
/// It is `Copy`, and says by its type what those who read it receive. A handle of another saga does not compile:
///
/// ```compile_fail
/// # use mainstay_saga::{Draft, Out, Saga};
/// fn outer<'s>(_: Draft<'s, ()>, n: Out<'s, u64>) -> Out<'s, u64> {
///     let _ = Saga::<(), (), u64>::define("inner", 1, |mut s, _| s.read("again", n, async |_, n| Ok(n)));
///     n
/// }
/// ```
pub struct Out<'s, T> {
    /// 0 is the input, and 1 the first step.
    pub(super) slot: usize,
    brand: Brand<'s>,
    value: PhantomData<fn() -> T>,
}

impl<T> Out<'_, T> {
    pub(super) const fn new(slot: usize) -> Self {
        Self { slot, brand: PhantomData, value: PhantomData }
    }
}

// By hand: what a handle stands for need not be `Clone`.
impl<T> Clone for Out<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Out<'_, T> {}

impl<T> Debug for Out<'_, T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Out").field(&self.slot).finish()
    }
}
