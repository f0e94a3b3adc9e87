//! A last word on what is sent again.

use mainstay_core::Attempt;

/// Asked last, before the budget, whether a call that may be sent again is to be.
///
/// Implemented for closures, and by [`Always`]. It can forbid a retry and never bring one about.
pub trait OnlyIf<Seen: ?Sized, Res, Err> {
    /// Whether the call may be sent again, after `attempt` ended so.
    fn allows(&self, seen: &Seen, result: Result<&Res, &Err>, attempt: Attempt) -> bool;
}

/// Nothing is forbidden.
#[derive(Clone, Copy, Debug, Default)]
pub struct Always;

impl<Seen: ?Sized, Res, Err> OnlyIf<Seen, Res, Err> for Always {
    fn allows(&self, _seen: &Seen, _result: Result<&Res, &Err>, _attempt: Attempt) -> bool {
        true
    }
}

impl<Seen: ?Sized, Res, Err, F> OnlyIf<Seen, Res, Err> for F
where
    F: Fn(&Seen, Result<&Res, &Err>, Attempt) -> bool,
{
    fn allows(&self, seen: &Seen, result: Result<&Res, &Err>, attempt: Attempt) -> bool {
        self(seen, result, attempt)
    }
}
