//! What an error of the layer says.

use crate::request::ProbeError;
use mainstay_core::{BoxError, Error, Refused, TimedOut};
use std::{error, sync::Arc};

/// What an error of the layer under test says, read along its `source()` chain as far as the inner error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    /// The number of the inner error that it is, or that it carries.
    pub(crate) inner: Option<u32>,
    /// Whether it says that the call was not made.
    pub(crate) refused: bool,
    pub(crate) text: String,
}

/// Says whether an error of the layer means *refused*.
pub(crate) type IsRefusal = Arc<dyn Fn(&(dyn error::Error + 'static)) -> bool + Send + Sync>;

impl Told {
    pub(crate) fn read(error: impl Into<BoxError>, is_refusal: Option<&IsRefusal>) -> Self {
        // A chain that bites its tail has no end.
        const LONGEST: usize = 64;
        let error: BoxError = error.into();
        let mut told = Self { text: error.to_string(), ..Self::default() };
        let mut next: Option<&(dyn error::Error + 'static)> = Some(&*error);
        for _ in 0..LONGEST {
            let Some(link) = next else { break };
            // What an inner error has for its own source is the inner service's business.
            if let Some(inner) = inner_error(link) {
                told.inner = Some(inner.id());
                break;
            }
            if says_refused(link) || is_refusal.is_some_and(|is_refusal| is_refusal(link)) {
                told.refused = true;
            }
            next = link.source();
        }
        told
    }
}

fn inner_error<'a>(link: &'a (dyn error::Error + 'static)) -> Option<&'a ProbeError> {
    let typed = link.downcast_ref::<Error<ProbeError>>();
    match typed {
        Some(Error::Inner(inner)) => Some(inner),
        _ => link.downcast_ref().or_else(|| link.downcast_ref::<Box<ProbeError>>().map(|boxed| &**boxed)),
    }
}

fn says_refused(link: &(dyn error::Error + 'static)) -> bool {
    if link.is::<TimedOut>() {
        return false;
    }
    link.is::<Refused>() || matches!(link.downcast_ref(), Some(Error::<ProbeError>::Refused(_)))
}
