//! How the configuration is written: `open_for = "30s"`, or `{ first = "5s", factor = 2.0, max = "5m" }`.

use crate::config::{OpenFor, SlowRate, Window};
use mainstay_core::config::{duration, rate};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, IntoDeserializer, MapAccess, Unexpected, Visitor, value::MapAccessDeserializer},
    ser::SerializeMap,
};
use std::{fmt, time::Duration};

/// The form that grows.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Growing {
    #[serde(with = "duration")]
    first: Duration,
    factor: f64,
    #[serde(with = "duration")]
    max: Duration,
}

impl<'de> Deserialize<'de> for OpenFor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Written)
    }
}

/// Text or a map; asked for both, so that the error is that of the form which was written.
struct Written;

impl<'de> Visitor<'de> for Written {
    type Value = OpenFor;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a time such as \"30s\", or `first`, `factor` and `max`")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<OpenFor, E> {
        duration::deserialize(text.into_deserializer()).map(OpenFor::Fixed)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<OpenFor, A::Error> {
        let Growing { first, factor, max } = Growing::deserialize(MapAccessDeserializer::new(map))?;
        Ok(OpenFor::Growing { first, factor, max })
    }
}

impl Serialize for OpenFor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match *self {
            Self::Fixed(time) => duration::serialize(&time, serializer),
            Self::Growing { first, factor, max } => Growing { first, factor, max }.serialize(serializer),
        }
    }
}

/// A window as a map of one entry: the derived form of an enum is a tag in YAML, and a map elsewhere.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenWindow {
    consecutive: Option<u32>,
    last: Option<u32>,
    within: Option<Text>,
}

/// A duration as text.
#[derive(Serialize, Deserialize)]
struct Text(#[serde(with = "duration")] Duration);

impl<'de> Deserialize<'de> for Window {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match WrittenWindow::deserialize(deserializer)? {
            WrittenWindow { consecutive: Some(failures), last: None, within: None } => Ok(Self::Consecutive(failures)),
            WrittenWindow { consecutive: None, last: Some(calls), within: None } => Ok(Self::Last(calls)),
            WrittenWindow { consecutive: None, last: None, within: Some(Text(span)) } => Ok(Self::Within(span)),
            _ => Err(D::Error::custom("a window is one of `consecutive`, `last` and `within`")),
        }
    }
}

impl Serialize for Window {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        match *self {
            Self::Consecutive(failures) => map.serialize_entry("consecutive", &failures)?,
            Self::Last(calls) => map.serialize_entry("last", &calls)?,
            Self::Within(span) => map.serialize_entry("within", &Text(span))?,
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for SlowRate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WrittenRate)
    }
}

const WITH_FAILURES: &str = "with_failures";

/// A rate, or the word that takes its place.
struct WrittenRate;

impl Visitor<'_> for WrittenRate {
    type Value = SlowRate;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a rate such as 0.05 or \"5%\", or {WITH_FAILURES:?}")
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<SlowRate, E> {
        rate::deserialize(number.into_deserializer()).map(SlowRate::Own)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<SlowRate, E> {
        rate::deserialize(number.into_deserializer()).map(SlowRate::Own)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<SlowRate, E> {
        rate::deserialize(number.into_deserializer()).map(SlowRate::Own)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<SlowRate, E> {
        if text == WITH_FAILURES {
            return Ok(SlowRate::WithFailures);
        }
        rate::deserialize(text.into_deserializer())
            .map(SlowRate::Own)
            .map_err(|_: E| E::invalid_value(Unexpected::Str(text), &self))
    }
}

impl Serialize for SlowRate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Own(own) => rate::serialize(own, serializer),
            Self::WithFailures => serializer.serialize_str(WITH_FAILURES),
        }
    }
}

/// A duration that may be absent.
pub(crate) mod optional_duration {
    use super::{Deserialize, Deserializer, Duration, Serialize, Serializer, Text};

    #[expect(clippy::ref_option, reason = "the signature that serde asks for")]
    pub(crate) fn serialize<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        duration.map(Text).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<Text>::deserialize(deserializer)?.map(|Text(duration)| duration))
    }
}

/// Shares in the notation of rates.
pub(crate) mod shares {
    use super::{Deserialize, Deserializer, Serialize, Serializer, rate};

    #[derive(Serialize, Deserialize)]
    struct Share(#[serde(with = "rate")] f64);

    pub(crate) fn serialize<S: Serializer>(shares: &[f64], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(shares.iter().map(|&share| Share(share)))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f64>, D::Error> {
        let shares = Vec::<Share>::deserialize(deserializer)?;
        Ok(shares.into_iter().map(|Share(share)| share).collect())
    }
}
