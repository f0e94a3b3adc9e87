//! Which auto traits a type has.

use std::{fmt, marker::PhantomData};

/// `Send`, `Sync` and `Unpin`, each or not.
///
/// ```
/// use mainstay_conformance::AutoTraits;
///
/// assert_eq!(AutoTraits::SEND.sync().unpin().to_string(), "Send + Sync + Unpin");
/// assert_eq!(AutoTraits::NONE.to_string(), "none");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AutoTraits {
    send: bool,
    sync: bool,
    unpin: bool,
}

impl AutoTraits {
    /// None of them.
    pub const NONE: Self = Self { send: false, sync: false, unpin: false };
    /// `Send` alone.
    pub const SEND: Self = Self { send: true, ..Self::NONE };

    /// And `Sync`.
    #[must_use]
    pub const fn sync(self) -> Self {
        Self { sync: true, ..self }
    }

    /// And `Unpin`.
    #[must_use]
    pub const fn unpin(self) -> Self {
        Self { unpin: true, ..self }
    }

    #[doc(hidden)]
    pub const fn found(send: bool, sync: bool, unpin: bool) -> Self {
        Self { send, sync, unpin }
    }

    /// Whether it has all that `other` has.
    pub(crate) const fn cover(self, other: Self) -> bool {
        (self.send || !other.send) && (self.sync || !other.sync) && (self.unpin || !other.unpin)
    }
}

impl fmt::Display for AutoTraits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [(self.send, "Send"), (self.sync, "Sync"), (self.unpin, "Unpin")];
        let names: Vec<&str> = names.into_iter().filter_map(|(has, name)| has.then_some(name)).collect();
        f.write_str(if names.is_empty() { "none".into() } else { names.join(" + ") }.as_str())
    }
}

/// Asks the compiler about a type, without asking the type for anything.
#[doc(hidden)]
#[derive(Debug)]
pub struct Ask<T: ?Sized>(PhantomData<fn() -> Box<T>>);

impl<T: ?Sized> Ask<T> {
    pub(crate) const fn new() -> Self {
        Self(PhantomData)
    }
}

/// Found first, where the type has the trait.
#[doc(hidden)]
pub mod yes {
    use super::Ask;

    macro_rules! has {
        ($($ask:ident $method:ident $auto:path;)*) => { $(
            pub trait $ask {
                fn $method(&self) -> bool {
                    true
                }
            }
            impl<T: ?Sized + $auto> $ask for Ask<T> {}
        )* };
    }
    has! { IsSend is_send Send; IsSync is_sync Sync; IsUnpin is_unpin Unpin; }
}

/// Found one reference later, for every type.
#[doc(hidden)]
pub mod no {
    use super::Ask;

    macro_rules! lacks {
        ($($ask:ident $method:ident;)*) => { $(
            pub trait $ask {
                fn $method(&self) -> bool {
                    false
                }
            }
            impl<T: ?Sized> $ask for &Ask<T> {}
        )* };
    }
    lacks! { NotSend is_send; NotSync is_sync; NotUnpin is_unpin; }
}

/// What a type, given by an [`Ask`], has. The type must be known here: in a generic function everything is absent.
#[doc(hidden)]
#[macro_export]
macro_rules! __auto_traits {
    ($ask:expr) => {{
        #[allow(unused_imports, reason = "only one of each pair is used")]
        use $crate::__private::{no::*, yes::*};
        let ask = $ask;
        $crate::AutoTraits::found((&ask).is_send(), (&ask).is_sync(), (&ask).is_unpin())
    }};
}
