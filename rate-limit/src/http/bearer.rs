//! The credential in `Authorization`.

use super::{ClientKey, Head, Identify, header::single};
use http::header::AUTHORIZATION;

const SCHEME: &[u8] = b"Bearer";

/// Tells clients apart by their credential: by all of what follows `Bearer` in `Authorization` (RFC 6750).
///
/// Nothing in it is read, such as the subject that a token claims. Whoever writes the name of somebody else into a token that
/// is not verified yet would use up that one's quota; without the whole credential he cannot. Two credentials of one user are
/// two clients. Where authentication comes first, [`Subject`](super::Subject) has neither of these limits.
///
/// **Whoever makes up credentials has a fresh quota with each.** In front of the authentication this bounds what a client can
/// do with its own credential, and no more: what may be asked without a valid one needs a limit by address as well, as a layer
/// of its own further out.
///
/// The scheme is compared without regard to case. A request with several lines of the field, another scheme or an empty
/// credential cannot be told by this.
///
/// ```
/// use http::Request;
/// use mainstay_rate_limit::http::{Bearer, ClientKey, Head, Identify};
///
/// let request = Request::get("/").header("authorization", "Bearer 2YotnFZFEjr1zCsicMWpAA").body(())?;
/// assert_eq!(Bearer.identify(Head::from(&request)), Some(ClientKey::Credential(b"2YotnFZFEjr1zCsicMWpAA")));
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Bearer;

impl Identify for Bearer {
    fn identify<'a>(&self, head: Head<'a>) -> Option<ClientKey<'a>> {
        let (scheme, rest) = single(head.headers, &AUTHORIZATION)?.split_at_checked(SCHEME.len())?;
        let credential = rest.strip_prefix(b" ")?.trim_ascii();
        (scheme.eq_ignore_ascii_case(SCHEME) && !credential.is_empty()).then_some(ClientKey::Credential(credential))
    }
}
