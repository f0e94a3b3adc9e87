//! How the configuration is written: `{ limit = 100, period = "60s" }`, with `burst` and `algorithm` where they are needed.

use crate::{
    quota::Quota,
    rule::{Algorithm, Rule},
};
use mainstay_core::{InvalidConfig, config::duration};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use std::time::Duration;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenQuota {
    limit: u64,
    #[serde(with = "duration")]
    period: Duration,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    burst: Option<u64>,
}

/// A quota with one field more; serde cannot flatten and deny unknown fields at once.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenRule {
    #[serde(default)]
    algorithm: Algorithm,
    limit: u64,
    #[serde(with = "duration")]
    period: Duration,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    burst: Option<u64>,
}

fn quota(limit: u64, period: Duration, burst: Option<u64>) -> Result<Quota, InvalidConfig> {
    let quota = Quota::new(limit, period)?;
    burst.map_or(Ok(quota), |burst| quota.burst(burst))
}

impl<'de> Deserialize<'de> for Quota {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let WrittenQuota { limit, period, burst } = WrittenQuota::deserialize(deserializer)?;
        quota(limit, period, burst).map_err(D::Error::custom)
    }
}

impl Serialize for Quota {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        WrittenQuota { limit: self.limit(), period: self.period(), burst: self.set_burst() }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Rule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let WrittenRule { algorithm, limit, period, burst } = WrittenRule::deserialize(deserializer)?;
        let quota = quota(limit, period, burst).map_err(D::Error::custom)?;
        Ok(Self::new(algorithm, quota))
    }
}

impl Serialize for Rule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let quota = self.quota();
        let (algorithm, burst) = (self.algorithm(), quota.set_burst());
        WrittenRule { algorithm, limit: quota.limit(), period: quota.period(), burst }.serialize(serializer)
    }
}
