//! What authentication has found.

use super::{ClientKey, Head, Identify};
use std::fmt;

/// Tells clients apart by what authentication has found: by an extension of the request that a layer further out has set.
///
/// It is the one to take where there is authentication, since nobody can use up a quota under the name of somebody else. The
/// layer of the limit then has to stand behind that of the authentication.
///
/// ```
/// use http::Request;
/// use mainstay_rate_limit::http::{ClientKey, Head, Identify, Subject};
///
/// #[derive(Clone)]
/// struct User {
///     id: u64,
/// }
///
/// let subject = Subject::of(|user: &User| ClientKey::Number(user.id.into()));
///
/// let request = Request::get("/").extension(User { id: 7 }).body(())?;
/// assert_eq!(subject.identify(Head::from(&request)), Some(ClientKey::Number(7)));
/// assert_eq!(subject.identify(Head::from(&Request::new(()))), None);
/// # Ok::<(), http::Error>(())
/// ```
pub struct Subject<T> {
    key: for<'a> fn(&'a T) -> ClientKey<'a>,
}

impl<T> Subject<T> {
    /// Takes the key from an extension of type `T`.
    pub const fn of(key: for<'a> fn(&'a T) -> ClientKey<'a>) -> Self {
        Self { key }
    }
}

impl<T: Send + Sync + 'static> Identify for Subject<T> {
    fn identify<'a>(&self, head: Head<'a>) -> Option<ClientKey<'a>> {
        head.extensions.get().map(self.key)
    }
}

impl<T> Clone for Subject<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Subject<T> {}

impl<T> fmt::Debug for Subject<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Subject(..)")
    }
}
