//! How clients are told apart.

use super::ClientKey;
use http::{Extensions, HeaderMap, Method, Request, Uri};
use std::{fmt, sync::Arc};

/// All of a request but its body.
#[derive(Clone, Copy)]
pub struct Head<'a> {
    /// The method.
    pub method: &'a Method,
    /// The target.
    pub uri: &'a Uri,
    /// The fields, as the client and every proxy since has written them.
    pub headers: &'a HeaderMap,
    /// What the server and the layers further out have added.
    pub extensions: &'a Extensions,
}

impl<'a, B> From<&'a Request<B>> for Head<'a> {
    fn from(request: &'a Request<B>) -> Self {
        Self {
            method: request.method(),
            uri: request.uri(),
            headers: request.headers(),
            extensions: request.extensions(),
        }
    }
}

/// Shows no field, since some are secret.
impl fmt::Debug for Head<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Head").field("method", self.method).finish_non_exhaustive()
    }
}

/// Tells clients apart by their requests.
///
/// What is shipped looks at
///
/// - [`Peer`](super::Peer): the other end of the connection, the one thing that needs no trust;
/// - [`ForwardedFor`](super::ForwardedFor) and [`Forwarded`](super::Forwarded): what proxies say about it, as many as are
///   declared as one's own;
/// - [`Subject`](super::Subject): what authentication has found;
/// - [`Bearer`](super::Bearer) and [`Header`](super::Header): what the client says, whoever that is.
///
/// They are combined by [`or_else`](Self::or_else), and [`identify_fn`] takes a closure. A request that nothing is known of
/// belongs to [`ClientKey::Unknown`], which is one client with a quota like any other. So nobody gains by being unknown, and a
/// server whose identification is wrong is noticed: all its clients share one quota.
///
/// ```
/// use http::Request;
/// use mainstay_rate_limit::http::{Bearer, ClientKey, ForwardedFor, Head, Identify, Peer};
///
/// // By credential, else by address, behind one proxy of one's own.
/// let identify = Bearer.or_else(ForwardedFor::trusted(1)).or_else(Peer::new());
///
/// let request = Request::get("/")
///     .header("x-forwarded-for", "198.51.100.1, 203.0.113.9")
///     .body(())?;
/// let Some(ClientKey::Network(network)) = identify.identify(Head::from(&request)) else { unreachable!() };
/// assert_eq!(network.to_string(), "203.0.113.9/32", "what stands further left the client may have made up");
/// # Ok::<(), http::Error>(())
/// ```
pub trait Identify {
    /// What the client is known by; `None` if this cannot tell.
    fn identify<'a>(&self, head: Head<'a>) -> Option<ClientKey<'a>>;

    /// Asks `other` if this cannot tell.
    fn or_else<I: Identify>(self, other: I) -> OrElse<Self, I>
    where
        Self: Sized,
    {
        OrElse { first: self, second: other }
    }
}

impl<I: Identify + ?Sized> Identify for Arc<I> {
    fn identify<'a>(&self, head: Head<'a>) -> Option<ClientKey<'a>> {
        (**self).identify(head)
    }
}

/// Two ways to tell clients apart, the second where the first cannot; see [`Identify::or_else`].
#[derive(Clone, Copy, Debug)]
pub struct OrElse<A, B> {
    first: A,
    second: B,
}

impl<A: Identify, B: Identify> Identify for OrElse<A, B> {
    fn identify<'a>(&self, head: Head<'a>) -> Option<ClientKey<'a>> {
        self.first.identify(head).or_else(|| self.second.identify(head))
    }
}

/// A closure that tells clients apart; see [`identify_fn`].
#[derive(Clone, Copy)]
pub struct IdentifyFn<F>(F);

/// Tells clients apart by a closure.
///
/// ```
/// use http::Request;
/// use mainstay_rate_limit::http::{ClientKey, Head, Identify, identify_fn};
///
/// // A quota for each version of the interface, whoever asks.
/// let identify = identify_fn(|head| head.uri.path().split('/').nth(1).map(|version| ClientKey::Subject(version.as_bytes())));
///
/// let request = Request::get("/v1/orders").body(())?;
/// assert_eq!(identify.identify(Head::from(&request)), Some(ClientKey::Subject(b"v1")));
/// # Ok::<(), http::Error>(())
/// ```
pub const fn identify_fn<F>(identify: F) -> IdentifyFn<F>
where
    F: for<'a> Fn(Head<'a>) -> Option<ClientKey<'a>>,
{
    IdentifyFn(identify)
}

impl<F> Identify for IdentifyFn<F>
where
    F: for<'a> Fn(Head<'a>) -> Option<ClientKey<'a>>,
{
    fn identify<'a>(&self, head: Head<'a>) -> Option<ClientKey<'a>> {
        (self.0)(head)
    }
}

impl<F> fmt::Debug for IdentifyFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdentifyFn(..)")
    }
}
