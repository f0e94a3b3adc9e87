//! Settings and clocks at the end of what there is.

use mainstay_rate_limit::{Config, KeyedConfig, KeyedLimiter, Limiter, Quota, Rule};
use std::time::{Duration, Instant};

const NANO: Duration = Duration::from_nanos(1);
const SECOND: Duration = Duration::from_secs(1);
/// The longest period of a quota.
const LONGEST: Duration = Duration::from_hours(73 * 365 * 24);

fn start() -> Instant {
    tokio::time::Instant::now().into_std()
}

const COUNTS: [u64; 9] = [0, 1, 2, 1_000, 10_000, 10_001, u32::MAX as u64, u64::MAX - 1, u64::MAX];

fn times() -> [Duration; 8] {
    [Duration::ZERO, NANO, Duration::from_millis(1), SECOND, LONGEST, LONGEST + NANO, Duration::MAX / 2, Duration::MAX]
}

/// All quotas that come into being.
fn quotas() -> Vec<Quota> {
    let mut quotas = Vec::new();
    for limit in COUNTS {
        for period in times() {
            let Ok(quota) = Quota::new(limit, period) else { continue };
            quotas.push(quota);
            quotas.extend(COUNTS.iter().filter_map(|burst| quota.burst(*burst).ok()));
        }
    }
    quotas
}

#[test]
fn quotas_that_cannot_work_do_not_come_into_being() {
    let field = |quota: Result<Quota, mainstay_core::InvalidConfig>| quota.unwrap_err().field();
    assert_eq!(field(Quota::new(0, SECOND)), "limit");
    assert_eq!(field(Quota::new(1, Duration::ZERO)), "period");
    assert_eq!(field(Quota::new(1, Duration::MAX)), "period");
    assert_eq!(field(Quota::new(1_000_000_001, SECOND)), "limit");
    assert_eq!(field(Quota::per_second(0)), "limit");
    let quota = Quota::per_hour(1).unwrap();
    assert_eq!(field(quota.burst(0)), "burst");
    assert_eq!(field(quota.burst(u64::MAX)), "burst");
    assert!(quota.burst(1_000_000).is_ok());
    assert!(Quota::per_second(1_000_000_000).is_ok());
}

#[test]
fn any_limit_may_be_the_burst() {
    let nanos = u64::try_from(LONGEST.as_nanos()).unwrap();
    let fractions = (1..=9).flat_map(|part| [nanos / part - 1, nanos / part]);
    for limit in [1, 2, 1_000].into_iter().chain(fractions) {
        let quota = Quota::new(limit, LONGEST).unwrap();
        assert_eq!(quota.burst(quota.limit()).map(|quota| quota.capacity()), Ok(quota.capacity()));
    }
    let error = Quota::new(1, LONGEST + NANO).unwrap_err();
    assert!(error.to_string().ends_with("allowed is above 0, up to 73 years"), "{error}");
}

#[test]
fn rules_and_settings_that_cannot_work_are_refused() {
    let quota = Quota::per_second(10).unwrap();
    let field = |config: Config| Limiter::new(config).unwrap_err().field();
    assert_eq!(field(Config::from([])), "rules");
    assert_eq!(field(Config::from(vec![Rule::from(quota); 9])), "rules");
    assert_eq!(field(Config::new(quota).name("")), "name");
    assert_eq!(field(Config::new(quota).name("n".repeat(129))), "name");
    assert_eq!(field(Config::new(Rule::sliding_log(Quota::per_second(10_001).unwrap()))), "limit");
    for rule in [Rule::sliding_log, Rule::sliding_counter, Rule::fixed_window] {
        assert_eq!(field(Config::new(rule(quota.burst(5).unwrap()))), "burst");
    }
    assert!(Limiter::new(vec![Rule::from(quota); 8]).is_ok());
    for max_keys in [0, u32::MAX] {
        let error = KeyedLimiter::<str>::new(KeyedConfig::new(quota).max_keys(max_keys)).unwrap_err();
        assert_eq!(error.field(), "max_keys");
    }
    assert!(KeyedLimiter::<str>::new(KeyedConfig::new(quota).max_keys(100_000_000)).is_ok());
}

#[test]
fn nothing_panics_at_any_time_and_cost() {
    let begin = start();
    let moments: Vec<_> = times()
        .into_iter()
        .chain([Duration::from_hours(146 * 365 * 24), Duration::from_hours(500 * 365 * 24), SECOND])
        .map(|time| begin.checked_add(time).unwrap_or(begin))
        .chain(begin.checked_sub(SECOND))
        .collect();
    for quota in quotas() {
        for rule in [Rule::token_bucket, Rule::sliding_log, Rule::sliding_counter, Rule::fixed_window] {
            let Ok(limiter) = Limiter::new_at(rule(quota), begin) else { continue };
            for cost in COUNTS {
                for now in &moments {
                    let _ = limiter.check_cost_at(cost, *now);
                    let _ = limiter.peek_at(*now);
                    for wait in times() {
                        // Of a log every unit takes memory.
                        if cost <= 10
                            && let Ok(reserved) = limiter.reserve_at(cost, wait, *now)
                        {
                            limiter.give_back_at(reserved, moments[0]);
                        }
                    }
                    limiter.refund_at(cost, *now);
                    let _ = limiter.snapshot_at(*now);
                }
            }
            limiter.reconfigure_at(Rule::token_bucket(Quota::per_second(1_000_000_000).unwrap()), begin).unwrap();
            limiter.reconfigure_at(Rule::token_bucket(Quota::new(1, times()[4]).unwrap()), begin).unwrap();
            let _ = limiter.check_at(moments[4]);
        }
    }
}

#[test]
fn rate_is_never_above_the_quota() {
    let now = start();
    // A third of a second is no whole number of nanoseconds.
    let limiter = Limiter::new_at(Quota::per_second(3).unwrap().burst(1).unwrap(), now).unwrap();
    let mut at = now;
    let mut admitted = 0_u32;
    while at < now + Duration::from_secs(1_000) {
        let decision = limiter.check_at(at);
        admitted += u32::from(decision.allowed);
        at += decision.retry_after;
    }
    assert_eq!(admitted, 3_000);
    assert!(at - now > Duration::from_secs(1_000), "and not a nanosecond early");
}

#[test]
fn wild_clock_never_lets_more_through() {
    for rule in [Rule::token_bucket, Rule::sliding_log, Rule::sliding_counter, Rule::fixed_window] {
        let begin = start();
        let limiter = Limiter::new_at(rule(Quota::per_second(5).unwrap()), begin).unwrap();
        let mut seed = 3_u64;
        let (mut latest, mut admitted) = (0, 0);
        for _ in 0..20_000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            // Forward by up to 20 ms, or anywhere back.
            let now = if seed >> 63 == 0 { latest + (seed >> 40) % 20_000_000 } else { (seed >> 20) % (latest + 1) };
            latest = latest.max(now);
            admitted += u64::from(limiter.check_at(begin + Duration::from_nanos(now)).allowed);
        }
        let most = match rule(Quota::per_second(5).unwrap()).algorithm() {
            mainstay_rate_limit::Algorithm::TokenBucket => 5 + latest / 200_000_000,
            _ => 5 * (latest / 1_000_000_000 + 1),
        };
        assert!(admitted <= most, "{admitted} of {most}");
        assert!(admitted * 10 >= most * 7, "{admitted} of {most}: it went on");
    }
}

#[test]
fn sliding_counter_is_exact_where_the_product_of_limit_and_period_has_more_than_64_bits() {
    const LIMIT: u64 = 1_000_000_000_000;
    let start = start();
    let limiter = Limiter::new_at(Rule::sliding_counter(Quota::per_hour(LIMIT).unwrap()), start).unwrap();
    let minutes = |minutes| start + Duration::from_mins(minutes);

    assert!(limiter.check_cost_at(LIMIT, start).unwrap().allowed);
    let refused = limiter.check_cost_at(LIMIT / 4, minutes(30)).unwrap();
    assert_eq!((refused.allowed, refused.retry_after), (false, Duration::from_mins(45)));
    assert_eq!(limiter.peek_at(minutes(75)).remaining, LIMIT / 4);
    assert!(limiter.check_cost_at(LIMIT / 4, minutes(75)).unwrap().allowed);
}
