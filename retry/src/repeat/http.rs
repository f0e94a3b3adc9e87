//! HTTP requests: which are idempotent, and how their bodies are sent again.

use super::{
    Mark, Markable, Marked, MarkedIf, Repeat, Unmarked,
    replay::{ReplayBody, Replays},
};
use http::{HeaderValue, Method, Request, request::Parts};
use http_body::Body;
use mainstay_core::{Attempt, Deadline, Idempotent, Meta};

/// Sends HTTP requests again.
///
/// A request is idempotent if its method is (`GET`, `HEAD`, `OPTIONS`, `TRACE`, `PUT`, `DELETE`; RFC 9110, 9.2.2), if it has
/// a header `Idempotency-Key` that is not empty, if [`Idempotent`] is among its extensions, or if
/// [`idempotent_if`](Self::idempotent_if) says so. Each attempt carries its [`Attempt`] in the extensions; a [`Deadline`]
/// is read from them. A key alone does not let a [`Hedge`](crate::Hedge) send a request twice at the same time.
///
/// The inner service gets the body as a [`ReplayBody`]. What is read of it is kept, up to the [cap](Self::cap), and a later
/// attempt sends that and then the rest. The request is not sent again
///
/// - once more than the cap was read: a body that nobody has read yet can be of any size;
/// - if the body failed;
/// - while an earlier attempt has its body and has not come to its end: a service may answer early and go on reading
///   (RFC 9113, 8.1).
///
/// # Cost
///
/// The first attempt of a request with headers allocates five times, and once more if there is a body; a body that is empty
/// needs no memory. Two of them copy the headers: the inner service takes its request for good, and may fail when it is gone.
/// Their values and the URI are shared and not copied; each that was not shared before takes one allocation more. Three make
/// a place for the [`Attempt`]: the extensions, their table, and the number in it. The first attempt carries its number too,
/// or a service would take that of a retry further out for the number of this one. Extensions that the request has already
/// are copied. What is read of a body takes a list, and a copy of each frame that is shorter than 1 KiB.
///
/// # Examples
///
/// ```
/// use http::Request;
/// use http_body_util::Full;
/// use mainstay_core::{Attempt, Meta};
/// use mainstay_retry::{HttpRepeat, Repeat};
///
/// let order = Request::post("/orders").body(Full::new("one flat white".as_bytes()))?;
///
/// let (first, kept) = HttpRepeat::new().first(order);
/// let mut kept = kept.expect("every request may turn out to be sent again");
/// assert!(!HttpRepeat::new().is_idempotent(&kept), "nobody wants two of them by mistake");
///
/// drop(first);
/// let second = HttpRepeat::new().again(&mut kept, Attempt::FIRST.next()).expect("its body is free again");
/// assert_eq!(second.meta(), Some(Attempt::FIRST.next()));
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct HttpRepeat<M = Unmarked> {
    cap: usize,
    mark: M,
}

/// What is kept of an HTTP request for another attempt.
#[derive(Debug)]
pub struct KeptRequest<B> {
    head: Parts,
    body: Replays<B>,
}

impl HttpRepeat {
    /// Keeps up to 64 KiB of each body.
    pub const fn new() -> Self {
        Self { cap: 64 * 1024, mark: Unmarked }
    }
}

impl Default for HttpRepeat {
    fn default() -> Self {
        Self::new()
    }
}

impl<M> HttpRepeat<M> {
    /// How many bytes of a body are kept at most, 64 KiB unless said; each frame but the first counts as 64 bytes more than it
    /// has. With zero, a body of which something was read is not sent again.
    #[must_use]
    pub fn cap(self, bytes: usize) -> Self {
        Self { cap: bytes, ..self }
    }

    /// Declares all requests idempotent.
    pub fn idempotent(self) -> HttpRepeat<Marked> {
        self.with_mark(Marked)
    }

    /// Declares those requests idempotent for which `is_idempotent` says so, beside those that are so anyway.
    pub fn idempotent_if<F: Fn(&Parts) -> bool>(self, is_idempotent: F) -> HttpRepeat<MarkedIf<F>> {
        self.with_mark(MarkedIf(is_idempotent))
    }
}

impl<M> Markable for HttpRepeat<M> {
    type With<N> = HttpRepeat<N>;

    fn with_mark<N>(self, mark: N) -> HttpRepeat<N> {
        HttpRepeat { cap: self.cap, mark }
    }
}

impl<B, M> Repeat<Request<B>> for HttpRepeat<M>
where
    B: Body + Unpin,
    M: Mark<Parts>,
{
    type Request = Request<ReplayBody<B>>;
    type Kept = KeptRequest<B>;
    type Seen = Parts;

    fn first(&self, request: Request<B>) -> (Self::Request, Option<KeptRequest<B>>) {
        let (head, body) = request.into_parts();
        let (first, replays) = ReplayBody::new(body, self.cap);
        (attempt_of(head.clone(), first, Attempt::FIRST), Some(KeptRequest { head, body: replays }))
    }

    fn again(&self, kept: &mut KeptRequest<B>, attempt: Attempt) -> Option<Self::Request> {
        let body = kept.body.again()?;
        Some(attempt_of(kept.head.clone(), body, attempt))
    }

    fn can_repeat(&self, kept: &KeptRequest<B>) -> bool {
        kept.body.can_repeat()
    }

    fn is_idempotent(&self, kept: &KeptRequest<B>) -> bool {
        is_idempotent(&kept.head) || self.mark.is_marked(&kept.head)
    }

    /// Without a key: it promises that a request is safe to send when the one before has ended. While that runs, the answer is a
    /// 409 (draft-ietf-httpapi-idempotency-key-header, 2.6).
    fn may_overlap(&self, kept: &KeptRequest<B>) -> bool {
        is_idempotent_without_key(&kept.head) || self.mark.is_marked(&kept.head)
    }

    fn deadline(&self, kept: &KeptRequest<B>) -> Option<Deadline> {
        kept.head.extensions.get().copied()
    }

    fn seen<'a>(&self, kept: &'a KeptRequest<B>) -> &'a Parts {
        &kept.head
    }
}

fn attempt_of<B>(head: Parts, body: B, attempt: Attempt) -> Request<B> {
    let mut request = Request::from_parts(head, body);
    request.set_meta(attempt);
    request
}

/// RFC 9110, 9.2.2, and what the client says.
fn is_idempotent(head: &Parts) -> bool {
    is_idempotent_without_key(head) || head.headers.get("idempotency-key").is_some_and(is_key)
}

fn is_idempotent_without_key(head: &Parts) -> bool {
    matches!(head.method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE | Method::PUT | Method::DELETE)
        || head.extensions.get::<Idempotent>().is_some()
}

/// A key is a string, with quotation marks or, as many have it, without; an empty one tells nothing apart.
fn is_key(value: &HeaderValue) -> bool {
    value.as_bytes().iter().any(|byte| !matches!(byte, b' ' | b'\t' | b'"'))
}
