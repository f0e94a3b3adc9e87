//! The configuration of an engine, as files have it.
#![cfg(feature = "serde")]

use mainstay_saga::Config;
use std::time::Duration;

#[test]
fn configuration_is_read_from_a_file() {
    let config: Config = toml::from_str(
        r#"
        name = "orders"
        max_in_memory = 50
        poll_interval = "250ms"
        idle_after = "1m"
        seed = 42
        "#,
    )
    .unwrap();
    let expected = Config::default()
        .name("orders")
        .max_in_memory(50)
        .poll_interval(Duration::from_millis(250))
        .idle_after(Duration::from_secs(60))
        .seed(42);
    assert_eq!(config, expected);
    assert_eq!(toml::from_str::<Config>(&toml::to_string(&config).unwrap()).unwrap(), config);
    assert_eq!(toml::from_str::<Config>("").unwrap(), Config::default());
}

#[test]
fn setting_that_there_is_not_is_refused() {
    let error = toml::from_str::<Config>("max_in_memry = 50").unwrap_err();
    assert!(error.message().contains("max_in_memry"), "{error}");
}
