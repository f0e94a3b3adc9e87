//! Hostile tests: each states what the documentation promises.
#![allow(missing_docs, clippy::all, clippy::pedantic, unused)]

use mainstay_core::{Error, Reason};
use mainstay_rate_limit::*;
use std::{
    collections::VecDeque,
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};
use tower::{Layer, Service, ServiceExt, service_fn};

const MILLI: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn start() -> Instant {
    tokio::time::Instant::now().into_std()
}
fn per_second(limit: u64) -> Quota {
    Quota::per_second(limit).unwrap()
}
fn rules(quota: Quota) -> [Rule; 4] {
    [Rule::token_bucket(quota), Rule::sliding_log(quota), Rule::sliding_counter(quota), Rule::fixed_window(quota)]
}

/// README: "With `shadow` everything is allowed. What would have been refused is counted".
#[test]
fn shadow_cost_above_the_limit_is_allowed() {
    let limiter = Limiter::new(Config::new(per_second(10)).shadow(true)).unwrap();
    assert!(limiter.check_cost(11).is_ok_and(|decision| decision.allowed), "refused in shadow mode");
}
#[tokio::test(start_paused = true)]
async fn shadow_layer_refuses_nobody_whatever_it_costs() {
    let layer = RateLimitLayer::new(Config::new(per_second(10)).shadow(true)).unwrap().cost(|cost: &u64| *cost);
    let service = layer.layer(service_fn(async |cost: u64| Ok::<_, Error<Infallible>>(cost)));
    assert_eq!(service.oneshot(11).await, Ok(11));
}

/// `Snapshot::refused`: "Calls refused since the limiter was made."
#[tokio::test(start_paused = true)]
async fn refusals_for_cost_are_counted() {
    let layer = RateLimitLayer::new(per_second(10)).unwrap().cost(|cost: &u64| *cost);
    let service = layer.layer(service_fn(async |cost: u64| Ok::<_, Error<Infallible>>(cost)));
    assert!(service.oneshot(11).await.is_err());
    assert_eq!(layer.handle().snapshot().refused, 1);
}

/// "how many units could be taken at once after this decision", while one is refused.
#[test]
fn remaining_is_zero_when_one_unit_is_refused() {
    let now = start();
    for rule in rules(per_second(10)) {
        let limiter = Limiter::new_at(rule, now).unwrap();
        assert!(limiter.check_cost_at(10, now).unwrap().allowed);
        let _place = limiter.reserve_at(3, 5 * SECOND, now).unwrap();
        let peek = limiter.peek_at(now);
        assert!(!peek.allowed);
        assert_eq!(peek.remaining, 0, "{rule:?}");
    }
}

/// `peek_at`: "What check_at would answer."
#[test]
fn keyed_peek_answers_as_check_after_quota_of_key_changed() {
    let now = start();
    let limit = Arc::new(AtomicU64::new(1));
    let of = limit.clone();
    let limiter = KeyedLimiter::with_quotas_at(per_second(1), move |_: &u32| per_second(of.load(SeqCst)), now).unwrap();
    let _ = limiter.check_at(&1, now);
    limit.store(10, SeqCst);
    let peek = limiter.peek_at(&1, now + SECOND);
    let check = limiter.check_at(&1, now + SECOND);
    assert_eq!((peek.allowed, peek.limit), (check.allowed, check.limit));
}

#[test]
fn keyed_peek_answers_as_check_when_there_are_keys_to_evict() {
    let now = start();
    let limiter = KeyedLimiter::<u32>::new_at(KeyedConfig::new(per_second(1)).max_keys(8), now).unwrap();
    (0..8).for_each(|key| assert!(limiter.check_at(&key, now).allowed));
    assert!(limiter.check_at(&99, now + 500 * MILLI).allowed, "one without room");
    let later = now + SECOND;
    let peek = limiter.peek_at(&100, later);
    let check = limiter.check_at(&100, later);
    assert_eq!(peek.allowed, check.allowed);
}

/// `peek_at`: "It takes nothing".
#[test]
fn peek_of_another_key_changes_nothing() {
    let now = start();
    let limiter =
        KeyedLimiter::<str>::new_at(KeyedConfig::new(Rule::sliding_log(per_second(2))).max_keys(100), now).unwrap();
    assert!(limiter.check_cost_at("alice", 2, now).unwrap().allowed);
    let _ = limiter.peek_at("bob", now + 10 * SECOND);
    assert!(!limiter.check_cost_at("alice", 2, now + MILLI).unwrap().allowed, "four units of alice in a millisecond");
}
#[test]
fn peek_of_a_later_moment_changes_nothing() {
    let now = start();
    for rule in rules(per_second(2)) {
        let limiter = Limiter::new_at(rule, now).unwrap();
        assert!(limiter.check_cost_at(2, now).unwrap().allowed);
        let _ = limiter.peek_at(now + 10 * SECOND);
        assert!(!limiter.check_cost_at(2, now + MILLI).unwrap().allowed, "{rule:?}: four units in a millisecond");
    }
}

/// `reconfigure_at`: "A window keeps what counts in it; with another period all of it counts as taken now".
#[test]
fn counter_keeps_what_counts_over_two_changes() {
    let now = start();
    for make in [Rule::sliding_counter, Rule::fixed_window, Rule::sliding_log] {
        let limiter = Limiter::new_at(make(Quota::per_hour(1_000).unwrap()), now).unwrap();
        assert!(limiter.check_cost_at(500, now).unwrap().allowed);
        limiter.reconfigure_at(make(Quota::per_hour(10).unwrap()), now).unwrap();
        limiter.reconfigure_at(make(Quota::per_minute(1_000).unwrap()), now).unwrap();
        assert_eq!(limiter.peek_at(now).remaining, 500, "{:?}", make(per_second(1)).algorithm());
    }
}

/// "log <= L in any period" while a place waits and the quota is lowered and raised.
#[test]
fn log_keeps_places_that_are_larger_than_a_lower_limit() {
    let now = start();
    let limiter = Limiter::new_at(Rule::sliding_log(per_second(10)), now).unwrap();
    assert!(limiter.check_cost_at(10, now).unwrap().allowed);
    let place = limiter.reserve_at(10, 2 * SECOND, now).unwrap();
    assert_eq!(place.wait(), SECOND);
    limiter.reconfigure_at(Rule::sliding_log(per_second(5)), now + 500 * MILLI).unwrap();
    assert_eq!(limiter.snapshot_at(now + 1_100 * MILLI).waiting, 0);
    limiter.reconfigure_at(Rule::sliding_log(per_second(10)), now + 1_150 * MILLI).unwrap();
    let more = limiter.check_cost_at(5, now + 1_200 * MILLI).unwrap();
    assert!(!more.allowed, "10 at 1 s and 5 at 1.2 s, and no limit was ever above 10");
}

/// keyed reconfigure: "keeps what was taken".
#[test]
fn reconfigure_of_the_default_leaves_the_quota_of_a_key_alone() {
    let now = start();
    let paid = per_second(1_000);
    let limiter = KeyedLimiter::with_quotas_at(per_second(1), move |_: &u32| paid, now).unwrap();
    assert_eq!(limiter.check_at(&1, now).remaining, 999);
    limiter.reconfigure_at(per_second(2), now).unwrap();
    assert_eq!(limiter.check_at(&1, now).remaining, 998, "nothing of the key has changed");
}
#[test]
fn reconfigure_of_the_default_does_not_forget_what_a_key_took() {
    let now = start();
    let paid = Rule::sliding_counter(Quota::per_hour(1_000).unwrap()).quota();
    let default = |limit| Rule::sliding_counter(per_second(limit));
    let limiter = KeyedLimiter::with_quotas_at(default(1), move |_: &u32| paid, now).unwrap();
    assert!(limiter.check_cost_at(&1, 1_000, now).unwrap().allowed);
    limiter.reconfigure_at(default(2), now).unwrap();
    assert!(!limiter.check_cost_at(&1, 900, now + MILLI).unwrap().allowed, "1,900 in an hour");
}

#[test]
fn hostile_keys_do_not_shut_out_a_steady_one_who_is_there() {
    let now = start();
    let rule = Rule::token_bucket(Quota::per_minute(100).unwrap());
    let limiter = KeyedLimiter::<u64>::new_at(KeyedConfig::new(rule).max_keys(1_000), now).unwrap();
    let mut hostile = 1_000_000;
    let mut refused = 0;
    for second in 0..600_u32 {
        let at = now + second * SECOND;
        if second % 2 == 0 {
            refused += u32::from(!limiter.check_at(&7, at).allowed);
        }
        for _ in 0..50 {
            hostile += 1;
            let _ = limiter.check_cost_at(&hostile, 100, at + 500 * MILLI);
        }
        // What has come back to the overflow meanwhile; nobody new gets any of it.
        for _ in 0..4 {
            hostile += 1;
            let _ = limiter.check_at(&hostile, at + 999 * MILLI);
        }
    }
    assert_eq!(
        refused, 0,
        "of 300 requests in ten minutes by a key that was there first, with one each 2 s of 100 per minute"
    );
}

/// A limit refunded as a whole, as an operator would.
#[test]
fn refund_of_everything_keeps_later_bounds() {
    for everything in [10, u64::MAX] {
        let now = start();
        let limiter = Limiter::new_at(per_second(10), now).unwrap();
        let _ = limiter.check_at(now);
        limiter.refund_at(everything, now);

        assert!(limiter.check_cost_at(5, now).unwrap().allowed);
        let reserved = limiter.reserve_at(5, Duration::ZERO, now).unwrap();
        limiter.refund_at(5, now);
        let at = now + 500 * MILLI;
        assert!(limiter.check_cost_at(10, at).unwrap().allowed);
        limiter.give_back_at(reserved, at);
        let more = limiter.check_cost_at(5, at).unwrap();
        assert!(!more.allowed, "fifteen at one moment after a refund of {everything}");
    }
}

/// "With Duration::MAX for as long as it takes"; one call is one refusal.
#[tokio::test(start_paused = true)]
async fn acquire_paces_above_a_thousand_per_second() {
    let limiter = Limiter::new(per_second(10_000).burst(1).unwrap()).unwrap();
    let clock = tokio::time::Instant::now();
    for _ in 0..10_000 {
        limiter.acquire(1, SECOND).await.unwrap();
    }
    let took = clock.elapsed();
    assert!(took < 1_200 * MILLI, "ten thousand at ten thousand per second took {took:?}");
}

/// Front page: "in front of a partner who sells so many calls per minute, so that you stay within them".
#[test]
fn default_stays_within_what_a_partner_sells() {
    let now = start();
    let limiter = Limiter::new_at(Quota::per_minute(100).unwrap(), now).unwrap();
    let admitted = (0..6_000_u32).filter(|tick| limiter.check_at(now + *tick * 10 * MILLI).allowed).count();
    assert!(admitted <= 100, "{admitted} in the first minute");
}

/// After a change a decision of a sliding log allocates nothing.
#[test]
fn log_allocates_nothing_after_a_change() {
    let now = start();
    let limiter = Limiter::new_at(Rule::sliding_log(per_second(10)), now).unwrap();
    limiter.reconfigure_at(Rule::sliding_log(per_second(1_000)), now).unwrap();
    let measured = allocation_counter::measure(|| {
        for _ in 0..1_000 {
            let _ = limiter.check_at(now);
        }
    });
    assert_eq!(measured.count_total, 0);
}

#[cfg(feature = "governor")]
#[tokio::test]
async fn governed_cost_of_billions_names_the_real_limit() {
    let quota = governor::Quota::per_minute(std::num::NonZeroU32::new(2).unwrap());
    let limit = Governed::new(governor::RateLimiter::direct(quota));
    let error = Limit::<str>::decide(&limit, "any", 5_000_000_000).await.unwrap_err();
    assert_eq!(error.limit, 2);
}

#[cfg(feature = "http")]
mod over_http {
    use super::*;
    use ::http::{Request, Response};
    use mainstay_rate_limit::http::*;

    fn server<I: Identify, H: std::ops::Deref<Target: ClientLimiter>>(
        layer: &HttpRateLimitLayer<I, H>,
    ) -> HttpRateLimit<
        impl Service<
            Request<()>,
            Response = Response<String>,
            Error = Infallible,
            Future: Future<Output = Result<Response<String>, Infallible>>,
        > + Clone,
        I,
        H,
    >
    where
        I: Clone,
        H: Clone,
    {
        layer.layer(service_fn(async |_: Request<()>| Ok::<_, Infallible>(Response::new(String::new()))))
    }

    /// "A decision by another limit than the rule was given here, since ... the limiter was reconfigured, leaves the policy out."
    #[tokio::test(start_paused = true)]
    async fn policy_that_does_not_hold_any_more_is_left_out() {
        let layer = HttpRateLimitLayer::new(per_second(10), Bearer).unwrap();
        layer.handle().reconfigure(Quota::per_hour(10).unwrap()).unwrap();
        let response = server(&layer).oneshot(Request::new(())).await.unwrap();
        let policy = response.headers().get("ratelimit-policy");
        assert!(policy.is_none(), "{policy:?}, but it is 10 per hour");
    }
    #[tokio::test(start_paused = true)]
    async fn policy_of_another_clients_quota_is_left_out() {
        let limiter =
            KeyedLimiter::with_quotas(Quota::per_minute(100).unwrap(), |_: &ClientId| Quota::per_hour(100).unwrap());
        let layer = HttpRateLimitLayer::with_limiter(Arc::new(limiter.unwrap()), Bearer);
        let response = server(&layer).oneshot(Request::new(())).await.unwrap();
        let policy = response.headers().get("ratelimit-policy");
        assert!(policy.is_none(), "{policy:?}, but it is 100 per hour");
    }
    #[tokio::test(start_paused = true)]
    async fn policy_of_the_first_rule_is_left_out_when_the_second_binds() {
        let config = Config::new(per_second(10)).rule(Rule::fixed_window(Quota::per_hour(5).unwrap()));
        let limiter = KeyedLimiter::with_quotas(config, |_: &ClientId| per_second(1_000)).unwrap();
        let layer = HttpRateLimitLayer::with_limiter(Arc::new(limiter), Bearer);
        let response = server(&layer).oneshot(Request::new(())).await.unwrap();
        let policy = response.headers().get("ratelimit-policy").map(|value| value.to_str().unwrap().to_owned());
        assert!(
            policy.as_ref().is_none_or(|policy| !policy.contains("q=10;")),
            "{policy:?}, but it is 1000 per second"
        );
    }

    #[cfg(feature = "grpc")]
    #[tokio::test(start_paused = true)]
    async fn what_begins_with_application_grpc_is_refused_as_grpc() {
        for media in [
            "application/grpc",
            "application/grpc+proto",
            "application/grpc;charset=utf-8",
            "application/grpc-web",
            "application/grpc-web+proto",
        ] {
            let layer = HttpRateLimitLayer::new(Quota::per_hour(1).unwrap(), Bearer).unwrap();
            let ask = || Request::post("/").header("content-type", media).body(()).unwrap();
            let _ = server(&layer).oneshot(ask()).await.unwrap();
            let response = server(&layer).oneshot(ask()).await.unwrap();
            assert_eq!(response.status(), 200, "{media}");
        }
    }

    /// The front page's identification in front of an axum server without a proxy.
    #[tokio::test(start_paused = true)]
    async fn front_page_tells_clients_of_axum_apart() {
        use axum::extract::ConnectInfo;
        use std::net::SocketAddr;
        let identify = Bearer.or_else(ForwardedFor::trusted(1)).or_else(Peer::new());
        let layer = HttpRateLimitLayer::new(Quota::per_minute(1).unwrap(), identify).unwrap();
        for client in ["203.0.113.1:1", "203.0.113.2:1"] {
            let mut request = Request::new(());
            request.extensions_mut().insert(ConnectInfo(client.parse::<SocketAddr>().unwrap()));
            assert_eq!(server(&layer).oneshot(request).await.unwrap().status(), 200, "{client}");
        }
    }
    /// The front page's identification against somebody without a credential.
    #[tokio::test(start_paused = true)]
    async fn front_page_limits_a_client_of_one_address() {
        let identify = Bearer.or_else(ForwardedFor::trusted(1)).or_else(Peer::new());
        let layer = HttpRateLimitLayer::new(Quota::per_minute(100).unwrap(), identify).unwrap();
        let mut admitted = 0;
        for made_up in 0..1_000 {
            let request = Request::get("/")
                .header("x-forwarded-for", "203.0.113.1")
                .header("authorization", format!("Bearer {made_up}"));
            admitted += u32::from(server(&layer).oneshot(request.body(()).unwrap()).await.unwrap().status() == 200);
        }
        assert!(admitted <= 100, "{admitted} in no time");
    }

    #[tokio::test(start_paused = true)]
    async fn fresh_layer_names_the_policy_of_its_limiter() {
        let layer = HttpRateLimitLayer::new(per_second(10), Bearer).unwrap();
        layer.handle().reconfigure(per_second(20)).unwrap();
        let fresh = layer.fresh();
        let response = server(&fresh).oneshot(Request::new(())).await.unwrap();
        let policy = response.headers().get("ratelimit-policy").map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(policy.as_deref(), Some(r#""rate-limit";q=20;w=1"#));
    }
}
