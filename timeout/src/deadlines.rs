//! Where the deadline of a request is found.

use mainstay_core::{Deadline, Meta};
use std::fmt;

/// Where a [`Timeout`](crate::Timeout) finds the deadline of a request, and leaves its own for the layers further in.
///
/// [`InMeta`] is for requests that are [`Meta<Deadline>`](Meta), as every `http::Request` is under the feature `http`;
/// [`deadline_fn`] makes one of two closures.
pub trait Deadlines<Req> {
    /// False if no request has a deadline, and none is left on it.
    const CARRIED: bool = true;

    /// The deadline that the request carries.
    fn read(&self, request: &Req) -> Option<Deadline>;

    /// Puts on the request an earlier deadline than it carries, or its first.
    fn write(&self, request: &mut Req, deadline: Deadline);
}

/// Requests carry no deadline: each call has the configured time, from the end of the first poll of its future.
///
/// It comes with [`TimeoutLayer::new`](crate::TimeoutLayer::new), which asks for a time, and from nowhere else; a layer that ends
/// nothing does not compile:
///
/// ```compile_fail
/// use mainstay_timeout::{Config, NoDeadline, TimeoutLayer};
///
/// let _ = TimeoutLayer::with_deadlines(Config::default(), NoDeadline);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct NoDeadline(pub(crate) ());

/// Requests carry their deadline as [`Meta`].
#[derive(Clone, Copy, Debug)]
pub struct InMeta;

/// What [`deadline_fn`] makes.
#[derive(Clone, Copy)]
pub struct DeadlineFn<R, W> {
    read: R,
    write: W,
}

/// Reads and writes the deadline of a request by closures.
///
/// ```
/// use mainstay_core::{Deadline, Error};
/// use mainstay_timeout::{Config, TimeoutLayer, deadline_fn};
/// use tower::{Layer, ServiceExt, service_fn};
///
/// struct Job {
///     due: Option<Deadline>,
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), mainstay_core::InvalidConfig> {
/// let deadlines = deadline_fn(|job: &Job| job.due, |job: &mut Job, deadline| job.due = Some(deadline));
/// let worker = service_fn(async |_: Job| Ok::<_, &str>("done")).map_err(Error::Inner);
/// let worker = TimeoutLayer::with_deadlines(Config::default(), deadlines)?.layer(worker);
///
/// let now = tokio::time::Instant::now().into_std();
/// let late = Job { due: Some(Deadline::at(now)) };
/// assert!(matches!(worker.oneshot(late).await, Err(Error::Refused(_))));
/// # Ok(())
/// # }
/// ```
pub const fn deadline_fn<Req, R, W>(read: R, write: W) -> DeadlineFn<R, W>
where
    R: Fn(&Req) -> Option<Deadline>,
    W: Fn(&mut Req, Deadline),
{
    DeadlineFn { read, write }
}

// Closures have no `Debug`.
impl<R, W> fmt::Debug for DeadlineFn<R, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadlineFn").finish_non_exhaustive()
    }
}

impl<Req> Deadlines<Req> for NoDeadline {
    const CARRIED: bool = false;

    fn read(&self, _: &Req) -> Option<Deadline> {
        None
    }

    fn write(&self, _: &mut Req, _: Deadline) {}
}

impl<Req: Meta<Deadline>> Deadlines<Req> for InMeta {
    fn read(&self, request: &Req) -> Option<Deadline> {
        request.meta()
    }

    fn write(&self, request: &mut Req, deadline: Deadline) {
        request.set_meta(deadline);
    }
}

impl<Req, R, W> Deadlines<Req> for DeadlineFn<R, W>
where
    R: Fn(&Req) -> Option<Deadline>,
    W: Fn(&mut Req, Deadline),
{
    fn read(&self, request: &Req) -> Option<Deadline> {
        (self.read)(request)
    }

    fn write(&self, request: &mut Req, deadline: Deadline) {
        (self.write)(request, deadline);
    }
}
