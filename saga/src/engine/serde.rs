//! How the configuration is written.

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
