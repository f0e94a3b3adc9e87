//! What a client is known by.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// What a client is known by: the key of its quota.
///
/// It borrows from the request, so making one allocates nothing; a keyed limiter keeps no key. Keys of different variants
/// are different clients, also with the same content.
///
/// `Debug` shows networks and numbers, and neither credentials nor other text of a request.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ClientKey<'a> {
    /// A network, which may be a single address.
    Network(Network),
    /// A subject that authentication has found, as text.
    Subject(&'a [u8]),
    /// A subject that authentication has found, as a number.
    Number(u128),
    /// A credential as it was sent, whoever it belongs to.
    Credential(&'a [u8]),
    /// The value of a header.
    Header(&'a [u8]),
    /// Nothing is known: all such clients share one quota.
    Unknown,
}

impl fmt::Debug for ClientKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(network) => f.debug_tuple("Network").field(network).finish(),
            Self::Number(number) => f.debug_tuple("Number").field(number).finish(),
            Self::Subject(_) => f.write_str("Subject(..)"),
            Self::Credential(_) => f.write_str("Credential(..)"),
            Self::Header(_) => f.write_str("Header(..)"),
            Self::Unknown => f.write_str("Unknown"),
        }
    }
}

/// The addresses that count as one client: a single IPv4 address, or those with the same first bits of IPv6.
///
/// Whoever has IPv6 has 2⁶⁴ addresses or more, so a limit by single ones would be none.
///
/// An IPv6 address that stands for an IPv4 one is that one: mapped (`::ffff:0:0/96`), as sockets for both families have it,
/// and translated with the well-known prefix (`64:ff9b::/96`, RFC 6052). Each is otherwise one single network of 64 bits,
/// with everybody in it.
///
/// ```
/// use mainstay_rate_limit::http::Network;
///
/// let network = |address: &str| Network::of(address.parse().unwrap(), 64);
///
/// assert_eq!(network("2001:db8::1"), network("2001:db8::2:3:4:5"));
/// assert_ne!(network("2001:db8::1"), network("2001:db8:0:1::1"));
/// assert_eq!(network("::ffff:192.0.2.7"), network("192.0.2.7"));
/// assert_eq!(network("2001:db8::1").to_string(), "2001:db8::/64");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network {
    first: IpAddr,
    bits: u8,
}

impl Network {
    /// The network of an address; of an IPv6 address the first `ipv6_prefix` bits count, all if it is 128 or more.
    pub const fn of(address: IpAddr, ipv6_prefix: u8) -> Self {
        match address {
            IpAddr::V4(address) => Self::single(address),
            IpAddr::V6(address) => match embedded(address) {
                Some(address) => Self::single(address),
                None => Self::masked(address, ipv6_prefix),
            },
        }
    }

    const fn single(address: Ipv4Addr) -> Self {
        Self { first: IpAddr::V4(address), bits: 32 }
    }

    const fn masked(address: Ipv6Addr, prefix: u8) -> Self {
        let bits = if prefix < 128 { prefix } else { 128 };
        // A shift by all 128 bits is none that `<<` knows.
        let mask = match u128::MAX.checked_shl(128 - bits as u32) {
            Some(mask) => mask,
            None => 0,
        };
        Self { first: IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask)), bits }
    }

    /// Its first address.
    pub const fn address(&self) -> IpAddr {
        self.first
    }

    /// How many bits its addresses share: 32 for IPv4.
    pub const fn prefix(&self) -> u8 {
        self.bits
    }
}

/// The IPv4 address that this one stands for.
const fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    match address.segments() {
        [0, 0, 0, 0, 0, 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => {
            let [.., a, b, c, d] = address.octets();
            Some(Ipv4Addr::new(a, b, c, d))
        }
        _ => None,
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.bits)
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
