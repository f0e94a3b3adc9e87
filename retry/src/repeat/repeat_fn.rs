//! Requests that are made anew by a closure.

use super::{Mark, Markable, Marked, MarkedIf, Repeat, Unmarked};
use mainstay_core::Attempt;

/// Makes each attempt by a closure, which is given the original request.
///
/// The closure is asked for the first attempt too. If it has no answer then, the request itself is sent, and only once:
/// no request is lost.
///
/// ```
/// use mainstay_core::Attempt;
/// use mainstay_retry::{Repeat, repeat_fn};
///
/// // Only what is short is worth a copy.
/// let repeat = repeat_fn(|text: &String, attempt: Attempt| {
///     (text.len() < 10).then(|| format!("{text} ({})", attempt.number()))
/// });
///
/// let (first, kept) = repeat.first("hello".to_owned());
/// assert_eq!(first, "hello (1)");
/// assert_eq!(repeat.again(&mut kept.unwrap(), Attempt::FIRST.next()).unwrap(), "hello (2)");
///
/// let (only, kept) = repeat.first("a very long text".to_owned());
/// assert_eq!(only, "a very long text");
/// assert!(kept.is_none());
/// ```
pub const fn repeat_fn<Req, F>(make: F) -> RepeatFn<F>
where
    F: Fn(&Req, Attempt) -> Option<Req>,
{
    RepeatFn { make, mark: Unmarked }
}

/// Makes the attempts by a closure; see [`repeat_fn`].
#[derive(Clone, Copy, Debug)]
pub struct RepeatFn<F, M = Unmarked> {
    make: F,
    mark: M,
}

impl<F, M> RepeatFn<F, M> {
    /// Declares all requests idempotent.
    pub fn idempotent(self) -> RepeatFn<F, Marked> {
        self.with_mark(Marked)
    }

    /// Declares those requests idempotent for which `is_idempotent` says so.
    pub fn idempotent_if<Req, G: Fn(&Req) -> bool>(self, is_idempotent: G) -> RepeatFn<F, MarkedIf<G>> {
        self.with_mark(MarkedIf(is_idempotent))
    }
}

impl<F, M> Markable for RepeatFn<F, M> {
    type With<N> = RepeatFn<F, N>;

    fn with_mark<N>(self, mark: N) -> RepeatFn<F, N> {
        RepeatFn { make: self.make, mark }
    }
}

impl<Req, F, M> Repeat<Req> for RepeatFn<F, M>
where
    F: Fn(&Req, Attempt) -> Option<Req>,
    M: Mark<Req>,
{
    type Request = Req;
    type Kept = Req;
    type Seen = Req;

    fn first(&self, request: Req) -> (Req, Option<Req>) {
        match (self.make)(&request, Attempt::FIRST) {
            Some(first) => (first, Some(request)),
            None => (request, None),
        }
    }

    fn again(&self, kept: &mut Req, attempt: Attempt) -> Option<Req> {
        (self.make)(kept, attempt)
    }

    fn is_idempotent(&self, kept: &Req) -> bool {
        self.mark.is_marked(kept)
    }

    fn seen<'a>(&self, kept: &'a Req) -> &'a Req {
        kept
    }
}
