//! The field `X-Forwarded-For`.

use super::{
    ClientKey, Head, Identify,
    address::{Ipv6Prefix, address},
    hops::written_by,
};
use http::HeaderName;
use mainstay_core::InvalidConfig;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Tells clients apart by the address in `X-Forwarded-For` that one's own proxies have written.
///
/// Each proxy adds the address of its peer at the end of the list; all that stands further left the client may have made up.
/// So it has to be said how many proxies there are of one's own, and the address that counts is that many places from the
/// right, over all lines of the field in their order. The leftmost never counts because it is the leftmost.
///
/// | proxies | `X-Forwarded-For` | client |
/// | --- | --- | --- |
/// | 1 | `made-up, 203.0.113.9` | 203.0.113.9 |
/// | 2 | `made-up, 203.0.113.9, 10.0.0.1` | 203.0.113.9 |
/// | 2 | `203.0.113.9` | cannot be told: someone has come around a proxy |
/// | 1 | `203.0.113.9, unknown` | cannot be told |
/// | 0 | anything | cannot be told |
///
/// If the number is too high, clients choose their own address, and with it whose quota they use; so they do if they can reach
/// the server around the proxies. If it is too low, all clients of a proxy share one quota.
///
/// An address may have a port, which does not count, and an IPv6 address brackets. Of IPv6 the first 64 bits count; see
/// [`Network`](super::Network).
///
/// ```
/// use http::Request;
/// use mainstay_rate_limit::http::{ClientKey, ForwardedFor, Head, Identify};
///
/// let request = Request::get("/").header("x-forwarded-for", "6.6.6.6, 2001:db8::1").body(())?;
///
/// let Some(ClientKey::Network(client)) = ForwardedFor::trusted(1).identify(Head::from(&request)) else { unreachable!() };
/// assert_eq!(client.to_string(), "2001:db8::/64");
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ForwardedFor {
    hops: usize,
    ipv6_prefix: Ipv6Prefix,
}

impl ForwardedFor {
    /// Believes the last `hops` entries: the number of one's own proxies in front of this server, each of which adds one.
    pub const fn trusted(hops: usize) -> Self {
        Self { hops, ipv6_prefix: Ipv6Prefix::DEFAULT }
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

impl Identify for ForwardedFor {
    fn identify<'a>(&self, head: Head<'a>) -> Option<ClientKey<'a>> {
        let lines = head.headers.get_all(X_FORWARDED_FOR).iter();
        let node = written_by(self.hops, lines, cut_last)?;
        Some(self.ipv6_prefix.key(address(node)?))
    }
}

/// An element that is empty is one all the same: what one's own proxy leaves out must not let the client's word take its place.
#[expect(clippy::unnecessary_wraps, reason = "a list with quotes may have no last element")]
fn cut_last(list: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    Some(match list.iter().rposition(|byte| *byte == b',') {
        Some(comma) => (&list[comma + 1..], Some(&list[..comma])),
        None => (list, None),
    })
}
