//! A refusal or a timeout as an HTTP response.

use crate::{Reason, Refusable, Refused, TimedOut, Verdict};
use http::{HeaderValue, Response, StatusCode, header::RETRY_AFTER};
use std::{error, fmt, time::Duration};

/// Why a stack has no response of the service to give: what a caller over HTTP must be told.
///
/// | refusal or timeout | status |
/// | --- | --- |
/// | [`RateLimited`](Reason::RateLimited) | 429 Too Many Requests |
/// | [`DeadlinePassed`](Reason::DeadlinePassed), [`TimedOut`] | 504 Gateway Timeout |
/// | every other reason | 503 Service Unavailable |
///
/// [`RefusalResponseLayer`](super::RefusalResponseLayer) makes responses of these in a stack. A handler that uses the
/// policies without tower makes its own:
///
/// ```
/// use http::Response;
/// use mainstay_core::{Reason, Refused, http::Rejection};
/// use std::time::Duration;
///
/// let refused = Refused::new(Reason::CircuitOpen, "payments").with_retry_after(Duration::from_millis(900));
/// let response: Response<String> = Rejection::from(refused).response();
///
/// assert_eq!(response.status(), 503);
/// assert_eq!(response.headers()["retry-after"], "1");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// The call was certainly not handed to the service.
    Refused(Refused),
    /// The call was started and its outcome is unknown.
    TimedOut(TimedOut),
}

impl Rejection {
    /// The rejection that an error stands for; `None` if the service itself failed.
    ///
    /// For errors other than [`Error<E>`](crate::Error), such as a [`BoxError`](crate::BoxError) in the error handler of
    /// a web framework.
    pub fn of(error: &impl Refusable) -> Option<Self> {
        match error.verdict() {
            Verdict::Refused(refused) => Some(Self::Refused(*refused)),
            Verdict::TimedOut(timed_out) => Some(Self::TimedOut(*timed_out)),
            Verdict::Other => None,
        }
    }

    /// The status of the response.
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::TimedOut(_) => StatusCode::GATEWAY_TIMEOUT,
            Self::Refused(refused) => match refused.reason() {
                Reason::DeadlinePassed => StatusCode::GATEWAY_TIMEOUT,
                Reason::RateLimited => StatusCode::TOO_MANY_REQUESTS,
                _ => StatusCode::SERVICE_UNAVAILABLE,
            },
        }
    }

    /// How long to wait before asking again can help; `None` if nobody knows.
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused(refused) => refused.retry_after(),
            Self::TimedOut(_) => None,
        }
    }

    /// The response: status, `Retry-After` where it is known, and an empty body.
    ///
    /// `Retry-After` counts whole seconds, rounded up, and is never less than one: callers that come back a little too
    /// early are refused again, all together.
    pub fn response<B: Default>(&self) -> Response<B> {
        let mut response = Response::new(B::default());
        *response.status_mut() = self.status();
        if let Some(wait) = self.retry_after() {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(whole_seconds(wait)));
        }
        response
    }
}

/// Rounds up to whole seconds, one at least.
fn whole_seconds(wait: Duration) -> u64 {
    let begun = u64::from(wait.subsec_nanos() > 0);
    wait.as_secs().saturating_add(begun).max(1)
}

impl From<Refused> for Rejection {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl From<TimedOut> for Rejection {
    fn from(timed_out: TimedOut) -> Self {
        Self::TimedOut(timed_out)
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refused) => refused.fmt(f),
            Self::TimedOut(timed_out) => timed_out.fmt(f),
        }
    }
}

impl error::Error for Rejection {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BoxError, Error, http::retry_after};
    use proptest::prelude::*;

    fn refused(reason: Reason) -> Rejection {
        Refused::new(reason, "test").into()
    }

    fn after(wait: Duration) -> Rejection {
        Refused::new(Reason::RateLimited, "test").with_retry_after(wait).into()
    }

    #[test]
    fn every_rejection_has_its_status() {
        for (rejection, status) in [
            (refused(Reason::BudgetExhausted), 503),
            (refused(Reason::BulkheadFull), 503),
            (refused(Reason::CircuitOpen), 503),
            (refused(Reason::DeadlinePassed), 504),
            (refused(Reason::FlightFailed), 503),
            (refused(Reason::NoEndpoint), 503),
            (refused(Reason::RateLimited), 429),
            (refused(Reason::Throttled), 503),
            (TimedOut::new("test", Duration::ZERO).into(), 504),
        ] {
            let response = rejection.response::<()>();
            assert_eq!(response.status(), status, "{rejection}");
            assert!(response.headers().is_empty(), "{rejection}");
        }
    }

    #[test]
    fn retry_after_is_rounded_up_and_at_least_a_second() {
        for (millis, written) in [(0, "1"), (1, "1"), (900, "1"), (1_000, "1"), (1_001, "2")] {
            let response = after(Duration::from_millis(millis)).response::<()>();
            assert_eq!(response.headers()[RETRY_AFTER], written, "{millis}");
        }
    }

    #[test]
    fn the_longest_wait_can_be_written() {
        let response = after(Duration::MAX).response::<()>();
        assert_eq!(response.headers()[RETRY_AFTER], u64::MAX.to_string().as_str());
    }

    #[test]
    fn an_error_is_a_rejection_unless_the_service_failed() {
        let rejection = refused(Reason::NoEndpoint);
        let error: Error<()> = Refused::new(Reason::NoEndpoint, "test").into();
        assert_eq!(Rejection::of(&error), Some(rejection));
        assert_eq!(Rejection::of(&Error::Inner(())), None);

        let timed_out = TimedOut::new("test", Duration::ZERO);
        let boxed: BoxError = timed_out.into();
        assert_eq!(Rejection::of(&boxed), Some(timed_out.into()));
    }

    proptest! {
        #[test]
        fn nobody_is_told_to_come_back_too_early(seconds: u64, nanos in 0_u32..1_000_000_000) {
            let wait = Duration::new(seconds, nanos);
            let told = retry_after(after(wait).response::<()>().headers()).unwrap();
            prop_assert!(told >= wait || seconds == u64::MAX);
            prop_assert!(told <= wait.saturating_add(Duration::from_secs(1)));
        }
    }
}
