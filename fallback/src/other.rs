//! The other service, and what is kept of a request for it.

use std::fmt;

/// Answers by another service.
#[derive(Clone, Copy)]
pub struct Other<T, K = Cloned> {
    pub(crate) service: T,
    pub(crate) keep: K,
}

/// Keeps what the other service is asked, in case that the call fails.
///
/// [`Cloned`] does it, and so do closures `Fn(&Req) -> Option<Other>`.
pub trait Keep<Req> {
    /// What the other service is asked.
    type Request;

    /// Is called before the request is handed on; `None` if its call cannot fall back.
    fn keep(&self, request: &Req) -> Option<Self::Request>;
}

/// Keeps a clone of the request.
#[derive(Clone, Copy, Debug)]
pub struct Cloned;

impl<Req: Clone> Keep<Req> for Cloned {
    type Request = Req;

    fn keep(&self, request: &Req) -> Option<Req> {
        Some(request.clone())
    }
}

impl<Req, Kept, F> Keep<Req> for F
where
    F: Fn(&Req) -> Option<Kept>,
{
    type Request = Kept;

    fn keep(&self, request: &Req) -> Option<Kept> {
        self(request)
    }
}

// Neither services of closures nor closures have `Debug`.
impl<T, K> fmt::Debug for Other<T, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Other").finish_non_exhaustive()
    }
}
