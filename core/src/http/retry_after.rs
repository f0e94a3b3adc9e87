//! How long a response asks to be left alone.

use http::{
    HeaderMap, HeaderName,
    header::{DATE, RETRY_AFTER},
};
use std::time::{Duration, SystemTime};

/// The wait that `Retry-After` asks for (RFC 9110, section 10.2.3); `None` if there is none that can be read.
///
/// Both forms are read:
///
/// - A number of seconds. A number too large to count is the longest wait that can be counted, so what adds a wait to a
///   moment must check the sum.
/// - A date. The wait runs from the `Date` of the same response, which an origin server with a clock sends (section
///   6.6.1), and not from the clock of this machine: the two clocks may differ by more than the wait. A date that is
///   already past is no wait at all; without a `Date` that can be read there is no answer.
///
/// ```
/// use http::{HeaderMap, HeaderValue};
/// use mainstay_core::http::retry_after;
/// use std::time::Duration;
///
/// let mut headers = HeaderMap::new();
/// headers.insert("retry-after", HeaderValue::from_static("120"));
/// assert_eq!(retry_after(&headers), Some(Duration::from_secs(120)));
///
/// headers.insert("retry-after", HeaderValue::from_static("Fri, 31 Dec 1999 23:59:59 GMT"));
/// assert_eq!(retry_after(&headers), None, "from when?");
///
/// headers.insert("date", HeaderValue::from_static("Fri, 31 Dec 1999 23:59:29 GMT"));
/// assert_eq!(retry_after(&headers), Some(Duration::from_secs(30)));
/// ```
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.as_bytes();
    match digits(value) {
        Some(seconds) => Some(Duration::from_secs(seconds)),
        None => Some(until(date(headers, &RETRY_AFTER)?, date(headers, &DATE)?)),
    }
}

/// A number written in nothing but ASCII digits, with optional white space around it; saturating.
pub(super) fn digits(value: &[u8]) -> Option<u64> {
    let value = trim(value);
    (!value.is_empty()).then_some(())?;
    value.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| byte - b'0')?;
        Some(number.saturating_mul(10).saturating_add(digit.into()))
    })
}

fn date(headers: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    let value = std::str::from_utf8(trim(headers.get(name)?.as_bytes())).ok()?;
    httpdate::parse_http_date(value).ok()
}

fn until(then: SystemTime, now: SystemTime) -> Duration {
    then.duration_since(now).unwrap_or(Duration::ZERO)
}

/// Cuts off the optional white space of RFC 9110, section 5.6.3: spaces and tabs.
fn trim(value: &[u8]) -> &[u8] {
    let is_text = |byte: &u8| !matches!(byte, b' ' | b'\t');
    let start = value.iter().position(is_text).unwrap_or(value.len());
    let end = value.iter().rposition(is_text).map_or(start, |last| last + 1);
    &value[start..end]
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    const NOON: &str = "Sun, 06 Nov 1994 12:00:00 GMT";

    fn read(retry_after: &[u8], date: Option<&[u8]>) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, HeaderValue::from_bytes(retry_after).ok()?);
        if let Some(date) = date {
            headers.insert(DATE, HeaderValue::from_bytes(date).ok()?);
        }
        super::retry_after(&headers)
    }

    /// The form in which `read` gives a wait.
    #[expect(clippy::unnecessary_wraps, reason = "compared with what was read")]
    fn seconds(number: u64) -> Option<Duration> {
        Some(Duration::from_secs(number))
    }

    #[test]
    fn white_space_around_the_seconds_is_tolerated() {
        assert_eq!(read(b" \t7\t ", None), seconds(7));
        assert_eq!(read(b"007", None), seconds(7));
    }

    #[test]
    fn a_number_too_large_to_count_is_the_longest_wait() {
        assert_eq!(read(b"18446744073709551615", None), seconds(u64::MAX));
        assert_eq!(read(b"18446744073709551616", None), seconds(u64::MAX));
        assert_eq!(read(&[b'9'; 400], None), seconds(u64::MAX));
    }

    #[test]
    fn what_is_neither_form_is_no_answer() {
        for junk in ["", " ", "-1", "+1", "1.5", "1 2", "1s", "soon", "0x10", "٣"] {
            assert_eq!(read(junk.as_bytes(), Some(NOON.as_bytes())), None, "{junk}");
        }
        assert_eq!(super::retry_after(&HeaderMap::new()), None);
    }

    #[test]
    fn a_date_counts_from_the_date_of_the_response_in_all_three_formats() {
        for later in ["Sun, 06 Nov 1994 12:00:30 GMT", "Sunday, 06-Nov-94 12:00:30 GMT", "Sun Nov  6 12:00:30 1994"] {
            assert_eq!(read(later.as_bytes(), Some(NOON.as_bytes())), seconds(30), "{later}");
        }
    }

    #[test]
    fn a_date_in_the_past_is_no_wait() {
        let earlier = b"Sun, 06 Nov 1994 11:59:59 GMT";
        assert_eq!(read(earlier, Some(NOON.as_bytes())), seconds(0));
    }

    #[test]
    fn a_date_without_a_usable_date_header_is_no_answer() {
        assert_eq!(read(NOON.as_bytes(), None), None);
        assert_eq!(read(NOON.as_bytes(), Some(b"yesterday")), None);
    }

    proptest! {
        #[test]
        fn seconds_round_trip(number: u64, left in "[ \t]{0,3}", right in "[ \t]{0,3}") {
            let text = format!("{left}{number}{right}");
            prop_assert_eq!(read(text.as_bytes(), None), seconds(number));
        }

        #[test]
        fn nothing_panics(
            retry_after in prop::collection::vec(any::<u8>(), 0..40),
            date in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            read(&retry_after, Some(&date));
        }

        #[test]
        fn no_almost_date_panics(
            retry_after in "[SMTWF][a-z]{2,7}[, ]{1,2}[0-9 ]{2}[- ][A-Z][a-z]{2}[- ][0-9]{2,4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT",
            date in "[SMTWF][a-z]{2} [A-Z][a-z]{2} [ 0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2} [0-9]{4}",
        ) {
            read(retry_after.as_bytes(), Some(date.as_bytes()));
        }
    }
}
