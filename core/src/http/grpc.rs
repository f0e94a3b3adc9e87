//! What a gRPC answer says about the service: the status stands in the trailers.

use super::{ClassifyBody, End, classify::http_class, retry_after::digits};
use crate::{Class, Classify, Failure};
use http::{HeaderMap, Response, StatusCode};
use std::time::Duration;

pub(super) const STATUS: &str = "grpc-status";
pub(super) const PUSHBACK: &str = "grpc-retry-pushback-ms";

/// What `grpc-status` says about the service; `None` if it is not among these headers or trailers.
///
/// | code | class |
/// | --- | --- |
/// | `RESOURCE_EXHAUSTED` | overloaded |
/// | `UNAVAILABLE`, `UNKNOWN`, `DEADLINE_EXCEEDED`, `INTERNAL`, `DATA_LOSS` | transient failure |
/// | each of these six with a `grpc-retry-pushback-ms` that can be read | overloaded, for as long as it says |
/// | each of these six with one that is negative or cannot be read | permanent failure |
/// | `UNIMPLEMENTED` | permanent failure |
/// | `CANCELLED` | ignored: the caller left |
/// | `OK` and all others | success: they speak of the request, from a service that works |
///
/// A code that cannot be read, or is none of the seventeen, counts as `UNKNOWN`. A pushback that is negative or cannot be
/// read means "do not retry", and one that can be read is when to come back, whatever the code (gRFC A6).
///
/// ```
/// use http::{HeaderMap, HeaderValue};
/// use mainstay_core::{Class, Failure, grpc_class};
///
/// let mut trailers = HeaderMap::new();
/// assert_eq!(grpc_class(&trailers), None);
///
/// trailers.insert("grpc-status", HeaderValue::from_static("14"));
/// assert_eq!(grpc_class(&trailers), Some(Class::Failure(Failure::Transient)));
/// ```
pub fn grpc_class(headers_or_trailers: &HeaderMap) -> Option<Class> {
    // The protocol writes the code without leading zeros, so its text has one form.
    let code = headers_or_trailers.get(STATUS)?.as_bytes();
    Some(match code {
        // OK, INVALID_ARGUMENT, NOT_FOUND, ALREADY_EXISTS, PERMISSION_DENIED, then
        // FAILED_PRECONDITION, ABORTED, OUT_OF_RANGE, UNAUTHENTICATED
        b"0" | b"3" | b"5" | b"6" | b"7" | b"9" | b"10" | b"11" | b"16" => Class::Success,
        // CANCELLED
        b"1" => Class::Ignored,
        // UNIMPLEMENTED
        b"12" => Class::Failure(Failure::Permanent),
        // RESOURCE_EXHAUSTED
        b"8" => pushed_back(Failure::Overloaded { retry_after: None }, headers_or_trailers),
        // UNKNOWN, DEADLINE_EXCEEDED, INTERNAL, UNAVAILABLE, DATA_LOSS, and what the protocol does not know
        _ => pushed_back(Failure::Transient, headers_or_trailers),
    })
}

/// The class of the gRPC code that a client makes of an HTTP status ("HTTP to gRPC Status Code Mapping" of the protocol);
/// a 404 is `UNIMPLEMENTED` there, since a service that is not where it should be does not work.
fn http_status_class(status: StatusCode, headers: &HeaderMap) -> Class {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Class::Success,
        StatusCode::NOT_FOUND => Class::Failure(Failure::Permanent),
        status => match http_class(status, headers) {
            Class::Success => Class::Failure(Failure::Transient),
            class => class,
        },
    }
}

/// The failure, unless the service says when another attempt may come, or that none may.
fn pushed_back(failure: Failure, headers: &HeaderMap) -> Class {
    Class::Failure(match headers.get(PUSHBACK).map(|wait| digits(wait.as_bytes())) {
        None => failure,
        Some(None) => Failure::Permanent,
        Some(Some(millis)) => Failure::Overloaded { retry_after: Some(Duration::from_millis(millis)) },
    })
}

/// Classifies gRPC answers by [`grpc_class`]; every error is a transient failure.
///
/// As a [`ClassifyBody`] it is complete: the status is read where it stands, in the head or in the trailers. A body that
/// ends without one was cut short, which gRPC calls `UNKNOWN`: a transient failure. A head without a gRPC status whose
/// HTTP status is not 200 did not come from a gRPC service: 401 and 403 are a success, 404 a permanent failure, what
/// [`http_class`] calls a failure is that, and all else is a transient one. Where nobody read the trailers, the call is
/// ignored.
///
/// As a [`Classify`] it sees the head alone, and a status still to come in the trailers counts as success. That is what
/// retry needs, since a call whose head has arrived can not be sent again; a policy that counts failures should settle
/// at the end of the body.
///
/// ```
/// use http::{HeaderMap, HeaderValue, Response};
/// use mainstay_core::{Class, Failure, GrpcStatus, http::{ClassifyBody, End}};
///
/// // HTTP says 200 whatever happens.
/// let head = Response::new(());
/// assert_eq!(GrpcStatus.classify_head(Ok::<_, &()>(&head)), None);
///
/// let trailers = HeaderMap::from_iter([("grpc-status".parse()?, HeaderValue::from_static("13"))]);
/// let end = End::Complete { trailers: Some(&trailers) };
/// let class = ClassifyBody::<(), ()>::classify_end(&GrpcStatus, end);
/// assert_eq!(class, Class::Failure(Failure::Transient));
/// # Ok::<(), http::header::InvalidHeaderName>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct GrpcStatus;

impl<B, E> Classify<Response<B>, E> for GrpcStatus {
    fn classify(&self, result: Result<&Response<B>, &E>) -> Class {
        self.classify_head(result).unwrap_or(Class::Success)
    }
}

impl<B, E> ClassifyBody<B, E> for GrpcStatus {
    fn classify_head(&self, result: Result<&Response<B>, &E>) -> Option<Class> {
        let Ok(response) = result else {
            return Some(Class::Failure(Failure::Transient));
        };
        grpc_class(response.headers()).or_else(|| match response.status() {
            StatusCode::OK => None,
            status => Some(http_status_class(status, response.headers())),
        })
    }

    fn classify_end(&self, end: End<'_>) -> Class {
        match end {
            End::HeadOnly => Some(Class::Ignored),
            End::Complete { trailers } => trailers.and_then(grpc_class),
            End::Failed => None,
        }
        .unwrap_or(Class::Failure(Failure::Transient))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    const TRANSIENT: Class = Class::Failure(Failure::Transient);

    fn headers(code: &str, pushback: Option<&str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(STATUS, HeaderValue::from_str(code).unwrap());
        if let Some(pushback) = pushback {
            headers.insert(PUSHBACK, HeaderValue::from_str(pushback).unwrap());
        }
        headers
    }

    fn class(code: &str, pushback: Option<&str>) -> Class {
        grpc_class(&headers(code, pushback)).unwrap()
    }

    fn overloaded(millis: Option<u64>) -> Class {
        Class::Failure(Failure::Overloaded { retry_after: millis.map(Duration::from_millis) })
    }

    fn head(status: u16, headers: HeaderMap) -> Option<Class> {
        let mut response = Response::builder().status(status).body(()).unwrap();
        *response.headers_mut() = headers;
        GrpcStatus.classify_head(Ok::<_, &()>(&response))
    }

    fn end(end: End<'_>) -> Class {
        ClassifyBody::<(), ()>::classify_end(&GrpcStatus, end)
    }

    #[test]
    fn every_code_has_its_class() {
        for code in 0..40 {
            let expected = match code {
                1 => Class::Ignored,
                8 => overloaded(None),
                12 => Class::Failure(Failure::Permanent),
                2 | 4 | 13 | 14 | 15 | 17.. => TRANSIENT,
                _ => Class::Success,
            };
            assert_eq!(class(&code.to_string(), None), expected, "{code}");
        }
    }

    #[test]
    fn a_code_that_cannot_be_read_counts_as_unknown() {
        for junk in ["", "OK", "-1", "00", "0x0", "0 0", "99999999999999999999"] {
            assert_eq!(class(junk, None), TRANSIENT, "{junk}");
        }
    }

    #[test]
    fn pushback_is_read_unless_it_forbids_the_retry() {
        for code in ["2", "4", "8", "13", "14", "15", "17", "junk"] {
            assert_eq!(class(code, Some("1500")), overloaded(Some(1500)), "{code}");
            assert_eq!(class(code, Some("0")), overloaded(Some(0)), "{code}");
            for forbids in ["-1", "", "soon", "1.5"] {
                assert_eq!(class(code, Some(forbids)), Class::Failure(Failure::Permanent), "{code} {forbids}");
            }
        }
    }

    #[test]
    fn pushback_says_nothing_where_nothing_has_failed_that_may_pass() {
        for pushback in ["1500", "-1"] {
            assert_eq!(class("0", Some(pushback)), Class::Success);
            assert_eq!(class("1", Some(pushback)), Class::Ignored);
            assert_eq!(class("12", Some(pushback)), Class::Failure(Failure::Permanent));
        }
    }

    #[test]
    fn the_head_decides_if_it_carries_a_status() {
        assert_eq!(head(200, headers("14", None)), Some(TRANSIENT));
        assert_eq!(head(200, headers("5", None)), Some(Class::Success));
        assert_eq!(head(200, HeaderMap::new()), None);
        assert_eq!(head(503, headers("0", None)), Some(Class::Success));
    }

    #[test]
    fn a_head_that_is_not_grpc_is_classified_by_http() {
        assert_eq!(head(502, HeaderMap::new()), Some(TRANSIENT));
        assert_eq!(head(429, HeaderMap::new()), Some(overloaded(None)));
        assert_eq!(head(404, HeaderMap::new()), Some(Class::Failure(Failure::Permanent)));
        assert_eq!(head(403, HeaderMap::new()), Some(Class::Success));
        assert_eq!(head(301, HeaderMap::new()), Some(TRANSIENT));
    }

    #[test]
    fn an_error_is_a_transient_failure() {
        let error = Err::<&Response<()>, _>(&"reset");
        assert_eq!(GrpcStatus.classify_head(error), Some(TRANSIENT));
    }

    #[test]
    fn an_end_without_a_status_was_cut_short() {
        let empty = HeaderMap::new();
        assert_eq!(end(End::Complete { trailers: None }), TRANSIENT);
        assert_eq!(end(End::HeadOnly), Class::Ignored);
        assert_eq!(end(End::Complete { trailers: Some(&empty) }), TRANSIENT);
        assert_eq!(end(End::Failed), TRANSIENT);
    }

    #[test]
    fn an_end_with_a_status_is_classified_by_it() {
        for (code, expected) in [("0", Class::Success), ("13", TRANSIENT)] {
            let trailers = headers(code, None);
            assert_eq!(end(End::Complete { trailers: Some(&trailers) }), expected);
        }
    }

    #[test]
    fn by_the_head_alone_a_status_to_come_is_a_success() {
        let open = Response::new(());
        assert_eq!(GrpcStatus.classify(Ok::<_, &()>(&open)), Class::Success);
    }

    proptest! {
        #[test]
        fn nothing_panics(
            code in prop::collection::vec(any::<u8>(), 0..12),
            pushback in prop::collection::vec(any::<u8>(), 0..30),
        ) {
            let mut headers = HeaderMap::new();
            if let (Ok(code), Ok(pushback)) = (HeaderValue::from_bytes(&code), HeaderValue::from_bytes(&pushback)) {
                headers.insert(STATUS, code);
                headers.insert(PUSHBACK, pushback);
            }
            grpc_class(&headers);
        }
    }
}
