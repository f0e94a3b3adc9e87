//! How a time is written in a header.

use http::{HeaderMap, HeaderName};
use std::time::Duration;

/// The header of gRPC.
pub(super) const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// The plain header: how long the caller still waits, in milliseconds, written in digits.
pub const X_REQUEST_TIMEOUT_MS: HeaderName = HeaderName::from_static("x-request-timeout-ms");

/// The most that eight digits can say.
const EIGHT_DIGITS: u128 = 99_999_999;

/// The units of gRPC, the finest first, in nanoseconds.
const UNITS: [(u8, u128); 6] = [
    (b'n', 1),
    (b'u', 1_000),
    (b'm', 1_000_000),
    (b'S', 1_000_000_000),
    (b'M', 60 * 1_000_000_000),
    (b'H', 3_600 * 1_000_000_000),
];

/// How long the caller of a request still waits, by its headers; `None` if none of them can be read.
///
/// Read are `grpc-timeout` (one to eight digits and a unit: `H`, `M`, `S`, `m`, `u` or `n`; from "gRPC over HTTP2") and
/// [`x-request-timeout-ms`](X_REQUEST_TIMEOUT_MS) (digits only; a number too large to count is the largest). The smallest
/// counts; what cannot be read is ignored.
///
/// ```
/// use http::{HeaderMap, HeaderValue};
/// use mainstay_timeout::time_left;
/// use std::time::Duration;
///
/// let mut headers = HeaderMap::new();
/// headers.insert("grpc-timeout", HeaderValue::from_static("2S"));
/// assert_eq!(time_left(&headers), Some(Duration::from_secs(2)));
///
/// headers.insert("x-request-timeout-ms", HeaderValue::from_static("1500"));
/// assert_eq!(time_left(&headers), Some(Duration::from_millis(1500)));
///
/// headers.insert("x-request-timeout-ms", HeaderValue::from_static("-1"));
/// assert_eq!(time_left(&headers), Some(Duration::from_secs(2)));
/// ```
pub fn time_left(headers: &HeaderMap) -> Option<Duration> {
    let grpc = headers.get_all(GRPC_TIMEOUT).iter().filter_map(|value| read_grpc(value.as_bytes()));
    let millis = headers.get_all(X_REQUEST_TIMEOUT_MS).iter().filter_map(|value| read_millis(value.as_bytes()));
    grpc.chain(millis).min()
}

fn read_grpc(text: &[u8]) -> Option<Duration> {
    let (unit, number) = text.split_last()?;
    let (_, nanos) = UNITS.iter().find(|(letter, _)| letter == unit)?;
    if number.len() > 8 {
        return None;
    }
    // At most eight digits of hours: ten times less than `Duration` can hold in nanoseconds.
    Some(Duration::from_nanos_u128(u128::from(digits(number)?) * nanos))
}

fn read_millis(text: &[u8]) -> Option<Duration> {
    digits(text).map(Duration::from_millis)
}

/// A number written in nothing but ASCII digits; saturating.
fn digits(text: &[u8]) -> Option<u64> {
    (!text.is_empty()).then_some(())?;
    text.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| byte - b'0')?;
        Some(number.saturating_mul(10).saturating_add(digit.into()))
    })
}

/// In the finest unit that takes eight digits, rounded down.
pub(super) fn write_grpc(time: Duration) -> String {
    let nanos = time.as_nanos();
    let fits = |&&(_, unit): &&(u8, u128)| nanos / unit <= EIGHT_DIGITS;
    let (letter, unit) = UNITS.iter().find(fits).unwrap_or(&UNITS[5]);
    format!("{}{}", (nanos / unit).min(EIGHT_DIGITS), char::from(*letter))
}

/// Rounded down, but time that is left is at least a millisecond. At most what others can read as a number, too.
pub(super) fn write_millis(time: Duration) -> String {
    let millis = time.as_millis().min(u64::MAX.into());
    if millis == 0 && !time.is_zero() { "1".to_owned() } else { millis.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    const MILLI: Duration = Duration::from_millis(1);

    fn headers(name: &HeaderName, values: &[&[u8]]) -> HeaderMap {
        let value = |value: &&[u8]| HeaderValue::from_bytes(value).ok().map(|value| (name.clone(), value));
        values.iter().filter_map(value).collect()
    }

    #[test]
    fn the_units_are_those_of_the_protocol() {
        let seconds = Duration::from_secs;
        for (text, time) in [
            ("1H", seconds(3_600)),
            ("1M", seconds(60)),
            ("1S", seconds(1)),
            ("1m", Duration::from_millis(1)),
            ("1u", Duration::from_micros(1)),
            ("1n", Duration::from_nanos(1)),
            ("0S", Duration::ZERO),
            ("00000007S", seconds(7)),
            ("99999999H", seconds(99_999_999 * 3_600)),
        ] {
            assert_eq!(read_grpc(text.as_bytes()), Some(time), "{text}");
        }
    }

    #[test]
    fn junk_is_ignored() {
        for text in
            ["", "S", "1", "1s", "1h", "1 S", " 1S", "1S ", "+1S", "-1S", "1.5S", "100000000S", "1SS", "\u{661}S"]
        {
            assert_eq!(read_grpc(text.as_bytes()), None, "{text:?}");
        }
        for text in ["", " ", "1ms", "-1", "+1", "1.5", "1e3", "0x10", "1 000", "\u{661}"] {
            assert_eq!(read_millis(text.as_bytes()), None, "{text:?}");
        }
        let mixed = headers(&GRPC_TIMEOUT, &[b"junk", b"3S", b"\xff\xfe", b"2S"]);
        assert_eq!(time_left(&mixed), Some(Duration::from_secs(2)));
        assert_eq!(time_left(&HeaderMap::new()), None);
    }

    #[test]
    fn a_number_of_any_length_saturates() {
        let long = "9".repeat(100_000);
        assert_eq!(read_millis(long.as_bytes()), Some(Duration::from_millis(u64::MAX)));
        assert_eq!(read_grpc(format!("{long}S").as_bytes()), None);
        assert_eq!(read_millis("0".repeat(100_000).as_bytes()), Some(Duration::ZERO));
    }

    #[test]
    fn the_finest_unit_of_eight_digits_is_written() {
        for (time, text) in [
            (Duration::ZERO, "0n"),
            (Duration::from_nanos(1), "1n"),
            (Duration::from_nanos(99_999_999), "99999999n"),
            (Duration::from_nanos(100_000_999), "100000u"),
            (Duration::from_secs(2), "2000000u"),
            (Duration::from_secs(100), "100000m"),
            (Duration::from_hours(28), "100800S"),
            (Duration::MAX, "99999999H"),
        ] {
            assert_eq!(write_grpc(time), text);
        }
    }

    #[test]
    fn what_is_left_of_a_millisecond_is_one() {
        assert_eq!(write_millis(Duration::ZERO), "0");
        assert_eq!(write_millis(Duration::from_nanos(1)), "1");
        assert_eq!(write_millis(Duration::from_nanos(1_999_999)), "1");
        assert_eq!(write_millis(Duration::from_millis(u64::MAX - 1)), "18446744073709551614");
        assert_eq!(write_millis(Duration::MAX), "18446744073709551615");
    }

    proptest! {
        #[test]
        fn nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..30), text in "[0-9]{0,25}[HMSmunx]?") {
            for bytes in [&bytes[..], text.as_bytes()] {
                let (grpc, millis) = (read_grpc(bytes), read_millis(bytes));
                let all = headers(&GRPC_TIMEOUT, &[bytes]);
                prop_assert!(time_left(&all).is_none_or(|time| Some(time) == grpc));
                prop_assert!(grpc.is_none() || millis.is_none());
            }
        }

        #[test]
        fn a_time_is_never_lengthened(secs in prop_oneof![0..5_u64, 0..400_000_u64, any::<u64>()], nanos in 0..1_000_000_000_u32) {
            let time = Duration::new(secs, nanos);
            let grpc = read_grpc(write_grpc(time).as_bytes()).unwrap();
            let millis = read_millis(write_millis(time).as_bytes()).unwrap();
            prop_assert!(grpc <= time && millis <= time.max(MILLI));
            prop_assert!(time.is_zero() || !grpc.is_zero() && !millis.is_zero());
            // Rounded by less than one in a hundred thousand, until eight digits of hours are too few.
            prop_assert!(grpc.as_nanos() * 100_001 / 100_000 + 1 >= time.as_nanos() || secs > 99_999_999 * 3_600);
            prop_assert!(millis + MILLI >= time || time > Duration::from_millis(u64::MAX));
        }
    }
}
