//! What all configurations share: the error for a value out of range, and the notation of durations and rates.

use std::{
    error,
    fmt::{self, Debug},
    ops::RangeInclusive,
};

/// A setting that cannot work, found when the policy is made.
///
/// ```
/// use mainstay_core::config::InvalidConfig;
///
/// let error = InvalidConfig::check("probes", 0_u32, 1..=1_000).unwrap_err();
///
/// assert_eq!(error.field(), "probes");
/// assert_eq!(error.to_string(), "`probes` is 0, allowed is 1 to 1000");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidConfig {
    field: &'static str,
    value: String,
    allowed: String,
}

impl InvalidConfig {
    /// The setting `field` has a `value` that is not `allowed`.
    pub fn new(field: &'static str, value: impl Debug, allowed: impl Into<String>) -> Self {
        Self { field, value: format!("{value:?}"), allowed: allowed.into() }
    }

    /// Checks that a value is in a range.
    ///
    /// # Errors
    ///
    /// If it is not; `NaN` is in no range.
    pub fn check<T: PartialOrd + Debug>(field: &'static str, value: T, range: RangeInclusive<T>) -> Result<(), Self> {
        if range.contains(&value) {
            return Ok(());
        }
        Err(Self::new(field, value, format!("{:?} to {:?}", range.start(), range.end())))
    }

    /// Checks that a rate is a number above zero and not above one.
    ///
    /// # Errors
    ///
    /// If it is not, or is `NaN`.
    pub fn check_rate(field: &'static str, rate: f64) -> Result<(), Self> {
        if rate > 0.0 && rate <= 1.0 {
            return Ok(());
        }
        Err(Self::new(field, rate, "above 0.0, up to 1.0"))
    }

    /// The name of the setting, as in the configuration.
    pub const fn field(&self) -> &'static str {
        self.field
    }
}

impl fmt::Display for InvalidConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is {}, allowed is {}", self.field, self.value, self.allowed)
    }
}

impl error::Error for InvalidConfig {}

/// Durations in configuration files: `"250ms"`, `"30s"`, `"1h 30m"`. For `#[serde(with = "…")]`.
#[cfg(feature = "serde")]
pub mod duration {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use std::{borrow::Cow, time::Duration};

    /// Writes a duration as text.
    ///
    /// # Errors
    ///
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(*duration))
    }

    /// Reads a duration from text.
    ///
    /// # Errors
    ///
    /// If the text is not a number and a unit.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        humantime::parse_duration(&text)
            .map_err(|error| D::Error::custom(format_args!("{text:?} is not a duration such as \"30s\": {error}")))
    }
}

/// Rates in configuration files: `"5%"` or `0.05`. For `#[serde(with = "…")]`.
#[cfg(feature = "serde")]
pub mod rate {
    use serde::{
        Deserializer, Serializer,
        de::{Error, Visitor},
    };
    use std::fmt;

    /// Writes a rate as a number.
    ///
    /// # Errors
    ///
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(rate: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(*rate)
    }

    /// Reads a rate from a number or a percentage.
    ///
    /// # Errors
    ///
    /// If it is neither. Whether the rate is in range is checked by the policy that is made of it.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        deserializer.deserialize_any(Rate)
    }

    struct Rate;

    impl Visitor<'_> for Rate {
        type Value = f64;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a rate such as 0.05 or \"5%\"")
        }

        fn visit_f64<E: Error>(self, rate: f64) -> Result<f64, E> {
            Ok(rate)
        }

        fn visit_u64<E: Error>(self, rate: u64) -> Result<f64, E> {
            u32::try_from(rate).map(f64::from).map_err(|_| E::custom("a rate is not above 1"))
        }

        fn visit_i64<E: Error>(self, rate: i64) -> Result<f64, E> {
            i32::try_from(rate).map(f64::from).map_err(|_| E::custom("a rate is between 0 and 1"))
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<f64, E> {
            // The exponent shifts the decimal point without rounding: "0.1%" is the same number as 0.001.
            text.strip_suffix('%')
                .map(str::trim_end)
                .filter(|number| number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'))
                .and_then(|number| format!("{number}e-2").parse().ok())
                .ok_or_else(|| E::custom(format_args!("{text:?} is not a rate such as 0.05 or \"5%\"")))
        }
    }
}
