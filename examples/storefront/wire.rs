//! What all services have in common on the wire: the body of an error, and the trace of a request.

use axum::{
    Json,
    body::Body,
    response::{IntoResponse, Response},
};
use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER},
};
use mainstay::{Reason, http::Rejection};
use serde_json::{Value, json};
use std::time::SystemTime;

/// The trace that a request belongs to (W3C Trace Context), handed on from hop to hop.
pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Which purchase a request belongs to: who sends it again sends the same key, and pays once.
pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// How many keys a service remembers: more than customers send in the longest run at the highest rate.
pub(crate) const REMEMBERED: usize = 1 << 20;

/// What a header says, if it is text.
pub(crate) fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Whoever changes something has to send a key.
pub(crate) fn no_key() -> Response {
    problem(StatusCode::BAD_REQUEST, "no_key", "the request has no idempotency key", &json!({}))
}

/// The answer when there is none to give: one shape for all services.
pub(crate) fn problem(status: StatusCode, code: &str, message: &str, details: &Value) -> Response {
    (status, Json(body(code, message, details))).into_response()
}

/// A refusal or a timeout as an answer.
pub(crate) fn rejected(rejection: Rejection) -> Response {
    let mut response = rejection.response();
    describe(&rejection, &mut response);
    response
}

/// Puts the body into the answer to a refusal or a timeout, which has its status and, where it is known, `Retry-After`
/// already.
///
/// A half-open circuit does not know when its probes are back. The shop does: they are given up before a customer would be,
/// so its callers are told the shortest time that the header can say.
pub(crate) fn describe(rejection: &Rejection, response: &mut Response) {
    let (code, by) = match rejection {
        Rejection::TimedOut(timed_out) => ("timed_out", timed_out.by()),
        Rejection::Refused(refused) => (reason(refused.reason()), refused.by()),
    };
    let wait = rejection.retry_after().and_then(|wait| u64::try_from(wait.as_millis()).ok());
    let details = json!({ "policy": by, "retry_after_ms": wait });
    if matches!(rejection, Rejection::Refused(refused) if refused.reason() == Reason::CircuitOpen) {
        response.headers_mut().entry(RETRY_AFTER).or_insert(HeaderValue::from_static("1"));
    }
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    *response.body_mut() = Body::from(body(code, &rejection.to_string(), &details).to_string());
}

/// Shows the customer which trace arrived at the end of the chain.
pub(crate) fn with_trace(request: &HeaderMap, mut response: Response) -> Response {
    if let Some(trace) = request.get(TRACEPARENT) {
        response.headers_mut().insert(TRACEPARENT, trace.clone());
    }
    response
}

/// No route leads there.
pub(crate) async fn not_found() -> Response {
    problem(StatusCode::NOT_FOUND, "not_found", "there is nothing at this path", &json!({}))
}

/// The route exists, for another method.
pub(crate) async fn method_not_allowed() -> Response {
    problem(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "this path takes another method", &json!({}))
}

fn body(code: &str, message: &str, details: &Value) -> Value {
    json!({
        "success": false,
        "error": { "code": code, "message": message, "details": details },
        "timestamp": timestamp(),
    })
}

const fn reason(reason: Reason) -> &'static str {
    match reason {
        Reason::CircuitOpen => "circuit_open",
        Reason::BulkheadFull => "pool_full",
        Reason::NoEndpoint => "no_endpoint",
        Reason::RateLimited => "rate_limited",
        Reason::DeadlinePassed => "deadline_passed",
        _ => "refused",
    }
}

fn timestamp() -> String {
    #[expect(clippy::disallowed_methods, reason = "for people to read; nothing is decided or measured by it")]
    let now = SystemTime::now();
    humantime::format_rfc3339_millis(now).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use mainstay::Refused;
    use std::time::Duration;

    fn retry_after(refused: Refused) -> Option<HeaderValue> {
        rejected(refused.into()).headers().get(RETRY_AFTER).cloned()
    }

    #[test]
    fn a_circuit_always_says_when_to_come_back_and_a_pool_never() {
        let circuit = Refused::new(Reason::CircuitOpen, "test");
        assert_eq!(retry_after(circuit).unwrap(), "1", "half-open");
        assert_eq!(retry_after(circuit.with_retry_after(Duration::from_secs(3))).unwrap(), "3", "open");
        assert_eq!(retry_after(Refused::new(Reason::BulkheadFull, "test")), None);
    }
}
