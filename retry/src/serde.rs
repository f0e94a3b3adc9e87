//! How the configurations are written.

use crate::backoff::{Backoff, Jitter, Shape};
use mainstay_core::config::duration;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use std::time::Duration;

/// A backoff as a map: one of the three shapes, and what else is set.
#[derive(Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Written {
    #[serde(skip_serializing_if = "Option::is_none")]
    constant: Option<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    linear: Option<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exponential: Option<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    factor: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cap: Option<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    floor: Option<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jitter: Option<Jitter>,
}

/// A duration as text.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Text(#[serde(with = "duration")] Duration);

impl Written {
    /// The backoff of the shape alone.
    fn shape(&self) -> Result<Backoff, &'static str> {
        match (self.constant, self.linear, self.exponential) {
            (None, None, None) => Ok(Backoff::default()),
            (Some(Text(wait)), None, None) => Ok(Backoff::constant(wait)),
            (None, Some(Text(first)), None) => Ok(Backoff::linear(first)),
            (None, None, Some(Text(first))) => Ok(Backoff::exponential(first)),
            _ => Err("a backoff is one of `constant`, `linear` and `exponential`"),
        }
    }

    fn backoff(&self) -> Result<Backoff, &'static str> {
        let mut backoff = self.shape()?;
        match (backoff.shape, self.factor) {
            (Shape::Exponential { .. }, Some(factor)) => backoff = backoff.factor(factor),
            (_, Some(_)) => return Err("a `factor` is only of an exponential backoff"),
            (_, None) => {}
        }
        backoff.cap = self.cap.map_or(backoff.cap, |Text(cap)| cap);
        backoff.floor = self.floor.map_or(backoff.floor, |Text(floor)| floor);
        backoff.jitter = self.jitter.unwrap_or(backoff.jitter);
        Ok(backoff)
    }
}

impl<'de> Deserialize<'de> for Backoff {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Written::deserialize(deserializer)?.backoff().map_err(D::Error::custom)
    }
}

impl Serialize for Backoff {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut written = Written {
            cap: Some(Text(self.cap)),
            floor: Some(Text(self.floor)),
            jitter: Some(self.jitter),
            ..Written::default()
        };
        match self.shape {
            Shape::Constant(wait) => written.constant = Some(Text(wait)),
            Shape::Linear(first) => written.linear = Some(Text(first)),
            Shape::Exponential { first, factor } => {
                written.exponential = Some(Text(first));
                written.factor = Some(factor);
            }
        }
        written.serialize(serializer)
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

/// A name, kept for the life of the process.
pub(crate) mod name {
    use mainstay_core::intern;
    use serde::{Deserialize, Deserializer, Serializer};
    use std::borrow::Cow;

    pub(crate) fn serialize<S: Serializer>(name: &&'static str, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(name)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<&'static str, D::Error> {
        Ok(intern(&Cow::<'de, str>::deserialize(deserializer)?))
    }
}
