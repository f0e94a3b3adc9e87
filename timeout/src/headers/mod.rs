//! Deadlines over HTTP: read from the headers of a request, and written there.

mod from;
mod text;
mod to;

pub use self::{
    from::{DeadlineFromHeader, DeadlineFromHeaderLayer},
    text::{X_REQUEST_TIMEOUT_MS, time_left},
    to::{DeadlineToHeader, DeadlineToHeaderFuture, DeadlineToHeaderLayer, HeaderForm},
};
