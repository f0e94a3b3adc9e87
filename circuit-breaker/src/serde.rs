//! How the configuration is written: `open_for = "30s"`, or `{ first = "5s", factor = 2.0, max = "5m" }`.

use crate::config::{OpenFor, Window};
use mainstay_core::config::duration;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, IntoDeserializer, MapAccess, Visitor, value::MapAccessDeserializer},
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
