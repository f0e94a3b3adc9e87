//! The configuration in files.
#![cfg(feature = "serde")]

use mainstay_rate_limit::{Config, KeyedConfig, Limiter, Quota, Rule};
use std::time::Duration;

fn expected() -> KeyedConfig {
    let minute = Quota::new(100, Duration::from_secs(60)).unwrap();
    let config = Config::new(Rule::sliding_counter(minute))
        .rule(Quota::per_second(10).unwrap().burst(20).unwrap())
        .name("clients")
        .shadow(true);
    KeyedConfig::new(config).max_keys(5_000)
}

#[test]
fn configuration_reads_from_toml_yaml_and_json() {
    let toml = r#"
        max_keys = 5000
        [limit]
        name = "clients"
        shadow = true
        rules = [
            { algorithm = "sliding_counter", limit = 100, period = "60s" },
            { limit = 10, period = "1s", burst = 20 },
        ]
    "#;
    let yaml = "
max_keys: 5000
limit:
  name: clients
  shadow: true
  rules:
    - algorithm: sliding_counter
      limit: 100
      period: 1m
    - limit: 10
      period: 1s
      burst: 20
";
    let json = r#"{"max_keys": 5000, "limit": {"name": "clients", "shadow": true, "rules": [
        {"algorithm": "sliding_counter", "limit": 100, "period": "60s"},
        {"algorithm": "token_bucket", "limit": 10, "period": "1000ms", "burst": 20}]}}"#;

    assert_eq!(toml::from_str::<KeyedConfig>(toml).unwrap(), expected());
    assert_eq!(serde_yaml_ng::from_str::<KeyedConfig>(yaml).unwrap(), expected());
    assert_eq!(serde_json::from_str::<KeyedConfig>(json).unwrap(), expected());
}

#[test]
fn what_is_written_is_read_again() {
    let written = toml::to_string(&expected()).unwrap();
    assert_eq!(toml::from_str::<KeyedConfig>(&written).unwrap(), expected());
    let quota = Quota::per_minute(7).unwrap();
    assert_eq!(serde_json::to_string(&quota).unwrap(), r#"{"limit":7,"period":"1m"}"#);
    assert_eq!(serde_json::from_str::<Quota>(r#"{"limit":7,"period":"1m"}"#).unwrap(), quota);
}

#[test]
fn rest_has_defaults() {
    let config: Config = toml::from_str(r#"rules = [{ limit = 1, period = "1h" }]"#).unwrap();
    assert_eq!(config, Config::new(Quota::per_hour(1).unwrap()));
    assert_eq!(Limiter::new(config).unwrap().name(), "rate-limit");
}

#[test]
fn mistakes_are_named() {
    let error = |json: &str| serde_json::from_str::<Config>(json).unwrap_err().to_string();
    assert!(error(r#"{"rules": [], "burts": 1}"#).contains("unknown field `burts`"));
    assert!(error(r#"{"rules": [{"limit": 1, "period": "1s", "brust": 1}]}"#).contains("unknown field `brust`"));
    assert!(error(r#"{"rules": [{"limit": 0, "period": "1s"}]}"#).contains("`limit` is 0, allowed is 1 to"));
    assert!(error(r#"{"rules": [{"limit": 1, "period": 60}]}"#).contains("string"));
    assert!(error(r#"{"rules": [{"limit": 1}]}"#).contains("missing field `period`"));
    assert!(error(r#"{"rules": [{"algorithm": "leaky", "limit": 1, "period": "1s"}]}"#).contains("unknown variant"));
    assert!(error("{}").contains("missing field `rules`"));
}
