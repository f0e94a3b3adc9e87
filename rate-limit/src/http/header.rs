//! A field by its name.

use super::{ClientKey, Head, Identify};
use http::{HeaderMap, HeaderName};

/// Tells clients apart by a field of the request, such as one with an API key, or one that a gateway has set.
///
/// It is believed as it stands. A field that clients may set themselves is what was said of [`Bearer`](super::Bearer):
/// **whoever makes up values has a fresh quota with each.** One that a gateway sets is as good as the gateway, provided that it
/// removes what the client has sent, and that nobody comes around it.
///
/// A request with several lines of the field, or an empty value, cannot be told by this: which of them counts is not for the
/// client to choose.
///
/// ```
/// use http::{HeaderName, Request};
/// use mainstay_rate_limit::http::{ClientKey, Head, Header, Identify};
///
/// let by_key = Header::named(HeaderName::from_static("x-api-key"));
///
/// let request = Request::get("/").header("x-api-key", "k-3141").body(())?;
/// assert_eq!(by_key.identify(Head::from(&request)), Some(ClientKey::Header(b"k-3141")));
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Header(HeaderName);

impl Header {
    /// Reads the field of this name.
    pub const fn named(name: HeaderName) -> Self {
        Self(name)
    }
}

impl Identify for Header {
    fn identify<'a>(&self, head: Head<'a>) -> Option<ClientKey<'a>> {
        single(head.headers, &self.0).map(ClientKey::Header)
    }
}

/// The value of a field that is there once and is not empty.
pub(super) fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a [u8]> {
    let mut lines = headers.get_all(name).iter();
    let value = lines.next()?.as_bytes().trim_ascii();
    (lines.next().is_none() && !value.is_empty()).then_some(value)
}
