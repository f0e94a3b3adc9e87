//! How the configuration is written: `timeout = "2s"`.

use mainstay_core::{config::duration, intern};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use std::{borrow::Cow, time::Duration};

/// A name; one that is too long is not kept for the life of the process.
pub(crate) fn name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<&'static str, D::Error> {
    let name = Cow::<'de, str>::deserialize(deserializer)?;
    if (1..=128).contains(&name.len()) {
        return Ok(intern(&name));
    }
    Err(D::Error::custom("a name has 1 to 128 bytes"))
}

/// A duration as text.
#[derive(Serialize, Deserialize)]
struct Text(#[serde(with = "duration")] Duration);

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
