//! Clients as keys of a limiter in this process.

use super::{ClientKey, Network};
use std::{
    fmt,
    hash::{BuildHasher, RandomState},
    sync::LazyLock,
};

/// A client as the key of a [`KeyedLimiter`](crate::KeyedLimiter): a [`ClientKey`] that borrows nothing and shows nothing secret.
///
/// A quota for each client is a function of it. Text is there as a hash, to be compared and not to be read:
///
/// ```
/// use mainstay_rate_limit::{Quota, http::{ClientId, ClientKey}};
///
/// # fn main() -> Result<(), mainstay_core::InvalidConfig> {
/// let many = Quota::per_minute(10_000)?;
/// let some = Quota::per_minute(600)?;
/// let few = Quota::per_minute(60)?;
/// let partner = ClientId::from(ClientKey::Subject(b"big-partner"));
///
/// let quota_of = move |client: &ClientId| match client {
///     client if *client == partner => many,
///     ClientId::Subject(_) => some,
///     _ => few,
/// };
/// assert_eq!(quota_of(&ClientId::from(ClientKey::Subject(b"big-partner"))), many);
/// assert_eq!(quota_of(&ClientId::from(ClientKey::Subject(b"flo"))), some);
/// assert_eq!(quota_of(&ClientId::Unknown), few);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ClientId {
    /// A network, which may be a single address.
    Network(Network),
    /// A subject that authentication has found, as text.
    Subject(Digest),
    /// A subject that authentication has found, as a number.
    Number(u128),
    /// A credential as it was sent, whoever it belongs to.
    Credential(Digest),
    /// The value of a header.
    Header(Digest),
    /// Nothing is known: all such clients share one quota.
    Unknown,
}

impl From<ClientKey<'_>> for ClientId {
    fn from(client: ClientKey<'_>) -> Self {
        match client {
            ClientKey::Network(network) => Self::Network(network),
            ClientKey::Subject(text) => Self::Subject(Digest::of(text)),
            ClientKey::Number(number) => Self::Number(number),
            ClientKey::Credential(text) => Self::Credential(Digest::of(text)),
            ClientKey::Header(text) => Self::Header(Digest::of(text)),
            ClientKey::Unknown => Self::Unknown,
        }
    }
}

/// A text as 64 bits, by a secret of this process: the same text is the same digest, and nobody outside can look for two texts
/// of one digest.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest(u64);

impl Digest {
    /// The digest of a text.
    pub fn of(text: &[u8]) -> Self {
        static SECRET: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        Self(SECRET.hash_one(text))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest(..)")
    }
}
