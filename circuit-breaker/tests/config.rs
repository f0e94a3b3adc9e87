//! Defaults, limits, and configuration files.

use mainstay_circuit_breaker::{Circuit, Config, Gradual, OnOpen, OpenFor, Slow, SlowRate, Window};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// The rows of the first table with these headings: setting, default.
fn documented_defaults(text: &str) -> Vec<(String, String)> {
    let lines = text.lines().map(|line| line.trim_start_matches("/// "));
    let rows = lines.skip_while(|line| !line.starts_with("| setting | default |")).skip(2);
    rows.take_while(|line| line.starts_with('|'))
        .map(|row| {
            let mut cells = row.split('|').skip(1).map(str::trim);
            let (setting, default) = (cells.next().unwrap(), cells.next().unwrap());
            (setting.split('`').nth(1).unwrap().to_owned(), default.to_owned())
        })
        .collect()
}

#[test]
fn the_defaults_are_those_of_the_documentation() {
    let config = Config::default();
    let OpenFor::Fixed(open_for) = config.open_for else { panic!("the default open time does not grow") };
    let expected = [
        ("name", format!("{:?}", config.name)),
        ("window", format!("{:?}", config.window)),
        ("failure_rate", config.failure_rate.to_string()),
        ("minimum_calls", config.minimum_calls.to_string()),
        ("slow", config.slow.map_or("off".into(), |slow| format!("{slow:?}"))),
        ("slow_in_flight", if config.slow_in_flight { "on" } else { "off" }.into()),
        ("overload", config.overload.map_or("off".into(), |cap| format!("{cap:?}"))),
        ("open_for", format!("{} s", open_for.as_secs())),
        ("jitter", config.jitter.to_string()),
        ("on_open", format!("{:?}", config.on_open)),
        ("probes", config.probes.to_string()),
        ("probe_deadline", format!("{} s", config.probe_deadline.as_secs())),
        ("gradual", config.gradual.as_ref().map_or("off".into(), |gradual| format!("{gradual:?}"))),
        ("shadow", if config.shadow { "on" } else { "off" }.into()),
        ("seed", config.seed.map_or("random".into(), |seed| seed.to_string())),
    ];
    for text in [include_str!("../src/config.rs"), include_str!("../README.md")] {
        let documented = documented_defaults(text);
        assert_eq!(documented.len(), expected.len());
        for ((setting, default), (expected_setting, expected)) in documented.iter().zip(&expected) {
            assert_eq!(setting, expected_setting);
            assert!(default.contains(expected), "`{setting}` is {expected}, and documented as {default}");
        }
    }
    assert!(Circuit::new(config).is_ok());
}

#[test]
fn each_setter_sets_its_setting() {
    let config = Config::default()
        .name("all")
        .window(Window::Within(2 * SECOND))
        .failure_rate(0.1)
        .minimum_calls(2)
        .slow(3 * SECOND, 0.2)
        .slow_in_flight(true)
        .open_on_overload(8 * SECOND)
        .open_for(4 * SECOND)
        .jitter(0.3)
        .on_open(OnOpen::Wait)
        .probes(5)
        .probe_deadline(6 * SECOND)
        .gradual([0.4, 0.5], 9 * SECOND)
        .shadow(true)
        .seed(7);
    assert_eq!((&*config.name, config.window, config.minimum_calls), ("all", Window::Within(2 * SECOND), 2));
    assert_eq!(config.slow.map(|slow| (slow.longer_than, slow.rate)), Some((3 * SECOND, SlowRate::Own(0.2))));
    assert_eq!((config.overload, config.slow_in_flight), (Some(8 * SECOND), true));
    assert_eq!(config.gradual, Some(Gradual { shares: vec![0.4, 0.5], stage: 9 * SECOND }));
    assert_eq!((config.open_for, config.probes, config.probe_deadline), (OpenFor::Fixed(4 * SECOND), 5, 6 * SECOND));
    assert_eq!(config.on_open, OnOpen::Wait);
    assert!((config.failure_rate, config.jitter, config.shadow, config.seed) == (0.1, 0.3, true, Some(7)));
    let config = config.on_open(OnOpen::Refuse);
    assert_eq!(Circuit::new(config.clone()).unwrap().config(), config);
    let slow = Slow { longer_than: SECOND, rate: SlowRate::WithFailures };
    assert_eq!(config.slow_is_failure(SECOND).slow, Some(slow));
}

#[test]
fn a_setting_out_of_range_is_named() {
    let config = Config::default;
    let growing = |first, factor, max| config().open_for(OpenFor::Growing { first, factor, max });
    let longest = "n".repeat(129);
    for (field, config) in [
        ("name", config().name("")),
        ("name", config().name(longest.clone())),
        ("window.consecutive", config().window(Window::Consecutive(0))),
        ("window.last", config().window(Window::Last(0))),
        ("window.last", config().window(Window::Last(u32::MAX))),
        ("window.within", config().window(Window::Within(Duration::ZERO))),
        ("window.within", config().window(Window::Within(Duration::MAX))),
        ("failure_rate", config().failure_rate(0.0)),
        ("failure_rate", config().failure_rate(1.1)),
        ("failure_rate", config().failure_rate(f64::NAN)),
        ("minimum_calls", config().minimum_calls(0)),
        ("slow", config().window(Window::Consecutive(1)).slow(SECOND, 0.5)),
        ("slow", config().window(Window::Consecutive(1)).slow_is_failure(SECOND)),
        ("slow.longer_than", config().slow(Duration::ZERO, 0.5)),
        ("slow.longer_than", config().slow_is_failure(Duration::ZERO)),
        ("slow_in_flight", config().slow_in_flight(true)),
        ("slow", config().window(Window::Consecutive(1)).slow(SECOND, 0.5).slow_in_flight(true)),
        ("overload", config().open_on_overload(Duration::ZERO)),
        ("gradual.shares", config().gradual([], SECOND)),
        ("gradual.shares", config().gradual([0.5, 0.5], SECOND)),
        ("gradual.shares", config().gradual([0.5, 0.4], SECOND)),
        ("gradual.shares", config().gradual([0.0, 0.4], SECOND)),
        ("gradual.shares", config().gradual([0.5, 1.0], SECOND)),
        ("gradual.shares", config().gradual([0.5, f64::NAN, 0.6], SECOND)),
        ("gradual.shares", config().gradual((1..=17).map(|n| f64::from(n) / 20.0).collect::<Vec<_>>(), SECOND)),
        ("gradual.stage", config().gradual([0.5], Duration::ZERO)),
        ("gradual.stage", config().gradual([0.5], Duration::MAX)),
        ("overload", config().open_on_overload(Duration::from_hours(1) + Duration::from_nanos(1))),
        ("slow.rate", config().slow(SECOND, f64::INFINITY)),
        ("open_for", config().open_for(Duration::ZERO)),
        ("open_for.first", growing(Duration::ZERO, 2.0, SECOND)),
        ("open_for.factor", growing(SECOND, 0.9, SECOND)),
        ("open_for.factor", growing(SECOND, f64::NAN, SECOND)),
        ("open_for.max", growing(2 * SECOND, 2.0, SECOND)),
        ("jitter", config().jitter(-0.1)),
        ("jitter", config().jitter(f64::NAN)),
        ("probes", config().probes(0)),
        ("probes", config().probes(1_001)),
        ("probe_deadline", config().probe_deadline(Duration::ZERO)),
        ("probe_deadline", config().probe_deadline(Duration::MAX)),
    ] {
        let error = Circuit::new(config).unwrap_err();
        assert_eq!(error.field(), field, "{error}");
        assert!(error.to_string().contains(", allowed is "), "{error}");
    }
}

#[test]
fn the_ends_of_each_range_work() {
    let config = || Config::default().minimum_calls(1);
    let growing = |first, factor, max| config().open_for(OpenFor::Growing { first, factor, max });
    for config in [
        config().name("n".repeat(128)),
        config().window(Window::Consecutive(u32::MAX)),
        config().window(Window::Last(1)),
        config().window(Window::Last(1_000_000)),
        config().window(Window::Within(Duration::from_millis(10))),
        config().window(Window::Within(Duration::from_hours(24))),
        config().failure_rate(f64::MIN_POSITIVE),
        config().failure_rate(1.0),
        config().minimum_calls(u32::MAX),
        config().slow(Duration::MAX, 1.0),
        config().slow_is_failure(Duration::from_nanos(1)),
        config().slow(Duration::from_nanos(1), 0.5).slow_in_flight(true),
        config().slow(Duration::MAX, 0.5).slow_in_flight(true),
        config().gradual([f64::MIN_POSITIVE, 1.0 - f64::EPSILON], Duration::from_nanos(1)),
        config().gradual((1..=16).map(|n| f64::from(n) / 20.0).collect::<Vec<_>>(), Duration::from_hours(24)),
        config().open_on_overload(Duration::from_nanos(1)),
        config().open_on_overload(Duration::from_hours(1)),
        config().open_for(Duration::from_nanos(1)),
        config().open_for(Duration::MAX),
        growing(Duration::from_nanos(1), 1_000.0, Duration::MAX),
        growing(Duration::MAX, 1.0, Duration::MAX),
        config().jitter(1.0),
        config().open_for(Duration::MAX).jitter(1.0),
        config().probes(1_000),
        config().probe_deadline(Duration::from_hours(24)),
        config().seed(u64::MAX),
    ] {
        let circuit = Circuit::new(config).unwrap();
        for _ in 0..3 {
            if let Ok(guard) = mainstay_circuit_breaker::Guard::admit(&circuit) {
                guard.settle(mainstay_circuit_breaker::Outcome::Failure);
            }
        }
        circuit.snapshot();
    }
}

#[cfg(feature = "serde")]
mod files {
    use super::*;
    use serde::{Deserialize, Serialize, de::DeserializeOwned};

    /// A configuration as users have it: the circuit is one section of several.
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct App {
        breaker: Config,
    }

    /// Text that was read from a file, and does not live for ever.
    fn from_toml<T: DeserializeOwned>(text: &str) -> Result<T, String> {
        let text = String::from(text);
        toml::from_str(&text).map_err(|error| error.to_string())
    }

    fn from_yaml<T: DeserializeOwned>(text: &str) -> Result<T, String> {
        let text = String::from(text);
        serde_yaml_ng::from_str(&text).map_err(|error| error.to_string())
    }

    fn from_json<T: DeserializeOwned>(text: &str) -> Result<T, String> {
        serde_json::from_reader(text.as_bytes()).map_err(|error| error.to_string())
    }

    fn full() -> Config {
        Config::default()
            .name("payments")
            .window(Window::Within(10 * SECOND))
            .failure_rate(0.05)
            .minimum_calls(10)
            .slow(Duration::from_millis(250), 0.5)
            .slow_in_flight(true)
            .open_on_overload(30 * SECOND)
            .open_for(OpenFor::Growing { first: 5 * SECOND, factor: 2.0, max: 300 * SECOND })
            .jitter(0.1)
            .on_open(OnOpen::Refuse)
            .probes(5)
            .probe_deadline(2 * SECOND)
            .gradual([0.01, 0.25], 10 * SECOND)
            .shadow(true)
            .seed(7)
    }

    #[test]
    fn toml_yaml_and_json_say_the_same() {
        let toml = r#"
            [breaker]
            name = "payments"
            window = { within = "10s" }
            failure_rate = "5%"
            minimum_calls = 10
            slow = { longer_than = "250ms", rate = 0.5 }
            slow_in_flight = true
            overload = "30s"
            open_for = { first = "5s", factor = 2, max = "5m" }
            jitter = "10%"
            on_open = "refuse"
            probes = 5
            probe_deadline = "2s"
            gradual = { shares = ["1%", 0.25], stage = "10s" }
            shadow = true
            seed = 7
        "#;
        let yaml = "
breaker:
  name: payments
  window: { within: 10s }
  failure_rate: 5%
  minimum_calls: 10
  slow: { longer_than: 250ms, rate: 50% }
  slow_in_flight: true
  overload: 30s
  open_for: { first: 5s, factor: 2, max: 5m }
  jitter: 0.1
  on_open: refuse
  probes: 5
  probe_deadline: 2s
  gradual: { shares: [0.01, 25%], stage: 10s }
  shadow: true
  seed: 7
";
        let json = r#"{ "breaker": {
            "name": "payments", "window": { "within": "10s" }, "failure_rate": 0.05, "minimum_calls": 10,
            "slow": { "longer_than": "250ms", "rate": "50%" }, "slow_in_flight": true, "overload": "30s",
            "open_for": { "first": "5s", "factor": 2.0, "max": "5m" },
            "jitter": "10%", "on_open": "refuse", "probes": 5, "probe_deadline": "2s",
            "gradual": { "shares": ["1%", "25%"], "stage": "10s" }, "shadow": true, "seed": 7
        } }"#;
        let expected = Ok(App { breaker: full() });
        assert_eq!(from_toml(toml), expected);
        assert_eq!(from_yaml(yaml), expected);
        assert_eq!(from_json(json), expected);
        assert!(Circuit::new(full()).is_ok());
    }

    #[test]
    fn what_is_not_written_has_its_default() {
        assert_eq!(from_toml(""), Ok(Config::default()));
        assert_eq!(from_yaml("{}"), Ok(Config::default()));
        assert_eq!(from_json("{}"), Ok(Config::default()));
        assert_eq!(from_toml("probes = 9"), Ok(Config::default().probes(9)));
    }

    #[test]
    fn each_window_and_each_open_time_can_be_written() {
        for (text, window) in [
            ("{ consecutive = 5 }", Window::Consecutive(5)),
            ("{ last = 100 }", Window::Last(100)),
            ("{ within = \"1m 30s\" }", Window::Within(90 * SECOND)),
        ] {
            let expected = Ok(Config::default().window(window));
            assert_eq!(from_toml(&format!("window = {text}")), expected);
            let text = text.replace(" =", ":");
            assert_eq!(from_yaml(&format!("window: {text}")), expected);
            let json = text.replace("{ ", "{ \"").replacen(':', "\":", 1);
            assert_eq!(from_json(&format!("{{ \"window\": {json} }}")), expected);
        }
        let expected = Ok(Config::default().open_for(60 * SECOND));
        assert_eq!(from_toml("open_for = \"60s\""), expected);
        assert_eq!(from_yaml("open_for: 1m"), expected);
        assert_eq!(from_json("{ \"open_for\": \"1min\" }"), expected);
    }

    #[test]
    fn slow_calls_that_count_with_failures_can_be_written() {
        let expected = Ok(Config::default().slow_is_failure(SECOND));
        assert_eq!(from_toml("slow = { longer_than = \"1s\", rate = \"with_failures\" }"), expected);
        assert_eq!(from_yaml("slow: { longer_than: 1s, rate: with_failures }"), expected);
        assert_eq!(from_json("{ \"slow\": { \"longer_than\": \"1s\", \"rate\": \"with_failures\" } }"), expected);
    }

    #[test]
    fn a_configuration_that_is_written_reads_the_same() {
        let mut configs = vec![Config::default(), full(), Config::default().open_for(Duration::MAX).seed(u64::MAX)];
        configs.extend([Window::Consecutive(5), Window::Last(7)].map(|window| full().window(window)));
        configs.push(full().gradual([0.1 + 0.2], Duration::from_millis(1)));
        configs.push(Config::default().slow(Duration::from_nanos(1_000_000_001), 0.1 + 0.2));
        configs.push(full().slow_is_failure(SECOND));
        for config in configs {
            let expected = Ok(App { breaker: config });
            let app = expected.as_ref().unwrap();
            assert_eq!(from_toml(&toml::to_string(app).unwrap()), expected);
            assert_eq!(from_yaml(&serde_yaml_ng::to_string(app).unwrap()), expected);
            assert_eq!(from_json(&serde_json::to_string(app).unwrap()), expected);
        }
    }

    #[test]
    fn what_is_written_is_what_a_person_would_write() {
        let json = serde_json::to_value(full()).unwrap();
        assert_eq!(json["window"]["within"], "10s");
        assert_eq!(json["open_for"]["max"], "5m");
        assert_eq!(json["slow"]["longer_than"], "250ms");
        assert_eq!(json["failure_rate"], 0.05);
        assert_eq!(serde_json::to_value(Config::default()).unwrap()["open_for"], "30s");
    }

    #[test]
    fn a_mistake_is_named() {
        for (text, named) in [
            ("probe = 3", "unknown field `probe`"),
            ("probe = 3", "`probes`"),
            ("window = { first = 3 }", "`first`"),
            ("window = { last = 3, consecutive = 5 }", "window"),
            ("window = {}", "window"),
            ("window = { within = 10 }", "integer `10`"),
            ("window = { last = -1 }", "-1"),
            ("slow = { longer_than = \"1s\" }", "missing field `rate`"),
            ("slow = { longer_than = \"1s\", rate = 0.5, x = 1 }", "unknown field `x`"),
            (
                "slow = { longer_than = \"1s\", rate = \"half\" }",
                "\"half\", expected a rate such as 0.05 or \"5%\", or \"with_failures\"",
            ),
            ("slow = { longer_than = \"1s\", rate = true }", "or \"with_failures\""),
            ("gradual = { shares = [0.1] }", "missing field `stage`"),
            ("gradual = { shares = [0.1], stage = \"1s\", x = 1 }", "unknown field `x`"),
            ("gradual = { shares = [\"half\"], stage = \"1s\" }", "\"half\" is not a rate such as 0.05 or \"5%\""),
            ("gradual = { shares = 0.1, stage = \"1s\" }", "expected a sequence"),
            ("slow_in_flight = 1", "integer `1`"),
            ("overload = \"soon\"", "\"soon\" is not a duration such as \"30s\""),
            ("overload = 30", "integer `30`"),
            ("probe_deadline = \"soon\"", "\"soon\" is not a duration such as \"30s\""),
            ("probe_deadline = \"30\"", "\"30\" is not a duration such as \"30s\""),
            ("failure_rate = \"half\"", "\"half\" is not a rate such as 0.05 or \"5%\""),
            ("failure_rate = true", "expected a rate such as 0.05 or \"5%\""),
            ("open_for = \"soon\"", "\"soon\" is not a duration such as \"30s\""),
            ("open_for = 30", "a time such as \"30s\""),
            ("open_for = { first = \"5s\" }", "missing field `factor`"),
            ("name = 5", "integer `5`"),
        ] {
            let error = from_toml::<Config>(text).unwrap_err();
            assert!(error.contains(named), "{text}: {error}");
        }
    }

    #[test]
    fn a_value_that_can_be_read_and_cannot_work_is_refused_when_the_circuit_is_made() {
        for (text, field) in [
            ("failure_rate = nan", "failure_rate"),
            ("failure_rate = 50", "failure_rate"),
            ("failure_rate = -1", "failure_rate"),
            ("failure_rate = \"200%\"", "failure_rate"),
            ("window = { within = \"9ms\" }", "window.within"),
            ("name = \"\"", "name"),
            ("open_for = \"0s\"", "open_for"),
            ("overload = \"2h\"", "overload"),
            ("slow_in_flight = true", "slow_in_flight"),
            ("gradual = { shares = [\"200%\"], stage = \"1s\" }", "gradual.shares"),
        ] {
            let config = from_toml::<Config>(text).unwrap();
            assert_eq!(Circuit::new(config).unwrap_err().field(), field, "{text}");
        }
    }
}
