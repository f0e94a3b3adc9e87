//! What a step reads.

use super::{
    Out,
    code::{Source, Table, Unreadable},
};
use crate::Data;
use std::slice;

/// What a step can read: a handle, a tuple of up to eight, a `&[Out]` of equal types, or `()`.
///
/// What is read is waited for. It is decoded anew for each attempt from the bytes that the journal keeps, so what a step sees is the
/// same before and after a crash. Nobody else can implement this.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not something that a step can read",
    label = "not a handle",
    note = "a step reads handles: one `Out`, a tuple of up to eight, a slice of them, or `()`"
)]
pub trait Inputs<'s>: Copy {
    /// What the step receives.
    type Value: Send + 'static;

    // No type of these signatures can be named elsewhere, so this trait cannot be implemented there.

    #[doc(hidden)]
    fn slots(self) -> Slots;

    #[doc(hidden)]
    fn load(values: &mut Values<'_>) -> Result<Self::Value, Unreadable>;
}

/// The places of what is read, in order: 0 is the input, and 1 what the first step gives.
#[derive(Debug)]
pub struct Slots(pub(super) Vec<usize>);

/// How the value of [`Inputs`] is read, in types that do not mention the lifetime of the handles.
pub(super) type Load<V> = fn(&mut Values<'_>) -> Result<V, Unreadable>;

/// The values that a step reads, one after the other.
#[derive(Debug)]
pub struct Values<'a> {
    table: &'a Table,
    sources: slice::Iter<'a, Source>,
}

impl<'a> Values<'a> {
    pub(super) fn new(table: &'a Table, sources: &'a [Source]) -> Self {
        Self { table, sources: sources.iter() }
    }

    fn next<T: Data>(&mut self) -> Result<Option<T>, Unreadable> {
        self.sources.next().map(|source| source.read(self.table)).transpose()
    }

    fn take<T: Data>(&mut self) -> Result<T, Unreadable> {
        // There are as many as there are handles: both come from the same inputs.
        self.next()?.ok_or_else(Unreadable::nothing)
    }
}

impl Inputs<'_> for () {
    type Value = ();

    fn slots(self) -> Slots {
        Slots(Vec::new())
    }

    fn load(_: &mut Values<'_>) -> Result<(), Unreadable> {
        Ok(())
    }
}

impl<'s, T: Data> Inputs<'s> for Out<'s, T> {
    type Value = T;

    fn slots(self) -> Slots {
        Slots(vec![self.slot])
    }

    fn load(values: &mut Values<'_>) -> Result<T, Unreadable> {
        values.take()
    }
}

impl<'s, T: Data> Inputs<'s> for &[Out<'s, T>] {
    type Value = Vec<T>;

    fn slots(self) -> Slots {
        Slots(self.iter().map(|out| out.slot).collect())
    }

    fn load(values: &mut Values<'_>) -> Result<Vec<T>, Unreadable> {
        let mut all = Vec::with_capacity(values.sources.len());
        while let Some(value) = values.next()? {
            all.push(value);
        }
        Ok(all)
    }
}

macro_rules! tuples {
    ($(($($T:ident $place:tt),+))+) => {$(
        impl<'s, $($T: Data),+> Inputs<'s> for ($(Out<'s, $T>,)+) {
            type Value = ($($T,)+);

            fn slots(self) -> Slots {
                Slots(vec![$(self.$place.slot),+])
            }

            fn load(values: &mut Values<'_>) -> Result<Self::Value, Unreadable> {
                Ok(($(values.take::<$T>()?,)+))
            }
        }
    )+};
}

tuples! {
    (T1 0)
    (T1 0, T2 1)
    (T1 0, T2 1, T3 2)
    (T1 0, T2 1, T3 2, T4 3)
    (T1 0, T2 1, T3 2, T4 3, T5 4)
    (T1 0, T2 1, T3 2, T4 3, T5 4, T6 5)
    (T1 0, T2 1, T3 2, T4 3, T5 4, T6 5, T7 6)
    (T1 0, T2 1, T3 2, T4 3, T5 4, T6 5, T7 6, T8 7)
}
