//! What goes through the layer: requests, replies and errors, each of which knows where it belongs.

use crate::{
    backend::Backend,
    ledger::Event,
    trap::{self, Point},
};
use mainstay_core::{Reason, Refused};
use std::{error, fmt, sync::Arc};

/// The request that the kit sends; a layer can clone it and drop it, and the kit sees both.
pub struct Request {
    id: u32,
    backend: Arc<Backend>,
}

/// The inner service's answer to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    request: Option<u32>,
}

/// The error of the inner service; each has a number, so that the kit finds it again.
///
/// Some carry a [`Refused`] as their `source()`: the inner service worked, and then a call of its own was refused. That
/// makes the call failed, not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbeError {
    id: u32,
    refused_below: Option<Refused>,
}

impl Request {
    pub(crate) fn new(id: u32, backend: Arc<Backend>) -> Self {
        backend.with(|state| state.requests_alive += 1);
        Self { id, backend }
    }

    /// The number of the call it belongs to; clones have the same.
    pub const fn id(&self) -> u32 {
        self.id
    }
}

impl Clone for Request {
    fn clone(&self) -> Self {
        trap::pass(Point::CloneRequest);
        self.backend.record(Event::RequestCloned { request: self.id });
        Self::new(self.id, Arc::clone(&self.backend))
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        self.backend.with(|state| state.requests_alive -= 1);
        self.backend.record(Event::RequestDropped { request: self.id });
        trap::pass(Point::DropRequest);
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Reply {
    pub(crate) const fn to(request: u32) -> Self {
        Self { request: Some(request) }
    }

    /// A reply that no inner service gave, for layers that [may answer
    /// themselves](crate::Profile::may_answer_without_inner).
    pub const fn made_up() -> Self {
        Self { request: None }
    }

    /// The number of the request that it answers; `None` if it was made up.
    pub const fn request(&self) -> Option<u32> {
        self.request
    }
}

impl ProbeError {
    pub(crate) const fn new(id: u32, refused_below: bool) -> Self {
        let refused_below = if refused_below { Some(Refused::new(Reason::RateLimited, "further in")) } else { None };
        Self { id, refused_below }
    }

    pub(crate) const fn id(&self) -> u32 {
        self.id
    }
}

impl fmt::Display for ProbeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "inner error {}", self.id)
    }
}

impl error::Error for ProbeError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.refused_below.as_ref().map(|refused| refused as _)
    }
}
