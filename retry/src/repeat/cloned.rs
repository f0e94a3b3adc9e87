//! Requests that are sent again as clones.

use super::{Mark, Markable, Marked, MarkedIf, Repeat, Unmarked};
use mainstay_core::{Attempt, Meta};

/// Sends clones of the request.
///
/// By itself it declares no request idempotent: a request that can be cloned is not one that can be executed twice.
///
/// ```
/// use mainstay_retry::{Cloned, Repeat};
///
/// let lookups = Cloned::new().idempotent_if(|query: &&str| query.starts_with("SELECT"));
///
/// let (sent, kept) = lookups.first("SELECT 1");
/// assert_eq!(sent, "SELECT 1");
/// assert!(lookups.is_idempotent(&kept.unwrap()));
/// assert!(!lookups.is_idempotent(&"DELETE FROM orders"));
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Cloned<M = Unmarked> {
    mark: M,
}

/// Sends clones of the request, each of which carries its [`Attempt`].
///
/// ```
/// use mainstay_core::{Attempt, Meta};
/// use mainstay_retry::{Repeat, Tagged};
///
/// #[derive(Clone)]
/// struct Job {
///     attempt: Option<Attempt>,
/// }
///
/// impl Meta<Attempt> for Job {
///     fn meta(&self) -> Option<Attempt> {
///         self.attempt
///     }
///
///     fn set_meta(&mut self, attempt: Attempt) {
///         self.attempt = Some(attempt);
///     }
/// }
///
/// let (first, kept) = Tagged::new().first(Job { attempt: None });
/// let second = Tagged::new().again(&mut kept.unwrap(), Attempt::FIRST.next()).unwrap();
///
/// assert_eq!(first.meta(), Some(Attempt::FIRST));
/// assert_eq!(second.meta(), Some(Attempt::FIRST.next()));
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Tagged<M = Unmarked> {
    mark: M,
}

impl Cloned {
    /// Sends clones, none of which is declared idempotent.
    pub const fn new() -> Self {
        Self { mark: Unmarked }
    }
}

impl<M> Cloned<M> {
    /// Declares all requests idempotent.
    pub fn idempotent(self) -> Cloned<Marked> {
        self.with_mark(Marked)
    }

    /// Declares those requests idempotent for which `is_idempotent` says so.
    pub fn idempotent_if<Req, F: Fn(&Req) -> bool>(self, is_idempotent: F) -> Cloned<MarkedIf<F>> {
        self.with_mark(MarkedIf(is_idempotent))
    }
}

impl<M> Markable for Cloned<M> {
    type With<N> = Cloned<N>;

    fn with_mark<N>(self, mark: N) -> Cloned<N> {
        Cloned { mark }
    }
}

impl<Req: Clone, M: Mark<Req>> Repeat<Req> for Cloned<M> {
    type Request = Req;
    type Kept = Req;
    type Seen = Req;

    fn first(&self, request: Req) -> (Req, Option<Req>) {
        (request.clone(), Some(request))
    }

    fn again(&self, kept: &mut Req, _attempt: Attempt) -> Option<Req> {
        Some(kept.clone())
    }

    fn is_idempotent(&self, kept: &Req) -> bool {
        self.mark.is_marked(kept)
    }

    fn seen<'a>(&self, kept: &'a Req) -> &'a Req {
        kept
    }
}

impl Tagged {
    /// Sends tagged clones, none of which is declared idempotent.
    pub const fn new() -> Self {
        Self { mark: Unmarked }
    }
}

impl<M> Tagged<M> {
    /// Declares all requests idempotent.
    pub fn idempotent(self) -> Tagged<Marked> {
        self.with_mark(Marked)
    }

    /// Declares those requests idempotent for which `is_idempotent` says so.
    pub fn idempotent_if<Req, F: Fn(&Req) -> bool>(self, is_idempotent: F) -> Tagged<MarkedIf<F>> {
        self.with_mark(MarkedIf(is_idempotent))
    }
}

impl<M> Markable for Tagged<M> {
    type With<N> = Tagged<N>;

    fn with_mark<N>(self, mark: N) -> Tagged<N> {
        Tagged { mark }
    }
}

impl<Req: Clone + Meta<Attempt>, M: Mark<Req>> Repeat<Req> for Tagged<M> {
    type Request = Req;
    type Kept = Req;
    type Seen = Req;

    fn first(&self, request: Req) -> (Req, Option<Req>) {
        let mut first = request.clone();
        first.set_meta(Attempt::FIRST);
        (first, Some(request))
    }

    fn again(&self, kept: &mut Req, attempt: Attempt) -> Option<Req> {
        let mut next = kept.clone();
        next.set_meta(attempt);
        Some(next)
    }

    fn is_idempotent(&self, kept: &Req) -> bool {
        self.mark.is_marked(kept)
    }

    fn seen<'a>(&self, kept: &'a Req) -> &'a Req {
        kept
    }
}
