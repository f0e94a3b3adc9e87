//! How a request is sent more than once, and when that is safe.

mod cloned;
#[cfg(feature = "http")]
mod http;
mod mark;
mod repeat_fn;
#[cfg(feature = "http")]
mod replay;

pub use self::{
    cloned::{Cloned, Tagged},
    mark::{Mark, Markable, Marked, MarkedIf, Unmarked},
    repeat_fn::{RepeatFn, repeat_fn},
};
#[cfg(feature = "http")]
pub use self::{
    http::{HttpRepeat, KeptRequest},
    replay::ReplayBody,
};

use mainstay_core::{Attempt, Deadline};

/// Makes the attempts at one call out of its request, and knows whether it may be executed twice.
///
/// That a request *can* be sent again does not mean that it *may* be: what failed may have been executed. So
/// [`is_idempotent`](Self::is_idempotent) is asked before a failed request is sent again; a request that was certainly not
/// executed needs no such permission.
///
/// [`Cloned`], [`Tagged`], [`repeat_fn`] and, under the feature `http`, `HttpRepeat` are there already. One's own:
///
/// ```
/// use mainstay_core::{Attempt, Deadline};
/// use mainstay_retry::Repeat;
///
/// struct Job {
///     id: u64,
///     by: Deadline,
/// }
///
/// /// What the service below takes: the number of a job, and how often it was sent before.
/// struct Order(u64, u32);
///
/// #[derive(Clone, Copy)]
/// struct Orders;
///
/// impl Repeat<Job> for Orders {
///     type Request = Order;
///     type Kept = Job;
///     type Seen = Job;
///
///     fn first(&self, job: Job) -> (Order, Option<Job>) {
///         (Order(job.id, 0), Some(job))
///     }
///
///     fn again(&self, job: &mut Job, attempt: Attempt) -> Option<Order> {
///         Some(Order(job.id, attempt.number() - 1))
///     }
///
///     fn is_idempotent(&self, _: &Job) -> bool {
///         true // the service knows the numbers that it has done
///     }
///
///     fn deadline(&self, job: &Job) -> Option<Deadline> {
///         Some(job.by)
///     }
///
///     fn seen<'a>(&self, job: &'a Job) -> &'a Job {
///         job
///     }
/// }
/// # let now = tokio::time::Instant::now().into_std();
/// # let (first, kept) = Orders.first(Job { id: 7, by: Deadline::at(now) });
/// # let again = Orders.again(&mut kept.unwrap(), Attempt::FIRST.next()).unwrap();
/// # assert_eq!((first.0, first.1, again.0, again.1), (7, 0, 7, 1));
/// ```
pub trait Repeat<Req> {
    /// What the inner service is given.
    type Request;

    /// What is kept for another attempt.
    type Kept;

    /// What a predicate is shown of the request.
    type Seen: ?Sized;

    /// The request of the first attempt, and what is needed to make another; `None` if it can be sent once only.
    fn first(&self, request: Req) -> (Self::Request, Option<Self::Kept>);

    /// The request of another attempt, or `None` if it cannot be sent again, or not any more.
    fn again(&self, kept: &mut Self::Kept, attempt: Attempt) -> Option<Self::Request>;

    /// Whether [`again`](Self::again) may still have an answer; `false` is for good.
    ///
    /// It is asked before another attempt is waited and paid for.
    fn can_repeat(&self, _kept: &Self::Kept) -> bool {
        true
    }

    /// Whether executing the request twice is the same as executing it once.
    fn is_idempotent(&self, kept: &Self::Kept) -> bool;

    /// Whether that is so even while both run, as those of a [`Hedge`](crate::Hedge) do.
    fn may_overlap(&self, kept: &Self::Kept) -> bool {
        self.is_idempotent(kept)
    }

    /// The moment after which nobody waits for the answer any more, if the request carries it.
    fn deadline(&self, _kept: &Self::Kept) -> Option<Deadline> {
        None
    }

    /// The request, as predicates see it.
    fn seen<'a>(&self, kept: &'a Self::Kept) -> &'a Self::Seen;
}
