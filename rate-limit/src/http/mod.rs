//! In front of an HTTP or gRPC server.

mod address;
mod bearer;
mod forwarded;
mod forwarded_for;
mod header;
mod hops;
mod identify;
mod key;
mod peer;
mod subject;

pub use self::{
    bearer::Bearer,
    forwarded::Forwarded,
    forwarded_for::ForwardedFor,
    header::Header,
    identify::{Head, Identify, IdentifyFn, OrElse, identify_fn},
    key::{ClientKey, Network},
    peer::Peer,
    subject::Subject,
};
