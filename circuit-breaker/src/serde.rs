//! How the configuration is written: `open_for = "30s"`, or `{ first = "5s", factor = 2.0, max = "5m" }`.

use crate::config::OpenFor;
use mainstay_core::{config::duration, intern};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{borrow::Cow, time::Duration};

/// Reads a name and makes it `'static`.
pub(crate) fn name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<&'static str, D::Error> {
    Ok(intern(&Cow::<'de, str>::deserialize(deserializer)?))
}

#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a time such as \"30s\", or `first`, `factor` and `max`")]
enum Written {
    Fixed(#[serde(with = "duration")] Duration),
    Growing(Growing),
}

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
        Ok(match Written::deserialize(deserializer)? {
            Written::Fixed(time) => Self::Fixed(time),
            Written::Growing(Growing { first, factor, max }) => Self::Growing { first, factor, max },
        })
    }
}

impl Serialize for OpenFor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match *self {
            Self::Fixed(time) => Written::Fixed(time),
            Self::Growing { first, factor, max } => Written::Growing(Growing { first, factor, max }),
        }
        .serialize(serializer)
    }
}
