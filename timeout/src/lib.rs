// The examples on the front page need the headers.
#![cfg_attr(feature = "http", doc = include_str!("../README.md"))]
#![cfg_attr(not(feature = "http"), doc = "Timeouts and deadlines that travel with the request.")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![doc(test(attr(deny(warnings))))]

mod call;
mod clock;
mod config;
mod deadlines;
mod future;
#[cfg(feature = "http")]
mod headers;
mod layer;
mod observe;
#[cfg(feature = "serde")]
mod serde;
mod service;

#[cfg(feature = "http")]
#[cfg_attr(docsrs, doc(cfg(feature = "http")))]
pub use self::headers::{
    DeadlineFromHeader, DeadlineFromHeaderLayer, DeadlineToHeader, DeadlineToHeaderFuture, DeadlineToHeaderLayer,
    HeaderForm, X_REQUEST_TIMEOUT_MS, time_left,
};
pub use self::{
    call::{Within, timeout, within},
    config::Config,
    deadlines::{DeadlineFn, Deadlines, InMeta, NoDeadline, deadline_fn},
    future::ResponseFuture,
    layer::TimeoutLayer,
    service::Timeout,
};
