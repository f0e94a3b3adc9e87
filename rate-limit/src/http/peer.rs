//! The other end of the connection.

use super::{ClientKey, Head, Identify, address::Ipv6Prefix};
use mainstay_core::InvalidConfig;
use std::{fmt, net::SocketAddr};

/// Tells clients apart by the address at the other end of the connection.
///
/// It needs no trust: a client that gets answers has that address. Behind a proxy it is the proxy's, and all clients are one;
/// see [`ForwardedFor`](super::ForwardedFor).
///
/// The address has to be among the extensions of the request, where the server puts it: as a [`SocketAddr`] for
/// [`new`](Self::new), or in any other type for [`of`](Self::of), such as axum's `ConnectInfo` or tonic's `TcpConnectInfo`.
/// Without it the client cannot be told. Of IPv6 the first 64 bits count; see [`Network`](super::Network).
///
/// ```
/// use axum::extract::ConnectInfo;
/// use http::Request;
/// use mainstay_rate_limit::http::{ClientKey, Head, Identify, Peer};
/// use std::net::SocketAddr;
///
/// let peer = Peer::of(|info: &ConnectInfo<SocketAddr>| Some(info.0));
///
/// let address: SocketAddr = "203.0.113.9:61234".parse().unwrap();
/// let request = Request::get("/").extension(ConnectInfo(address)).body(())?;
/// let Some(ClientKey::Network(client)) = peer.identify(Head::from(&request)) else { unreachable!() };
/// assert_eq!(client.to_string(), "203.0.113.9/32", "the port does not count");
/// # Ok::<(), http::Error>(())
/// ```
pub struct Peer<T = SocketAddr> {
    address: fn(&T) -> Option<SocketAddr>,
    ipv6_prefix: Ipv6Prefix,
}

impl Peer {
    /// Reads the address from an extension that is a [`SocketAddr`].
    pub fn new() -> Self {
        Self::of(|address| Some(*address))
    }
}

impl<T> Peer<T> {
    /// Reads the address from an extension of another type.
    pub const fn of(address: fn(&T) -> Option<SocketAddr>) -> Self {
        Self { address, ipv6_prefix: Ipv6Prefix::DEFAULT }
    }

    /// How many bits of an IPv6 address count. Default: 64.
    ///
    /// # Errors
    ///
    /// Unless it is 1 to 128.
    pub fn ipv6_prefix(mut self, bits: u8) -> Result<Self, InvalidConfig> {
        self.ipv6_prefix = Ipv6Prefix::new(bits)?;
        Ok(self)
    }
}

impl<T: Send + Sync + 'static> Identify for Peer<T> {
    fn identify<'a>(&self, head: Head<'a>) -> Option<ClientKey<'a>> {
        let address = (self.address)(head.extensions.get()?)?;
        Some(self.ipv6_prefix.key(address.ip()))
    }
}

impl Default for Peer {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Clone for Peer<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Peer<T> {}

impl<T> fmt::Debug for Peer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer").field("ipv6_prefix", &self.ipv6_prefix).finish_non_exhaustive()
    }
}
