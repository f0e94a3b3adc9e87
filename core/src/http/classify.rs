//! What an HTTP response says about the service, and when that is known.

use super::{End, retry_after};
use crate::{AnyError, Class, Classify, ClassifyFn, Failure, Refusable, Verdict};
use http::{HeaderMap, Response, StatusCode};

/// What the head of a response says about the service that sent it.
///
/// | status | class |
/// | --- | --- |
/// | 429 | overloaded, for as long as [`Retry-After`](retry_after()) says |
/// | 503 with a `Retry-After` that can be read | overloaded, likewise |
/// | 501, 505 | permanent failure |
/// | 408 and every other 5xx | transient failure |
/// | everything else | success: a 404 comes from a service that works |
///
/// ```
/// use http::{HeaderMap, StatusCode};
/// use mainstay_core::{Class, Failure, http_class};
///
/// let headers = HeaderMap::new();
/// assert_eq!(http_class(StatusCode::NOT_FOUND, &headers), Class::Success);
/// assert_eq!(http_class(StatusCode::BAD_GATEWAY, &headers), Class::Failure(Failure::Transient));
/// ```
pub fn http_class(status: StatusCode, headers: &HeaderMap) -> Class {
    Class::Failure(match status {
        StatusCode::TOO_MANY_REQUESTS => Failure::Overloaded { retry_after: retry_after(headers) },
        StatusCode::SERVICE_UNAVAILABLE => match retry_after(headers) {
            None => Failure::Transient,
            known => Failure::Overloaded { retry_after: known },
        },
        StatusCode::NOT_IMPLEMENTED | StatusCode::HTTP_VERSION_NOT_SUPPORTED => Failure::Permanent,
        StatusCode::REQUEST_TIMEOUT => Failure::Transient,
        status if status.is_server_error() => Failure::Transient,
        _ => return Class::Success,
    })
}

/// Classifies responses by [`http_class`]; every error is a transient failure.
///
/// With hyper, axum and reqwest a response of status 500 is an `Ok`: without this classifier no policy would see it.
///
/// ```
/// use http::Response;
/// use mainstay_core::{Class, Classify, Failure, HttpStatus};
///
/// let response = Response::builder().status(429).header("retry-after", "3").body(())?;
///
/// let Class::Failure(Failure::Overloaded { retry_after }) = HttpStatus.classify(Ok::<_, &()>(&response)) else {
///     panic!("429 asks for less");
/// };
/// assert_eq!(retry_after.unwrap().as_secs(), 3);
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct HttpStatus;

/// A classifier for policies that settle when the body of the response ends.
///
/// The head is asked first. `None` means that only the end of the body can tell; then the end is asked, and that answer
/// counts. What comes with the classifier as it is: the head decides every failure, and a success is one only once the
/// body has ended well. So any classifier of responses becomes one by an empty `impl`.
///
/// Policies ask [`judge_head`](ClassifyBody::judge_head), so a classifier never sees the refusals of the policies further in.
///
/// ```
/// use http::Response;
/// use mainstay_core::{Class, Failure, HttpStatus, http::{ClassifyBody, End}};
///
/// let broken = Response::builder().status(500).body(())?;
/// let decided = HttpStatus.classify_head(Ok::<_, &()>(&broken));
/// assert_eq!(decided, Some(Class::Failure(Failure::Transient)));
///
/// // A status of 200, and then the connection is cut in the middle of the body.
/// let fine = Response::new(());
/// assert_eq!(HttpStatus.classify_head(Ok::<_, &()>(&fine)), None);
/// let decided = ClassifyBody::<(), ()>::classify_end(&HttpStatus, End::Failed);
/// assert_eq!(decided, Class::Failure(Failure::Transient));
/// # Ok::<(), http::Error>(())
/// ```
pub trait ClassifyBody<B, E>: Classify<Response<B>, E> {
    /// Classifies the head of a response, or the error; `None` if only the end of the body can tell.
    ///
    /// An error has no body, so for one there must be an answer.
    fn classify_head(&self, result: Result<&Response<B>, &E>) -> Option<Class> {
        match self.classify(result) {
            Class::Success if result.is_ok() => None,
            decided => Some(decided),
        }
    }

    /// Classifies the end of a body whose head could not tell.
    fn classify_end(&self, end: End<'_>) -> Class {
        match end {
            End::Complete { .. } | End::HeadOnly => Class::Success,
            End::Failed => Class::Failure(Failure::Transient),
        }
    }

    /// Classifies the head of the answer of a stack: a refusal from further in is [`Class::Ignored`], because the service
    /// was not asked; everything else goes to [`classify_head`](ClassifyBody::classify_head).
    fn judge_head(&self, result: Result<&Response<B>, &E>) -> Option<Class>
    where
        E: Refusable,
    {
        match result {
            Err(error) if matches!(error.verdict(), Verdict::Refused(_)) => Some(Class::Ignored),
            result => self.classify_head(result),
        }
    }
}

impl<B, E> Classify<Response<B>, E> for HttpStatus {
    fn classify(&self, result: Result<&Response<B>, &E>) -> Class {
        match result {
            Ok(response) => http_class(response.status(), response.headers()),
            Err(_) => Class::Failure(Failure::Transient),
        }
    }
}

impl<B, E> ClassifyBody<B, E> for HttpStatus {}

impl<B, E> ClassifyBody<B, E> for AnyError {}

impl<B, E, F> ClassifyBody<B, E> for ClassifyFn<F> where F: Fn(Result<&Response<B>, &E>) -> Class {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Error, Reason, Refused, TimedOut, classify_fn};
    use std::time::Duration;

    const TRANSIENT: Class = Class::Failure(Failure::Transient);
    const PERMANENT: Class = Class::Failure(Failure::Permanent);

    type Answer = Result<Response<()>, Error<()>>;

    fn response(status: u16) -> Response<()> {
        Response::builder().status(status).body(()).unwrap()
    }

    fn overloaded(seconds: Option<u64>) -> Class {
        Class::Failure(Failure::Overloaded { retry_after: seconds.map(Duration::from_secs) })
    }

    fn class(status: u16, retry_after: Option<&str>) -> Class {
        let mut response = response(status);
        if let Some(value) = retry_after {
            response.headers_mut().insert("retry-after", value.parse().unwrap());
        }
        HttpStatus.classify(Ok::<_, &()>(&response))
    }

    #[test]
    fn every_status_has_its_class() {
        for status in 100..=999 {
            let expected = match status {
                429 => overloaded(None),
                501 | 505 => PERMANENT,
                408 | 500..=599 => TRANSIENT,
                _ => Class::Success,
            };
            assert_eq!(class(status, None), expected, "{status}");
        }
    }

    #[test]
    fn retry_after_makes_an_unavailable_service_an_overloaded_one() {
        assert_eq!(class(503, Some("7")), overloaded(Some(7)));
        assert_eq!(class(503, Some("0")), overloaded(Some(0)));
        assert_eq!(class(503, Some("soon")), TRANSIENT);
        assert_eq!(class(429, Some("7")), overloaded(Some(7)));
        assert_eq!(class(429, Some("soon")), overloaded(None));
    }

    #[test]
    fn retry_after_means_nothing_on_other_statuses() {
        assert_eq!(class(500, Some("7")), TRANSIENT);
        assert_eq!(class(501, Some("7")), PERMANENT);
        assert_eq!(class(301, Some("7")), Class::Success);
    }

    #[test]
    fn the_head_decides_failures_and_leaves_successes_to_the_end() {
        let head = |status| HttpStatus.classify_head(Ok::<_, &()>(&response(status)));
        assert_eq!(head(500), Some(TRANSIENT));
        assert_eq!(head(200), None);
        assert_eq!(head(404), None);
        let failed: Answer = Err(Error::Inner(()));
        assert_eq!(HttpStatus.classify_head(failed.as_ref()), Some(TRANSIENT));
    }

    #[test]
    fn a_success_needs_a_body_that_ends_well() {
        let end = |end| ClassifyBody::<(), ()>::classify_end(&HttpStatus, end);
        assert_eq!(end(End::Complete { trailers: None }), Class::Success);
        assert_eq!(end(End::HeadOnly), Class::Success);
        assert_eq!(end(End::Failed), TRANSIENT);
    }

    #[test]
    fn an_error_that_counts_as_success_is_decided_at_once() {
        let lenient = classify_fn(|_: Result<&Response<()>, &Error<()>>| Class::Success);
        let error: Answer = Err(Error::Inner(()));
        assert_eq!(lenient.classify_head(error.as_ref()), Some(Class::Success));
        assert_eq!(lenient.classify_head(Ok(&response(500))), None);
    }

    #[test]
    fn refusals_from_further_in_are_ignored_and_timeouts_are_not() {
        let refused: Answer = Err(Refused::new(Reason::CircuitOpen, "test").into());
        let judged = HttpStatus.judge_head(refused.as_ref());
        assert_eq!(judged, Some(Class::Ignored));

        let timed_out: Answer = Err(TimedOut::new("test", Duration::ZERO).into());
        let judged = HttpStatus.judge_head(timed_out.as_ref());
        assert_eq!(judged, Some(TRANSIENT));
    }
}
