//! In which protocol a request wants to be refused: the one place that knows whether gRPC is built in.

#[cfg(feature = "grpc")]
use super::grpc_rejection::is_grpc;
use super::{Answer, Rejection};
use http::{HeaderMap, Response};

/// In which protocol a request wants to be answered, for layers that reject requests themselves.
///
/// ```
/// use http::{HeaderMap, Response};
/// use mainstay_core::{Reason, Refused, http::{EmptyBody, Protocol, Rejection}};
///
/// let rejection = Rejection::from(Refused::new(Reason::RateLimited, "visitors"));
///
/// let request = HeaderMap::new();
/// let response: Response<String> = Protocol::of(&request).respond(&rejection, &EmptyBody);
/// assert_eq!(response.status(), 429);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Protocol {
    /// Plain HTTP: the status says it.
    Http,
    /// gRPC: a status in trailers, in a response of status 200.
    #[cfg(feature = "grpc")]
    #[cfg_attr(docsrs, doc(cfg(feature = "grpc")))]
    Grpc,
}

impl Protocol {
    /// The protocol of a request with these headers: under the feature `grpc` by its content type, else always HTTP.
    #[cfg_attr(
        not(feature = "grpc"),
        expect(clippy::missing_const_for_fn, reason = "with `grpc` it is none, and a feature takes nothing away")
    )]
    pub fn of(headers: &HeaderMap) -> Self {
        #[cfg(feature = "grpc")]
        if is_grpc(headers) {
            return Self::Grpc;
        }
        let _ = headers;
        Self::Http
    }

    /// The response that says no. `answer` completes one over HTTP, and does not touch one over gRPC.
    pub fn respond<B: Default>(self, rejection: &Rejection, answer: &impl Answer<B>) -> Response<B> {
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
