//! Addresses as proxies write them, and the networks that count as one client.

use super::{ClientKey, Network};
use mainstay_core::InvalidConfig;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How many bits of an IPv6 address tell clients apart.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ipv6Prefix(u8);

impl Ipv6Prefix {
    /// What a single site gets at least (RFC 6177).
    pub(super) const DEFAULT: Self = Self(64);

    pub(super) fn new(bits: u8) -> Result<Self, InvalidConfig> {
        InvalidConfig::check("ipv6_prefix", bits, 1..=128)?;
        Ok(Self(bits))
    }

    pub(super) const fn key(self, address: IpAddr) -> ClientKey<'static> {
        ClientKey::Network(Network::of(address, self.0))
    }
}

/// The address of a node: IPv4 or IPv6, the latter in brackets or bare, with or without a port.
///
/// A name such as `unknown`, and one that hides an address (`_hidden`), is none.
pub(super) fn address(node: &[u8]) -> Option<IpAddr> {
    let node = str::from_utf8(node).ok()?;
    if let Some(rest) = node.strip_prefix('[') {
        let (host, port) = rest.split_once(']')?;
        let host = host.parse::<Ipv6Addr>().ok()?;
        return (port.is_empty() || port.strip_prefix(':').is_some_and(is_port)).then_some(host.into());
    }
    match node.split_once(':') {
        Some((host, port)) if is_port(port) => Some(host.parse::<Ipv4Addr>().ok()?.into()),
        _ => node.parse().ok(),
    }
}

/// A port, or what hides one (RFC 7239, section 6).
fn is_port(port: &str) -> bool {
    match port.strip_prefix('_') {
        Some(name) => {
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        }
        None => (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit()),
    }
}
