//! How many units a request takes.

/// How many units a request takes: a function of it, or [`One`].
///
/// A request of nothing is always admitted. One of more than the limiter can ever give at once is refused, with no time to
/// come back.
pub trait Cost<Req> {
    /// The units that it takes.
    fn cost(&self, request: &Req) -> u64;
}

/// Each request takes one unit.
#[derive(Clone, Copy, Debug, Default)]
pub struct One;

impl<Req> Cost<Req> for One {
    fn cost(&self, _: &Req) -> u64 {
        1
    }
}

impl<Req, F: Fn(&Req) -> u64> Cost<Req> for F {
    fn cost(&self, request: &Req) -> u64 {
        self(request)
    }
}
