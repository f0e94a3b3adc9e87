//! What can be set, and what is refused.

mod support;

use mainstay_timeout::{Config, InMeta, TimeoutLayer};
use std::time::Duration;
use support::{NANO, config, ms};

#[test]
fn the_defaults_are_those_of_the_table() {
    let Config { name, timeout, .. } = Config::default();
    assert_eq!((name, timeout), ("timeout", None));
    let readme = include_str!("../README.md");
    assert!(readme.contains("| `name` | `\"timeout\"` | 1 to 128 bytes |"));
    assert!(readme.contains("| `timeout` | none | above 0;"));
}

#[test]
fn extremes_work_or_are_refused() {
    for time in [NANO, ms(1), Duration::from_hours(1), Duration::MAX / 2, Duration::MAX] {
        assert!(TimeoutLayer::new(config(time)).is_ok(), "{time:?}");
    }
    let long: &'static str = "x".repeat(129).leak();
    for (bad, field) in
        [(config(Duration::ZERO), "timeout"), (config(ms(1)).name(""), "name"), (config(ms(1)).name(long), "name")]
    {
        assert_eq!(TimeoutLayer::new(bad).unwrap_err().field(), field);
        assert_eq!(TimeoutLayer::with_deadlines(bad, InMeta).unwrap_err().field(), field);
    }
    assert!(TimeoutLayer::new(config(ms(1)).name(&long[1..])).is_ok());
}

#[test]
fn a_timeout_that_ends_nothing_is_refused() {
    let error = TimeoutLayer::new(Config::default()).unwrap_err();
    assert_eq!(error.to_string(), "`timeout` is None, allowed is a time, where requests carry no deadline");
    assert!(TimeoutLayer::with_deadlines(Config::default(), InMeta).is_ok());
}

#[test]
fn the_core_takes_settings_as_they_are() {
    let now = support::now();
    assert_eq!(config(Duration::ZERO).name("").deadline(None, now), Ok(Some(mainstay_core::Deadline::at(now))));
}

#[cfg(feature = "serde")]
mod files {
    use super::{Config, config, ms};
    use serde_json::{from_str, to_string};

    #[test]
    fn a_file_says_the_same_as_the_setters() {
        let written = config(ms(2_500));
        let read: Config = toml::from_str("name = \"test\"\ntimeout = \"2s 500ms\"").unwrap();
        assert_eq!(read, written);
        assert_eq!(from_str::<Config>(&to_string(&written).unwrap()).unwrap(), written);
        assert_eq!(from_str::<Config>("{}").unwrap(), Config::default());
        assert_eq!(from_str::<Config>(r#"{"timeout": null}"#).unwrap(), Config::default());
        assert_eq!(from_str::<Config>(&to_string(&Config::default()).unwrap()).unwrap(), Config::default());
    }

    #[test]
    fn equal_names_share_one_string() {
        let read = || from_str::<Config>(r#"{"name": "pay\u006dents"}"#).unwrap().name;
        assert_eq!(read(), "payments");
        assert!(std::ptr::eq(read(), read()));
    }

    #[test]
    fn mistakes_are_named() {
        let error = |text: &str| from_str::<Config>(text).unwrap_err().to_string();
        assert!(error(r#"{"timeuot": "2s"}"#).contains("unknown field `timeuot`"));
        assert!(error(r#"{"timeout": "2"}"#).contains("\"2\" is not a duration"));
        assert!(error(r#"{"timeout": 2}"#).contains("invalid type"));
        assert!(error(&format!(r#"{{"name": "{}"}}"#, "x".repeat(129))).contains("1 to 128 bytes"));
        assert!(error(r#"{"name": ""}"#).contains("1 to 128 bytes"));
    }
}
