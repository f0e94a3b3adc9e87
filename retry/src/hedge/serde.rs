//! How the settings of hedging are written: `delay = "50ms"`, or `delay = { percentile = "95%", floor = "1ms" }`.

use super::config::{HedgeDelay, Percentile};
use mainstay_core::config::duration;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, IntoDeserializer, MapAccess, Visitor, value::MapAccessDeserializer},
};
use std::fmt;

impl<'de> Deserialize<'de> for HedgeDelay {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Written)
    }
}

/// Text or a map; asked for both, so that the error is that of the form which was written.
struct Written;

impl<'de> Visitor<'de> for Written {
    type Value = HedgeDelay;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a time such as \"50ms\", or `percentile`, `floor`, `minimum_samples` and `window`")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<HedgeDelay, E> {
        duration::deserialize(text.into_deserializer()).map(HedgeDelay::Fixed)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<HedgeDelay, A::Error> {
        Percentile::deserialize(MapAccessDeserializer::new(map)).map(HedgeDelay::Percentile)
    }
}

impl Serialize for HedgeDelay {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Fixed(delay) => duration::serialize(delay, serializer),
            Self::Percentile(percentile) => percentile.serialize(serializer),
        }
    }
}
