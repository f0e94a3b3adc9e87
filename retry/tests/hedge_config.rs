//! Every setting: its range, its extremes, how it is written.

mod hedge_support;

use hedge_support::{Leaf, advance, layer};
use mainstay_retry::{HedgeConfig, HedgeDelay, HedgeLayer, Hedging, Latencies, Percentile};
use std::time::Duration;
use tokio_test::{assert_pending, assert_ready_eq, task};
use tower::{Layer, Service};

fn error(config: HedgeConfig) -> String {
    Hedging::new(config).expect_err("it is out of its range").to_string()
}

fn percentile() -> Percentile {
    Percentile::default()
}

#[test]
fn the_defaults_are_those_of_the_tables_and_work() {
    let config = HedgeConfig::default();
    assert_eq!((config.name, config.max_hedges, config.on_failure), ("hedge", 1, true));
    let HedgeDelay::Percentile(delay) = config.delay else { panic!("it is measured") };
    assert_eq!((delay.percentile, delay.minimum_samples), (0.95, 100));
    assert_eq!((delay.floor, delay.window), (Duration::from_millis(1), Duration::from_secs(30)));
    assert_eq!(Hedging::new(config).unwrap().config(), &config);
}

#[test]
fn what_is_out_of_range_is_refused_by_name() {
    let config = HedgeConfig::default();
    assert_eq!(error(config.max_hedges(0)), "`max_hedges` is 0, allowed is 1 to 10");
    assert_eq!(error(config.max_hedges(u32::MAX)), "`max_hedges` is 4294967295, allowed is 1 to 10");
    assert_eq!(error(config.name("")), "`name` is \"\", allowed is 1 to 128 bytes");
    assert!(error(config.name(mainstay_core::intern(&"n".repeat(129)))).starts_with("`name` is"));
    for wrong in [0.0, -0.5, 1.1, f64::NAN, f64::INFINITY] {
        let text = format!("`percentile` is {wrong:?}, allowed is above 0.0, up to 1.0");
        assert_eq!(error(config.delay(Percentile::new(wrong))), text);
    }
    assert_eq!(
        error(config.delay(percentile().minimum_samples(0))),
        "`minimum_samples` is 0, allowed is 1 to 4294967295"
    );
    for wrong in [Duration::ZERO, Duration::from_millis(999), Duration::from_secs(3_601), Duration::MAX] {
        assert_eq!(
            error(config.delay(percentile().window(wrong))),
            format!("`window` is {wrong:?}, allowed is 1s to 3600s")
        );
        let now = tokio::time::Instant::now().into_std();
        assert!(Latencies::new(percentile().window(wrong), now).is_err());
    }
}

/// The longest that can be added to the present.
fn longest() -> Duration {
    let now = tokio::time::Instant::now().into_std();
    let bits = (0..64).rev().map(|bit| Duration::from_secs(1 << bit));
    let seconds = bits.fold(Duration::ZERO, |sum, bit| {
        let more = sum.saturating_add(bit);
        if now.checked_add(more).is_some() { more } else { sum }
    });
    let nanos = (0..30).rev().map(|bit| Duration::from_nanos(1 << bit));
    nanos.fold(seconds, |sum, bit| if now.checked_add(sum + bit).is_some() { sum + bit } else { sum })
}

#[tokio::test(start_paused = true)]
async fn the_extremes_that_are_allowed_work() {
    let config = HedgeConfig::default().max_hedges(10).name(mainstay_core::intern(&"n".repeat(128)));
    let percentiles = [
        percentile().floor(Duration::MAX).minimum_samples(1),
        percentile().minimum_samples(u32::MAX),
        Percentile::new(f64::MIN_POSITIVE).minimum_samples(1).floor(Duration::ZERO),
        Percentile::new(1.0).window(Duration::from_secs(1)).minimum_samples(1),
        percentile().window(Duration::from_secs(3_600)),
    ];
    let fixed =
        [Duration::MAX, Duration::from_secs(u64::MAX), Duration::from_secs(1 << 40), Duration::from_secs(1 << 60)];
    let delays = percentiles.map(HedgeDelay::from).into_iter().chain(fixed.map(HedgeDelay::from));
    for delay in delays.chain([Duration::ZERO, Duration::from_nanos(1)].map(HedgeDelay::from)) {
        let leaf = Leaf::default();
        let mut service = layer(config.delay(delay)).layer(leaf.clone());
        for _ in 0..3 {
            let first = leaf.calls();
            let mut call = task::spawn(service.call("read"));
            assert_pending!(call.poll());
            advance(Duration::from_secs(20)).await;
            assert_pending!(call.poll());
            leaf.end(first, Ok(1));
            assert_ready_eq!(call.poll(), Ok(1), "{delay:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_longest_delay_that_there_is_sets_no_timer() {
    let leaf = Leaf::default();
    let mut call = task::spawn(layer(hedge_support::config().delay(longest())).layer(leaf.clone()).call("read"));
    assert_pending!(call.poll());
    leaf.end(0, Ok(1));
    assert_ready_eq!(call.poll(), Ok(1));
}

#[tokio::test(start_paused = true)]
async fn a_service_that_asks_for_an_eternity_and_a_deadline_in_one_are_no_trouble() {
    let far = tokio::time::Instant::now().into_std() + Duration::from_secs(1 << 40);
    let leaf = Leaf::default();
    let layer = HedgeLayer::new(hedge_support::config()).unwrap().repeat(Until(mainstay_core::Deadline::at(far)));
    let limited = tower::limit::ConcurrencyLimitLayer::new(1).layer(leaf.clone());
    let mut service = layer.layer(limited);
    assert!(service.poll_ready(&mut std::task::Context::from_waker(std::task::Waker::noop())).is_ready());
    let mut call = task::spawn(service.call("read"));
    assert_pending!(call.poll());
    advance(hedge_support::DELAY).await;
    assert_pending!(call.poll());
    leaf.end(0, Ok(1));
    assert_ready_eq!(call.poll(), Ok(1));
}

#[derive(Clone)]
struct Until(mainstay_core::Deadline);

impl mainstay_retry::Repeat<hedge_support::Req> for Until {
    type Request = hedge_support::Req;
    type Kept = hedge_support::Req;
    type Seen = str;

    fn first(&self, request: &'static str) -> (&'static str, Option<&'static str>) {
        (request, Some(request))
    }

    fn again(&self, kept: &mut &'static str, _: mainstay_core::Attempt) -> Option<&'static str> {
        Some(*kept)
    }

    fn is_idempotent(&self, _: &&'static str) -> bool {
        true
    }

    fn deadline(&self, _: &&'static str) -> Option<mainstay_core::Deadline> {
        Some(self.0)
    }

    fn seen<'a>(&self, kept: &'a &'static str) -> &'a str {
        kept
    }
}

#[cfg(feature = "serde")]
mod written {
    use super::{Duration, HedgeConfig, HedgeDelay, Percentile, percentile};

    #[test]
    fn files_of_three_formats_say_the_same() {
        let fixed = HedgeConfig::default().name("catalog").delay(Duration::from_millis(50)).max_hedges(2);
        let toml = "name = \"catalog\"\ndelay = \"50ms\"\nmax_hedges = 2\n";
        assert_eq!(toml::from_str::<HedgeConfig>(toml).unwrap(), fixed);
        let json = r#"{"name": "catalog", "delay": "50ms", "max_hedges": 2}"#;
        assert_eq!(serde_json::from_str::<HedgeConfig>(json).unwrap(), fixed);
        let yaml = "name: catalog\ndelay: 50ms\nmax_hedges: 2\n";
        assert_eq!(serde_yaml_ng::from_str::<HedgeConfig>(yaml).unwrap(), fixed);

        let live = HedgeConfig::default().delay(Percentile::new(0.99).floor(Duration::from_millis(5)));
        let toml = "delay = { percentile = \"99%\", floor = \"5ms\" }";
        assert_eq!(toml::from_str::<HedgeConfig>(toml).unwrap(), live);
        let json = r#"{"delay": {"percentile": 0.99, "floor": "5ms"}}"#;
        assert_eq!(serde_json::from_str::<HedgeConfig>(json).unwrap(), live);
        let yaml = "delay:\n  percentile: 99%\n  floor: 5ms\n";
        assert_eq!(serde_yaml_ng::from_str::<HedgeConfig>(yaml).unwrap(), live);
    }

    #[test]
    fn what_is_written_is_read_again() {
        let delays = [
            HedgeDelay::from(Duration::from_millis(1_500)),
            percentile().minimum_samples(7).window(Duration::from_secs(90)).into(),
        ];
        for delay in delays {
            let config = HedgeConfig::default().name("again").delay(delay).max_hedges(3).on_failure(false);
            assert_eq!(toml::from_str::<HedgeConfig>(&toml::to_string(&config).unwrap()).unwrap(), config);
            let json = serde_json::to_string(&config).unwrap();
            assert_eq!(serde_json::from_str::<HedgeConfig>(&json).unwrap(), config);
            let yaml = serde_yaml_ng::to_string(&config).unwrap();
            assert_eq!(serde_yaml_ng::from_str::<HedgeConfig>(&yaml).unwrap(), config);
        }
    }

    #[test]
    fn mistakes_are_told_in_the_words_of_the_form_that_was_written() {
        let error = |text| toml::from_str::<HedgeConfig>(text).unwrap_err().to_string();
        assert!(error("delai = \"50ms\"").contains("unknown field `delai`"));
        assert!(error("delay = \"fast\"").contains("\"fast\" is not a duration"));
        assert!(error("delay = { percentil = 0.9 }").contains("unknown field `percentil`"));
        assert!(error("delay = 50").contains("a time such as \"50ms\""));
    }
}
