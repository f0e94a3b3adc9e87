//! In which protocol a request wants to be refused: the one place that knows whether gRPC is built in.

#[cfg(feature = "grpc")]
use super::grpc_rejection::is_grpc;
use super::{Answer, Rejection};
use http::{HeaderMap, Response};

/// The protocol of one request.
#[derive(Clone, Copy, Debug)]
pub(super) enum Protocol {
    Http,
    #[cfg(feature = "grpc")]
    Grpc,
}

impl Protocol {
    /// The protocol of a request with these headers.
    #[cfg(feature = "grpc")]
    pub(super) fn of(headers: &HeaderMap) -> Self {
        if is_grpc(headers) { Self::Grpc } else { Self::Http }
    }

    /// The protocol of every request.
    #[cfg(not(feature = "grpc"))]
    pub(super) const fn of(_headers: &HeaderMap) -> Self {
        Self::Http
    }

    /// The response that says no.
    pub(super) fn respond<B: Default>(self, rejection: &Rejection, answer: &impl Answer<B>) -> Response<B> {
        match self {
            Self::Http => {
                let mut response = rejection.response();
                answer.complete(rejection, &mut response);
                response
            }
            #[cfg(feature = "grpc")]
            Self::Grpc => rejection.grpc_response(),
        }
    }
}
