//! The field `Forwarded` of RFC 7239.

use super::{
    ClientKey, Head, Identify,
    address::{Ipv6Prefix, address},
    hops::written_by,
};
use http::header::FORWARDED;
use mainstay_core::InvalidConfig;

/// Tells clients apart by the address in `Forwarded` (RFC 7239) that one's own proxies have written.
///
/// As with [`ForwardedFor`](super::ForwardedFor), the number of one's own proxies has to be said, the server must not be
/// reachable around them, and the element that counts is that many places from the right. Of it the parameter `for` is read:
/// `for=203.0.113.9`, `for="[2001:db8::1]:4711"`. Where it is missing, there twice, `unknown` or an identifier that hides the
/// address (`_x7Gk`), the client cannot be told.
///
/// The list is taken apart from its end, so an open quote in what the client has written hides nothing of what a proxy has
/// added.
///
/// ```
/// use http::Request;
/// use mainstay_rate_limit::http::{ClientKey, Forwarded, Head, Identify};
///
/// let request = Request::get("/")
///     .header("forwarded", r#"for=6.6.6.6;by="open"#)
///     .header("forwarded", r#"for="[2001:db8::1]:4711";proto=https;host="shop.example""#)
///     .body(())?;
///
/// let Some(ClientKey::Network(client)) = Forwarded::trusted(1).identify(Head::from(&request)) else { unreachable!() };
/// assert_eq!(client.to_string(), "2001:db8::/64");
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Forwarded {
    hops: usize,
    ipv6_prefix: Ipv6Prefix,
}

impl Forwarded {
    /// Believes the last `hops` elements: the number of one's own proxies in front of this server, each of which adds one.
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

impl Identify for Forwarded {
    fn identify<'a>(&self, head: Head<'a>) -> Option<ClientKey<'a>> {
        let lines = head.headers.get_all(FORWARDED).iter();
        let element = written_by(self.hops, lines, cut_last)?;
        Some(self.ipv6_prefix.key(address(node(element)?)?))
    }
}

/// Cuts at the last comma outside of quotes. What a proxy has written ends well, so the last quote closes.
fn cut_last(list: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    let mut end = list.len();
    loop {
        match list[..end].iter().rposition(|byte| matches!(byte, b',' | b'"')) {
            None => return Some((list, None)),
            Some(comma) if list[comma] == b',' => return Some((&list[comma + 1..], Some(&list[..comma]))),
            Some(closing) => end = opening(&list[..closing])?,
        }
    }
}

/// The quote that opens what ends here: the last without a backslash before it, since the quotes of the content have one.
fn opening(quoted: &[u8]) -> Option<usize> {
    let mut end = quoted.len();
    loop {
        end = quoted[..end].iter().rposition(|byte| *byte == b'"')?;
        if !quoted[..end].ends_with(b"\\") {
            return Some(end);
        }
    }
}

/// The value of the one parameter `for`.
fn node(element: &[u8]) -> Option<&[u8]> {
    let mut node = None;
    let mut rest = Some(element);
    while let Some(parameters) = rest {
        let (parameter, after) = cut_first(parameters)?;
        if let Some(value) = value_of_for(parameter)
            && node.replace(value).is_some()
        {
            return None;
        }
        rest = after;
    }
    unquoted(node?)
}

/// Cuts at the first semicolon outside of quotes.
fn cut_first(parameters: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    let mut start = 0;
    loop {
        match parameters[start..].iter().position(|byte| matches!(byte, b';' | b'"')) {
            None => return Some((parameters, None)),
            Some(at) if parameters[start + at] == b';' => {
                return Some((&parameters[..start + at], Some(&parameters[start + at + 1..])));
            }
            Some(at) => start += at + 1 + after_closing(&parameters[start + at + 1..])?,
        }
    }
}

/// Where what follows an opening quote goes on after the closing one.
fn after_closing(quoted: &[u8]) -> Option<usize> {
    let mut escaped = false;
    let closing = quoted.iter().position(|byte| {
        let closes = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        closes
    });
    Some(closing? + 1)
}

fn value_of_for(parameter: &[u8]) -> Option<&[u8]> {
    let equals = parameter.iter().position(|byte| *byte == b'=')?;
    let name = parameter[..equals].trim_ascii();
    name.eq_ignore_ascii_case(b"for").then(|| parameter[equals + 1..].trim_ascii())
}

/// Without its quotes. No address needs an escape within them, and what has one is not read.
fn unquoted(value: &[u8]) -> Option<&[u8]> {
    match value.strip_prefix(b"\"") {
        Some(quoted) => quoted.strip_suffix(b"\""),
        None => Some(value),
    }
}
