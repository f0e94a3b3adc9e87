//! The configurations in files.
#![cfg(feature = "serde")]

use mainstay_retry::{Backoff, Budget, BudgetConfig, Config, Jitter, Policy};
use serde::{Serialize, de::DeserializeOwned};
use std::{fmt::Debug, time::Duration};

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Written and read again in each notation.
#[track_caller]
fn assert_round_trip<T: Serialize + DeserializeOwned + Debug + PartialEq>(value: &T) {
    let text = toml::to_string(value).unwrap();
    assert_eq!(&toml::from_str::<T>(&text).unwrap(), value, "{text}");
    let text = serde_yaml_ng::to_string(value).unwrap();
    assert_eq!(&serde_yaml_ng::from_str::<T>(&text).unwrap(), value, "{text}");
    let text = serde_json::to_string(value).unwrap();
    assert_eq!(&serde_json::from_str::<T>(&text).unwrap(), value, "{text}");
}

#[test]
fn a_retry_is_read_from_toml() {
    let text = r#"
        name = "catalog"
        max_attempts = 4
        deadline = "2s"
        max_retry_after = "5s"
        seed = 7
        backoff = { exponential = "50ms", factor = 1.5, cap = "1s", floor = "10ms", jitter = "decorrelated" }
    "#;
    let backoff = Backoff::exponential(ms(50)).factor(1.5).cap(ms(1_000)).floor(ms(10)).jitter(Jitter::Decorrelated);
    let config = Config::default().name("catalog").max_attempts(4).deadline(ms(2_000)).max_retry_after(ms(5_000));
    assert_eq!(toml::from_str::<Config>(text).unwrap(), config.seed(7).backoff(backoff));
}

#[test]
fn a_budget_is_read_from_yaml() {
    let text = "name: catalog\nratio: 20%\ninitial: 5\ncap: 50\nreserve_rate: 0.5\nshadow: true\n";
    let config = BudgetConfig::default().name("catalog").ratio(0.2).initial(5).cap(50).reserve_rate(0.5).shadow(true);
    assert_eq!(serde_yaml_ng::from_str::<BudgetConfig>(text).unwrap(), config);
}

#[test]
fn what_is_not_written_is_the_default() {
    assert_eq!(toml::from_str::<Config>("").unwrap(), Config::default());
    assert_eq!(toml::from_str::<BudgetConfig>("").unwrap(), BudgetConfig::default());
    let read = |text| serde_json::from_str::<Backoff>(text).unwrap();
    assert_eq!(read("{}"), Backoff::default());
    assert_eq!(read(r#"{"cap": "3s"}"#), Backoff::default().cap(ms(3_000)));
    assert_eq!(read(r#"{"factor": 3}"#), Backoff::default().factor(3.0));
    assert_eq!(read(r#"{"constant": "60s"}"#), Backoff::constant(ms(60_000)));
    assert_eq!(read(r#"{"linear": "1s", "jitter": "none"}"#), Backoff::linear(ms(1_000)).jitter(Jitter::None));
    assert_eq!(
        read(r#"{"exponential": "1s", "jitter": "equal"}"#),
        Backoff::exponential(ms(1_000)).jitter(Jitter::Equal)
    );
}

#[test]
fn what_is_written_is_read_again() {
    assert_round_trip(&Config::default());
    assert_round_trip(&Config::default().name("x").deadline(ms(1)).seed(1).backoff(Backoff::constant(ms(5))));
    assert_round_trip(&Config::default().backoff(Backoff::linear(ms(5)).floor(ms(1)).jitter(Jitter::Equal)));
    assert_round_trip(&Config::default().backoff(Backoff::exponential(ms(5)).factor(1.1).jitter(Jitter::None)));
    assert_round_trip(&BudgetConfig::default());
    assert_round_trip(&BudgetConfig::default().ratio(0.123_456).reserve_rate(1.5).shadow(true).name("y"));
}

#[test]
fn what_is_written_wrongly_is_refused() {
    for (text, message) in [
        ("attempts = 3", "unknown field `attempts`"),
        ("deadline = 3", "invalid type"),
        ("deadline = \"3\"", "is not a duration such as \"30s\""),
        (
            "backoff = { constant = \"1s\", linear = \"1s\" }",
            "a backoff is one of `constant`, `linear` and `exponential`",
        ),
        ("backoff = { linear = \"1s\", factor = 2.0 }", "a `factor` is only of an exponential backoff"),
        ("backoff = { first = \"1s\" }", "unknown field `first`"),
        ("backoff = { jitter = \"some\" }", "unknown variant `some`"),
    ] {
        let error = toml::from_str::<Config>(text).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
    let error = toml::from_str::<BudgetConfig>("ratio = \"many\"").unwrap_err().to_string();
    assert!(error.contains("is not a rate such as 0.05"), "{error}");
    assert!(toml::from_str::<BudgetConfig>("tokens = 3").is_err());
}

#[test]
fn a_value_out_of_range_is_read_and_refused_by_the_check() {
    let config = toml::from_str::<Config>("backoff = { exponential = \"2s\", cap = \"1s\" }").unwrap();
    assert_eq!(Policy::new(config).unwrap_err().field(), "backoff.cap");
    let config = toml::from_str::<BudgetConfig>("ratio = 2").unwrap();
    assert_eq!(Budget::new(config).unwrap_err().field(), "ratio");
}

#[test]
fn a_name_from_a_file_is_kept_once() {
    let read = |text: &str| toml::from_str::<Config>(text).unwrap().name;
    assert!(std::ptr::eq(read("name = \"orders\""), read("name = 'orders'")));
}
