//! A readable message for a stack that does not fit.

use crate::Refusable;
use tower_service::Service;

/// Gives back a finished stack if it is a service for `Req`; if not, the compiler says what to mend.
///
/// Calling a stack that does not fit fails with a page about unmet bounds. Here the message names the error type that
/// cannot carry a refusal, and the remedy.
///
/// ```
/// use mainstay_core::{Error, check};
/// use tower::{ServiceExt, service_fn};
///
/// let leaf = service_fn(async |n: u32| u8::try_from(n));
/// let stack = check::<u32, _>(leaf.map_err(Error::Inner));
/// # drop(stack);
/// ```
///
/// Without the lift it does not compile:
///
/// ```compile_fail,E0277
/// # use mainstay_core::check;
/// # use tower::service_fn;
/// let leaf = service_fn(async |n: u32| u8::try_from(n));
/// check::<u32, _>(leaf);
/// ```
pub const fn check<Req, S>(stack: S) -> S
where
    S: Service<Req>,
    S::Error: Refusable,
{
    stack
}
