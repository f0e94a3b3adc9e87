//! A refusal or a timeout as a gRPC response that consists of trailers only.

use super::{
    Rejection,
    grpc::{PUSHBACK, STATUS},
};
use crate::{Reason, Refused};
use http::{HeaderMap, HeaderName, HeaderValue, Response, header::CONTENT_TYPE};
use std::{fmt::Write, time::Duration};

const MEDIA_TYPE: &str = "application/grpc";
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

const DEADLINE_EXCEEDED: u16 = 4;
const RESOURCE_EXHAUSTED: u16 = 8;
const UNAVAILABLE: u16 = 14;

impl Rejection {
    /// The response to a gRPC request: trailers only, in an HTTP response of status 200.
    ///
    /// | refusal or timeout | `grpc-status` |
    /// | --- | --- |
    /// | [`RateLimited`](Reason::RateLimited), [`BulkheadFull`](Reason::BulkheadFull), [`Throttled`](Reason::Throttled) | 8, `RESOURCE_EXHAUSTED` |
    /// | [`DeadlinePassed`](Reason::DeadlinePassed), [`TimedOut`](crate::TimedOut) | 4, `DEADLINE_EXCEEDED` |
    /// | every other reason | 14, `UNAVAILABLE` |
    ///
    /// `grpc-message` is the text of the rejection. `grpc-retry-pushback-ms` is written where the time is known, rounded up
    /// and at most what 31 bits can hold: a client that cannot read it would never come back (gRFC A6).
    ///
    /// ```
    /// use http::Response;
    /// use mainstay_core::{Reason, Refused, http::Rejection};
    ///
    /// let refused = Refused::new(Reason::BulkheadFull, "payments");
    /// let response: Response<String> = Rejection::from(refused).grpc_response();
    ///
    /// assert_eq!(response.status(), 200);
    /// assert_eq!(response.headers()["grpc-status"], "8");
    /// ```
    pub fn grpc_response<B: Default>(&self) -> Response<B> {
        let mut response = Response::new(B::default());
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        headers.insert(STATUS, self.grpc_code().into());
        headers.insert(MESSAGE, percent_encode(&self.to_string()));
        if let Some(wait) = self.retry_after() {
            headers.insert(PUSHBACK, whole_millis(wait).into());
        }
        response
    }

    const fn grpc_code(&self) -> u16 {
        match self {
            Self::TimedOut(_) => DEADLINE_EXCEEDED,
            Self::Refused(refused) => Self::grpc_code_of(refused),
        }
    }

    const fn grpc_code_of(refused: &Refused) -> u16 {
        match refused.reason() {
            Reason::DeadlinePassed => DEADLINE_EXCEEDED,
            Reason::BulkheadFull | Reason::RateLimited | Reason::Throttled => RESOURCE_EXHAUSTED,
            _ => UNAVAILABLE,
        }
    }
}

/// Whether a request with these headers expects a gRPC response.
pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    let Some((start, rest)) =
        headers.get(CONTENT_TYPE).and_then(|value| value.as_bytes().split_at_checked(MEDIA_TYPE.len()))
    else {
        return false;
    };
    start.eq_ignore_ascii_case(MEDIA_TYPE.as_bytes()) && matches!(rest.first(), None | Some(b'+' | b';' | b' '))
}

/// Rounds up to whole milliseconds, up to the largest pushback that clients can read.
fn whole_millis(wait: Duration) -> i32 {
    let millis = wait.as_nanos().div_ceil(1_000_000);
    i32::try_from(millis).unwrap_or(i32::MAX)
}

/// The encoding of `grpc-message`: printable ASCII stands for itself, but for the percent sign.
fn percent_encode(text: &str) -> HeaderValue {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => encoded.push(byte.into()),
            _ => write!(encoded, "%{byte:02X}").expect("a string takes all that is written"),
        }
    }
    HeaderValue::try_from(encoded).expect("printable ASCII is a valid header value")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Class, Failure, TimedOut, http::grpc_class, intern};
    use proptest::prelude::*;

    fn refused(reason: Reason) -> Rejection {
        Refused::new(reason, "test").into()
    }

    fn decode(value: &HeaderValue) -> String {
        let mut bytes = value.as_bytes().iter().copied();
        let mut decoded = Vec::new();
        while let Some(byte) = bytes.next() {
            decoded.push(match byte {
                b'%' => {
                    let digits = [bytes.next().unwrap(), bytes.next().unwrap()];
                    u8::from_str_radix(str::from_utf8(&digits).unwrap(), 16).unwrap()
                }
                byte => byte,
            });
        }
        String::from_utf8(decoded).unwrap()
    }

    #[test]
    fn every_rejection_has_its_code_in_trailers_alone() {
        for (rejection, code) in [
            (refused(Reason::BudgetExhausted), "14"),
            (refused(Reason::BulkheadFull), "8"),
            (refused(Reason::CircuitOpen), "14"),
            (refused(Reason::DeadlinePassed), "4"),
            (refused(Reason::FlightFailed), "14"),
            (refused(Reason::NoEndpoint), "14"),
            (refused(Reason::RateLimited), "8"),
            (refused(Reason::Throttled), "8"),
            (TimedOut::new("test", Duration::ZERO).into(), "4"),
        ] {
            let response = rejection.grpc_response::<()>();
            assert_eq!(response.status(), 200, "{rejection}");
            assert_eq!(response.headers()[STATUS], code, "{rejection}");
            assert_eq!(response.headers()[CONTENT_TYPE], "application/grpc");
            assert_eq!(response.headers()[MESSAGE], rejection.to_string().as_str());
            assert_eq!(response.headers().len(), 3, "{rejection}");
        }
    }

    #[test]
    fn pushback_is_rounded_up_and_never_too_large_to_read() {
        for (wait, written) in [
            (Duration::ZERO, "0"),
            (Duration::from_nanos(1), "1"),
            (Duration::from_micros(1_001), "2"),
            (Duration::from_secs(3), "3000"),
            (Duration::MAX, "2147483647"),
        ] {
            let refused = Refused::new(Reason::RateLimited, "test").with_retry_after(wait);
            let response = Rejection::from(refused).grpc_response::<()>();
            assert_eq!(response.headers()[PUSHBACK], written, "{wait:?}");
        }
    }

    #[test]
    fn our_own_classifier_reads_the_wait_of_a_refusal() {
        let wait = Duration::from_millis(1_500);
        let refused = Refused::new(Reason::RateLimited, "test").with_retry_after(wait);
        let response = Rejection::from(refused).grpc_response::<()>();
        let expected = Class::Failure(Failure::Overloaded { retry_after: Some(wait) });
        assert_eq!(grpc_class(response.headers()), Some(expected));
    }

    #[test]
    fn a_name_in_any_script_survives_the_message() {
        let by = intern("zahlung 100 % für\nα");
        let rejection = Rejection::from(Refused::new(Reason::CircuitOpen, by));
        let response = rejection.grpc_response::<()>();
        assert_eq!(response.headers()[MESSAGE], "refused by `zahlung 100 %25 f%C3%BCr%0A%CE%B1`: the circuit is open");
        assert_eq!(decode(&response.headers()[MESSAGE]), rejection.to_string());
    }

    #[test]
    fn grpc_is_known_by_its_content_type() {
        for (content_type, expected) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("Application/GRPC; charset=utf-8", true),
            ("application/grp", false),
            ("application/grpcfoo", false),
            ("application/grpc-web+proto", false),
            ("application/json", false),
            ("text/application/grpc", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
            assert_eq!(is_grpc(&headers), expected, "{content_type}");
        }
        assert!(!is_grpc(&HeaderMap::new()));
    }

    proptest! {
        #[test]
        fn messages_round_trip(text in any::<String>()) {
            let encoded = percent_encode(&text);
            prop_assert!(encoded.as_bytes().iter().all(|byte| (b' '..=b'~').contains(byte)));
            prop_assert_eq!(decode(&encoded), text);
        }
    }
}
